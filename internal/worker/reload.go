package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
)

// reloads is the configuration that is in force, and what the last reload did.
type reloads struct {
	running sync.Mutex // one reload at a time

	mu      sync.Mutex
	loaded  *config.Loaded
	applied time.Time // the start, or the last reload that was applied
	last    ReloadReport
}

// ReloadReport says what a reload did. It is the JSON that POST /-/reload answers.
type ReloadReport struct {
	Schema  string         `json:"schema"` // eventworker.reload/v1
	At      time.Time      `json:"at"`     // zero: there was none
	Applied bool           `json:"applied"`
	Changes []ReloadChange `json:"changes"`
	// Refused are the keys that need a restart; with any of them nothing was applied.
	Refused []string `json:"refused,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// ReloadChange is a key that has another value; secrets are ***.
type ReloadChange struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// ReloadPath is where the admin server takes the order to read the configuration again.
const ReloadPath = "/-/reload"

// config is the configuration in force. What is not reloadable is the same as in w.cfg for ever.
func (w *Worker) config() *config.Config { return &w.loadedConfig().Config }

func (w *Worker) loadedConfig() *config.Loaded {
	w.reloads.mu.Lock()
	defer w.reloads.mu.Unlock()
	return w.reloads.loaded
}

// lastReload is what the last reload did, and when the configuration in force was applied.
func (w *Worker) lastReload() (last ReloadReport, applied time.Time) {
	w.reloads.mu.Lock()
	defer w.reloads.mu.Unlock()
	return w.reloads.last, w.reloads.applied
}

// Reload reads the configuration again by Options.Load and takes what may change at run time. If
// anything else changed, or the new configuration has a mistake, nothing is applied, and the error
// names it. Keys and tokens that stand in files are read again whether or not a setting changed.
func (w *Worker) Reload() (ReloadReport, error) {
	w.reloads.running.Lock()
	defer w.reloads.running.Unlock()
	report := ReloadReport{Schema: "eventworker.reload/v1", At: time.Now(), Changes: []ReloadChange{}}
	err := w.reload(&report)
	if err != nil {
		report.Error = err.Error()
		w.log.Error("the configuration was not reloaded; the one before stays in force", zap.Error(err))
	}
	report.Applied = err == nil
	w.reloads.mu.Lock()
	defer w.reloads.mu.Unlock()
	w.reloads.last = report
	if err == nil {
		w.reloads.applied = report.At
	}
	return report, err
}

func (w *Worker) reload(report *ReloadReport) error {
	if w.opts.Load == nil {
		return errors.New("this worker was not told where its configuration comes from")
	}
	next, err := w.opts.Load()
	if err != nil {
		return err
	}
	changes := config.Changes(w.config(), &next.Config)
	for _, c := range changes {
		report.Changes = append(report.Changes, ReloadChange{c.Path, c.Before, c.After})
	}
	for _, c := range config.Refused(changes) {
		report.Refused = append(report.Refused, c.Path)
	}
	if len(report.Refused) > 0 {
		return fmt.Errorf("these need a restart, and nothing was applied: %s", strings.Join(report.Refused, ", "))
	}
	return w.apply(next, changes)
}

// apply takes a configuration that differs only in what may change. What can fail comes first.
func (w *Worker) apply(next *config.Loaded, changes []config.Change) error {
	token, err := next.Admin.ReadToken()
	if err != nil {
		return fmt.Errorf("admin.token_file: %w", err)
	}
	if err := w.checkKeys(&next.Config); err != nil {
		return err
	}
	if err := w.ReloadKeys(&next.Config); err != nil {
		return err // a file that changed since it was checked; keys that were read before it are taken
	}
	for _, a := range w.apps {
		if a != nil {
			a.Tune(tuning(&next.Delivery))
		}
	}
	w.kafka.SetDrainTimeout(next.DrainTimeout)
	if w.admin != nil {
		w.admin.SetToken(token)
	}
	w.reloads.mu.Lock()
	w.reloads.loaded = next
	w.reloads.mu.Unlock()
	fields := make([]zap.Field, 0, len(changes))
	for _, c := range changes {
		fields = append(fields, zap.String(c.Path, c.Before+" → "+c.After))
	}
	// Before the level changes: a higher one would leave the line out.
	w.log.Info("the configuration was reloaded", append(fields, zap.Int(telemetry.KeyCount, len(changes)))...)
	if w.opts.SetLogLevel != nil {
		if err := w.opts.SetLogLevel(next.Log.Level); err != nil {
			w.log.Error("the level of the log stays as it was", zap.Error(err)) // the level was validated: this is a defect
		}
	}
	return nil
}

// checkKeys reads every key as it would be taken, so that none is taken where one cannot be.
func (w *Worker) checkKeys(cfg *config.Config) error {
	if cfg.Delivery.Mode == "shadow" {
		return nil
	}
	for _, a := range w.apps {
		if a == nil {
			continue
		}
		if key, err := cfg.Insights.Applications[a.Name()].ReadKey(); err != nil {
			return fmt.Errorf("insights.applications.%s.api_key_file: %w", a.Name(), err)
		} else if !insights.ValidKey(key) {
			return fmt.Errorf("insights.applications.%s: the API key is empty or holds characters other than visible ASCII", a.Name())
		}
	}
	return nil
}

func tuning(d *config.Delivery) insights.Tuning {
	return insights.Tuning{Timeout: d.Timeout, MaxInFlight: d.MaxInFlight, MaxEventsPerSecond: d.MaxEventsPerSecond, Backoff: backoffOf(d)}
}

func backoffOf(d *config.Delivery) insights.Backoff {
	return insights.Backoff{InitialInterval: d.Backoff.InitialInterval, MaxInterval: d.Backoff.MaxInterval,
		Multiplier: d.Backoff.Multiplier, RandomizationFactor: d.Backoff.RandomizationFactor}
}

// handleReload answers 200 when the configuration was applied, 409 with the reasons when it was refused.
func (w *Worker) handleReload(out http.ResponseWriter, _ *http.Request) {
	report, err := w.Reload()
	out.Header().Set("Content-Type", "application/json")
	if err != nil {
		out.WriteHeader(http.StatusConflict)
	}
	_ = json.NewEncoder(out).Encode(report) // a caller that went away is no failure of ours
}

func (w *Worker) emitReload(emit telemetry.Emit) {
	last, applied := w.lastReload()
	emit(telemetry.ReloadOK, truth(last.At.IsZero() || last.Applied))
	emit(telemetry.ReloadTime, float64(applied.UnixMilli())/1000)
	emit(telemetry.ConfigHash, float64(w.config().Hash()))
}

func (w *Worker) emitLiveness(emit telemetry.Emit) {
	ok, _ := w.live.alive(time.Now(), w.stallLimit())
	emit(telemetry.Live, truth(ok))
	counts := w.live.counts()
	for _, state := range partitionStates {
		emit(telemetry.Partitions, float64(counts[state]), string(state))
	}
}
