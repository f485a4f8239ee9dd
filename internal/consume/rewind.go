package consume

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Rewind says where reading begins when messages before a partition's start are wanted once more,
// such as for what they leave in a store that lacks it.
type Rewind struct {
	// From is an offset; reading begins there or later.
	From int64
	// NotBefore leaves out messages with an earlier record timestamp, as far as offsets can tell.
	NotBefore time.Time
}

// rewind asks the handler's side, task by task, which messages before the start are wanted. Of several
// wishes for a partition the one that reaches back furthest counts.
func (g *Generation) rewind(ctx context.Context, known map[topicPartition]bounds) error {
	if g.c.cfg.Rewind == nil {
		return nil
	}
	wanted := map[topicPartition][]Rewind{}
	byLeader := map[int32][]*Partition{}
	var unknown error
	for _, t := range g.Tasks {
		err := g.c.cfg.Rewind(t, func(p *Partition, r Rewind) {
			tp := topicPartition{p.Topic, p.ID}
			b, ok := known[tp]
			if !ok {
				// Without it delivery would begin on a store that lacks what is wanted.
				unknown = fmt.Errorf("the leader of %s/%d does not tell its offsets, and messages of it must be read again: %w", p.Topic, p.ID, kafka.LeaderNotAvailable)
				return
			}
			if max(r.From, b.start) >= p.start {
				return
			}
			r.From = max(r.From, b.start)
			if len(wanted[tp]) == 0 {
				byLeader[g.layout.leaders[tp]] = append(byLeader[g.layout.leaders[tp]], p)
			}
			wanted[tp] = append(wanted[tp], r)
		})
		if err != nil {
			return err
		}
	}
	if unknown != nil {
		return unknown
	}
	for leader, partitions := range byLeader {
		if err := g.rewindLeader(ctx, leader, partitions, wanted); err != nil {
			return err
		}
	}
	return nil
}

// rewindLeader turns times into offsets. The partitions of a leader mostly ask for one time.
func (g *Generation) rewindLeader(ctx context.Context, leader int32, partitions []*Partition, wanted map[topicPartition][]Rewind) error {
	byTime := map[int64][]topicPartition{}
	for _, p := range partitions {
		tp := topicPartition{p.Topic, p.ID}
		for _, r := range wanted[tp] {
			if ms := r.NotBefore.UnixMilli(); !slices.Contains(byTime[ms], tp) {
				byTime[ms] = append(byTime[ms], tp)
			}
		}
	}
	at := map[int64]map[topicPartition]int64{}
	for ms, tps := range byTime {
		offsets, err := g.c.listOffsets(ctx, leader, tps, listKind{max(ms, 0), 0})
		if err != nil {
			return err
		}
		at[ms] = offsets
	}
	for _, p := range partitions {
		tp := topicPartition{p.Topic, p.ID}
		first := p.start
		for _, r := range wanted[tp] {
			offset, ok := at[r.NotBefore.UnixMilli()][tp]
			if !ok {
				return kafka.LeaderNotAvailable
			}
			if offset >= 0 { // else no message is that young
				first = min(first, max(offset, r.From))
			}
		}
		if first < p.start {
			p.beginAt(first)
		}
	}
	return nil
}

// beginAt makes reading begin before the start.
func (p *Partition) beginAt(offset int64) {
	p.first = offset
	p.tracker.start(offset)
	p.position.Store(offset)
}

// First is the offset that is read first: [Partition.Start], or less after a [Rewind].
func (p *Partition) First() int64 { return p.first }
