package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
)

// A replay was killed between its claim and its record, and then the configuration was changed.
func TestAStalePlanSaysHowItsLettersAreReleasedAndANewOneTakesThem(t *testing.T) {
	d := newReplayDesk(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	d.call(exitOK, "replay", "--reason", "rejected", "--dry-run", "--plan-out", file)
	d.claim(file, "events", 2, 2)
	other := []string{"--set", "delivery.max_event_age=90h"}
	with := func(args ...string) []string { return append(args, other...) }
	r := d.call(exitUsage, with("replay", "--plan", file, "--yes")...)
	if !strings.Contains(r.err, "stale") || !strings.Contains(r.err, "1 letters that it claimed") || !strings.Contains(r.err, "replay --release "+file) {
		t.Errorf("the refusal: %s", r.err)
	}
	d.call(exitUsage, with("replay", "--release", file, "--plan", file)...)
	d.call(exitUsage, with("replay", "--release", file)...) // nobody can be asked
	if r := d.call(exitOK, with("replay", "--release", file, "--dry-run")...); !strings.Contains(r.err, "1 letters of plan") {
		t.Errorf("dry run: %s", r.err)
	}
	if r := d.call(exitOK, with("replay", "--release", file, "--yes")...); !strings.Contains(r.err, "released 1 letters") || !strings.Contains(r.err, `"action":"dlq.release"`) {
		t.Errorf("the release: %s", r.err)
	}
	if r := d.call(exitOK, with("replay", "--release", file, "--yes")...); !strings.Contains(r.err, "has no letter") {
		t.Errorf("once more: %s", r.err)
	}
	if r := d.call(exitUsage, with("replay", "--plan", file, "--yes")...); strings.Contains(r.err, "--release") {
		t.Errorf("the refusal afterwards: %s", r.err)
	}
	d.call(exitOK, with("replay", "--reason", "rejected", "--yes")...)
	if n := d.replayTopic(); n != 3 {
		t.Errorf("%d letters on the replay topic, want 3", n)
	}
}

// claim writes what a replay of a plan notes of a message before it writes its record.
func (d *replayDesk) claim(plan, topic string, partition int32, offset int64) {
	d.t.Helper()
	var p dlq.Plan
	text, err := os.ReadFile(plan)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	w := deadletter.NewStateWriter(deadletter.Config{Brokers: d.brokers, Topic: "events.dead"}, zap.NewNop())
	defer w.Close(context.Background())
	s := deadletter.State{Status: deadletter.StateReplayed, ReplayID: p.ID, By: "jane@desk", At: d.now.Add(-time.Hour)}
	record := deadletter.StateRecord{Key: deadletter.StateKey(topic, partition, offset), Value: s.Encode()}
	if err := w.Write(d.t.Context(), []deadletter.StateRecord{record}); err != nil {
		d.t.Fatal(err)
	}
}
