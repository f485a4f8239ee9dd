package dlq

import (
	"errors"
	"strings"
	"testing"
	"time"

	"eventworker/internal/deadletter"
)

func (o *office) release(p *Plan) (int64, error) {
	o.Helper()
	later := func() time.Time { return time.Now().Add(releaseAfter) }
	return o.newDesk().Release(o.Context(), p, ReleaseOptions{By: "jane", Clock: later})
}

// A call is killed between its claims and its records, and then the rules are others.
func TestWhatAStalePlanClaimedAndDidNotWriteIsReleasedAndANewPlanTakesIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.dead(many(9, o.click)...)
	stale := o.plan("")
	few := o.plan("offsets:0:0-1")
	o.apply(few)
	o.putValue(1, claimOf(stale))
	o.putValue(2, claimOf(stale))
	o.rules.MaxEventAge = 90 * time.Hour
	c := o.check()
	if err := o.desk.Stale(t.Context(), stale, &c); err == nil {
		t.Fatal("the plan is not stale")
	}
	if p := o.plan(""); p.Planned != 6 {
		t.Fatalf("before: %d letters are planned", p.Planned)
	}
	var busy *BusyError
	if n, err := o.desk.Release(t.Context(), stale, ReleaseOptions{By: "jane"}); n != 0 || !errors.As(err, &busy) {
		t.Errorf("claims of this moment: %d, %v", n, err)
	}
	if n, err := o.desk.Release(t.Context(), stale, ReleaseOptions{DryRun: true}); n != 2 || err != nil {
		t.Errorf("dry run: %d, %v", n, err)
	}
	if n, err := o.release(stale); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if s := o.state(1); s.Status != deadletter.StateOpen || !strings.Contains(s.Note, stale.ID) || s.By != "jane" {
		t.Errorf("%+v", s)
	}
	if n, err := o.release(stale); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
	fresh := o.plan("")
	if n := o.apply(fresh); n.Written != 8 {
		t.Errorf("the new plan: %+v", n)
	}
	if n := o.apply(stale); n.Passed+n.Before != 9 { // should the rules be the old ones again
		t.Errorf("the old plan: %+v", n)
	}
	o.once(9)
}

func TestAReleaseLeavesWhatIsOnTheTargetAndWhatSomebodyElseHas(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	plan := o.plan("")
	o.apply(plan)
	o.putValue(0, claimOf(plan)) // its outcome is not known yet
	if n, err := o.release(plan); n != 0 || err != nil {
		t.Errorf("all are written: %d, %v", n, err)
	}
	o.dead(many(3, o.click)...)
	winner, plan := o.plan(""), o.plan("")
	o.putValue(2, claimOf(winner))
	o.putValue(2, claimOf(plan))
	if n, err := o.release(plan); n != 0 || err != nil {
		t.Errorf("somebody else came first: %d, %v", n, err)
	}
	if s := o.state(2); !isClaim(&s, winner.ID) {
		t.Errorf("%+v", s)
	}
	if n, err := o.release(winner); n != 1 || err != nil {
		t.Errorf("the winner: %d, %v", n, err)
	}
	o.apply(o.plan(""))
	o.once(9)
}

func TestAReleaseIsRefusedWhereNobodyKnowsWhatWasWritten(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.dead(many(3, o.click)...)
	o.apply(o.plan("offsets:1:0-1"))
	plan := o.plan("")
	o.putValue(0, claimOf(plan))
	plan.TargetFrom[0].Offset = 100 // the replay topic was made anew
	var call *CallError
	if n, err := o.release(plan); n != 0 || !errors.As(err, &call) {
		t.Errorf("%d, %v", n, err)
	}
	plan.Topic = "elsewhere"
	if n, err := o.release(plan); n != 0 || !errors.As(err, &call) {
		t.Errorf("%d, %v", n, err)
	}
}
