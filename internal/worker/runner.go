package worker

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// runner is the goroutine of one task in one generation: it takes chunks from the task's
// partitions, joins them, and hands runs of encoded events to the batchers.
type runner struct {
	w        *Worker
	g        *generation
	source   *consume.Task
	section  querystore.Section
	task     *join.Task[message]
	trails   []*trail        // by partition
	restores []*restoreRange // by partition; nil: nothing is read again
	waiting  atomic.Int64
	waits    waits
	failing  bool // the store refused the last try

	way     leg // through the chunk that is being read, of partition at
	at      int
	done    []message // settled with the next flush
	refused []refused
	delta   telemetry.Delta
	counted join.Counters // what was already added to the metrics
	effects *effects
	lastApp int // whose run got the last events

	mu       sync.Mutex
	outcomes []outcome // of claimed messages, for the task to hear of
	poke     chan struct{}
	skips    chan skipOrder
	asks     chan func() // questions, see ask.go
}

// refused is a message that becomes a dead letter with the next flush.
type refused struct {
	message message
	letter  *deadletter.Letter
}

// outcome is what became of a message with a claim on its id.
type outcome struct {
	message   message
	delivered bool
}

func (w *Worker) newRunner(g *generation, source *consume.Task, section querystore.Section) *runner {
	r := &runner{w: w, g: g, source: source, section: section, poke: make(chan struct{}, 1), skips: make(chan skipOrder), asks: make(chan func())}
	r.waits.limit = waitLimit(int64(w.cfg.Memory.Budget), len(g.source.Tasks))
	var sources []join.SourceConfig
	for _, p := range source.Partitions {
		before := ParseCommit(p.CommitMetadata(), w.cfg.Kafka.Group, p.Topic, p.ID, p.Start())
		trail := &trail{last: before.Progress, inherited: settledBeyond(p, before)}
		r.trails = append(r.trails, trail)
		g.trails[p] = trail
		var again *restoreRange
		if p.First() < p.Start() {
			again = &restoreRange{from: p.First(), to: p.Start()}
			again.next.Store(p.First())
		}
		r.restores = append(r.restores, again)
		sources = append(sources, join.SourceConfig{
			Topic: p.Topic, Start: p.First(), Deliver: p.Start(), Steps: w.stepsOf(p, before.Progress), Settled: trail.inherited.ask(), Progress: trail.last,
			Shown: w.carries(w.cfg.Kafka.ShownTopics, p.Topic), Clicked: w.carries(w.cfg.Kafka.ClickedTopics, p.Topic), Replay: p.Topic == w.cfg.Kafka.ReplayTopic, Expects: p.Expects,
		})
	}
	r.effects = &effects{Section: section, veil: &w.forgotten}
	counted := querystore.Section(r.effects)
	if remote, ok := section.(querystore.Remote); ok {
		counted = remoteEffects{r.effects, remote}
	}
	r.task = join.NewTask(w.rules, counted, sources, r)
	return r
}

// run works until ctx is done. It returns an error only if the task cannot go on.
func (r *runner) run(ctx context.Context) error {
	err := r.work(ctx)
	r.keepSteps()
	if errors.Is(err, errReopen) {
		<-ctx.Done() // the generation ends
		return nil
	}
	return err
}

func (r *runner) work(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	// What was joined when ctx ended is handed on and counted: it may be settled already.
	defer r.leave()
	for {
		r.answer()
		if err := r.hear(ctx); err != nil {
			return err
		}
		worked, err := r.step(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if worked {
			continue
		}
		again, err := r.renew(ctx)
		if err != nil {
			return err
		}
		timer.Reset(min(r.sleep(), again))
		select {
		case <-ctx.Done():
		case <-r.source.Wake():
		case <-r.poke:
		case do := <-r.asks:
			do()
		case order := <-r.skips:
			if err := r.skip(ctx, order); err != nil {
				return err
			}
		case <-timer.C:
		}
	}
}

// sleep is how long nothing needs to be done unless something happens.
func (r *runner) sleep() time.Duration {
	next := r.task.NextTick()
	if next == math.MaxInt64 {
		return time.Hour
	}
	// A message whose partition is not at its end stays due: the end is looked for now and then.
	return max(time.Until(time.UnixMilli(next)), 50*time.Millisecond)
}

// step handles what became final and the next chunk, and says whether there was one.
func (r *runner) step(ctx context.Context) (worked bool, err error) {
	now := time.Now().UnixMilli()
	r.task.Clock(now)
	if err := r.ends(ctx); err != nil {
		return false, err
	}
	if r.task.NextTick() <= now {
		if err := r.retry(ctx, func() error { return r.task.Tick(now) }); err != nil {
			return false, err
		}
	}
	if r.task.Remote() {
		if err := r.retry(ctx, r.task.EndChunk); err != nil {
			return false, err
		}
	}
	r.throttle()
	i, chunk := r.next()
	if chunk != nil {
		if err := r.handle(ctx, i, chunk); err != nil {
			return true, err
		}
	}
	if ctx.Err() == nil {
		r.flush()
	}
	return chunk != nil, nil
}

// leave hands on what was joined when ctx ended. What lies across a network and is not acknowledged now is
// given back instead: it must not be delivered, or committed, without what it leaves.
func (r *runner) leave() {
	if r.task.Remote() && r.task.EndChunk() != nil {
		return
	}
	r.flush()
}

// ends tells the task which partitions were read to their end.
func (r *runner) ends(ctx context.Context) error {
	for i, p := range r.source.Partitions {
		atEnd := p.AtEnd()
		if atEnd {
			r.restored(i, math.MaxInt64)
		}
		if err := r.retry(ctx, func() error { return r.task.AtEnd(i, atEnd) }); err != nil {
			return err
		}
	}
	return nil
}

// next takes a chunk from the partition that is furthest behind in event time, so that little waits; none
// from one that throttle stopped.
func (r *runner) next() (int, *consume.Chunk) {
	best := -1
	for i, p := range r.source.Partitions {
		if p.Peek() != nil && !p.Waiting() && (best < 0 || r.task.Progress(i) < r.task.Progress(best)) {
			best = i
		}
	}
	if best < 0 {
		return 0, nil
	}
	return best, r.source.Partitions[best].Pop()
}

// handle joins the messages of a chunk. When ctx ends in the middle the rest is left unsettled.
func (r *runner) handle(ctx context.Context, i int, chunk *consume.Chunk) error {
	n := len(chunk.Records)
	r.g.receive(fresh(chunk, r.source.Partitions[i].Start()))
	next := chunk.Records[n-1].Offset + 1
	progress := newProgress(chunk, r)
	chunk.Tag(progress)
	defer r.w.traceChunk(progress).End()
	r.way, r.at = newLeg(n), i
	for k := 0; k < n; k += join.ReadAhead {
		if err := r.handleSome(ctx, progress, k, min(k+join.ReadAhead, n)); err != nil || ctx.Err() != nil {
			return err
		}
	}
	r.storeWorks()
	r.restored(i, next)
	return r.retry(ctx, r.task.EndChunk)
}

// handleSome joins some messages of a chunk. Where the store lies across a network it reads ahead what they
// ask for, and has what they left acknowledged.
func (r *runner) handleSome(ctx context.Context, p *progress, from, to int) error {
	records := p.chunk.Records[from:to]
	err := r.retry(ctx, func() error {
		return r.task.Prefetch(r.at, len(records), func(k int) join.Message { return toMessage(&records[k]) })
	})
	if err != nil {
		return err
	}
	for k := range records {
		if k%64 == 0 && ctx.Err() != nil {
			return nil
		}
		rec := &records[k]
		msg := r.w.forgotten.veil(rec, toMessage(rec))
		if msg.Replay == nil && r.source.Partitions[r.at].Topic == r.w.cfg.Kafka.ReplayTopic {
			r.w.strangers.Add(1)
		}
		r.way.step(rec.Offset, r.task.Progress(r.at))
		err := r.task.Handle(r.at, message{p, uint32(from + k)}, msg)
		for err != nil {
			if err = r.storeFailed(ctx, err); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
			err = r.task.Handle(r.at, message{p, uint32(from + k)}, msg)
		}
	}
	if r.task.Remote() {
		return r.retry(ctx, r.task.EndChunk)
	}
	return nil
}

// fresh is how many records of a chunk are not only read again.
func fresh(c *consume.Chunk, start int64) int {
	i, _ := slices.BinarySearchFunc(c.Records, start, func(r consume.Record, offset int64) int { return cmp.Compare(r.Offset, offset) })
	return len(c.Records) - i
}

// retry repeats what failed at the store until it works or ctx ends.
func (r *runner) retry(ctx context.Context, do func() error) error {
	_, err := r.try(ctx, do)
	return err
}

// try does that, too, and says whether it worked in the end.
func (r *runner) try(ctx context.Context, do func() error) (done bool, err error) {
	for {
		err := do()
		if err == nil {
			r.storeWorks()
			return true, nil
		}
		if err = r.storeFailed(ctx, err); err != nil || ctx.Err() != nil {
			return false, err
		}
	}
}

// storeFailed hands on what is ready and waits before the next try. The partition is paused
// meanwhile: nothing of it is read, guessed or lost.
//
// A store that can only be opened anew ends the generation (reopen.go).
func (r *runner) storeFailed(ctx context.Context, err error) error {
	if !r.task.Remote() { // else what is ready waits with what it left
		r.flush()
	}
	if querystore.MustReopen(err) {
		r.w.lose(r.source.Number, err)
		return errReopen
	}
	r.failing = true
	r.w.storeFails(r.source.Number, err)
	select {
	case <-ctx.Done():
	case <-time.After(storeRetry):
	}
	return nil
}

// storeWorks takes the failure back, if there was one.
func (r *runner) storeWorks() {
	if r.failing {
		r.failing = false
		r.w.storeWorks(r.source.Number)
	}
}

// flush hands the encoded events to the batchers and adds up what happened.
//
// All that settles passes here, and after the trail through what was read, also of a chunk that is left
// half-way: a commit may come at any moment, and tells the progress at its frontier.
func (r *runner) flush() {
	if len(r.way.offsets) > 0 {
		r.trails[r.at].add(r.way, r.task.Progress(r.at))
		r.way = r.way.rest()
	}
	for _, m := range r.done {
		m.batch.chunk.Settle(int(m.i))
	}
	for k := range r.refused {
		r.g.park(r.refused[k].message, r.refused[k].letter)
	}
	clear(r.done)
	clear(r.refused)
	r.done, r.refused = r.done[:0], r.refused[:0]
	for app := range r.task.Runs {
		run := &r.task.Runs[app]
		if len(run.Entries) == 0 {
			continue
		}
		r.g.hold(run)
		r.g.builders[app].Add(run)
		run.Reset()
	}
	r.g.settle(&r.delta)
	r.delta = telemetry.Delta{}
	r.warn()
	r.w.attribution.take(&r.task.Health)
	r.w.joined.add(&r.counted, &r.task.Counters, r.effects)
	r.waiting.Store(int64(r.task.Waiting()))
}

// warn says, once in a generation for each cause, that producers put messages where their user's others
// are not: their clicks and purchases go without the recommendation they came from.
func (r *runner) warn() {
	c := &r.task.Counters
	if c.NotKeyed > 0 && r.g.warnedKeys.CompareAndSwap(false, true) {
		r.w.log.Warn("messages are not keyed by their userToken: those of one user do not meet, and go unattributed; see eventworker_hints_total{hint=\"not_keyed\"}",
			telemetry.Task(r.source.Number))
	}
	if c.WrongPartition > 0 && r.g.warnedPartitions.CompareAndSwap(false, true) {
		r.w.log.Warn("messages lie where another partitioner than murmur2 puts their key: set the producer's partitioner (confluent-kafka: murmur2_random; kafka-go: Murmur2Balancer); see eventworker_hints_total{hint=\"wrong_partition\"}",
			telemetry.Task(r.source.Number))
	}
}

// hear tells the task what became of claimed messages, and settles them.
func (r *runner) hear(ctx context.Context) error {
	r.mu.Lock()
	heard := r.outcomes
	r.outcomes = nil
	r.mu.Unlock()
	if len(heard) == 0 {
		return nil
	}
	noted, err := r.try(ctx, func() error {
		for _, o := range heard { // of what the task was told before it hears again; that changes nothing
			if err := r.task.Outcome(o.message, o.delivered); err != nil {
				return err
			}
		}
		return r.task.EndChunk() // marks are effects that the section has now
	})
	switch {
	case errors.Is(err, errReopen) && r.w.restores():
		// Their marks are made again with what else is lost: below the frontier they count as delivered.
	case errors.Is(err, errReopen):
		return nil
	case err != nil:
		return err
	case !noted: // ctx ended before the store took them
		r.mu.Lock()
		r.outcomes = append(heard, r.outcomes...)
		r.mu.Unlock()
		return nil
	}
	for _, o := range heard {
		if o.delivered {
			r.delta.Messages++
			r.delta.Delivered++
			r.w.noteReplay(o.message.record().Headers, deadletter.OutcomeDelivered)
			o.message.batch.chunk.Settle(int(o.message.i))
		}
	}
	r.flush()
	return nil
}

// tell puts an outcome where the task hears of it.
func (r *runner) tell(o outcome) {
	r.mu.Lock()
	r.outcomes = append(r.outcomes, o)
	r.mu.Unlock()
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// remoteEffects counts what a task writes into a section across a network.
type remoteEffects struct {
	*effects
	remote querystore.Remote
}

// Prefetch implements querystore.Remote.
func (e remoteEffects) Prefetch(keys [][]byte) error { return e.remote.Prefetch(keys) }

// Flush implements querystore.Remote.
func (e remoteEffects) Flush() error { return e.remote.Flush() }

// The rest is join.Output.

// Encoded implements join.Output.
func (r *runner) Encoded(m message, n int, claimed bool) {
	left := int32(r.kind(m))<<kindShift | int32(n)
	if claimed {
		left |= claimedBit
	}
	if m.batch.left[m.i].Swap(left)&waitsBit != 0 {
		r.waits.drop(m)
	}
}

// kind is the type of the message's events, the last of which has just been encoded into some
// application's run, mostly the same as before.
func (r *runner) kind(m message) insights.EventType {
	for range r.task.Runs {
		run := &r.task.Runs[r.lastApp]
		if n := len(run.Entries); n > 0 && run.Entries[n-1].Ref.Message == m {
			return insights.TypeOf(run.Buf[run.Entries[n-1].Start:])
		}
		r.lastApp = (r.lastApp + 1) % len(r.task.Runs)
	}
	return 0
}

// Absorbed implements join.Output.
func (r *runner) Absorbed(m message, why join.Absorption) {
	r.waits.over(m)
	r.delta.Messages++
	r.delta.Absorbed[why]++
	if headers := m.record().Headers; len(headers) > 0 {
		if outcome, known := absorbedOutcome(why); known {
			r.w.noteReplay(headers, outcome)
		}
	}
	r.done = append(r.done, m)
}

// Restored implements join.Output. What lies at or beyond the start was received once more: an owner
// before this one had settled it.
func (r *runner) Restored(m message) {
	if m.record().Offset >= m.batch.chunk.Partition.Start() {
		r.Absorbed(m, join.SettledBefore)
		return
	}
	r.waits.over(m)
	r.w.restored.Add(1)
	r.done = append(r.done, m)
}

// Refused implements join.Output.
func (r *runner) Refused(m message, refusal *event.Refusal, about join.About) {
	r.waits.over(m)
	letter := newLetter(m, *refusal)
	letter.Type, letter.Application = about.Type, about.Application
	if len(about.Resolved) > 0 {
		letter.Resolved = nil // what an earlier life found is in it
	}
	for _, o := range about.Resolved {
		letter.Resolved = append(letter.Resolved, resolvedOf(o))
	}
	r.refused = append(r.refused, refused{m, letter})
}

// Keep implements join.Output.
func (r *runner) Keep(m message) {
	m.batch.left[m.i].Or(waitsBit)
	m.batch.chunk.Detach(int(m.i))
	r.waits.add(m)
}

// Kept implements join.Output.
func (r *runner) Kept(m message) join.Message { return toMessage(m.record()) }

// Wide implements join.Output.
func (r *runner) Wide(m message, event uint16, objects []uint16) {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	if m.batch.wide == nil {
		m.batch.wide = make(map[wideKey][]uint16)
	}
	m.batch.wide[wideKey{m.i, event}] = append([]uint16(nil), objects...)
}

// firstLife is the record's timestamp, or that of its first life if it is a replayed one.
func firstLife(rec *consume.Record) int64 {
	for i := range rec.Headers {
		if rec.Headers[i].Key != deadletter.Prefix+"timestamp" {
			continue
		}
		if ms, err := strconv.ParseInt(string(rec.Headers[i].Value), 10, 64); err == nil && ms >= 0 {
			return ms
		}
	}
	return rec.Time
}

func resolvedOf(r join.Resolved) deadletter.Resolved {
	return deadletter.Resolved{Index: r.Object, QueryID: r.QueryID, IndexName: r.Index, Position: r.Position}
}
