// Package join turns raw events into Insights events: it finds the queryID, position and index of
// every object, waits where the log has not said enough yet, and builds and encodes what is sent.
//
// Its answers are a function of the messages' event times and their places in the log
// (docs/contract.md, section 2), so a crash, a re-read or another batch size changes none of them.
package join

import (
	"time"

	"eventworker/internal/event"
)

// Attribution says what may give an item its queryID.
type Attribution uint8

// The modes of join.attribution.
const (
	ClickedThenShown Attribution = iota
	ClickedOnly
	ShownOnly
)

// OnMiss says what becomes of a message none of whose objects matched.
type OnMiss uint8

// The modes of join.on_miss.
const (
	MissSend OnMiss = iota
	MissDeadLetter
	MissDrop
)

// Application is what the join knows of a configured application.
type Application struct {
	Name string
	// DefaultIndex serves objects that no other rule gives an index; empty: none does.
	DefaultIndex string
	// Indices are the allowed names; empty: any.
	Indices []string
	// Served is false where insights.only leaves the application to another group.
	Served bool
}

// Config holds the rules of the join. All durations are of event time but for Wait.
type Config struct {
	// Window is how long an impression answers after it was shown; ClickWindow the same for a
	// remembered click.
	Window, ClickWindow time.Duration
	// ClockSkew is how much later than the event an impression may lie and still answer.
	ClockSkew time.Duration
	// AllowedLateness is how far the log must go beyond an event before a miss is believed.
	AllowedLateness time.Duration
	// Wait bounds, by the clock, how long a miss waits at the end of the log.
	Wait        time.Duration
	Attribution Attribution
	OnMiss      OnMiss
	// BestEffort is for topics that are keyed so that a user's messages do not meet in one task, and meet in
	// a shared store instead: a look-up sees all that is in the store, a match is final at once, and a miss
	// after Wait of clock time.
	BestEffort bool
	// SendViews turns shown messages into view events.
	SendViews bool
	// HashTokens replaces tokens with refused characters by their hash.
	HashTokens bool
	// MaxEventAge is the age beyond which an event is not sent.
	MaxEventAge time.Duration
	// Dedupe are the types whose ids are de-duplicated within DedupeWindow.
	Dedupe       []event.Type
	DedupeWindow time.Duration
	// Indexes numbers what [Health] tells apart, for all tasks of a process; nil: the task has its own.
	Indexes *Indexes
	// Applications in the order of the runs of [Task.Runs].
	Applications []Application
	// EventNames are the names of events whose message has none, by type.
	EventNames map[event.Type]string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// futureTolerance is how far ahead of the clock a timestamp may be; it is then sent as now
// (docs/contract.md, section 3).
const futureTolerance = 5 * 60 * 1000

// rules is Config in the units of the hot path.
type rules struct {
	window, clickWindow, skew int64 // milliseconds
	lateness, wait            int64
	maxAge, dedupeWindow      int64
	attribution               Attribution
	onMiss                    OnMiss
	bestEffort                bool
	sendViews                 bool
	hashTokens                bool
	dedupe                    [event.Purchased + 1]bool
	eventNames                [event.Purchased + 1][]byte
	apps                      []app
	byName                    map[string]int
	longest                   int64 // the longest of the windows: what lies further back answers nothing
	useClicks, useShown       bool
	now                       func() time.Time
}

type app struct {
	name         string
	defaultIndex []byte // nil: none
	allowed      map[string]struct{}
	served       bool
}

func compile(c *Config) *rules {
	r := &rules{
		window: c.Window.Milliseconds(), clickWindow: c.ClickWindow.Milliseconds(), skew: c.ClockSkew.Milliseconds(),
		lateness: max(c.AllowedLateness, c.ClockSkew).Milliseconds(), wait: c.Wait.Milliseconds(),
		maxAge: c.MaxEventAge.Milliseconds(), dedupeWindow: c.DedupeWindow.Milliseconds(),
		attribution: c.Attribution, onMiss: c.OnMiss, bestEffort: c.BestEffort, sendViews: c.SendViews, hashTokens: c.HashTokens, now: c.Now,
		byName:    make(map[string]int, len(c.Applications)),
		useClicks: c.Attribution != ShownOnly, useShown: c.Attribution != ClickedOnly,
	}
	if r.now == nil {
		r.now = time.Now
	}
	r.longest = max(r.window, r.clickWindow)
	for _, t := range c.Dedupe {
		r.dedupe[t] = true
	}
	for t, name := range c.EventNames {
		r.eventNames[t] = []byte(name)
	}
	for i, a := range c.Applications {
		one := app{name: a.Name, served: a.Served}
		if a.DefaultIndex != "" {
			one.defaultIndex = []byte(a.DefaultIndex)
		}
		if len(a.Indices) > 0 {
			one.allowed = make(map[string]struct{}, len(a.Indices))
			for _, name := range a.Indices {
				one.allowed[name] = struct{}{}
			}
		}
		r.apps = append(r.apps, one)
		r.byName[a.Name] = i
	}
	return r
}

func (a *app) allows(index []byte) bool {
	if a.allowed == nil {
		return true
	}
	_, ok := a.allowed[string(index)]
	return ok
}
