package insights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"eventworker/internal/batch"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// pass lets time pass, and then waits until everything that it set off is done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantTimes(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("requests at %v, want %v", got, want)
	}
}

func wantKinds(t *testing.T, r *rig, want map[OutcomeKind]int) {
	t.Helper()
	if got := r.kinds(); !maps.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

func TestBatchIsDeliveredAndItsMemoryGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, ok)
		b := r.events(3, nil)
		r.d.Submit(b)
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 3})
		if o, _ := r.outcome(0); o != (Outcome{Kind: Delivered, Status: 200, Attempts: 1}) {
			t.Errorf("outcome %+v", o)
		}
		if n, oldest := r.d.Pending(); n != 0 || oldest != 0 {
			t.Errorf("pending %d, %d", n, oldest)
		}
		if len(b.Entries) != 0 {
			t.Error("the batch's memory was not given back")
		}
	})
}

func TestBackoffGrowsIsCappedAndStartsAnewAfterSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.Backoff.MaxInterval = 2 * sec }},
			func(c call) reply {
				if c.n == 5 {
					return reply{status: 200}
				}
				return reply{status: 503}
			})
		r.submit(1)
		pass(7 * sec) // the sixth request, at 7.5 s, succeeds
		r.submit(1)
		pass(3 * sec)
		wantTimes(t, r.api.times(), 0, 500*ms, 1500*ms, 3500*ms, 5500*ms, 7500*ms, 7500*ms, 8000*ms, 9000*ms)
	})
}

func TestBackoffIsSpreadAtRandom(t *testing.T) {
	var gaps []time.Duration
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) {
			c.Backoff = Backoff{InitialInterval: sec, MaxInterval: sec, RandomizationFactor: 0.5}
		}}, func(call) reply { return reply{status: 500} })
		r.submit(1)
		pass(60 * sec)
		at := r.api.times()
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i]-at[i-1])
		}
	})
	slices.Sort(gaps)
	if len(gaps) < 35 || gaps[0] < 500*ms || gaps[len(gaps)-1] > 1500*ms+ms || gaps[len(gaps)-1]-gaps[0] < 100*ms {
		t.Errorf("%d gaps from %v to %v", len(gaps), gaps[0], gaps[len(gaps)-1])
	}
}

func TestWaitIsTheLargerOfBackoffAndRetryAfter(t *testing.T) {
	for _, c := range []struct {
		after string
		want  time.Duration
	}{{"", 500 * ms}, {"0", 500 * ms}, {"-3", 500 * ms}, {"3", 3 * sec}, {"100000", 5 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, rigConfig{}, func(x call) reply {
				if x.n == 0 {
					return reply{status: 429, header: http.Header{"Retry-After": {c.after}}}
				}
				return reply{status: 200}
			})
			r.submit(1)
			pass(time.Hour)
			wantTimes(t, r.api.times(), 0, c.want)
			if o, _ := r.outcome(0); o.Attempts != 2 || o.FirstFailed != r.start.UnixMilli() {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestRequestsThatFailTogetherAreOneFailureAndOneGoesFirstAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 4 }}, func(c call) reply {
			if c.n < 5 {
				return reply{status: 503, after: 10 * ms * time.Duration(c.n+1)}
			}
			return reply{status: 200, after: 100 * ms}
		})
		for range 6 {
			r.submit(1)
		}
		pass(time.Minute)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 6})
		wantTimes(t, r.api.times(),
			0, 0, 0, 0, // the first fails at 10 ms: 500 ms from then on
			510*ms,                             // alone, fails at 560 ms: 1 s from then on
			1560*ms,                            // alone, succeeds at 1,660 ms
			1660*ms, 1660*ms, 1660*ms, 1660*ms, // the others, as many as may be in flight
			1760*ms)
		if r.api.max != 4 {
			t.Errorf("%d requests in flight", r.api.max)
		}
	})
}

func TestLateRetryAfterOfOlderRequestPutsTheNextTryOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			switch c.n {
			case 0:
				return reply{status: 503, after: 10 * ms}
			case 1:
				return reply{status: 429, after: 100 * ms, header: http.Header{"Retry-After": {"20"}}}
			}
			return reply{status: 200}
		})
		r.submit(1)
		r.submit(1)
		pass(time.Minute)
		wantTimes(t, r.api.times(), 0, 0, 20*sec+100*ms, 20*sec+100*ms)
	})
}

func TestBatchThatFailsByItselfDoesNotHoldOthersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 1 }}, func(c call) reply {
			if c.ids[0] == 0 {
				return reply{status: 500}
			}
			return reply{status: 200}
		})
		for range 10 {
			r.submit(1)
		}
		pass(3 * sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 9})
	})
}

// watch collects what an application says of its state.
func watch(c *ApplicationConfig) (states *[]State, logs *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	c.Log = zap.New(core)
	states = new([]State)
	c.Observer.State = func(s State) { *states = append(*states, s) }
	return states, logs
}

func TestMisconfigurationPausesProbesAndReadsTheKeyAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	writeKey := func(key string) {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		writeKey("old")
		var states *[]State
		var logs *observer.ObservedLogs
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) {
			c.APIKeyFile = file
			states, logs = watch(c)
		}}, func(c call) reply {
			if c.key == "old" {
				return reply{status: 401, body: `{"status":401,"message":"Invalid credentials"}`}
			}
			return reply{status: 200}
		})
		r.submit(5)
		pass(100 * ms)
		r.submit(5)
		if err := r.app.Ready(); err == nil || !strings.Contains(err.Error(), "misconfigured") || !strings.Contains(err.Error(), "app_id") {
			t.Errorf("Ready: %v", err)
		}
		if s := r.app.Status(); s.State != StateMisconfigured || !s.NextTry.Equal(r.start.Add(500*ms)) || s.Last.Status != 401 {
			t.Errorf("status %+v", s)
		}
		pass(2 * sec)
		wantKinds(t, r, map[OutcomeKind]int{})
		writeKey("new")
		pass(10 * sec)
		wantTimes(t, r.api.times(), 0, 500*ms, 1500*ms, 3500*ms, 3500*ms, 3500*ms, 3500*ms)
		for n, c := range r.api.calls[1:4] {
			if len(c.ids) != 1 {
				t.Errorf("probe %d carries %d events", n, len(c.ids))
			}
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 10})
		if err := r.app.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		if !slices.Equal(*states, []State{StateMisconfigured, StateOK}) {
			t.Errorf("states %v", *states)
		}
		if logs.Len() != 3 { // paused, key read again, goes on
			t.Errorf("%d lines: %v", logs.Len(), logs.All())
		}
		for _, l := range logs.All() {
			if s := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(s, "old") || strings.Contains(s, "new") {
				t.Errorf("the key is in the log: %s", s)
			}
		}
	})
}

func TestARefusalEndsAMisconfigurationToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			if c.n == 0 {
				return reply{status: 404}
			}
			return refusing(func(id int) bool { return id == 0 })(c)
		})
		r.submit(4)
		pass(sec)
		wantKinds(t, r, map[OutcomeKind]int{Rejected: 1, Delivered: 3})
	})
}

func TestEventsThatWillBeTooOldAtTheNextTryLeaveAtOnce(t *testing.T) {
	for _, c := range []struct {
		status int
		want   [3]time.Duration // the events would be too old at 1.001, 5.001 and 9.001 s
	}{
		{401, [3]time.Duration{500 * ms, 3500 * ms, 7500 * ms}}, // tries at 0, 0.5, 1.5, 3.5, 7.5 and 15.5 s
		{503, [3]time.Duration{0, 0, 0}},                        // the server wants 300 s
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxEventAge: 10 * sec}}, func(call) reply {
				return reply{status: c.status, header: http.Header{"Retry-After": {"300"}}}
			})
			age := 9 * sec
			r.d.Submit(r.events(3, func(e *batch.Entry[ref]) {
				e.Time -= age.Milliseconds()
				age -= 4 * sec
			}))
			pass(time.Minute)
			for id, want := range c.want {
				if o, at := r.outcome(id); o.Kind != Expired || at != want || o.Status != c.status || o.Attempts < 1 {
					t.Errorf("after %d, event %d: %+v at %v, want %v", c.status, id, o, at, want)
				}
			}
		})
	}
}

func TestEventsThatGrowTooOldLeaveWhileARequestIsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{
			app:      func(c *ApplicationConfig) { c.MaxInFlight = 1 },
			delivery: DelivererConfig[ref]{MaxEventAge: 10 * sec},
		}, func(call) reply { return reply{status: 200, after: 5 * sec} })
		r.submit(1)
		r.d.Submit(r.events(1, func(e *batch.Entry[ref]) { e.Time -= 9000 }))
		pass(time.Minute)
		if o, at := r.outcome(1); o.Kind != Expired || at != sec+ms {
			t.Errorf("%+v at %v", o, at)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 1, Expired: 1})
	})
}

func TestEventsOfExactlyTheAgeLimitAreStillTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxEventAge: 10 * sec}}, ok)
		age := int64(10_001)
		r.d.Submit(r.events(3, func(e *batch.Entry[ref]) { e.Time -= age; age-- }))
		synctest.Wait()
		if o, _ := r.outcome(0); o.Kind != Expired || o.Attempts != 0 {
			t.Errorf("a millisecond beyond: %+v", o)
		}
		wantKinds(t, r, map[OutcomeKind]int{Expired: 1, Delivered: 2})
	})
}

func TestElapsedTimeCountsFromTheFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{
			app:      func(c *ApplicationConfig) { c.MaxInFlight = 1 },
			delivery: DelivererConfig[ref]{MaxElapsedTime: 4 * sec},
		}, func(c call) reply { return reply{status: 503, after: sec} })
		r.submit(1)
		r.submit(1) // its first try is later
		pass(time.Minute)
		if o, at := r.outcome(0); o.Kind != Expired || at != 4500*ms {
			t.Errorf("first: %+v at %v", o, at)
		}
		// Tries: 0 (first batch), 1.5 s (second), 3.5 s (first, on the wire at its limit); the next would
		// be at 6.5 s, and the second's limit is 5.5 s.
		if o, at := r.outcome(1); o.Kind != Expired || at != 4500*ms {
			t.Errorf("second: %+v at %v", o, at)
		}
	})
}

func TestTryAtExactlyTheElapsedLimitIsStillMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxElapsedTime: 500 * ms}}, func(c call) reply {
			return reply{status: []int{503, 200}[c.n]}
		})
		r.submit(1)
		pass(sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 1})
	})
}

func TestSystemicRefusalPausesAfterTwentyEventsAndEndsWithASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states *[]State
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { states, _ = watch(c) }},
			refusing(func(id int) bool { return id < 100 }))
		r.submit(100)
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Rejected: systemicEvents})
		if err := r.app.Ready(); err == nil || !strings.Contains(err.Error(), "systemic") {
			t.Errorf("Ready: %v", err)
		}
		paused := r.api.count()
		pass(10 * time.Minute)
		for _, c := range r.api.calls[paused:] {
			if len(c.ids) != 1 {
				t.Errorf("a probe carries %d events", len(c.ids))
			}
		}
		if probes := r.api.count() - paused; probes < 10 || probes > 30 {
			t.Errorf("%d probes in 10 minutes", probes)
		}
		wantKinds(t, r, map[OutcomeKind]int{Rejected: systemicEvents})
		r.submit(1) // a good one
		pass(3 * time.Hour)
		if r.kinds()[Delivered] != 1 {
			t.Error("the good event was not found")
		}
		// Twenty more were refused since, and it pauses again.
		if !slices.Equal(*states, []State{StateSystemic, StateOK, StateSystemic}) {
			t.Errorf("states %v", *states)
		}
		wantKinds(t, r, map[OutcomeKind]int{Rejected: 2 * systemicEvents, Delivered: 1})
	})
}

func TestAnOlderRequestThatSucceedsEndsASystemicPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := refusing(func(id int) bool { return id < 100 })
		r := newRig(t, rigConfig{}, func(c call) reply {
			a := bad(c)
			if a.status == 200 {
				a.after = 100 * ms // on the wire when the pause begins, answered before the first probe
			}
			return a
		})
		r.next = 100
		r.submit(1) // the dispatcher takes it first
		r.next = 0
		r.submit(20)
		synctest.Wait()
		if s := r.app.Status().State; s != StateSystemic {
			t.Fatalf("state %s", s)
		}
		pass(200 * ms)
		if s := r.app.Status().State; s != StateOK {
			t.Errorf("state %s", s)
		}
	})
}

func TestSystemicRefusalCanDeadLetterInstead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs *observer.ObservedLogs
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) {
			c.DeadLetterSystemic = true
			_, logs = watch(c)
		}}, refusing(func(int) bool { return true }))
		r.submit(100)
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Rejected: 100})
		if logs.Len() != 1 {
			t.Errorf("%d lines", logs.Len())
		}
	})
}

func TestBadEventsOfTwoMessagesAreNotSystemic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, refusing(func(int) bool { return true }))
		r.d.Submit(r.events(100, func(e *batch.Entry[ref]) { e.Ref.message %= 2 }))
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Rejected: 100})
	})
}

func TestAcceptedEventsBetweenRefusalsKeepItFromBeingSystemic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 1 }},
			refusing(func(id int) bool { return id%10 != 0 }))
		for range 20 {
			for range 10 {
				r.submit(1)
			}
		}
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Rejected: 180, Delivered: 20})
	})
}

func TestTooLargeBodiesAreHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			if len(c.ids) > 3 || slices.Contains(c.ids, 7) {
				return reply{status: 413}
			}
			return reply{status: 200}
		})
		r.submit(20)
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{TooLarge: 1, Delivered: 19})
		if o, _ := r.outcome(7); o.Kind != TooLarge || o.Status != 413 {
			t.Errorf("outcome %+v", o)
		}
	})
}

func TestEventBeyondTheLimitIsTooLargeWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxBytes: batch.Envelope + 8}}, ok)
		r.next = 5
		r.submit(1)
		r.next = 10
		r.submit(1)
		synctest.Wait()
		if o, _ := r.outcome(10); o.Kind != TooLarge || o.Status != 0 || o.Attempts != 0 || o.Words == "" {
			t.Errorf("outcome %+v", o)
		}
		wantKinds(t, r, map[OutcomeKind]int{TooLarge: 1, Delivered: 1})
		if r.api.count() != 1 {
			t.Errorf("%d requests", r.api.count())
		}
	})
}

func TestPurchasesThatMayHaveBeenTakenLeaveIfSoConfigured(t *testing.T) {
	for _, deadLetter := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{DeadLetterAmbiguous: deadLetter}}, func(c call) reply {
				switch c.n {
				case 0:
					return reply{status: 503} // surely not taken
				case 1:
					return reply{status: 200, after: time.Hour} // longer than the time-out
				}
				return reply{status: 200}
			})
			r.d.Submit(r.events(6, func(e *batch.Entry[ref]) { e.Ref.purchase = e.Ref.id%3 != 0 }))
			pass(time.Minute)
			if !deadLetter {
				wantKinds(t, r, map[OutcomeKind]int{Delivered: 6})
				return
			}
			wantKinds(t, r, map[OutcomeKind]int{Ambiguous: 4, Delivered: 2})
			if o, at := r.outcome(1); o.Attempts != 2 || at != 10500*ms {
				t.Errorf("a purchase: %+v at %v", o, at)
			}
			if o, _ := r.outcome(3); o.Kind != Delivered || o.Attempts != 3 {
				t.Errorf("a view: %+v", o)
			}
			if len(r.api.accepted) != 2 || r.api.accepted[0] != 1 || r.api.accepted[3] != 1 {
				t.Errorf("accepted %v", r.api.accepted)
			}
		})
	}
}

// Any batch with any bad events in it: every good one is accepted exactly once, each bad one is
// rejected with its own words, with at most 2·log2(n) requests for each bad one.
func TestEveryGoodEventIsAcceptedOnceWhateverTheBadOnes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(rt, "events")
		bad := map[int]bool{}
		for _, id := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 15).Draw(rt, "bad") {
			bad[id] = true
		}
		inFlight := rapid.IntRange(1, 8).Draw(rt, "inFlight")
		failure := ""
		synctest.Test(t, func(t *testing.T) { failure = searchAmong(t, n, bad, inFlight) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

func searchAmong(t *testing.T, n int, bad map[int]bool, inFlight int) (failure string) {
	r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = inFlight }},
		refusing(func(id int) bool { return bad[id] }))
	r.submit(n)
	synctest.Wait()
	for id := range n {
		o, _ := r.outcome(id)
		switch accepted := r.api.accepted[id]; {
		case bad[id] && (o.Kind != Rejected || o.Words != fmt.Sprint("event ", id) || o.Status != 422 || accepted != 0):
			return fmt.Sprintf("bad event %d: %+v, accepted %d times", id, o, accepted)
		case !bad[id] && (o.Kind != Delivered || accepted != 1):
			return fmt.Sprintf("good event %d: %+v, accepted %d times", id, o, accepted)
		}
	}
	if budget := 1 + len(bad)*2*bits.Len(uint(n-1)); r.api.count() > budget {
		return fmt.Sprintf("%d requests for %d bad of %d events, at most %d allowed", r.api.count(), len(bad), n, budget)
	}
	return ""
}

func TestGoodEventsDoNotWaitForTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := refusing(func(id int) bool { return id == 1000 })
		r := newRig(t, rigConfig{}, func(c call) reply {
			a := bad(c)
			a.after = sec
			return a
		})
		r.next = 1000
		r.submit(1000)
		pass(2*sec + ms)
		if got := r.kinds()[Delivered]; got != 500 {
			t.Errorf("%d delivered after the second round, want 500", got)
		}
		pass(9 * sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 999, Rejected: 1})
	})
}

func TestRateIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxEventsPerSecond = 100 }}, ok)
		r.submit(200)
		r.submit(50)
		r.submit(50)
		pass(time.Minute)
		wantTimes(t, r.api.times(), 0, 2*sec, 2500*ms)
	})
}

func TestShadowMakesNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.Shadow = true }}, ok)
		r.submit(7)
		synctest.Wait()
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 7})
		if r.api.count() != 0 {
			t.Error("a request was made")
		}
	})
}

func TestNothingIsSentWhileTheRightToSendIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var may atomic.Bool
		r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxEventAge: 10 * sec, MaySend: may.Load}}, ok)
		r.submit(1)
		pass(5500 * ms)
		may.Store(true)
		pass(sec)
		wantTimes(t, r.api.times(), 6*sec)
		may.Store(false)
		r.submit(1)
		pass(11 * sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 1, Expired: 1})
		r.submit(1)
		if left, took := drainWithin(r, time.Minute); left != 1 || took != 0 {
			t.Errorf("%d left after %v", left, took)
		}
	})
}

func drainWithin(r *rig, d time.Duration) (left int, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began := time.Now()
	left = r.d.Drain(ctx)
	return left, time.Since(began)
}

func TestDrainGivesQueuedBatchesTheirFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 1 }}, func(c call) reply {
			return reply{status: 200, after: sec}
		})
		for range 4 {
			r.submit(10)
		}
		left, took := drainWithin(r, time.Minute)
		if left != 0 || took != 4*sec {
			t.Errorf("%d left after %v", left, took)
		}
		if err := <-r.ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.ran <- nil
		if left, took := drainWithin(r, time.Minute); left != 0 || took != 0 {
			t.Errorf("again: %d left after %v", left, took)
		}
	})
}

func TestDrainMakesNoNewTriesAndEndsBackoffsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply { return reply{status: 503} })
		r.submit(10)
		synctest.Wait()
		r.submit(7)
		left, took := drainWithin(r, time.Minute)
		if left != 17 || took != 0 || r.api.count() != 1 {
			t.Errorf("%d left after %v and %d requests", left, took, r.api.count())
		}
	})
}

func TestDrainEndsTheSearchForBadEventsWithinItsDeadline(t *testing.T) {
	for _, c := range []struct {
		name     string
		deadline time.Duration
		left     int
		want     map[OutcomeKind]int
	}{
		{"in time", time.Minute, 0, map[OutcomeKind]int{Delivered: 15, Rejected: 1}},
		{"too late", 2500 * ms, 4, map[OutcomeKind]int{Delivered: 12}}, // the half with the bad event is refused after 2 s
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := refusing(func(id int) bool { return id == 0 })
				r := newRig(t, rigConfig{}, func(c call) reply {
					a := bad(c)
					a.after = sec
					return a
				})
				r.submit(8)
				r.submit(8)
				synctest.Wait()
				left, _ := drainWithin(r, c.deadline)
				if left != c.left {
					t.Errorf("%d events have no outcome, not %d", left, c.left)
				}
				wantKinds(t, r, c.want)
			})
		})
	}
}

func TestDrainTriesHalvesOfRefusedBatchesThatWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := refusing(func(id int) bool { return id == 0 })
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 1 }}, func(c call) reply {
			a := bad(c)
			a.after = sec
			return a
		})
		r.submit(4)
		pass(1500 * ms) // one half is on the wire, the other waits
		if left, _ := drainWithin(r, time.Minute); left != 0 {
			t.Errorf("%d events have no outcome", left)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 3, Rejected: 1})
	})
}

func TestDrainGoesOnWhereTheAPIWorksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		failures, status, events int
	}{
		"with the other half of a batch that timed out": {1, 408, 200},
		"with the rest of a batch whose probe is taken": {6, 503, 40},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, rigConfig{app: func(a *ApplicationConfig) { a.MaxInFlight = 1 }}, func(x call) reply {
					if x.n < c.failures {
						return reply{status: c.status}
					}
					return reply{status: 200, after: sec}
				})
				r.submit(c.events)
				for r.api.count() <= c.failures {
					pass(50 * ms)
				}
				if left, _ := drainWithin(r, time.Minute); left != 0 {
					t.Errorf("%d events are given up although the API takes events", left)
				}
				wantKinds(t, r, map[OutcomeKind]int{Delivered: c.events})
			})
		})
	}
}

// However messages lie in a batch, cutting it costs no request more than cutting it in the middle, and where a
// cut between messages costs none it is made there.
func TestHalvesDoNotTearMessagesApartWhereThatCostsNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 1000).Draw(rt, "events")
		long := rapid.IntRange(1, 40).Draw(rt, "longest message")
		b := &batch.Batch[ref]{Entries: make([]batch.Entry[ref], n)}
		for k, message, left := 0, uint64(0), 0; k < n; k++ {
			if left == 0 {
				message, left = message+1, rapid.IntRange(1, long).Draw(rt, "message")
			}
			b.Entries[k].Ref.message = message
			left--
		}
		d := &Deliverer[ref]{cfg: DelivererConfig[ref]{Together: func(x, y ref) bool { return x.message == y.message }}}
		parts := d.halves(&item[ref]{b: b, j: n})
		most := 1
		for 2*most < n {
			most *= 2
		}
		at := parts[0].j
		if len(parts) != 2 || parts[0].i != 0 || parts[1].i != at || parts[1].j != n || max(at, n-at) > most {
			rt.Fatalf("%d events in parts of %d and %d, at most %d", n, at, n-at, most)
		}
		if d.begins(b, at) {
			return
		}
		for k := n - most; k <= most; k++ {
			if k > 0 && k < n && d.begins(b, k) {
				rt.Fatalf("%d events are cut at %d, within a message, and not at %d", n, at, k)
			}
		}
	})
}

func TestAProbeCarriesWholeMessagesWhereTheyFit(t *testing.T) {
	for messages, want := range map[string]int{"aaaaaaabbbbbb": 7, "aaaaaaaaaabbb": 10, "aaaaaaaaaaaaa": 10, "abcdefghijklm": 10} {
		b := &batch.Batch[ref]{}
		for _, m := range messages {
			b.Entries = append(b.Entries, batch.Entry[ref]{Ref: ref{message: uint64(m)}})
		}
		d := &Deliverer[ref]{cfg: DelivererConfig[ref]{Together: func(x, y ref) bool { return x.message == y.message }}}
		it := &item[ref]{b: b, j: len(messages)}
		if i, j := d.carried(it, ticket{probe: probeEvents}); i != 0 || j != want || it.cursor != want {
			t.Errorf("%s: events %d to %d, not 0 to %d", messages, i, j, want)
		}
	}
}

func TestDrainWaitsForTheWireUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			return reply{status: 200, after: 8 * sec * time.Duration(c.ids[0]/10)}
		})
		r.submit(10)
		r.submit(10)
		r.d.Submit(r.events(10, nil))
		synctest.Wait()
		left, took := drainWithin(r, 9*sec) // the third would answer after the time-out of 10 s
		if left != 10 || took != 9*sec {
			t.Errorf("%d left after %v", left, took)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 20})
		if s := r.app.Status(); s.State != StateOK || s.InFlight != 0 {
			t.Errorf("giving up counts as a failure: %+v", s)
		}
	})
}

func TestDrainWithoutRunLeavesEverything(t *testing.T) {
	app := application(t, func(c *ApplicationConfig) { c.Transport = newScript(t, ok) })
	d := NewDeliverer(app, DelivererConfig[int]{}, func(*batch.Batch[int], int, int, Outcome) { t.Error("settled") })
	d.Submit(oneBatch(t, 3))
	for range 2 {
		if left := d.Drain(t.Context()); left != 3 {
			t.Errorf("%d left", left)
		}
	}
	if err := d.Run(t.Context()); err != nil {
		t.Errorf("Run after Drain: %v", err)
	}
}

func TestEndOfRunsContextGivesUpWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		app := application(t, func(c *ApplicationConfig) {
			c.Transport = newScript(t, func(call) reply { return reply{status: 200, after: 5 * sec} })
		})
		d := NewDeliverer(app, DelivererConfig[int]{}, func(*batch.Batch[int], int, int, Outcome) { t.Error("settled") })
		d.Submit(oneBatch(t, 3))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(sec, func() { cancel(why) })
		if err := d.Run(ctx); err != why {
			t.Errorf("Run: %v", err)
		}
		if n, _ := d.Pending(); n != 3 {
			t.Errorf("%d pending", n)
		}
		if err := d.Run(ctx); err != errRunning {
			t.Errorf("second Run: %v", err)
		}
	})
}

func TestTwoDeliverersShareTheApplicationsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxInFlight = 1 }}, func(c call) reply {
			if c.n == 0 {
				return reply{status: 503, after: sec}
			}
			return reply{status: 200, after: sec}
		})
		other := NewDeliverer(r.app, DelivererConfig[ref]{}, r.settle)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- other.Run(ctx) }()
		r.submit(1)
		synctest.Wait()
		other.Submit(r.events(1, nil))
		pass(time.Minute)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 2})
		wantTimes(t, r.api.times(), 0, 1500*ms, 2500*ms)
		cancel()
		<-ended
	})
}

func TestObserverSeesBatchesRetriesAndExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) {
			c.Observer.Batch = func(trigger string, events, bytes int) {
				seen = append(seen, fmt.Sprint("batch ", trigger, " ", events, " ", bytes))
			}
			c.Observer.Exchange = func(e *Exchange) {
				seen = append(seen, fmt.Sprint(e.Result, " ", e.Status, " ", e.Events, " ", e.Bytes, " ", e.Duration))
			}
			c.Observer.Retry = func(n int) { seen = append(seen, fmt.Sprint("retry ", n)) }
		}}, func(c call) reply {
			if c.n == 0 {
				return reply{err: io.ErrUnexpectedEOF, after: sec}
			}
			return reply{status: 200, after: 2 * sec}
		})
		r.submit(2)
		pass(time.Minute)
		want := []string{"batch count 2 30", "retryable 0 2 30 1s", "retry 2", "delivered 200 2 30 2s"}
		if !slices.Equal(seen, want) {
			t.Errorf("got  %q\nwant %q", seen, want)
		}
	})
}
