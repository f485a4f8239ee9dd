package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"eventworker/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those of a small run with a clock that suits a log that ends.
func options(t *testing.T, seed uint64, faults bool) Options {
	return Options{Messages: 3000, Seed: seed, Faults: faults, Dir: t.TempDir(), Change: func(c *config.Config) {
		c.Join.Wait = time.Second
	}}
}

func TestEverythingArrivesOnceAsTheContractSays(t *testing.T) {
	for seed := range uint64(3) {
		for _, faults := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed %d, faults %t", seed+1, faults), func(t *testing.T) {
				t.Parallel()
				o := options(t, seed+1, faults)
				change := o.Change
				o.Change = func(c *config.Config) {
					change(c)
					c.Batch.MaxEvents = 100 // so many requests, however slow the machine is, that the faults strike
				}
				r, err := Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				var text bytes.Buffer
				if err := r.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				if !r.OK() {
					t.Errorf("seed %d:\n%s", o.Seed, text.String())
				}
				e := &r.Equation
				if e.Received != int64(o.Messages) || e.Released != 0 || e.Delivered == 0 || sum(e.DeadLettered) == 0 || sum(e.Absorbed) == 0 {
					t.Errorf("seed %d: the run shows too little or repeats messages: %+v", o.Seed, e)
				}
				if faults && len(r.API.Faults) < 4 {
					t.Errorf("seed %d: only these faults struck: %v", o.Seed, r.API.Faults)
				}
			})
		}
	}
}

func TestAReportThatDoesNotAddUpIsNotOK(t *testing.T) {
	o := options(t, 5, false)
	o.Messages = 300
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatal("not even a small run is OK")
	}
	r.Equation.Gap = 1
	if r.OK() {
		t.Error("OK with a gap in the equation")
	}
	r.Equation.Gap, r.Equation.InFlight = 0, 1
	if r.OK() {
		t.Error("OK with a message in flight")
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "NOT everything") {
		t.Errorf("the report reads %v:\n%s", err, text.String())
	}
	encoded, err := json.Marshal(r)
	if err != nil || !bytes.Contains(encoded, []byte(`"messages":300`)) {
		t.Errorf("as JSON: %v\n%s", err, encoded)
	}
}

func TestALossAndARepetitionShowInTheReport(t *testing.T) {
	o := options(t, 6, false)
	o.Messages = 300
	for name, change := range map[string]func(*config.Config){
		"views that are not sent are missing": func(c *config.Config) { c.Views.Send = false },
		"what is dropped is missing":          func(c *config.Config) { c.Join.OnMiss = "drop" },
	} {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			o.Change = func(c *config.Config) {
				c.Join.Wait = time.Second
				change(c)
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() {
				t.Error("the report does not see it")
			}
		})
	}
}

func TestARunThatIsStoppedEndsWithTheCause(t *testing.T) {
	stopped := errors.New("stopped by the test")
	for name, when := range map[string]func(Progress) bool{
		"while it produces":             func(p Progress) bool { return p.Settled > 0 },
		"when only the worker is at it": func(p Progress) bool { return p.Produced == p.Total },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, 7, false)
			o.Messages = 10_000
			o.Change = func(c *config.Config) { c.Join.Wait = time.Minute } // some wait for longer than the test
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			o.Progress = func(p Progress) {
				if when(p) {
					stop(stopped)
				}
			}
			r, err := Run(ctx, o)
			if !errors.Is(err, stopped) || r != nil || strings.Contains(err.Error(), "%!") {
				t.Errorf("a run that was stopped ends with %v", err)
			}
		})
	}
}

func TestAWorkerThatCannotStartIsTheRunsError(t *testing.T) {
	o := options(t, 8, false)
	o.Change = func(c *config.Config) { c.Batch.MaxEvents = 5000 }
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "batch.max_events") {
		t.Errorf("the run ends with %v", err)
	}
}
