package consume

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// lagEvery is the time between two looks at the ends of partitions that are not being fetched.
	lagEvery = 5 * time.Second
	// peeksAtOnce bounds the messages that one look reads for their timestamps.
	peeksAtOnce = 64
	// peekBytes is what a peek asks for. The leader sends a whole batch whatever its size; of the batch
	// only the head is looked at.
	peekBytes = 1
)

// stamp is the timestamp of the message at an offset, in milliseconds.
type stamp struct{ offset, time int64 }

// lagClock is what is known of a partition's timestamps beyond what was fetched.
type lagClock struct{ next, end stamp }

// watchLag keeps the ends and the timestamps of partitions known that are not read to their ends, such
// as paused ones, until ctx is done.
func (g *Generation) watchLag(ctx context.Context) {
	for turn := 0; sleep(ctx, lagEvery); turn += peeksAtOnce {
		g.refreshEnds(ctx)
		peeks := 0
		for i := range g.partitions {
			p := g.partitions[(i+turn)%len(g.partitions)]
			peeks += g.refreshTimes(ctx, p)
			if peeks >= peeksAtOnce || ctx.Err() != nil {
				break
			}
		}
	}
}

// refreshEnds asks the leaders for the ends of partitions that nobody fetches now.
func (g *Generation) refreshEnds(ctx context.Context) {
	byLeader := map[int32][]topicPartition{}
	idle := map[topicPartition]*Partition{}
	for _, p := range g.partitions {
		if leader := p.leader.Load(); leader >= 0 && !p.live.Load() {
			tp := topicPartition{p.Topic, p.ID}
			byLeader[leader] = append(byLeader[leader], tp)
			idle[tp] = p
		}
	}
	for leader, tps := range byLeader {
		ends, err := g.c.listOffsets(ctx, leader, tps, listKind{kafka.LastOffset, readCommitted})
		if err != nil {
			continue // the fetches report it
		}
		for tp, end := range ends {
			if p := idle[tp]; p != nil && !p.live.Load() {
				p.end.Store(end)
			}
		}
	}
}

// refreshTimes reads the timestamps that the lag in seconds needs and that no fetch brought, and says
// how many it asked for.
func (g *Generation) refreshTimes(ctx context.Context, p *Partition) (asked int) {
	end, position := p.end.Load(), p.position.Load()
	leader := p.leader.Load()
	if leader < 0 || position >= end {
		return 0
	}
	known := p.clock()
	if _, fetched := p.Oldest(); !fetched && known.next.offset != position {
		asked++
		if b, ok := g.peek(ctx, leader, p, position); ok {
			known.next = stamp{position, b.firstTime}
		}
	}
	if known.end.offset != end {
		asked++
		if b, ok := g.peek(ctx, leader, p, end-1); ok {
			known.end = stamp{end, b.maxTime}
		}
	}
	if asked > 0 {
		p.times.Store(&known)
	}
	return asked
}

// clock is what is known of the partition's timestamps; offsets are -1 where nothing is.
func (p *Partition) clock() lagClock {
	if c := p.times.Load(); c != nil {
		return *c
	}
	return lagClock{stamp{offset: -1}, stamp{offset: -1}}
}

// peek reads the head of the batch that holds an offset, or that comes next.
func (g *Generation) peek(ctx context.Context, leader int32, p *Partition, offset int64) (b batch, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := &fetchRequest{broker: leader, clientID: g.c.cfg.ClientID, minBytes: 1, maxBytes: peekBytes, maxSet: g.c.maxSet(),
		parts: []fetchPart{{p, offset, peekBytes}}}
	msg, err := g.c.transport.RoundTrip(ctx, g.c.addr, req)
	if err != nil {
		return batch{}, false
	}
	res := msg.(*fetchResponse)
	defer res.free()
	for i := range res.parts {
		part := &res.parts[i]
		if part.errorCode == 0 && part.set != nil {
			b, _, ok, err = nextBatch(part.set.b)
			return batch{firstTime: b.firstTime, maxTime: b.maxTime}, ok && err == nil && b.last >= offset
		}
	}
	return batch{}, false
}

// OldestTime is the timestamp, in milliseconds, of the oldest unsettled message, 0 where there is none;
// false: it is not known, or the message has none. It is known of paused partitions too.
func (p *Partition) OldestTime() (ms int64, known bool) {
	oldest, held := p.Oldest()
	frontier := p.Frontier()
	if frontier >= p.end.Load() {
		return 0, true
	}
	from, _ := p.lagTimes(frontier, oldest, held)
	return max(from, 0), from > 0
}

// lagTimes gives the timestamps of the oldest unsettled message and of the last one, both -1 where they
// are not known or nothing is unsettled.
func (p *Partition) lagTimes(frontier int64, oldest Oldest, held bool) (from, to int64) {
	end, position, known := p.end.Load(), p.position.Load(), p.clock()
	if frontier >= end {
		return -1, -1
	}
	switch {
	case held:
		from = oldest.Time
	case known.next.offset == position:
		from = known.next.time
	default:
		from = -1
	}
	to = p.lastTime.Load()
	if position < end {
		if to = known.end.time; known.end.offset < 0 {
			to = -1
		}
	}
	return from, to
}
