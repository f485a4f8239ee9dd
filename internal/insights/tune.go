package insights

import "time"

// Tuning are the limits of an application that may change while it works. They decide when events are
// sent, never what is sent.
type Tuning struct {
	Timeout            time.Duration
	MaxInFlight        int
	MaxEventsPerSecond int
	Backoff            Backoff
}

// Tune takes other limits. Requests on the wire keep their time-out, and a wait that has begun its
// length. The number of idle connections that are kept stays as it was at the start. Zero values mean
// the same defaults as in [ApplicationConfig].
func (a *Application) Tune(t Tuning) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.cfg
	next.Timeout, next.MaxInFlight, next.MaxEventsPerSecond, next.Backoff = t.Timeout, t.MaxInFlight, t.MaxEventsPerSecond, t.Backoff
	next = next.withDefaults()
	if next.Backoff != a.cfg.Backoff {
		a.backoff = next.Backoff.new()
	}
	if l, ok := a.cfg.Limiter.(interface{ bound(most int) }); ok && next.MaxInFlight != a.cfg.MaxInFlight {
		l.bound(next.MaxInFlight)
	}
	if next.MaxEventsPerSecond != a.cfg.MaxEventsPerSecond {
		a.paceAt = time.Time{} // the wait that the old rate asked for is over
	}
	a.client.timeout.Store(int64(next.Timeout))
	a.cfg.Timeout, a.cfg.MaxInFlight, a.cfg.MaxEventsPerSecond, a.cfg.Backoff = next.Timeout, next.MaxInFlight, next.MaxEventsPerSecond, next.Backoff
	a.changed()
}

// bound takes another upper bound. A limit above it comes down at once; one below it may grow again.
func (l *adaptive) bound(most int) {
	if most < l.max {
		l.limit = min(l.limit, float64(most))
		l.threshold = min(l.threshold, float64(most))
		l.trial = trial{}
		l.window = window{}
	}
	l.max = most
}
