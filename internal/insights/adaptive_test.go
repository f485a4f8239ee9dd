package insights

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// station is an API in virtual time that serves a number of requests at once; others queue.
type station struct {
	takes   func() time.Duration
	servers chan struct{}
}

func newStation(servers int, takes func() time.Duration) *station {
	return &station{takes: takes, servers: make(chan struct{}, servers)}
}

func (s *station) serve(takes time.Duration) {
	s.servers <- struct{}{}
	time.Sleep(takes)
	<-s.servers
}

// throughput lets a limiter drive requests at a station for some time, as many as it allows, and
// returns how many were answered in its second half, and the limit's range there.
func throughput(l Limiter, s *station, d time.Duration) (answered, low, high int) {
	var inFlight int
	start := time.Now()
	done := make(chan *Exchange)
	low = math.MaxInt
	begin := func() {
		inFlight++
		takes := s.takes()
		go func() {
			began := time.Now()
			s.serve(takes)
			done <- &Exchange{Status: 200, Result: "delivered", Events: 1000, Duration: time.Since(began)}
		}()
	}
	for time.Since(start) < d {
		for inFlight < l.Limit() {
			begin()
		}
		e := <-done
		e.InFlight = inFlight
		inFlight--
		l.Observe(e)
		if time.Since(start) > d/2 {
			answered++
			low, high = min(low, l.Limit()), max(high, l.Limit())
		}
	}
	for ; inFlight > 0; inFlight-- {
		<-done
	}
	return answered, low, high
}

func constant(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// jittered spreads latencies log-normally, as networks and servers do: one in a hundred takes three
// times as long.
func jittered(d time.Duration, seed uint64) func() time.Duration {
	random := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration { return time.Duration(float64(d) * math.Exp(0.45*random.NormFloat64())) }
}

func TestLimitFindsWhatTheEndpointLikes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, c := range []struct {
		name     string
		servers  int
		takes    func() time.Duration
		low      int     // the limit is never below it once it has settled
		high     int     // nor above this
		ofBest   float64 // of what the largest limit gets through
		settling time.Duration
	}{
		{"5 ms, room for all", 64, constant(5 * ms), 32, 32, 1, sec},
		{"500 ms, room for all", 64, constant(500 * ms), 32, 32, 1, 10 * sec},
		{"5 ms, eight at a time", 8, constant(5 * ms), 7, 13, 0.97, 4 * sec},
		{"500 ms, eight at a time", 8, constant(500 * ms), 7, 13, 0.97, 5 * time.Minute},
		{"5 ms, one at a time", 1, constant(5 * ms), 1, 5, 0.97, 4 * sec},
		{"5 ms spread, room for all", 64, jittered(5*ms, seed), 12, 32, 0.8, 10 * sec},
		{"500 ms spread, room for all", 64, jittered(500*ms, seed), 12, 32, 0.8, 10 * time.Minute},
		{"50 ms spread, eight at a time", 8, jittered(50*ms, seed), 5, 32, 0.95, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				best, _, _ := throughput(FixedLimit(32), newStation(c.servers, c.takes), 2*c.settling)
				got, low, high := throughput(newAdaptive(32), newStation(c.servers, c.takes), 2*c.settling)
				t.Logf("limit %d to %d, %.2f of 32 in flight", low, high, float64(got)/float64(best))
				if low < c.low || high > c.high || float64(got) < c.ofBest*float64(best)-float64(high) {
					t.Errorf("limit %d to %d (want %d to %d), %d answers; 32 in flight give %d", low, high, c.low, c.high, got, best)
				}
			})
		})
	}
}

// timed notes when a limiter reached its bound.
type timed struct {
	*adaptive
	start time.Time
	at    time.Duration
}

func (l *timed) Observe(e *Exchange) {
	if l.adaptive.Observe(e); l.at == 0 && l.Limit() == l.max {
		l.at = time.Since(l.start)
	}
}

func TestLimitGrowsToItsBoundWithinSeconds(t *testing.T) {
	// 2, 2, 4, 8, 16: windows of at least four answers.
	for takes, want := range map[time.Duration]time.Duration{5 * ms: 25 * ms, 50 * ms: 250 * ms, 500 * ms: 2500 * ms} {
		synctest.Test(t, func(t *testing.T) {
			l := &timed{adaptive: newAdaptive(32), start: time.Now()}
			if throughput(l, newStation(64, constant(takes)), 20*takes); l.at == 0 || l.at > want {
				t.Errorf("at %v it took %v, want %v", takes, l.at, want)
			}
		})
	}
}

// ended tells the limiter of one request that began and ended now.
func ended(l Limiter, status int, result string) {
	l.Observe(&Exchange{Status: status, Result: result, Events: 1000, InFlight: l.Limit()})
}

// grown is a limiter at its bound.
func grown(most int) *adaptive {
	l := newAdaptive(most)
	for l.Limit() < most {
		l.Observe(&Exchange{Status: 200, Result: "delivered", Events: 1000, InFlight: most, Duration: ms})
		time.Sleep(ms)
	}
	return l
}

func TestLimitGivesWayOnceForFailuresThatBelongTogether(t *testing.T) {
	for _, status := range []int{429, 408, 500, 502, 503, 504, 0} {
		synctest.Test(t, func(t *testing.T) {
			l := grown(32)
			time.Sleep(sec)
			for range 32 { // they were on the wire together
				l.Observe(&Exchange{Status: status, Result: "retryable", Events: 1000, Duration: 100 * ms})
			}
			if l.Limit() != 16 {
				t.Errorf("after %d: %d", status, l.Limit())
			}
			time.Sleep(sec)
			l.Observe(&Exchange{Status: status, Result: "retryable", Events: 1000, Duration: 100 * ms})
			if l.Limit() != 8 {
				t.Errorf("after %d once more: %d", status, l.Limit())
			}
			for range 10 {
				time.Sleep(sec)
				l.Observe(&Exchange{Status: status, Result: "retryable", Events: 1000})
			}
			if l.Limit() != 1 {
				t.Errorf("after %d all the time: %d", status, l.Limit())
			}
		})
	}
}

func TestLimitAfterAnOutageDoublesToHalfOfWhatItWasAndThenGrowsByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := grown(32)
		for range 8 {
			time.Sleep(sec)
			ended(l, 503, "retryable")
		}
		seen := []int{l.Limit()}
		for len(seen) < 8 {
			time.Sleep(ms)
			l.Observe(&Exchange{Status: 200, Result: "delivered", Events: 1000, InFlight: l.Limit(), Duration: ms})
			if n := l.Limit(); n != seen[len(seen)-1] {
				seen = append(seen, n)
			}
		}
		for i, want := range []int{1, 2, 4, 8, 16, 17, 18, 19} {
			if seen[i] != want {
				t.Fatalf("limits %v", seen)
			}
		}
	})
}

func TestLimitThatIsNotUsedUpDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAdaptive(32)
		for range 1000 {
			time.Sleep(ms)
			l.Observe(&Exchange{Status: 200, Result: "delivered", Events: 10, InFlight: 1, Duration: ms})
		}
		if l.Limit() != firstLimit {
			t.Errorf("%d", l.Limit())
		}
	})
}

func TestRefusalsAndMisconfigurationsSayNothingOfTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := grown(32)
		for range 1000 {
			time.Sleep(ms)
			ended(l, 422, "rejected")
			ended(l, 413, "too-large")
			ended(l, 401, "misconfigured")
			ended(l, 0, "cancelled")
		}
		if l.Limit() != 32 {
			t.Errorf("%d", l.Limit())
		}
	})
}

func TestLatencyThatIsNotOursCostsNoConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := grown(32)
		throughput(l, newStation(64, constant(5*ms)), sec)
		_, low, _ := throughput(l, newStation(64, constant(50*ms)), 4*sec) // ten times slower, and room for all
		if low != 32 {
			t.Errorf("the limit fell to %d and stayed low", low)
		}
	})
}

func TestSizesOfRequestsAreNotMistakenForLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAdaptive(32)
		for i := range 4000 {
			time.Sleep(100 * time.Microsecond)
			events := []int{1, 1000}[i/500%2] // a time of small batches, a time of full ones
			l.Observe(&Exchange{Status: 200, Result: "delivered", Events: events, InFlight: 32, Duration: time.Duration(events) * 20 * time.Microsecond})
		}
		if l.Limit() != 32 {
			t.Errorf("%d", l.Limit())
		}
	})
}

func TestLimitIsNeverBeyondItsBounds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	synctest.Test(t, func(t *testing.T) {
		for _, most := range []int{1, 2, 3, 32} {
			l := newAdaptive(most)
			for range 20_000 {
				time.Sleep(time.Duration(random.IntN(3)) * ms)
				e := &Exchange{Status: 200, Result: "delivered", Events: random.IntN(5000), InFlight: random.IntN(40), Duration: time.Duration(random.IntN(20)) * ms}
				if random.IntN(50) == 0 {
					e.Status, e.Result = 503, "retryable"
				}
				if l.Observe(e); l.Limit() < 1 || l.Limit() > most {
					t.Fatalf("%d of %d", l.Limit(), most)
				}
			}
		}
	})
}

func TestApplicationFindsItsLimitByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, err := NewApplication(ApplicationConfig{
			Name: "default", AppID: "APPID12345", APIKey: testKey, Region: "us", MaxInFlight: 8,
			Transport: newScript(t, func(call) reply { return reply{status: 200, after: 50 * ms} }),
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigOf(t, app)
		if n := app.Status().Limit; n != firstLimit {
			t.Errorf("it starts at %d", n)
		}
		for range 100 {
			r.submit(1)
		}
		pass(10 * sec)
		if n := app.Status().Limit; n != 8 {
			t.Errorf("it ends at %d", n)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 100})
	})
}

func TestLimitGivesWayToLatencyWithinTwoWindowsAndTriesWhetherItHelped(t *testing.T) {
	slower := func(l *adaptive, takes time.Duration) {
		for range judgeLeast {
			time.Sleep(takes)
			l.Observe(&Exchange{Status: 200, Result: "delivered", Events: 1000, InFlight: l.Limit(), Duration: takes})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := grown(32)
		time.Sleep(sec)
		if slower(l, 2*ms); l.Limit() != 22 {
			t.Errorf("after answers that took twice as long: %d", l.Limit())
		}
		time.Sleep(sec)
		if slower(l, 2*ms); l.Limit() != 32 {
			t.Errorf("though fewer requests did not help: %d", l.Limit())
		}
		time.Sleep(sec)
		if slower(l, 4*ms); l.Limit() != 22 {
			t.Errorf("after answers that took twice as long as that: %d", l.Limit())
		}
		time.Sleep(sec)
		if slower(l, 3*ms); l.Limit() != 22 {
			t.Errorf("after fewer requests helped: %d", l.Limit())
		}
	})
}
