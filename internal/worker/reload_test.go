package worker

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/telemetry"
)

// act asks the admin server to do something.
func (r *running) act(path, token, content string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.admin.Addr().String()+path, strings.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Close = true
	if content != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(r.t, req)
}

// reloadable starts a worker whose next configuration a test says.
func (w *world) reloadable(change func(*config.Config)) (r *running, next func(func(*config.Config)), levels *atomic.Value) {
	w.t.Helper()
	var now atomic.Pointer[config.Config]
	now.Store(w.config(change))
	levels = &atomic.Value{}
	o := Options{
		Load: func() (*config.Loaded, error) { return config.NewLoaded(now.Load()), nil },
		SetLogLevel: func(name string) error {
			if r.logs.FilterMessage("the configuration was reloaded").Len() == 0 {
				w.t.Error("the level changed before the log said so")
			}
			levels.Store(name)
			return nil
		},
	}
	r = startWorker(w.t, now.Load(), o)
	return r, func(f func(*config.Config)) {
		c := w.config(change)
		c.Store.Path = now.Load().Store.Path
		f(c)
		now.Store(c)
	}, levels
}

func TestReloadTakesWhatMayChangeAndSaysWhat(t *testing.T) {
	w := newWorld(t, func(s *setting) {
		s.api.Credentials = map[string][]string{"APP1": {"key-1", "key-2"}}
	})
	run, next, levels := w.reloadable(func(*config.Config) {})
	run.ready()
	next(func(c *config.Config) {
		c.Log.Level = "debug"
		c.Delivery.MaxInFlight, c.Delivery.Timeout, c.DrainTimeout = 7, 3*time.Second, 3*time.Second
		app := c.Insights.Applications["default"]
		app.APIKey = "key-2"
		c.Insights.Applications["default"] = app
		c.Admin.Token = "a-secret-token"
	})
	status, body := run.act(ReloadPath, "", "")
	if status != http.StatusOK || !strings.Contains(body, `"key":"delivery.max_in_flight","before":"32","after":"7"`) {
		t.Fatalf("%d %s", status, body)
	}
	if strings.Contains(body, "key-2") || strings.Contains(body, "a-secret") || strings.Contains(run.lines(), "key-2") || strings.Contains(run.lines(), "a-secret") {
		t.Error("a secret is shown")
	}
	if levels.Load() != "debug" {
		t.Errorf("the log's level is %v", levels.Load())
	}
	// The new token holds at once: the same call without it is refused.
	if status, _ := run.act(ReloadPath, "", ""); status != http.StatusUnauthorized {
		t.Errorf("without the new token: %d", status)
	}
	if status, body := run.act(ReloadPath, "a-secret-token", ""); status != http.StatusOK || !strings.Contains(body, `"changes":[]`) {
		t.Errorf("nothing changed: %d %s", status, body)
	}
	s := run.scrape()
	if s[telemetry.ReloadOK] != 1 || s[telemetry.ReloadTime] < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("%v %v", s[telemetry.ReloadOK], s[telemetry.ReloadTime])
	}
	run.stop()
}

func TestReloadOfAnythingElseIsRefusedByNameAndNothingIsApplied(t *testing.T) {
	w := newWorld(t)
	run, next, levels := w.reloadable(func(*config.Config) {})
	run.ready()
	before := run.scrape()
	next(func(c *config.Config) {
		c.Log.Level, c.Delivery.MaxInFlight = "debug", 7
		c.Join.Window, c.Views.Send = time.Hour, false
	})
	status, body := run.act(ReloadPath, "", "")
	if status != http.StatusConflict || !strings.Contains(body, `"refused":["views.send","join.window"]`) {
		t.Fatalf("%d %s", status, body)
	}
	if levels.Load() != nil || run.config().Delivery.MaxInFlight != 32 {
		t.Error("half of it was applied")
	}
	s := run.scrape()
	if s[telemetry.ReloadOK] != 0 || s[telemetry.ReloadTime] != before[telemetry.ReloadTime] || s[telemetry.ConfigHash] != before[telemetry.ConfigHash] {
		t.Errorf("after a refusal: %v %v %v", s[telemetry.ReloadOK], s[telemetry.ReloadTime], s[telemetry.ConfigHash])
	}
	run.saysOnce("views.send, join.window")
	next(func(c *config.Config) { c.Log.Level = "warn" })
	if _, err := run.Reload(); err != nil || levels.Load() != "warn" {
		t.Errorf("what may change is not taken after a refusal: %v", err)
	}
	if s := run.scrape(); s[telemetry.ReloadOK] != 1 || s[telemetry.ConfigHash] == before[telemetry.ConfigHash] {
		t.Error("the metrics do not tell")
	}
	run.stop()
}

func TestReloadWithAMistakeOrAnUnreadableKeyChangesNothing(t *testing.T) {
	w := newWorld(t)
	key := filepath.Join(w.dir, "key")
	if err := os.WriteFile(key, []byte("key-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	withFile := func(c *config.Config) {
		c.Insights.Applications = map[string]config.Application{"default": {AppID: "APP1", APIKeyFile: key, DefaultIndex: "products"}}
	}
	run, next, levels := w.reloadable(withFile)
	run.ready()
	next(func(c *config.Config) { c.Log.Level = "debug" })
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Reload(); err == nil || !strings.Contains(err.Error(), "insights.applications.default.api_key_file") || levels.Load() != nil {
		t.Errorf("a key that cannot be read: %v, level %v", err, levels.Load())
	}
	run.opts.Load = func() (*config.Loaded, error) { return nil, errors.New("config.yaml(3,1): unknown key") }
	if report, err := run.Reload(); err == nil || report.Applied || !strings.Contains(report.Error, "config.yaml(3,1)") {
		t.Errorf("a mistake: %+v, %v", report, err)
	}
	run.stop()
}
