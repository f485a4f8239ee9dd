package consume

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

const (
	// minGrant is the least number of free bytes that a fetch is worth.
	minGrant = 32 << 10
	// minPartBytes and maxPartBytes bound what is asked of one partition at once.
	minPartBytes = 64 << 10
	maxPartBytes = 1 << 20
	// queueChunks is how many chunks of a partition may wait to be popped before it is left out.
	queueChunks = 2
	// impatience is how long a fetch waits at the leader while a partition of it is left out for a
	// reason that may pass at any moment.
	impatience = 20 * time.Millisecond
	// answerTime is what a leader has for its answer, on top of the time it was asked to wait.
	answerTime = 10 * time.Second
)

// fetcher fetches all partitions of one generation that one broker leads, one request at a time.
type fetcher struct {
	g      *Generation
	broker int32
	wake   chan struct{} // a token: plan anew
	build  builder
	turn   int // where the order of partitions starts
}

func (f *fetcher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run fetches until ctx is done.
func (f *fetcher) run(ctx context.Context) {
	defer f.build.unpack.close()
	for ctx.Err() == nil {
		plan := f.plan(time.Now())
		if len(plan.req.parts) == 0 {
			f.g.give(&plan)
			f.rest(ctx, plan.retryAt)
			continue
		}
		f.exchange(ctx, &plan)
	}
}

// rest waits for a reason to plan anew.
func (f *fetcher) rest(ctx context.Context, until time.Time) {
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-f.wake:
	case <-timer:
	}
}

// plan is a request and what was reserved for it.
type plan struct {
	req fetchRequest
	// grant is what is reserved for what the request brings: of shown partitions, of others.
	grant   [2]int64
	retryAt time.Time // when a partition's back-off ends, zero: none is backing off
}

func class(shown bool) int {
	if shown {
		return 0
	}
	return 1
}

// plan decides what to fetch now: the partitions that are led by this broker, neither paused nor
// waiting nor backing off, whose queue is not full, as far as the budget allows.
func (f *fetcher) plan(now time.Time) (pl plan) {
	c := f.g.c
	pl.req = fetchRequest{broker: f.broker, clientID: c.cfg.ClientID, minBytes: 1, maxSet: c.maxSet()}
	var ready [2][]*Partition
	leftOut := false
	f.turn++
	parts := f.g.partitions
	for i := range parts {
		p := parts[(i+f.turn)%len(parts)]
		if p.leader.Load() != f.broker {
			continue
		}
		if c.paused.Load() {
			p.unknown()
			continue
		}
		if p.waiting.Load() {
			c.counters.budgetWaits.Add(1)
			leftOut = true
			p.unknown()
			continue
		}
		if !p.busy.CompareAndSwap(false, true) {
			leftOut = true
			if pl.retryAt.IsZero() || pl.retryAt.After(now.Add(impatience)) {
				pl.retryAt = now.Add(impatience)
			}
			continue
		}
		if p.fetch.retryAt.After(now) {
			if pl.retryAt.IsZero() || p.fetch.retryAt.Before(pl.retryAt) {
				pl.retryAt = p.fetch.retryAt
			}
			leftOut = true
			p.busy.Store(false)
			continue
		}
		if f.full(p) {
			leftOut = true
			p.busy.Store(false)
			continue
		}
		ready[class(p.shown)] = append(ready[class(p.shown)], p)
	}
	// A partition that holds nothing comes first where the budget gives nothing: the leader answers
	// with at least one batch of the first partition that has any.
	hungry := 0
	for cl, ps := range ready {
		if len(ps) == 0 {
			continue
		}
		got, starved := f.ask(&pl, cl, ps)
		hungry += starved
		leftOut = leftOut || got+starved < len(ps)
	}
	f.size(&pl, hungry, leftOut)
	return pl
}

// full says whether a partition's queue is full, and makes Pop tell us when it is not.
func (f *fetcher) full(p *Partition) bool {
	if p.queueLen() < queueChunks {
		return false
	}
	p.wanted.Store(true)
	return p.queueLen() >= queueChunks // it may have been popped meanwhile; then a wake too many comes
}

// ask reserves bytes for the partitions of a class and adds them to the plan, or those of them that
// hold nothing where the budget has no room.
func (f *fetcher) ask(pl *plan, class int, ps []*Partition) (got, starved int) {
	share := f.g.share()
	want := int64(0)
	for _, p := range ps {
		want += int64(float64(share) * p.fetch.unfold)
	}
	want = min(want, int64(f.g.c.cfg.MaxFetchBytes))
	pl.grant[class] = f.g.budget.reserve(class == 0, min(minGrant, want), want)
	for _, p := range ps {
		switch {
		case pl.grant[class] > 0:
			part := min(share, int64(float64(pl.grant[class])/p.fetch.unfold))
			pl.req.parts = append(pl.req.parts, fetchPart{p, p.position.Load(), int32(max(part, 1))})
			pl.req.maxBytes += int32(part)
			got++
		case p.pinned.Load() == 0:
			first := fetchPart{p, p.position.Load(), 1}
			pl.req.parts = slices.Insert(pl.req.parts, starved, first)
			starved++
		default:
			f.g.c.counters.budgetWaits.Add(1)
			p.unknown() // nobody asks for its end
			p.busy.Store(false)
		}
	}
	return got, starved
}

// size sets the limits of the request: never more than what was reserved can hold.
func (f *fetcher) size(pl *plan, hungry int, leftOut bool) {
	cfg := &f.g.c.cfg
	pl.req.maxWait = int32(cfg.MaxWait / time.Millisecond)
	if leftOut {
		pl.req.maxWait = int32(min(cfg.MaxWait, impatience) / time.Millisecond)
	}
	pl.req.minBytes = int32(cfg.MinBytes)
	worst := 1.0
	for i := range pl.req.parts {
		worst = max(worst, pl.req.parts[i].p.fetch.unfold)
	}
	limit := int64(float64(pl.grant[0]+pl.grant[1]) / worst)
	pl.req.maxBytes = int32(max(1, min(int64(pl.req.maxBytes), limit)))
	// Partitions of one topic stand together, the hungry ones in front.
	slices.SortStableFunc(pl.req.parts[hungry:], byTopic)
	slices.SortStableFunc(pl.req.parts[:hungry], byTopic)
	f.rotate(pl.req.parts[hungry:])
}

func byTopic(a, b fetchPart) int { return cmp.Compare(a.p.Topic, b.p.Topic) }

// rotate moves topics from the front to the back, so that none is always first.
func (f *fetcher) rotate(parts []fetchPart) {
	var topics []int // where each topic starts
	for i := range parts {
		if i == 0 || parts[i].p.Topic != parts[i-1].p.Topic {
			topics = append(topics, i)
		}
	}
	if len(topics) < 2 {
		return
	}
	at := topics[f.turn%len(topics)]
	turned := slices.Concat(parts[at:], parts[:at])
	copy(parts, turned)
}

// exchange sends the request and takes the answer.
func (f *fetcher) exchange(ctx context.Context, pl *plan) {
	defer f.finish(pl)
	wait := time.Duration(pl.req.maxWait)*time.Millisecond + answerTime
	callCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// The connection's goroutine may outlive a cancelled call: it has a copy of its own.
	req := pl.req
	msg, err := f.g.c.transport.RoundTrip(callCtx, f.g.c.addr, &req)
	f.g.c.counters.fetches.Add(1)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if code := msg.(*fetchResponse).errorCode; code != 0 {
			msg.(*fetchResponse).free()
			err = kafka.Error(code)
		}
	}
	if err != nil {
		f.failed(pl, err)
		return
	}
	f.g.c.condition.report("fetch", nil)
	res := msg.(*fetchResponse)
	for i := range res.parts {
		f.take(ctx, pl, &res.parts[i])
	}
}

// finish gives back what the plan reserved and claimed.
func (f *fetcher) finish(pl *plan) {
	f.g.give(pl)
	for i := range pl.req.parts {
		pl.req.parts[i].p.busy.Store(false)
	}
}

// failed notes that the whole request failed.
func (f *fetcher) failed(pl *plan, err error) {
	f.g.c.counters.fetchErrors.Add(1)
	f.g.c.condition.report("fetch", err)
	for i := range pl.req.parts {
		f.backOff(pl.req.parts[i].p)
	}
	f.g.leaders.refresh()
}

// backOff keeps a partition out of the requests for a moment: 50 ms, doubling up to 2 s.
func (f *fetcher) backOff(p *Partition) {
	p.fetch.failures = min(p.fetch.failures+1, 7)
	p.fetch.retryAt = time.Now().Add(min(2*time.Second, 25*time.Millisecond<<p.fetch.failures))
	p.unknown()
}

// take handles what the leader answered for one partition.
func (f *fetcher) take(ctx context.Context, pl *plan, part *partResponse) {
	p := part.p
	if part.errorCode != 0 {
		putBuffer(part.set)
		part.set = nil
		f.refused(ctx, p, kafka.Error(part.errorCode))
		return
	}
	raw := 0
	if part.set != nil {
		raw = len(part.set.b)
	}
	room := pl.grant[class(p.shown)]
	out := f.build.build(part, room)
	chunk := f.g.chunk(p, &out)
	f.count(raw, &out)
	if chunk != nil {
		// What came replaces what was reserved for it.
		size := chunk.bufBytes + chunk.recBytes
		back := min(size, pl.grant[class(p.shown)])
		pl.grant[class(p.shown)] -= back
		p.held.Add(size)
		f.g.budget.take(p.shown, size-back)
		if raw > 0 && !out.short {
			p.fetch.unfold = max(1, min(64, 0.7*p.fetch.unfold+0.3*float64(size)/float64(raw)), 0.9*float64(size)/float64(raw))
		} else if out.short {
			p.fetch.unfold = min(64, 2*p.fetch.unfold)
		}
	}
	if chunk != nil {
		p.lastTime.Store(chunk.Records[len(chunk.Records)-1].Time)
	}
	before := p.end.Swap(part.lastStable)
	if out.next > part.offset {
		p.deliver(chunk, out.next)
	}
	if out.err != nil {
		f.unreadable(p, out.err)
	} else {
		p.fetch.failures, p.fetch.retryAt = 0, time.Time{}
		f.recovered(p)
	}
	if out.err == nil && !p.live.Swap(true) || chunk != nil || before != part.lastStable || out.next > part.offset {
		p.task.notify()
	}
}

func (f *fetcher) count(raw int, out *built) {
	n := &f.g.c.counters
	n.fetchedBytes.Add(int64(raw))
	n.messages.Add(int64(len(out.records)))
	n.controlBatches.Add(int64(out.control))
	n.abortedRecords.Add(int64(out.abortedRecords))
	if len(out.records) > 0 {
		n.chunks.Add(1)
		n.heldBytes.Add(out.memory.bufferBytes())
	}
}

// unreadable notes a batch that cannot be read. It is never skipped: the partition stays there, says
// so once, and tries again, while the others go on.
func (f *fetcher) unreadable(p *Partition, err error) {
	f.g.c.counters.corruptBatches.Add(1)
	p.fetch.failures = 7
	f.say(p, err, "a record batch cannot be read; the partition stays here and the batch is tried again, nothing is skipped")
	f.backOff(p)
}

// refused handles a partition's error code.
func (f *fetcher) refused(ctx context.Context, p *Partition, code kafka.Error) {
	switch code {
	case kafka.OffsetOutOfRange:
		f.outOfRange(ctx, p)
		return
	case kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.ReplicaNotAvailable, kafka.FencedLeaderEpoch,
		kafka.UnknownLeaderEpoch, kafka.UnknownTopicOrPartition, kafka.KafkaStorageError, kafka.BrokerNotAvailable, kafka.OffsetNotAvailable:
		f.g.leaders.refresh()
	}
	f.g.c.counters.fetchErrors.Add(1)
	f.say(p, denied(code, "topic "+p.Topic, "Read"), "fetching a partition fails, will try again")
	f.backOff(p)
}

// say logs a partition's trouble when it changes.
func (f *fetcher) say(p *Partition, err error, text string) {
	if p.fetch.said == err.Error() {
		return
	}
	p.fetch.said = err.Error()
	log := f.g.c.log.Warn
	var code kafka.Error
	if errors.As(err, &code) && (code == kafka.NotLeaderForPartition || code == kafka.LeaderNotAvailable) {
		log = f.g.c.log.Info // leaders move when brokers restart
	}
	log(text, zap.String("topic", p.Topic), zap.Int32("partition", p.ID), zap.Int64("offset", p.position.Load()), zap.Error(err))
	f.g.setTrouble(p, err)
}

func (f *fetcher) recovered(p *Partition) {
	if p.fetch.said == "" {
		return
	}
	p.fetch.said = ""
	f.g.setTrouble(p, nil)
	f.g.c.log.Info("the partition is fetched again", zap.String("topic", p.Topic), zap.Int32("partition", p.ID))
}

// outOfRange finds out why an offset is not there. Below the log's start, retention was faster than
// we: what is gone is counted, and we go on at the start. Beyond the end, the topic was made anew or
// its log was cut: that ends the generation, and the next one starts where the log does.
func (f *fetcher) outOfRange(ctx context.Context, p *Partition) {
	bounds, err := f.g.c.bounds(ctx, []topicPartition{{p.Topic, p.ID}}, false)
	if err != nil {
		if ctx.Err() == nil {
			f.say(p, err, "cannot ask for the bounds of a partition whose offset is out of range")
			f.backOff(p)
		}
		return
	}
	b, position := bounds[topicPartition{p.Topic, p.ID}], p.position.Load()
	switch {
	case position < b.start:
		if from := max(position, p.start); from < b.start { // what lies before the start was settled once
			f.g.c.lost(p.Topic, p.ID, from, b.start)
		}
		p.deliver(nil, b.start)
		p.task.notify()
	case position > b.end:
		f.g.c.beyondEnd(p.Topic, p.ID, position, b)
		f.backOff(p)
		f.g.end(endReset)
	default:
		f.backOff(p) // the leader did not have it yet
	}
}
