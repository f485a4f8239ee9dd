package dlq

import (
	"context"
	"errors"
	"testing"
	"time"

	"eventworker/internal/deadletter"
)

// keepWorking has the stand-in settle what comes, until stop is called.
func (o *office) keepWorking(settle func(deadletter.Record) string) (stop func()) {
	ctx, cancel := context.WithCancel(o.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			o.work(settle)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-ended }
}

func TestACanaryIsOfLettersThatNobodyElseTook(t *testing.T) {
	o := newOffice(t)
	o.dead(many(30, o.click)...)
	p, theirs := o.plan(""), o.plan("offsets:0:0-2,1:0-2,2:0-2")
	o.apply(theirs)
	o.work(delivered)
	defer o.keepWorking(func(deadletter.Record) string { return deadletter.OutcomeDead })()
	n, err := o.tryApply(t.Context(), p, func(a *ApplyOptions) { a.Canary = 6 })
	var failed *CanaryError
	if !errors.As(err, &failed) || n.Canary == nil || n.Canary.Planned != 6 || n.Canary.Dead != 6 || n.Written != 6 {
		t.Errorf("the rest is written unguarded: %+v, %v, %+v", n, err, n.Canary)
	}
}

func TestACanaryIsOfLettersThatAreNotTooOld(t *testing.T) {
	o := newOffice(t)
	young := many(6, o.click)
	o.now = o.now.Add(-90 * time.Hour)
	old := many(12, o.click)
	o.now = o.now.Add(90 * time.Hour)
	o.dead(append(old, young...)...)
	p := o.plan("")
	if p.Planned != 18 {
		t.Fatalf("%+v", p)
	}
	defer o.keepWorking(func(deadletter.Record) string { return deadletter.OutcomeDead })()
	n, err := o.tryApply(t.Context(), p, func(a *ApplyOptions) {
		a.Canary, a.Clock = 3, func() time.Time { return o.now.Add(10 * time.Hour) }
	})
	var failed *CanaryError
	if !errors.As(err, &failed) || n.Canary == nil || n.Canary.Planned != 3 || n.Written != 3 {
		t.Errorf("%+v, %v, %+v", n, err, n.Canary)
	}
}

func TestWhereNoLetterIsLeftNobodyIsAskedAboutACanary(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	n := o.apply(o.plan(""), func(a *ApplyOptions) {
		a.Canary, a.Clock = 6, func() time.Time { return o.now.Add(100 * time.Hour) }
		a.GoOn = func(v *Verification) bool { t.Errorf("asked about %+v", v); return true }
	})
	if n.TooOld != 6 || n.Written != 0 || n.Canary != nil {
		t.Errorf("%+v", n)
	}
}

// Others may take letters also after they were chosen.
func TestACanaryWhoseLettersAreTakenMeanwhileEndsTheReplay(t *testing.T) {
	o := newOffice(t)
	o.dead(many(30, o.click)...)
	p := o.plan("")
	a, err := o.newDesk().newApply(t.Context(), p, ApplyOptions{Check: o.check(), Canary: 6, Wait: 20 * time.Second,
		GoOn: func(v *Verification) bool { t.Errorf("asked about %+v", v); return true }})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	chosen, err := a.choose(t.Context())
	if err != nil || len(chosen) != shopPartitions {
		t.Fatal(chosen, err)
	}
	o.apply(o.plan("offsets:0:0-2,1:0-2,2:0-2"))
	if err := a.canaryOf(t.Context(), chosen); !errors.Is(err, ErrNoCanary) {
		t.Error(err)
	}
	if n := a.sum(); n.Written != 0 || n.Passed != 6 || n.Left != 24 || n.Canary != nil {
		t.Errorf("%+v", n)
	}
}
