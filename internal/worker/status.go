package worker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
)

// Status is what /statusz shows.
type Status struct {
	Messages     telemetry.Snapshot `json:"messages"`
	Kafka        consume.Status     `json:"kafka"`
	Applications []insights.Status  `json:"applications"`
	DeadLetters  LetterStatus       `json:"dead_letters"`
	// Waiting messages wait for the log to say more, or for the outcome of a copy.
	Waiting int `json:"waiting"`
	// Restoring is how many messages are still to be read again for what they leave in the store.
	Restoring int64             `json:"restoring"`
	Join      JoinStatus        `json:"join"`
	Store     map[string]string `json:"store,omitempty"` // tasks whose store refuses effects, and why
}

// LetterStatus is the state of the dead-letter writer.
type LetterStatus struct {
	Pending int    `json:"pending"`
	Failing string `json:"failing,omitempty"`
}

// Status is a snapshot for people and programs; it shows nothing secret.
func (w *Worker) Status() Status {
	s := Status{Messages: w.ledger.Snapshot(), Kafka: w.kafka.Status(), Join: w.joinStatus(), Waiting: w.waiting(), Restoring: w.restoring()}
	for _, a := range w.apps {
		if a != nil {
			s.Applications = append(s.Applications, a.Status())
		}
	}
	s.DeadLetters.Pending, _ = w.letters.Pending()
	if ok, why := w.lettersHealthy(); !ok {
		s.DeadLetters.Failing = why
	}
	s.Store = w.storeTroubles()
	return s
}

// waiting is how many messages of the generation wait; of one that ended none does.
func (w *Worker) waiting() int {
	n := 0
	if g := w.current.Load(); g != nil && !g.ended() {
		for _, r := range g.runners {
			n += int(r.waiting.Load())
		}
	}
	return n
}

// checkHealth brings readiness and the pauses of fetching up to date, and gives the state of the consumer
// that it saw.
func (w *Worker) checkHealth() consume.Status {
	w.steer()
	k := w.kafka.Status()
	why := "state " + string(k.State)
	switch {
	case k.Error != "":
		why = k.Failing + ": " + k.Error
	case len(k.MissingTopics) > 0 && k.State == consume.StateNoTopics:
		why = "no input topic exists: " + strings.Join(k.MissingTopics, ", ")
	}
	w.health.Set("kafka", k.Ready, why)
	w.checkTopics(&k)
	left := w.restoring()
	w.health.Set("store complete", left == 0, fmt.Sprintf("%d messages are still to be read again for what they leave in the store", left))
	ok, why := w.lettersHealthy()
	w.health.Set("dead-letter topic", ok, why)
	for i, a := range w.apps {
		if a != nil {
			why := w.applicationTrouble(i, a)
			w.health.Set("insights "+a.Name(), why == "", why)
		}
	}
	why = ""
	for task, trouble := range w.storeTroubles() {
		why = "task " + task + ": " + trouble
	}
	w.health.Set("store", why == "", why)
	return k
}

// conditionTopics is the name of the condition that all input topics exist.
const conditionTopics = "input topics"

// checkTopics says whether all input topics exist: a name that is misspelt is read from for ever without a
// message. Before the brokers have told, the condition stays as it was.
func (w *Worker) checkTopics(k *consume.Status) {
	missing := w.missingTopics(k)
	switch {
	case len(missing) > 0:
		w.health.Set(conditionTopics, false, "nothing is read of what does not exist (kafka.topics): "+strings.Join(missing, ", "))
	case k.State != consume.StateStarting && k.State != consume.StateConnecting:
		w.health.Set(conditionTopics, true, "")
	}
}

// missingTopics are the topics of kafka.topics that do not exist. A replay topic may be missing: it is needed
// when something is replayed.
func (w *Worker) missingTopics(k *consume.Status) []string {
	missing := []string{}
	for _, topic := range k.MissingTopics {
		if slices.Contains(w.cfg.Kafka.Topics, topic) {
			missing = append(missing, topic)
		}
	}
	return missing
}

// applicationTrouble says why an application does not make the worker ready. One that has worked and
// only waits and tries again does: such a state passes, and no other worker would do better. One that
// has not taken a single request since the start does not: its endpoint may be wrong.
func (w *Worker) applicationTrouble(i int, a *insights.Application) string {
	if err := a.Ready(); err != nil {
		return err.Error()
	}
	if s := a.Status(); s.State != insights.StateOK && !w.tallies[i].worked.Load() {
		return "application " + a.Name() + " has taken nothing since the start: " + s.Why
	}
	return ""
}

// storeTroubles are the tasks whose store refuses effects, and why.
func (w *Worker) storeTroubles() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var troubles map[string]string
	for task, err := range w.failing {
		if troubles == nil {
			troubles = make(map[string]string)
		}
		troubles[decimal(task)] = err.Error()
	}
	return troubles
}

// pauses measures how long nothing is fetched, from looks at the consumer now and then.
type pauses struct {
	mu      sync.Mutex
	paused  bool
	waits   int64 // of partitions for the budget
	fetches int64
	bytes   int64
	at      time.Time
	total   time.Duration
}

// look notes the consumer's state at a time. Nothing is fetched while there is a reason to pause, and
// while a partition waits for the budget and the others, if any are asked, bring nothing.
func (p *pauses) look(now time.Time, asked bool, n *consume.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused && !p.at.IsZero() {
		p.total += now.Sub(p.at)
	}
	waits := n.BudgetWaits > p.waits || p.paused && n.Fetches == p.fetches
	p.paused = asked || waits && n.FetchedBytes == p.bytes
	p.waits, p.fetches, p.bytes, p.at = n.BudgetWaits, n.Fetches, n.FetchedBytes, now
}

func (p *pauses) state() (paused bool, total time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused, p.total
}
