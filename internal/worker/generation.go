package worker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"eventworker/internal/batch"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
	spans "eventworker/internal/trace"
)

// generation is everything that lives from one rebalance of the group to the next.
type generation struct {
	w          *Worker
	source     *consume.Generation
	runners    []*runner
	builders   []*batch.Builder[part]
	deliverers []*insights.Deliverer[part]
	trails     map[*consume.Partition]*trail

	restoreBegan                 time.Time
	restoredOnce                 atomic.Bool
	warnedKeys, warnedPartitions atomic.Bool

	mu      sync.Mutex
	over    bool // what happens now is counted as released already
	open    int64
	letters int           // dead letters without acknowledgement
	quiet   chan struct{} // closed, while draining, when the last of them is acknowledged
}

// Serve implements consume.Handler: it runs one generation.
func (w *Worker) Serve(ctx context.Context, source *consume.Generation, drain func() (context.Context, context.CancelFunc)) error {
	g := &generation{w: w, source: source, trails: make(map[*consume.Partition]*trail)}
	for app := range w.apps {
		if w.apps[app] == nil { // another group's: the join gives no event of it
			g.deliverers, g.builders = append(g.deliverers, nil), append(g.builders, nil)
			continue
		}
		d := insights.NewDeliverer(w.apps[app], w.delivererConfig(source, app), func(b *batch.Batch[part], from, to int, o insights.Outcome) {
			g.outcomes(w.tallies[app], b, from, to, o)
		})
		g.deliverers = append(g.deliverers, d)
		b := batch.NewBuilder(w.limits, d.Submit)
		b.Together(ofOneMessage)
		g.builders = append(g.builders, b)
	}
	w.leaveSections(source.Tasks)
	for _, task := range source.Tasks {
		section, err := w.openSection(task.Number)
		if err != nil {
			return err
		}
		g.runners = append(g.runners, w.newRunner(g, task, section))
	}
	g.announceRestore()
	w.current.Store(g)
	w.metrics.Generations.Inc()
	w.log.Info("generation begins", zap.Int32("generation", source.ID), zap.Int("tasks", len(source.Tasks)))
	return g.run(ctx, drain)
}

// run works until ctx is done and then ends the generation in good order: no new chunk, no linger,
// no new tries, and only what is on the wire is waited for.
func (g *generation) run(ctx context.Context, drain func() (context.Context, context.CancelFunc)) error {
	delivery, stopDelivery := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDelivery()
	var deliverers sync.WaitGroup
	for _, d := range g.served() {
		deliverers.Go(func() { _ = d.Run(delivery) })
	}
	tasks, work := errgroup.WithContext(ctx)
	for _, r := range g.runners {
		tasks.Go(func() error { return r.run(work) })
	}
	tasks.Go(func() error { <-work.Done(); return nil })
	err := tasks.Wait()

	began := time.Now()
	dctx, cancel := drain()
	defer cancel()
	for _, b := range g.builders {
		if b != nil {
			b.Close()
		}
	}
	left := 0
	var draining sync.WaitGroup
	lefts := make([]int, len(g.deliverers))
	for i, d := range g.served() {
		draining.Go(func() { lefts[i] = d.Drain(dctx) })
	}
	draining.Wait()
	for _, n := range lefts {
		left += n
	}
	for _, r := range g.runners {
		err = errors.Join(err, r.hear(dctx))
	}
	g.awaitLetters(dctx)
	stopDelivery()
	deliverers.Wait()
	// Their messages are read again by whoever owns the partitions next; written now as well, they would
	// be there twice, and they are in no budget any more.
	abandoned := g.w.letters.Abandon()
	released := g.end()
	g.w.log.Info("generation ends", zap.Duration("drained_in", time.Since(began)), zap.Int("events_without_outcome", left), zap.Int("dead_letters_given_up", abandoned),
		zap.Int64("messages_released", released), zap.NamedError("cause", context.Cause(ctx)))
	return err
}

// served are the deliverers there are.
func (g *generation) served() []*insights.Deliverer[part] {
	return slices.DeleteFunc(slices.Clone(g.deliverers), func(d *insights.Deliverer[part]) bool { return d == nil })
}

// receive counts n messages into the generation.
func (g *generation) receive(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open += int64(n)
	g.w.ledger.Received(n)
}

// settle counts messages out of the generation.
func (g *generation) settle(d *telemetry.Delta) {
	if d.Messages == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	g.open -= d.Messages
	g.w.ledger.Settle(d)
}

// end gives back what is not settled.
func (g *generation) end() (released int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.w.ledger.Released(int(g.open))
	return g.open
}

// ended says whether the generation has given back what it held.
func (g *generation) ended() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over
}

// hold counts encoded events in the byte budget until their outcome.
func (g *generation) hold(run *batch.Run[part]) {
	byChunk(run.Entries, func(c *consume.Chunk, n int64) { c.Grow(n) })
}

// byChunk adds up the bytes of entries whose messages are of one chunk.
func byChunk(entries []batch.Entry[part], do func(c *consume.Chunk, n int64)) {
	var c *consume.Chunk
	n := int64(0)
	for k := range entries {
		e := &entries[k]
		if next := e.Ref.Message.batch.chunk; next != c {
			if c != nil {
				do(c, n)
			}
			c, n = next, 0
		}
		n += int64(e.End - e.Start)
	}
	if c != nil {
		do(c, n)
	}
}

// outcomes takes what became of events. It is called from the senders' goroutines.
func (g *generation) outcomes(t *tally, b *batch.Batch[part], from, to int, o insights.Outcome) {
	entries := b.Entries[from:to]
	if o.Kind == insights.Delivered {
		t.took(entries[0].Ref.Message.record().Time, entries[0].Time)
	}
	var kinds byKind
	byChunk(entries, func(c *consume.Chunk, n int64) { c.Shrink(n) })
	var delta telemetry.Delta
	for k := range entries {
		ref := &entries[k].Ref
		m := ref.Message
		if o.Kind != insights.Delivered {
			m.batch.fail(ref, &o, readResolved(b.Event(from+k)))
		}
		left := m.batch.left[m.i].Add(-1)
		kinds[left>>kindShift&kindMask]++
		if left&leftMask == 0 && left&takenBit == 0 {
			g.finish(m, &delta)
		}
	}
	t.settled(&o, &kinds)
	g.settle(&delta)
}

// finish settles a message whose last event has its outcome, or writes its dead letter.
func (g *generation) finish(m message, delta *telemetry.Delta) {
	f := m.batch.take(m.i)
	if m.batch.isClaimed(m.i) {
		m.batch.run.tell(outcome{m, f == nil})
	} else if f == nil {
		delta.Messages++
		delta.Delivered++
		m.batch.chunk.Settle(int(m.i))
	}
	if f == nil {
		return
	}
	letter := newLetter(m, f.refusal())
	letter.HTTPStatus, letter.Attempts, letter.APIWords = f.outcome.Status, f.outcome.Attempts, f.outcome.Words
	if f.outcome.FirstFailed > 0 {
		letter.FirstFailed = time.UnixMilli(f.outcome.FirstFailed)
	}
	letter.Parts, letter.Resolved = f.parts, f.resolved
	letter.Type, letter.Application = g.w.describe(letter.Value)
	g.park(m, letter)
}

// refusal says what happened in delivery.
func (f *failure) refusal() event.Refusal {
	r := event.Refusal{Reason: f.reason, Stage: event.StageDeliver}
	switch f.outcome.Kind {
	case insights.Rejected:
		r.Rule, r.Message = "api.accepted", "the Insights API refused an event of this message sent alone: "+f.outcome.Words
	case insights.TooLarge:
		r.Rule, r.Message = "body.size", "an event of this message is too large for a request of its own"
	case insights.Ambiguous:
		r.Rule, r.Message = "delivery.ambiguous", "a request with a purchase of this message failed and may have been taken; delivery.ambiguous.purchases says not to repeat it"
	default:
		r.Rule, r.Message = "event.age", "the message grew older than delivery.max_event_age, or was tried for longer than delivery.max_elapsed_time, before the Insights API took it"
	}
	return r
}

// newLetter makes the dead letter of a message. It borrows the record's memory.
func newLetter(m message, refusal event.Refusal) *deadletter.Letter {
	rec, p := m.record(), m.batch.chunk.Partition
	letter := &deadletter.Letter{
		Topic: p.Topic, Partition: p.ID, Offset: rec.Offset, Timestamp: rec.Time,
		Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Refusal: refusal, Traceparent: spans.Format(m.batch.span),
	}
	inherit(letter)
	return letter
}

// park writes a dead letter; the message is settled when all in-sync replicas have it.
func (g *generation) park(m message, letter *deadletter.Letter) {
	g.mu.Lock()
	g.letters++
	g.mu.Unlock()
	g.w.causes.note(letter)
	m.batch.left[m.i].Or(parkedBit)
	reason := letter.Refusal.Reason
	g.w.letters.Put(letter, func() {
		g.w.written[reason].Inc()
		delta := telemetry.Delta{Messages: 1}
		delta.DeadLettered[reason]++
		g.settle(&delta)
		g.w.noteReplay(m.record().Headers, deadletter.OutcomeDead)
		m.batch.chunk.Settle(int(m.i))
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.letters--; g.letters == 0 && g.quiet != nil {
			close(g.quiet)
			g.quiet = nil
		}
	})
}

// awaitLetters waits until no dead letter lacks its acknowledgement, or ctx is done.
func (g *generation) awaitLetters(ctx context.Context) {
	g.mu.Lock()
	quiet := make(chan struct{})
	if g.letters == 0 {
		close(quiet)
	} else {
		g.quiet = quiet
	}
	g.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

// readResolved reads back what the join had found from an event that was refused. It is rare: the
// hot path keeps nothing for it.
func readResolved(encoded []byte) []deadletter.Resolved {
	var e struct {
		Index      string   `json:"index"`
		QueryID    string   `json:"queryID"`
		ObjectIDs  []string `json:"objectIDs"`
		Positions  []int32  `json:"positions"`
		ObjectData []struct {
			QueryID string `json:"queryID"`
		} `json:"objectData"`
	}
	if err := json.Unmarshal(encoded, &e); err != nil {
		return nil
	}
	list := make([]deadletter.Resolved, len(e.ObjectIDs))
	for i := range list {
		list[i] = deadletter.Resolved{QueryID: e.QueryID, IndexName: e.Index}
		if i < len(e.Positions) {
			list[i].Position = e.Positions[i]
		}
		if i < len(e.ObjectData) && e.ObjectData[i].QueryID != "" {
			list[i].QueryID = e.ObjectData[i].QueryID
		}
	}
	return list
}
