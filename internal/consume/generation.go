package consume

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"go.uber.org/zap"
)

// Why the context of [Handler.Serve] is done: its cause is one of these, or a fatal error.
var (
	// ErrShutdown: the worker stops.
	ErrShutdown = errors.New("the worker stops")
	// ErrGenerationEnded: the group rebalances; a new generation follows.
	ErrGenerationEnded = errors.New("the generation of the consumer group has ended")
)

// Handler is what a Consumer hands generations to.
type Handler interface {
	// Serve runs a generation until ctx is done (context.Cause says why: [ErrShutdown],
	// [ErrGenerationEnded], or a fatal error), finishes or gives up what it holds before the context
	// that drain gives is done, and returns. After it returned the last commit is made, and nothing of
	// the generation may be touched again but for late calls of Settle, which have no effect.
	//
	// An error that is not ctx's cause ends [Consumer.Run], and so does returning before ctx is done.
	Serve(ctx context.Context, g *Generation, drain func() (context.Context, context.CancelFunc)) error
	// Sync makes store effects durable. It is called before every commit, beside Serve, and once more
	// after Serve returned: the frontiers that are committed were read before it.
	Sync(ctx context.Context) error
}

// Generation is one membership of the group, with the tasks assigned to it. It may have none.
type Generation struct {
	ID     int32
	Member string
	// Tasks are in order of their number; the partitions of each in order of topic.
	Tasks []*Task

	c          *Consumer
	budget     *Budget
	partitions []*Partition
	layout     *layout
	leaders    *leaderWatch
	log        *zap.Logger

	endCtx context.Context // done when the generation has to end; its cause is an endReason
	endNow context.CancelCauseFunc

	// lease is when the last accepted commit or heartbeat was sent: nil before the first, the zero time
	// once the group went on without us. leased is closed with the first.
	lease       atomic.Pointer[time.Time]
	leased      chan struct{}
	rebalancing atomic.Pointer[time.Time] // when it was first seen
	drainCtx    context.Context
	cancelDrain context.CancelFunc

	mu       sync.Mutex
	troubles map[*Partition]error
}

// endReason says why a generation ends before the worker does.
type endReason string

// Error makes an endReason the cause of a context.
func (r endReason) Error() string { return string(r) }

const (
	endRebalance endReason = "the group rebalances"
	endStale     endReason = "the group went on without this member"
	endReset     endReason = "a partition's offset lies beyond its end"
	endTopics    endReason = "the input topics changed"
	endCounts    endReason = "partition counts changed"
)

// end ends the generation; the first reason stays.
func (g *Generation) end(why endReason) { g.endNow(why) }

// why is the reason the generation ends for, empty while it goes on.
func (g *Generation) why() endReason {
	r, _ := context.Cause(g.endCtx).(endReason)
	return r
}

// Alive says whether this member may still act for its partitions: it holds until [Generation.ValidUntil].
// No request to the API may start after it, since another member may have taken over.
func (g *Generation) Alive() bool {
	now, until := time.Now(), g.ValidUntil()
	// Both clocks: the monotonic one stops while the machine is suspended, the wall clock may be set.
	return now.Before(until) && now.Round(0).Before(until.Round(0))
}

// ValidUntil is the session time-out after the last commit or heartbeat that the group accepted, and
// while the group rebalances no later than it waits for this member. It is zero before the first.
func (g *Generation) ValidUntil() time.Time {
	sent := g.lease.Load()
	if sent == nil {
		return time.Time{}
	}
	until := sent.Add(g.c.cfg.SessionTimeout)
	if since := g.rebalancing.Load(); since != nil {
		if limit := since.Add(g.c.cfg.RebalanceTimeout - g.c.cfg.heartbeatEvery()); limit.Before(until) {
			until = limit
		}
	}
	return until
}

// accepted notes that a commit or heartbeat sent at that time was accepted.
func (g *Generation) accepted(sent time.Time) {
	for {
		before := g.lease.Load()
		if before != nil && (before.IsZero() || !sent.After(*before)) {
			return
		}
		if g.lease.CompareAndSwap(before, &sent) {
			if before == nil {
				close(g.leased)
			}
			return
		}
	}
}

// rebalance notes that the group rebalances: from now on it waits for this member only for so long.
func (g *Generation) rebalance() {
	now := time.Now()
	if g.rebalancing.CompareAndSwap(nil, &now) {
		g.end(endRebalance)
		g.limitDrain(g.c.drainBudget())
	}
}

// limitDrain bounds the time for draining from now on.
func (g *Generation) limitDrain(d time.Duration) {
	timer := time.AfterFunc(d, g.cancelDrain)
	context.AfterFunc(g.drainCtx, func() { timer.Stop() })
}

// newGeneration builds the tasks of an assignment.
func (c *Consumer) newGeneration(kg *kafka.Generation, l *layout) *Generation {
	g := &Generation{ID: kg.ID, Member: kg.MemberID, c: c, layout: l, leased: make(chan struct{}), troubles: map[*Partition]error{}}
	g.log = c.log.With(zap.Int32("generation", kg.ID))
	g.endCtx, g.endNow = context.WithCancelCause(context.Background())
	g.drainCtx, g.cancelDrain = context.WithCancel(context.Background())
	g.leaders = newLeaderWatch(g)
	kept := int64(0)
	if len(c.cfg.ShownTopics) > 0 {
		kept = c.cfg.Budget / 4
	}
	g.budget = newBudget(c.cfg.Budget, kept, g.leaders.pokeAll)
	tasks := map[int32]*Task{}
	for topic, assigned := range kg.Assignments {
		for _, a := range assigned {
			number := int32(a.ID)
			t := tasks[number]
			if t == nil {
				t = &Task{Number: number, wake: make(chan struct{}, 1)}
				tasks[number] = t
			}
			p := &Partition{Topic: topic, ID: number, task: t, budget: g.budget, poison: c.cfg.Poison, wake: g.leaders.pokeAll}
			for n := range l.counts[topic] {
				p.numbers = append(p.numbers, n)
			}
			p.shown = len(c.cfg.ShownTopics) == 0 || slices.Contains(c.cfg.ShownTopics, topic)
			p.fetch.unfold = 1.3 // the records of messages of a few hundred bytes
			p.leader.Store(-1)
			p.lastTime.Store(-1)
			t.Partitions = append(t.Partitions, p)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(tasks)) {
		t := tasks[number]
		slices.SortFunc(t.Partitions, func(a, b *Partition) int { return cmp.Compare(a.Topic, b.Topic) })
		g.Tasks = append(g.Tasks, t)
		g.partitions = append(g.partitions, t.Partitions...)
	}
	return g
}

// share is how many bytes are asked of one partition at once: so few that the queues of all partitions
// fit the budget.
func (g *Generation) share() int64 {
	share := g.budget.total / int64(4*max(1, len(g.partitions)))
	return min(max(share, minPartBytes), maxPartBytes)
}

// chunk makes a chunk of what was built, nil if that holds no message.
func (g *Generation) chunk(p *Partition, out *built) *Chunk {
	if len(out.records) == 0 {
		return nil
	}
	c := &Chunk{Records: out.records, Partition: p, base: out.records[0].Offset, next: out.next, offsets: out.offsets, memory: out.memory, fetched: time.Now()}
	c.bufBytes, c.recBytes = out.memory.bufferBytes(), out.memory.recordBytes()
	c.init()
	p.pinned.Add(1)
	return c
}

// give returns what a plan reserved and did not use.
func (g *Generation) give(pl *plan) {
	for cl, n := range pl.grant {
		g.budget.release(cl == 0, n)
		pl.grant[cl] = 0
	}
}

func (g *Generation) setTrouble(p *Partition, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.troubles, p)
		return
	}
	g.troubles[p] = err
}

// beat sends heartbeats of our own until ctx is done. The library's stop when it thinks that the
// generation has ended, and do not tell when the last one was accepted; these keep the membership
// while we drain, and date the lease.
func (g *Generation) beat(ctx context.Context) {
	for ctx.Err() == nil {
		sent := time.Now()
		msg, err := g.c.groupCall(ctx, &heartbeat.Request{GroupID: g.c.cfg.Group, GenerationID: g.ID, MemberID: g.Member})
		if ctx.Err() != nil {
			return
		}
		wait := g.c.cfg.heartbeatEvery()
		if err != nil {
			g.c.condition.report("heartbeat", err)
			wait /= 4
		} else if g.heartbeatCode(kafka.Error(msg.(*heartbeat.Response).ErrorCode), sent) {
			wait /= 4
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// heartbeatCode handles the answer to a heartbeat, and says whether to try again soon.
func (g *Generation) heartbeatCode(code kafka.Error, sent time.Time) (soon bool) {
	switch {
	case code == 0:
		g.accepted(sent)
		g.c.condition.report("heartbeat", nil)
	case code == kafka.RebalanceInProgress:
		g.accepted(sent) // the coordinator heard us, and waits
		g.rebalance()
	case code == kafka.IllegalGeneration || code == kafka.UnknownMemberId || code == kafka.FencedInstanceID:
		g.stale()
	default:
		g.c.coordinatorMoved(code)
		g.c.condition.report("heartbeat", code)
		return true
	}
	return false
}

// stale notes that the group went on without us: nothing may be sent or committed any more.
func (g *Generation) stale() {
	zero := time.Time{}
	g.lease.Store(&zero)
	g.end(endStale)
	g.cancelDrain()
}

func (g *Generation) isStale() bool {
	sent := g.lease.Load()
	return sent != nil && sent.IsZero()
}
