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
// success ends the state.
const (
	StateOK            State = "ok"
	StateRetrying      State = "retrying"      // the last requests failed in a way that passes
	StateMisconfigured State = "misconfigured" // nothing can be delivered until somebody changes something
	StateSystemic      State = "systemic"      // the API refuses every event
)

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
	epoch   uint64
	probing bool // the one request that is allowed while the state is not ok is in flight

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
	// probe: send one event only, to learn whether the application can deliver again.
	probe bool
}

// verdict is the answer to who wants a ticket.
type verdict uint8

const (
	granted verdict = iota
	later           // at the returned time, or when woken
	away            // the state is not ok, and the caller is in a hurry
)

// acquire asks for permission to send n events. hurry: do not wait for a backoff.
func (a *Application) acquire(n int, hurry bool) (t ticket, v verdict, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.state != StateOK {
		if hurry {
			return ticket{}, away, time.Time{}
		}
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
	t = ticket{epoch: a.epoch, single: a.state != StateOK}
	t.probe = t.single && a.state != StateRetrying
	if t.probe {
		n = 1
	}
	if at, ok := a.pace(n, now); !ok {
		return ticket{}, later, at
	}
	a.probing = a.probing || t.single
	a.inFlight++
	return t, granted, time.Time{}
}

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
	if a.state == StateOK {
		a.enter(StateRetrying, e.Error())
	} else if a.state == StateRetrying {
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
	default:
		log.Error("delivery is paused; nothing is lost, and it goes on by itself once this is put right", zap.String("why", why))
	}
}

// Status is an application's state for people.
type Status struct {
	Application string     `json:"application"`
	State       State      `json:"state"`
	Since       time.Time  `json:"since"`
	Why         string     `json:"why,omitempty"`
	NextTry     *time.Time `json:"next_try,omitempty"` // nil: no wait
	InFlight    int        `json:"in_flight"`
	Limit       int        `json:"limit"`
	Last        LastAnswer `json:"last_answer"`
}

// Status returns the state now.
func (a *Application) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		Application: a.cfg.Name, State: a.state, Since: a.since, Why: a.why,
		InFlight: a.inFlight, Limit: a.cfg.Limiter.Limit(), Last: a.last,
	}
	if a.state != StateOK {
		at := a.nextTry
		s.NextTry = &at
	}
	return s
}
