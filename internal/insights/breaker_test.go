package insights

import (
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"eventworker/internal/batch"
)

func TestBreakerOpensAfterFiveFailuresInARowAndProbesWithASmallBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states *[]State
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) {
			c.Backoff.MaxInterval = 4 * sec
			states, _ = watch(c)
		}}, func(c call) reply {
			if c.n < 8 {
				return reply{status: 503, after: 100 * ms}
			}
			return reply{status: 200, after: 100 * ms}
		})
		r.submit(100)
		pass(6 * sec) // four failures: 0, 0.6, 1.7, 3.8 s
		if s := r.app.Status(); s.State != StateRetrying || s.Breaker != "closed" || r.app.Away() != "" {
			t.Errorf("after four failures: %+v", s)
		}
		pass(2 * sec) // the fifth begins at 7.9 s
		pass(50 * ms)
		if s := r.app.Status(); s.State != StateUnavailable || s.Breaker != "open" || s.NextTry == nil || r.app.Away() != "unavailable" {
			t.Errorf("after five failures: %+v", s)
		}
		if err := r.app.Ready(); err != nil {
			t.Errorf("nobody can do anything about it, and yet: %v", err)
		}
		pass(4 * sec) // the sixth begins at 12 s
		if s := r.app.Status(); s.Breaker != "half-open" {
			t.Errorf("during a probe: %+v", s)
		}
		pass(time.Minute)
		wantTimes(t, r.api.times(), 0, 600*ms, 1700*ms, 3800*ms, 7900*ms, 12000*ms, 16100*ms, 20200*ms, 24300*ms, 24400*ms, 24400*ms)
		var sizes, firsts []int
		for _, c := range r.api.calls {
			sizes, firsts = append(sizes, len(c.ids)), append(firsts, c.ids[0])
		}
		// The probes carry other events each time. After the one that succeeds come the rest before and
		// after its events, at the same time.
		slices.Sort(sizes[9:])
		if want := []int{100, 100, 100, 100, 100, 10, 10, 10, 10, 30, 60}; !slices.Equal(sizes, want) {
			t.Errorf("requests of %d events, want %d", sizes, want)
		}
		if want := []int{0, 10, 20, 30}; !slices.Equal(firsts[5:9], want) {
			t.Errorf("probes with events from %d on, want %d", firsts[5:9], want)
		}
		if !slices.Equal(*states, []State{StateRetrying, StateUnavailable, StateOK}) {
			t.Errorf("states %v", *states)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 100})
	})
}

func TestASuccessBetweenFailuresKeepsTheBreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states *[]State
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { states, _ = watch(c) }}, func(c call) reply {
			if c.n%5 == 4 {
				return reply{status: 200}
			}
			return reply{status: 503}
		})
		for range 10 {
			r.submit(1)
			pass(time.Minute)
		}
		if slices.Contains(*states, StateUnavailable) {
			t.Errorf("states %v", *states)
		}
	})
}

func TestRequestsThatFailTogetherDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(call) reply { return reply{status: 503, after: 100 * ms} })
		for range 20 {
			r.submit(1)
		}
		pass(200 * ms)
		if s := r.app.Status().State; s != StateRetrying {
			t.Errorf("state %s", s)
		}
	})
}

func TestPauseByHandStopsRequestsAndNotTheAgeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxEventAge: 10 * sec}}, func(call) reply { return reply{status: 200, after: sec} })
		r.submit(1) // on the wire: ends by itself
		synctest.Wait()
		if !r.app.Pause() || r.app.Pause() {
			t.Error("Pause does not say whether it did something")
		}
		if s := r.app.Status(); !s.Paused || r.app.Away() != "paused by hand" {
			t.Errorf("status %+v", s)
		}
		r.d.Submit(r.events(1, func(e *batch.Entry[ref]) { e.Time -= 8000 }))
		r.submit(1)
		pass(5 * sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 1, Expired: 1})
		if _, at := r.outcome(1); at != 2*sec+ms {
			t.Errorf("left at %v", at)
		}
		if !r.app.Resume() || r.app.Resume() {
			t.Error("Resume does not say whether it did something")
		}
		pass(2 * sec)
		wantTimes(t, r.api.times(), 0, 5*sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 2, Expired: 1})
	})
}

func TestDrainDuringAPauseByHandEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, ok)
		r.app.Pause()
		r.submit(7)
		if left, took := drainWithin(r, time.Minute); left != 7 || took != 0 {
			t.Errorf("%d left after %v", left, took)
		}
	})
}

// failures are all ways in which a request can fail, by what they mean.
var (
	passing = map[string]reply{
		"408": {status: 408}, "425": {status: 425}, "429": {status: 429}, "500": {status: 500}, "501": {status: 501},
		"502": {status: 502}, "503": {status: 503}, "504": {status: 504}, "599": {status: 599},
		"time-out":           {status: 200, after: time.Hour},
		"connection refused": {err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
		"connection reset":   {err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}},
		"broken pipe":        {err: &net.OpError{Op: "write", Err: syscall.EPIPE}},
		"closed early":       {err: io.ErrUnexpectedEOF},
		"name server fails":  {err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}},
		"no route":           {err: &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}},
	}
	lasting = map[string]reply{
		"301": {status: 301}, "302": {status: 302}, "307": {status: 307}, "308": {status: 308}, "401": {status: 401}, "402": {status: 402}, "403": {status: 403},
		"404": {status: 404}, "405": {status: 405}, "407": {status: 407}, "410": {status: 410}, "415": {status: 415}, "451": {status: 451},
		"unknown host":     {err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		"proxy refuses":    {err: &proxyRefusal{host: "proxy", status: 407}},
		"proxy is no URL":  {err: errProxySetting},
		"TLS: not trusted": {err: x509.UnknownAuthorityError{}},
	}
)

// lookOf is what an application must look like when a kind of failure lasted a minute.
type lookOf struct {
	first, last State
	ready       bool
	probe       int // events of the last request
}

func TestEveryFailureKeepsTheEventsAndStopsFetchingAndEndsByItself(t *testing.T) {
	for _, kind := range []struct {
		failures map[string]reply
		want     lookOf
	}{
		{passing, lookOf{StateRetrying, StateUnavailable, true, probeEvents}},
		{lasting, lookOf{StateMisconfigured, StateMisconfigured, false, 1}},
	} {
		for name, failure := range kind.failures {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					healed := 10 * time.Minute
					start := time.Now()
					r := newRig(t, rigConfig{delivery: DelivererConfig[ref]{MaxEventAge: time.Hour}}, func(call) reply {
						if time.Since(start) >= healed {
							return reply{status: 200}
						}
						return failure
					})
					r.submit(100)
					r.submit(100)
					pass(11 * sec) // a time-out takes ten
					if r.api.count() > 10 || r.app.Status().State == StateOK {
						t.Errorf("%d requests, state %s", r.api.count(), r.app.Status().State)
					}
					if first := r.app.Status().State; first != kind.want.first && name != "time-out" && first != kind.want.last {
						t.Errorf("state %s at first", first)
					}
					pass(5 * time.Minute)
					wantKinds(t, r, map[OutcomeKind]int{}) // no event has an outcome: nothing is dead-lettered
					s := r.app.Status()
					if s.State != kind.want.last || r.app.Away() == "" || s.Breaker == "closed" || (r.app.Ready() == nil) != kind.want.ready {
						t.Errorf("status %+v, away %q, ready %v", s, r.app.Away(), r.app.Ready())
					}
					if last := r.api.last(); len(last.ids) != kind.want.probe {
						t.Errorf("a probe carries %d events", len(last.ids))
					}
					pass(6 * time.Minute)
					wantKinds(t, r, map[OutcomeKind]int{Delivered: 200})
					if s := r.app.Status(); s.State != StateOK || r.app.Away() != "" || r.app.Ready() != nil {
						t.Errorf("after it healed: %+v", s)
					}
				})
			})
		}
	}
}

func TestRefusalsOfEventsAreNoFailureOfTheApplication(t *testing.T) {
	for status, want := range map[int]OutcomeKind{400: Rejected, 422: Rejected, 413: TooLarge} {
		synctest.Test(t, func(t *testing.T) {
			var states *[]State
			r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { states, _ = watch(c) }}, func(c call) reply {
				if slices.Contains(c.ids, 3) {
					return reply{status: status, body: `{"message":"no"}`}
				}
				return reply{status: 200}
			})
			r.submit(100)
			pass(sec)
			wantKinds(t, r, map[OutcomeKind]int{Delivered: 99, want: 1})
			if o, _ := r.outcome(3); o.Words != "no" || o.Status != status {
				t.Errorf("%+v", o)
			}
			if len(*states) > 0 || r.app.Away() != "" || r.app.Ready() != nil {
				t.Errorf("after %d: states %v", status, *states)
			}
		})
	}
}

func TestSuccessesOfAnyKindDeliver(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204, 206} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, rigConfig{}, func(call) reply { return reply{status: status} })
			r.submit(5)
			synctest.Wait()
			wantKinds(t, r, map[OutcomeKind]int{Delivered: 5})
		})
	}
}

func TestBatchesThatTimeOutShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			return reply{status: 200, after: time.Duration(len(c.ids)) * 50 * ms} // a slow line: 200 events in 10 s
		})
		r.submit(1000)
		pass(10 * time.Minute)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 1000})
		for _, c := range r.api.calls {
			if len(c.ids) < probeEvents {
				t.Errorf("a request of %d events", len(c.ids))
			}
		}
	})
}

func TestSmallBatchesThatTimeOutStayAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			if c.n < 4 {
				return reply{status: 504}
			}
			return reply{status: 200}
		})
		r.submit(2*shrinkLeast - 1)
		pass(time.Minute)
		for _, c := range r.api.calls {
			if len(c.ids) != 2*shrinkLeast-1 {
				t.Errorf("a request of %d events", len(c.ids))
			}
		}
	})
}

func TestTriesAreNumberedFromTheSecondOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			if c.n < 3 {
				return reply{status: 503}
			}
			return reply{status: 200}
		})
		r.submit(1)
		pass(time.Minute)
		r.submit(1)
		synctest.Wait()
		var got []string
		for _, c := range r.api.calls {
			got = append(got, c.attempt)
		}
		if want := []string{"", "2", "3", "4", ""}; !slices.Equal(got, want) {
			t.Errorf("attempts %q, want %q", got, want)
		}
	})
}

func TestOneApplicationThatIsAwayDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := newRig(t, rigConfig{}, func(call) reply { return reply{status: 503} })
		up := newRig(t, rigConfig{}, ok)
		down.submit(100)
		pass(time.Minute)
		began := time.Since(up.start)
		up.submit(100)
		synctest.Wait()
		if _, at := up.outcome(99); at != began {
			t.Errorf("delivered after %v", at-began)
		}
		if l := down.d.Load(); l.Events != 100 || l.Bytes == 0 {
			t.Errorf("load %+v", l)
		}
		if l := up.d.Load(); l.Events != 0 || l.Bytes != 0 {
			t.Errorf("load %+v", l)
		}
	})
}

func TestShadowReportsWhatWouldHaveBeenSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := application(t, func(c *ApplicationConfig) { c.Shadow, c.AppID, c.APIKey = true, "", "" })
		r := newRigOf(t, app)
		b := batch.NewBuilder(batch.Limits{}, r.d.Submit)
		run, bytes := &batch.Run[ref]{}, 0
		for id, typ := range []EventType{View, View, View, Click, Click, AddToCart, Purchase, Purchase} {
			start := len(run.Buf)
			run.Buf = AppendEvent(run.Buf, &Event{Type: typ, EventName: []byte("Recommended"), Index: []byte("products"), UserToken: []byte("u")})
			run.Entries = append(run.Entries, batch.Entry[ref]{Start: uint32(start), End: uint32(len(run.Buf)), Time: time.Now().UnixMilli(), Ref: ref{id: id}})
			bytes += len(run.Buf) - start
		}
		b.Add(run)
		b.Close()
		synctest.Wait()
		want := ShadowReport{Requests: 1, Bytes: int64(bytes + 7 + batch.Envelope), Events: TypeCounts{View: 3, Click: 2, AddToCart: 1, Purchase: 2}}
		if got := app.Status().Shadow; got == nil || *got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if application(t, nil).Status().Shadow != nil {
			t.Error("a report without shadow mode")
		}
	})
}

func TestTypeOfAnEncodedEvent(t *testing.T) {
	for typ := View; typ <= Purchase; typ++ {
		if got := TypeOf(AppendEvent(nil, &Event{Type: typ})); got != typ {
			t.Errorf("%d reads as %d", typ, got)
		}
	}
	for _, s := range []string{"", "{}", `{"eventType":"`, strings.Repeat("x", 100)} {
		if got := TypeOf([]byte(s)); got != 0 {
			t.Errorf("%q reads as %d", s, got)
		}
	}
}

func TestReloadedKeyIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{}, func(c call) reply {
			if c.key != "new" {
				return reply{status: 403}
			}
			return reply{status: 200}
		})
		r.submit(5)
		pass(20 * sec) // tries at 0, 0.5, 1.5, 3.5, 7.5, 15.5 s
		if err := r.app.ReloadKey("", "/does/not/exist"); err == nil || !strings.Contains(err.Error(), "insights.applications.default") {
			t.Errorf("from a file that is not there: %v", err)
		}
		if err := r.app.ReloadKey("with space", ""); err == nil || strings.Contains(err.Error(), "with space") {
			t.Errorf("a key that is none: %v", err)
		}
		pass(sec)
		if err := r.app.ReloadKey("new", ""); err != nil {
			t.Error(err)
		}
		pass(sec)
		wantTimes(t, r.api.times(), 0, 500*ms, 1500*ms, 3500*ms, 7500*ms, 15500*ms, 21*sec, 21*sec)
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 5})
	})
}
