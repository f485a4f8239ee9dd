package insights

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
)

// State is the state of an application, as /statusz, metrics and logs write it.
type State string

// The states. In all but the first, one request at a time is made, when the backoff is over; its
// success ends the state. In the last three the breaker is open: the application is away, and that
// one request is a probe that carries a few events only.
const (
	StateOK            State = "ok"
	StateRetrying      State = "retrying"      // the last requests failed in a way that passes
	StateUnavailable   State = "unavailable"   // breakerFailures of them did, one after the other
	StateMisconfigured State = "misconfigured" // nothing can be delivered until somebody changes something
	StateSystemic      State = "systemic"      // the API refuses every event
)

// breakerFailures is how many failures in a row open the breaker, the waits between them counted as
// one: with the default backoff it opens after about eight seconds.
const breakerFailures = 5

// probeEvents is how many events a probe carries while the API is unavailable: one small batch. Where
// the credentials or the events themselves are in question it carries one.
const probeEvents = 10

// The systemic rule of docs/contract.md, section 4: so many events in a row refused alone, of so
// many messages.
const (
	systemicEvents   = 20
	systemicMessages = 3
)

// gate decides whether a request may be made now. Its fields are guarded by Application.mu.
type gate struct {
	state   State
	since   time.Time
	why     string
	backoff *backoff.ExponentialBackOff
	// nextTry is when the next request may be made, if the state is not ok.
	nextTry time.Time
	// epoch counts the backoffs. A request that began in an earlier one says nothing about the
	// present: many requests that fail together are one failure.
	epoch    uint64
	probing  bool // the one request that is allowed while the state is not ok is in flight
	failures int  // in a row, in the state retrying
	paused   bool // by hand

	inFlight int
	paceAt   time.Time // when MaxEventsPerSecond allows the next request
	last     LastAnswer

	refused  int      // events refused alone since the last success
	messages []uint64 // at most systemicMessages different messages among them
	told     bool     // the log was told of a systemic refusal that is not paused for
}

// LastAnswer is how the last request ended.
type LastAnswer struct {
	Status int       `json:"status"` // 0: no answer
	Result string    `json:"result"` // as Exchange.Result
	At     time.Time `json:"at"`
}

func (g *gate) init(b *backoff.ExponentialBackOff) {
	g.state, g.since, g.backoff = StateOK, time.Now(), b
}

// ticket is the permission to make one request.
type ticket struct {
	epoch  uint64
	single bool // the only request allowed now
	// probe is how many events to send, to learn whether the application can deliver again; 0: all.
	probe int
}

// verdict is the answer to who wants a ticket.
type verdict uint8

const (
	granted verdict = iota
	later           // at the returned time, or when woken
	away            // the state is not ok, or it is paused, and the caller is in a hurry
)

// acquire asks for permission to send n events. hurry: do not wait for a backoff.
func (a *Application) acquire(n int, hurry bool) (t ticket, v verdict, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if hurry && (a.paused || a.state != StateOK) {
		return ticket{}, away, time.Time{}
	}
	if a.paused {
		return ticket{}, later, time.Time{}
	}
	if a.state != StateOK {
		if a.probing {
			return ticket{}, later, time.Time{}
		}
		if now.Before(a.nextTry) {
			return ticket{}, later, a.nextTry
		}
	}
	if a.inFlight >= a.cfg.Limiter.Limit() {
		return ticket{}, later, time.Time{}
	}
	t = ticket{epoch: a.epoch, single: a.state != StateOK, probe: a.probeSize()}
	if t.probe > 0 {
		n = min(n, t.probe)
	}
	if at, ok := a.pace(n, now); !ok {
		return ticket{}, later, at
	}
	a.probing = a.probing || t.single
	a.inFlight++
	return t, granted, time.Time{}
}

// probeSize is how many events the next request may carry; 0: all.
func (g *gate) probeSize() int {
	switch g.state {
	case StateOK, StateRetrying:
		return 0
	case StateUnavailable:
		return probeEvents
	default:
		return 1
	}
}

// open says whether the breaker is open.
func (g *gate) open() bool { return g.state != StateOK && g.state != StateRetrying }

// pace keeps to MaxEventsPerSecond: after a request of n events the next one waits n/rate seconds.
func (a *Application) pace(n int, now time.Time) (at time.Time, ok bool) {
	rate := a.cfg.MaxEventsPerSecond
	if rate <= 0 {
		return time.Time{}, true
	}
	if now.Before(a.paceAt) {
		return a.paceAt, false
	}
	a.paceAt = now.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return time.Time{}, true
}

// release gives a ticket back that was not used.
func (a *Application) release(t ticket) { a.conclude(t, errUnused, false, 0) }

var errUnused = errors.New("no request was made")

// conclude gives the ticket back and learns from how the request ended. alone says that the request
// carried one event, of the given message; hold is true if that event was refused, but must stay
// pending, since the API refuses everything.
func (a *Application) conclude(t ticket, err error, alone bool, message uint64) (hold bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed()
	a.inFlight--
	if t.single {
		a.probing = false
	}
	switch e := err.(type) {
	case nil:
		a.accepted(t)
	case *RejectedError:
		return a.rejected(t, e, alone, message)
	case *TooLargeError:
		a.answered(t)
	case *RetryableError:
		a.failed(t, e)
	case *MisconfiguredError:
		a.misconfigured(t, e)
	}
	return false
}

// accepted: events were taken.
func (a *Application) accepted(t ticket) {
	a.refused, a.messages, a.told = 0, a.messages[:0], false
	if a.state == StateSystemic || t.epoch == a.epoch {
		a.recover()
	}
}

// answered: the API spoke, and not of itself.
func (a *Application) answered(t ticket) {
	if t.epoch != a.epoch {
		return
	}
	if a.state == StateSystemic {
		a.wait(0)
	} else {
		a.recover()
	}
}

func (a *Application) rejected(t ticket, e *RejectedError, alone bool, message uint64) (hold bool) {
	a.answered(t)
	if !alone {
		return false
	}
	if a.state == StateSystemic || a.systemic() && !a.cfg.DeadLetterSystemic {
		// In a pause, or back in it after another failure had taken its place.
		a.pauseSystemic(e)
		return true
	}
	a.refused++
	if len(a.messages) < systemicMessages && !slices.Contains(a.messages, message) {
		a.messages = append(a.messages, message)
	}
	if a.systemic() {
		a.pauseSystemic(e)
	}
	return false
}

func (a *Application) systemic() bool {
	return a.refused >= systemicEvents && len(a.messages) >= systemicMessages
}

func (a *Application) pauseSystemic(e *RejectedError) {
	if a.cfg.DeadLetterSystemic {
		if !a.told {
			a.told = true
			a.log().Error("the Insights API refuses every event; they become dead letters",
				zap.Int("refused_in_a_row", a.refused), zap.String("why", e.Error()))
		}
		return
	}
	if a.state == StateSystemic {
		return
	}
	a.backoff.Reset()
	a.enter(StateSystemic, fmt.Sprintf("%d events in a row, each alone: %v", a.refused, e))
	a.wait(0)
}

func (a *Application) failed(t ticket, e *RetryableError) {
	if t.epoch != a.epoch && !(a.state == StateOK && e.After > 0) {
		if at := time.Now().Add(e.After); a.state != StateOK && e.After > 0 && at.After(a.nextTry) {
			a.nextTry = at
		}
		return
	}
	switch a.state {
	case StateOK:
		a.failures = 1
		a.enter(StateRetrying, e.Error())
	case StateRetrying:
		a.why = e.Error()
		if a.failures++; a.failures >= breakerFailures {
			a.enter(StateUnavailable, a.why)
		}
	case StateUnavailable:
		a.why = e.Error()
	}
	a.wait(e.After)
}

func (a *Application) misconfigured(t ticket, e *MisconfiguredError) {
	if t.epoch != a.epoch && (a.state == StateOK || a.state == StateMisconfigured) {
		return // began before the application recovered, or before the present pause
	}
	a.enter(StateMisconfigured, e.Error())
	a.wait(0)
}

// wait starts the next backoff: the larger of its own time and what the server wants.
func (a *Application) wait(after time.Duration) {
	a.epoch++
	a.nextTry = time.Now().Add(max(a.backoff.NextBackOff(), after))
}

// recover ends whatever state there was.
func (a *Application) recover() {
	if a.state == StateOK {
		return
	}
	a.backoff.Reset()
	a.enter(StateOK, "")
}

// enter changes the state, and says so once.
func (a *Application) enter(s State, why string) {
	was, since := a.state, a.since
	a.why = why
	if s == was {
		return
	}
	a.state, a.since = s, time.Now()
	if a.cfg.Observer.State != nil {
		a.cfg.Observer.State(s)
	}
	log := a.log().With(zap.String("state", string(s)), zap.String("was", string(was)), zap.Duration("lasted", a.since.Sub(since)))
	switch s {
	case StateOK:
		log.Info("the Insights API takes events again")
	case StateRetrying:
		log.Warn("delivery waits and tries again", zap.String("why", why))
	case StateUnavailable:
		// The warning that delivery waits was written when it began, and one is enough.
		log.Info("the Insights API keeps failing: delivery is paused but for small probes; nothing is lost, and it goes on by itself",
			zap.Int("failures_in_a_row", breakerFailures), zap.String("why", why))
	default:
		log.Error("delivery is paused; nothing is lost, and it goes on by itself once this is put right", zap.String("why", why))
	}
}
