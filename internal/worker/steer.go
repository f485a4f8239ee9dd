package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"eventworker/internal/config"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
)

// steering is why fetching is paused for the sake of delivery; empty: it is not.
type steering struct {
	mu  sync.Mutex
	why string
}

// steer pauses fetching while it would only fill memory, and lets it go on: Kafka is the buffer.
func (w *Worker) steer() {
	s := &w.steering
	s.mu.Lock()
	defer s.mu.Unlock()
	why := w.whyPause()
	if why == s.why {
		return
	}
	if why != "" {
		w.kafka.Pause(why)
	}
	if s.why != "" {
		w.kafka.Resume(s.why)
	}
	s.why = why
}

// whyPause says why nothing more should be fetched: every application with traffic is away, or one
// that is away holds its share of the byte budget (docs/contract.md, section 4).
//
// An application that works counts as one with traffic: whether it has any is only seen by fetching.
// One that is away and has nothing to deliver does not count: without events it could not be probed.
func (w *Worker) whyPause() string {
	if w.allPaused() {
		return "paused by hand"
	}
	g := w.current.Load()
	if g == nil || g.ended() {
		return ""
	}
	working, all := 0, int64(0)
	var gone []goneApplication
	for i, d := range g.deliverers {
		if d == nil {
			continue
		}
		load, away := d.Load(), w.apps[i].Away()
		all += load.Bytes
		switch {
		case away != "" && load.Events > 0:
			gone = append(gone, goneApplication{w.apps[i].Name(), away, load.Bytes})
		case away == "":
			working++
		}
	}
	switch {
	case len(gone) == 0:
		return ""
	case working == 0:
		return "every application with traffic is away: " + gone[0].String()
	}
	return w.whyShare(gone, all)
}

// goneApplication is an application that is away, with events.
type goneApplication struct {
	name, why string
	bytes     int64 // of the events that wait for it
}

func (a goneApplication) String() string { return a.name + " (" + a.why + ")" }

// whyShare looks for an application that is away and holds more than its share of the budget. What is
// held is reckoned from the memory of all messages that were begun, in proportion to the events that
// wait: a message keeps the whole chunk that it came with.
func (w *Worker) whyShare(gone []goneApplication, all int64) string {
	s := w.kafka.Status()
	begun := int64(0)
	for _, p := range s.Partitions {
		begun += max(0, p.HeldBytes-p.QueuedBytes)
	}
	share := float64(s.BudgetTotal) / float64(w.served())
	for _, a := range gone {
		if all > 0 && float64(begun)*float64(a.bytes)/float64(all) >= share {
			return "application " + a.String() + " is away and holds its share of memory.budget"
		}
	}
	return ""
}

// served is how many applications the group serves.
func (w *Worker) served() (n int) {
	for _, a := range w.apps {
		if a != nil {
			n++
		}
	}
	return n
}

func (w *Worker) allPaused() bool {
	for _, a := range w.apps {
		if a != nil && !a.Status().Paused {
			return false
		}
	}
	return true
}

// handlePauses adds POST /pause and POST /resume to the admin server, for all applications or for the
// one that ?application= names. A pause lasts until it is taken back or the process ends.
func (w *Worker) handlePauses() {
	add := func(path, about string, change func(*insights.Application) bool) {
		w.admin.HandleAction(telemetry.Action{Method: http.MethodPost, Path: path, About: about, Parameters: []string{"application", telemetry.ParameterNote}}, w.changePause(change))
	}
	add("/pause", "stops delivery (?application=NAME: of one application), and fetching once nothing else has traffic; ?note= says why, for the log", (*insights.Application).Pause)
	add("/resume", "takes /pause back (?application=, ?note=)", (*insights.Application).Resume)
}

// pauseState is what both answer.
type pauseState struct {
	Schema  string   `json:"schema"`
	Paused  []string `json:"paused"`
	Running []string `json:"running"`
}

func (w *Worker) changePause(change func(*insights.Application) bool) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		only := r.FormValue("application")
		state, found := pauseState{Schema: "eventworker.pause/v1", Paused: []string{}, Running: []string{}}, false
		for _, a := range w.apps {
			if a == nil {
				continue
			}
			if only == "" || only == a.Name() {
				change(a)
				found = true
			}
			if a.Status().Paused {
				state.Paused = append(state.Paused, a.Name())
			} else {
				state.Running = append(state.Running, a.Name())
			}
		}
		if !found {
			http.Error(out, "this group serves no application of this name; it serves "+strings.Join(append(state.Paused, state.Running...), ", "), http.StatusNotFound)
			return
		}
		w.steer()
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(state) // a caller that went away is no failure of ours
	})
}

// ReloadKeys takes the API keys of another configuration, read from their files where it names some,
// without a restart. Nothing else of it counts. Keys that cannot be read stay as they were.
func (w *Worker) ReloadKeys(cfg *config.Config) error {
	var errs []error
	for _, a := range w.apps {
		if a == nil {
			continue
		}
		from, known := cfg.Insights.Applications[a.Name()]
		if !known {
			errs = append(errs, fmt.Errorf("insights.applications.%s is not there any more: its key stays", a.Name()))
			continue
		}
		errs = append(errs, a.ReloadKey(string(from.APIKey), from.APIKeyFile))
	}
	return errors.Join(errs...)
}
