package insights

import (
	"errors"
	"time"
)

// Status is an application's state for people.
type Status struct {
	Application string    `json:"application"`
	State       State     `json:"state"`
	Since       time.Time `json:"since"`
	Why         string    `json:"why,omitempty"`
	// Breaker is closed, open (no request before NextTry), or half-open (a probe is on the wire).
	Breaker string `json:"breaker"`
	// Paused says that somebody paused the application by hand.
	Paused   bool       `json:"paused"`
	NextTry  *time.Time `json:"next_try,omitempty"` // nil: no wait
	InFlight int        `json:"in_flight"`
	Limit    int        `json:"limit"`
	// Requests counts requests; SecondTries those of them that were made at once after a connection
	// had gone stale.
	Requests    int64      `json:"requests"`
	SecondTries int64      `json:"second_tries"`
	Last        LastAnswer `json:"last_answer"`
	// Shadow is what would have been sent; nil unless delivery.mode is shadow.
	Shadow *ShadowReport `json:"shadow,omitempty"`
}

// Status returns the state now.
func (a *Application) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		Application: a.cfg.Name, State: a.state, Since: a.since, Why: a.why, Breaker: a.breaker(), Paused: a.paused,
		InFlight: a.inFlight, Limit: a.cfg.Limiter.Limit(), Requests: a.requests, SecondTries: a.secondTries, Last: a.last,
	}
	if a.state != StateOK {
		at := a.nextTry
		s.NextTry = &at
	}
	if a.cfg.Shadow {
		report := a.shadow
		s.Shadow = &report
	}
	return s
}

func (g *gate) breaker() string {
	switch {
	case !g.open():
		return "closed"
	case g.probing:
		return "half-open"
	}
	return "open"
}

// Away says why nothing but probes can be delivered now: the breaker is open, or somebody paused the
// application. It is empty while events can be delivered, and while a backoff passes that is not yet
// believed to be more.
func (a *Application) Away() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.paused:
		return "paused by hand"
	case a.open():
		return string(a.state)
	}
	return ""
}

// Ready is nil unless a person has to do something before events can be delivered: the error of an
// application that is misconfigured, or whose events are refused one and all.
func (a *Application) Ready() error {
	s := a.Status()
	if s.State != StateMisconfigured && s.State != StateSystemic {
		return nil
	}
	return errors.New("application " + a.cfg.Name + " is " + string(s.State) + ": " + s.Why)
}

// Pause makes no request any more until Resume; those on the wire end by themselves. Events that grow
// too old leave all the same. It says whether it was not paused before.
func (a *Application) Pause() bool { return a.setPaused(true, "delivery is paused by hand") }

// Resume ends a Pause, and says whether there was one.
func (a *Application) Resume() bool { return a.setPaused(false, "delivery is resumed by hand") }

func (a *Application) setPaused(paused bool, line string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paused == paused {
		return false
	}
	a.paused = paused
	a.log().Info(line)
	a.changed()
	return true
}

// nextTryAfter is when the next request can be made at the earliest, in Unix milliseconds; a time that
// is over: at once.
func (a *Application) nextTryAfter() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == StateOK {
		return 0
	}
	return a.nextTry.UnixMilli()
}
