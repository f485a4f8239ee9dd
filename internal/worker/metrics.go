package worker

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"eventworker/internal/consume"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// kinds are the types of Insights events as metrics write them. A message gives events of one type
// only, so the number of its events without outcome has room for the type in its upper bits: the
// settling loop, which counts down anyway, learns the type without another look at anything.
var kinds = [...]string{"", insights.View: "view", insights.Click: "click", insights.AddToCart: "addToCart", insights.Purchase: "purchase"}

const (
	kindShift = 24
	leftMask  = 1<<kindShift - 1
	kindMask  = 7
)

// byKind counts events by their type.
type byKind [kindMask + 1]int

// outcomeNames are the outcomes of refused events as metrics write them.
var outcomeNames = map[insights.OutcomeKind]string{
	insights.Rejected: "rejected", insights.TooLarge: "too-large", insights.Expired: "expired", insights.Ambiguous: "ambiguous",
}

// tally are the counters of an application, with their labels resolved once.
type tally struct {
	delivered [len(kinds)]prometheus.Counter
	refused   map[insights.OutcomeKind]prometheus.Counter
	latency   prometheus.Histogram // from the record's timestamp
	eventAge  prometheus.Histogram // from the event's
	recent    lastRequests
	worked    atomic.Bool // a request was taken since the start
}

func newTally(m *telemetry.Metrics, app string) *tally {
	t := &tally{refused: make(map[insights.OutcomeKind]prometheus.Counter), latency: m.DeliveryLatency, eventAge: m.EventLatency}
	for kind, name := range kinds {
		if name != "" {
			t.delivered[kind] = m.EventsDelivered.WithLabelValues(app, name)
		}
	}
	for kind, name := range outcomeNames {
		t.refused[kind] = m.EventsRefused.WithLabelValues(app, name)
	}
	return t
}

// settled counts what became of one part of a batch, by the types of its events.
func (t *tally) settled(o *insights.Outcome, n *byKind) {
	all := 0
	for kind, count := range n {
		all += count
		if count > 0 && kind < len(t.delivered) && t.delivered[kind] != nil && o.Kind == insights.Delivered {
			t.delivered[kind].Add(float64(count))
		}
	}
	if c := t.refused[o.Kind]; c != nil {
		c.Add(float64(all))
	}
}

// took observes the latency of one message of a request, that of its oldest event: a sample, and
// not one of the fortunate ones. Records without a timestamp have none.
func (t *tally) took(recorded, happened int64) {
	now := time.Now()
	if recorded >= 0 {
		t.latency.Observe(age(now, recorded).Seconds())
	}
	t.eventAge.Observe(age(now, happened).Seconds())
}

// lettersWritten are the counters of dead letters by reason.
func lettersWritten(m *telemetry.Metrics) (written [event.NumReasons]prometheus.Counter) {
	for r := event.NoReason + 1; r < event.NumReasons; r++ {
		written[r] = m.DeadLetterWrites.WithLabelValues(r.String())
	}
	return written
}

// observe counts what an application's requests do.
func (w *Worker) observe(app string, t *tally) insights.Observer {
	m := w.metrics
	duration, events := m.RequestDuration.WithLabelValues(app), m.BatchEvents.WithLabelValues(app)
	size := m.BatchBytes.WithLabelValues(app)
	retries := m.Retries.WithLabelValues(app)
	return insights.Observer{
		Exchange: func(e *insights.Exchange) {
			m.Requests.WithLabelValues(app, telemetry.RequestClass(e.Status)).Inc()
			duration.Observe(e.Duration.Seconds())
			t.recent.note(e.Duration, answerName(e.Status))
			if e.Status/100 == 2 {
				t.worked.Store(true)
			}
		},
		Batch: func(trigger string, n, bytes int) {
			m.Batches.WithLabelValues(app, trigger).Inc()
			events.Observe(float64(n))
			size.Observe(float64(bytes))
		},
		Retry: func(int) { retries.Inc() },
	}
}

// answerName is an HTTP status as people know it.
func answerName(status int) string {
	if status == 0 {
		return "no answer"
	}
	return strconv.Itoa(status)
}

// effects counts what a task writes into its section, and hides what forgotten users left. It belongs to
// the task's goroutine.
type effects struct {
	querystore.Section
	veil *forgotten
	n    [querystore.KindMark + 1]int64
}

// Walk implements querystore.Section.
func (e *effects) Walk(key []byte, visit func(r *querystore.Record) bool) error {
	since := e.veil.sinceKey(key)
	if since == 0 {
		return e.Section.Walk(key, visit)
	}
	return e.Section.Walk(key, func(r *querystore.Record) bool {
		if r.Time <= since {
			return true
		}
		return visit(r)
	})
}

func (e *effects) note(kind querystore.Kind, err error) error {
	if err == nil {
		e.n[kind]++
	}
	return err
}

// AddImpression implements querystore.Section.
func (e *effects) AddImpression(user []byte, v *querystore.Impression) error {
	return e.note(querystore.KindImpression, e.Section.AddImpression(user, v))
}

// AddClick implements querystore.Section.
func (e *effects) AddClick(user []byte, v *querystore.Click) error {
	return e.note(querystore.KindClick, e.Section.AddClick(user, v))
}

// AddMark implements querystore.Section.
func (e *effects) AddMark(user []byte, v *querystore.Mark) error {
	return e.note(querystore.KindMark, e.Section.AddMark(user, v))
}

// joinCounts adds up the counters of all tasks there were, and what they wrote.
type joinCounts struct {
	mu      sync.Mutex
	sum     join.Counters
	effects [querystore.KindMark + 1]int64
}

// add adds what a task counted since the last call, and remembers it in seen.
func (c *joinCounts) add(seen, now *join.Counters, e *effects) {
	c.mu.Lock()
	c.sum.Add(now.Since(seen))
	for kind, n := range e.n {
		c.effects[kind] += n
	}
	c.mu.Unlock()
	*seen, e.n = *now, [len(e.n)]int64{}
}

func (c *joinCounts) total() join.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}

func (c *joinCounts) written() [querystore.KindMark + 1]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.effects
}

// committed counts a commit.
func (w *Worker) committed(took time.Duration, result string) {
	w.metrics.Commits.WithLabelValues(result).Inc()
	w.metrics.CommitDuration.Observe(took.Seconds())
}

// sample looks at what the consumer counts by itself. It is called every fifth of a second and once
// at the end, always from one goroutine.
func (w *Worker) sample(k *consume.Status) {
	n := w.kafka.Stats()
	w.pauses.look(time.Now(), len(k.Paused) > 0, &n)
	w.attribution.sample(time.Now(), w)
}

// readMetrics adds what is read at a scrape.
func (w *Worker) readMetrics() {
	w.metrics.SetHealth(w.health)
	w.metrics.Read(func(emit telemetry.Emit) {
		w.emitJoin(emit)
		w.emitKafka(emit)
		w.emitPartitions(emit)
		w.emitRetention(emit)
		w.emitApplications(emit)
		w.emitStore(emit)
		w.emitReload(emit)
		w.emitLiveness(emit)
		pending, _ := w.letters.Pending()
		emit(telemetry.DeadLetterPending, float64(pending))
		emit(telemetry.EventAgeLimit, w.cfg.Delivery.MaxEventAge.Seconds())
		emit(telemetry.EventAgeOldest, w.oldestAge(time.Now()).Seconds())
	})
}

func (w *Worker) emitApplications(emit telemetry.Emit) {
	for _, a := range w.apps {
		if a == nil {
			continue
		}
		s := a.Status()
		emit(telemetry.RequestsInFlight, float64(s.InFlight), a.Name())
		emit(telemetry.RequestLimit, float64(s.Limit), a.Name())
		emit(telemetry.Misconfigured, truth(s.State == insights.StateMisconfigured), a.Name())
		emit(telemetry.BreakerOpen, truth(s.Breaker != "closed"), a.Name())
	}
}

func (w *Worker) emitJoin(emit telemetry.Emit) {
	c := w.joined.total()
	for result, n := range map[string]int64{"own": c.Own, "clicked": c.Clicked, "shown": c.Shown, "skewed": c.Skewed, "plain": c.Plain} {
		emit(telemetry.Lookups, float64(n), result)
	}
	for hint, n := range map[string]int64{
		"malformed_query_id": c.MalformedQueryIDs, "message_id": c.MessageIDs, "unpositioned": c.Unpositioned,
		"no_currency": c.NoCurrency, "value_differs": c.ValueDiffers, "value_too_long": c.ValueTooLong,
		"not_keyed": c.NotKeyed, "wrong_partition": c.WrongPartition, "views_only": c.ViewsOnly, "token_mismatch": c.TokenMismatches,
		"replay_headers": w.strangers.Load(),
	} {
		emit(telemetry.Hints, float64(n), hint)
	}
	w.attribution.emit(emit)
	emit(telemetry.Impressions, float64(c.Impressions))
	emit(telemetry.JoinWaiting, float64(w.waiting()))
}

func (w *Worker) emitKafka(emit telemetry.Emit) {
	s, n := w.kafka.Status(), w.kafka.Stats()
	paused, total := w.pauses.state()
	emit(telemetry.BudgetBytes, float64(s.BudgetTotal))
	emit(telemetry.BudgetUsed, float64(s.BudgetUsed))
	emit(telemetry.TopicsMissing, float64(len(w.missingTopics(&s))))
	emit(telemetry.FetchPaused, truth(paused || len(s.Paused) > 0))
	emit(telemetry.FetchPausedSeconds, total.Seconds())
	emit(telemetry.FetchedBytes, float64(n.FetchedBytes))
	lost := w.kafka.Lost()
	for _, topic := range w.inputTopics() {
		emit(telemetry.MessagesLost, float64(lost[topic]), topic)
	}
	for _, p := range s.Partitions {
		partition := decimal(p.Partition)
		emit(telemetry.PartitionLag, float64(p.Lag), p.Topic, partition)
		emit(telemetry.FrontierLag, float64(max(0, p.Next-p.Frontier)), p.Topic, partition)
		emit(telemetry.PartitionWaiting, truth(p.Waiting), p.Topic, partition)
	}
}

// inputTopics are the topics that are read.
func (w *Worker) inputTopics() []string {
	if w.cfg.Kafka.ReplayTopic == "" {
		return w.cfg.Kafka.Topics
	}
	return append(slices.Clone(w.cfg.Kafka.Topics), w.cfg.Kafka.ReplayTopic)
}

// emitPartitions gives the age of each partition's oldest unsettled message.
func (w *Worker) emitPartitions(emit telemetry.Emit) {
	now := time.Now()
	w.eachPartition(func(topic string, partition int32, since int64, known bool) {
		if known {
			emit(telemetry.PartitionLagTime, age(now, since).Seconds(), topic, decimal(partition))
		}
	})
}

// eachPartition tells, for each partition, the record timestamp of its oldest unsettled message: 0
// if there is none. It may not be known yet.
func (w *Worker) eachPartition(tell func(topic string, partition int32, since int64, known bool)) {
	g := w.current.Load()
	if g == nil || g.ended() {
		return
	}
	for p := range g.trails {
		since, known := p.OldestTime()
		tell(p.Topic, p.ID, since, known)
	}
}

// oldestAge is the age of the oldest unsettled message: of those in delivery by the time of their
// events, of those before it by the timestamps of their records.
func (w *Worker) oldestAge(now time.Time) time.Duration {
	g := w.current.Load()
	if g == nil || g.ended() {
		return 0
	}
	oldest := int64(0)
	consider := func(since int64) {
		if since > 0 && (oldest == 0 || since < oldest) {
			oldest = since
		}
	}
	for _, d := range g.deliverers {
		if d != nil {
			_, since := d.Pending()
			consider(since)
		}
	}
	w.eachPartition(func(_ string, _ int32, since int64, _ bool) { consider(since) })
	return age(now, oldest)
}

// age is how long ago a time in milliseconds was; 0 is none.
func age(now time.Time, ms int64) time.Duration {
	if ms == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(ms)))
}

func (w *Worker) emitStore(emit telemetry.Emit) {
	written := w.joined.written()
	emit(telemetry.StoreRecords, float64(written[querystore.KindImpression]), "impression")
	emit(telemetry.StoreRecords, float64(written[querystore.KindClick]), "click")
	emit(telemetry.StoreRecords, float64(written[querystore.KindMark]), "mark")
	emit(telemetry.StoreRestored, float64(w.restored.Load()))
	store, ok := w.store.(interface{ Stats() querystore.Stats })
	if !ok {
		return
	}
	s := store.Stats()
	emit(telemetry.StoreBytes, float64(s.Memory), "memory")
	if w.cfg.Store.Kind == "disk" {
		emit(telemetry.StoreBytes, float64(s.Bytes), "disk")
	}
	emit(telemetry.StoreUsers, float64(s.Users))
	emit(telemetry.StoreDamaged, float64(s.Cut))
	emit(telemetry.StoreReads, float64(s.RingHits), "memory")
	emit(telemetry.StoreReads, float64(s.Reads), "disk")
	emit(telemetry.StoreDropped, float64(s.Dropped))
	emit(telemetry.StoreSegments, float64(s.Segments))
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
