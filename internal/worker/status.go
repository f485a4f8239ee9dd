package worker

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"eventworker/internal/consume"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/telemetry"
)

// Status is what /statusz shows.
type Status struct {
	Messages     telemetry.Snapshot `json:"messages"`
	Kafka        consume.Status     `json:"kafka"`
	Applications []insights.Status  `json:"applications"`
	DeadLetters  LetterStatus       `json:"dead_letters"`
	// Waiting messages wait for the log to say more, or for the outcome of a copy.
	Restoring int64             `json:"restoring"` // messages still to be read again for the store
	Waiting   int               `json:"waiting"`
	Join      join.Counters     `json:"join"`
	Store     map[string]string `json:"store,omitempty"` // tasks whose store refuses effects, and why
}

// LetterStatus is the state of the dead-letter writer.
type LetterStatus struct {
	Pending int    `json:"pending"`
	Failing string `json:"failing,omitempty"`
}

// Status is a snapshot for people and programs; it shows nothing secret.
func (w *Worker) Status() Status {
	s := Status{Messages: w.ledger.Snapshot(), Kafka: w.kafka.Status(), Join: w.joined.total(), Waiting: w.waiting(), Restoring: w.restoring()}
	for _, a := range w.apps {
		if a != nil {
			s.Applications = append(s.Applications, a.Status())
		}
	}
	s.DeadLetters.Pending, _ = w.letters.Pending()
	if ok, why := w.letters.Healthy(); !ok {
		s.DeadLetters.Failing = why
	}
	return s
}

func (w *Worker) waiting() int {
	n := 0
	if g := w.current.Load(); g != nil {
		for _, r := range g.runners {
			n += int(r.waiting.Load())
		}
	}
	return n
}

// checkHealth brings readiness up to date.
func (w *Worker) checkHealth() {
	k := w.kafka.Status()
	why := "state " + string(k.State)
	switch {
	case k.Error != "":
		why = k.Failing + ": " + k.Error
	case len(k.MissingTopics) > 0 && k.State == consume.StateNoTopics:
		why = "no input topic exists: " + strings.Join(k.MissingTopics, ", ")
	}
	w.health.Set("kafka", k.Ready, why)
	left := w.restoring()
	w.health.Set("store complete", left == 0, fmt.Sprintf("%d messages are still to be read again for what they leave in the store", left))
	ok, why := w.letters.Healthy()
	w.health.Set("dead-letter topic", ok, why)
	for _, a := range w.apps {
		if a == nil {
			continue
		}
		if err := a.Ready(); err != nil {
			w.health.Set("insights "+a.Name(), false, err.Error())
		} else {
			w.health.Set("insights "+a.Name(), true, "")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	why = ""
	for _, err := range w.failing {
		why = err.Error()
	}
	w.health.Set("store", len(w.failing) == 0, why)
}

// joinCounts adds up the counters of all tasks there were.
type joinCounts struct {
	mu  sync.Mutex
	sum join.Counters
}

// add adds what a task counted since the last call, and remembers it in seen.
func (c *joinCounts) add(seen, now *join.Counters) {
	c.mu.Lock()
	c.sum.Add(now.Since(seen))
	c.mu.Unlock()
	*seen = *now
}

func (c *joinCounts) total() join.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

// observe counts what an application's requests do.
func (w *Worker) observe(app string) insights.Observer {
	m := w.metrics
	duration, events := m.RequestDuration.WithLabelValues(app), m.BatchEvents.WithLabelValues(app)
	retries := m.Retries.WithLabelValues(app)
	return insights.Observer{
		Exchange: func(e *insights.Exchange) {
			m.Requests.WithLabelValues(app, telemetry.RequestClass(e.Status)).Inc()
			duration.Observe(e.Duration.Seconds())
		},
		Batch: func(trigger string, n, _ int) {
			m.Batches.WithLabelValues(app, trigger).Inc()
			events.Observe(float64(n))
		},
		Retry: func(int) { retries.Inc() },
	}
}

// readMetrics adds what is read at a scrape.
func (w *Worker) readMetrics() {
	w.metrics.SetHealth(w.health)
	w.metrics.Read(func(emit telemetry.Emit) {
		w.emitJoin(emit)
		w.emitKafka(emit)
		for _, a := range w.apps {
			if a == nil {
				continue
			}
			s := a.Status()
			emit(telemetry.RequestsInFlight, float64(s.InFlight), a.Name())
			emit(telemetry.RequestLimit, float64(s.Limit), a.Name())
			emit(telemetry.Misconfigured, truth(s.State == insights.StateMisconfigured), a.Name())
		}
		pending, _ := w.letters.Pending()
		emit(telemetry.DeadLetterPending, float64(pending))
		emit(telemetry.EventAgeLimit, w.cfg.Delivery.MaxEventAge.Seconds())
	})
}

func (w *Worker) emitJoin(emit telemetry.Emit) {
	c := w.joined.total()
	for result, n := range map[string]int64{"own": c.Own, "clicked": c.Clicked, "shown": c.Shown, "skewed": c.Skewed, "plain": c.Plain} {
		emit(telemetry.Lookups, float64(n), result)
	}
	for hint, n := range map[string]int64{
		"malformed_query_id": c.MalformedQueryIDs, "message_id": c.MessageIDs, "unpositioned": c.Unpositioned,
		"no_currency": c.NoCurrency, "value_differs": c.ValueDiffers, "value_too_long": c.ValueTooLong,
		"not_keyed": c.NotKeyed, "view_only": c.ViewsOnly, "token_mismatch": c.TokenMismatches,
	} {
		emit(telemetry.Hints, float64(n), hint)
	}
	emit(telemetry.Impressions, float64(c.Impressions))
	emit(telemetry.JoinWaiting, float64(w.waiting()))
}

func (w *Worker) emitKafka(emit telemetry.Emit) {
	s, n := w.kafka.Status(), w.kafka.Stats()
	emit(telemetry.BudgetBytes, float64(s.BudgetTotal))
	emit(telemetry.BudgetUsed, float64(s.BudgetUsed))
	emit(telemetry.FetchPaused, truth(len(s.Paused) > 0))
	emit(telemetry.FetchedBytes, float64(n.FetchedBytes))
	for _, p := range s.Partitions {
		partition := strconv.Itoa(int(p.Partition))
		emit(telemetry.PartitionLag, float64(p.Lag), p.Topic, partition)
		emit(telemetry.FrontierLag, float64(max(0, p.Next-p.Frontier)), p.Topic, partition)
		emit(telemetry.PartitionWaiting, truth(p.Waiting), p.Topic, partition)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
