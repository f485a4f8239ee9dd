package consume

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
	"go.uber.org/zap"
)

// StartOffset says where a group without commits starts.
type StartOffset string

// The values of kafka.start_offset.
const (
	Earliest StartOffset = "earliest"
	Latest   StartOffset = "latest"
)

// commit is what the group committed for a partition.
type commit struct {
	offset   int64
	metadata string
}

// committed asks for the group's commits; partitions without one are missing.
func (c *Consumer) committed(ctx context.Context, tps []topicPartition) (map[topicPartition]commit, error) {
	byTopic := map[string][]int32{}
	for _, tp := range tps {
		byTopic[tp.topic] = append(byTopic[tp.topic], tp.partition)
	}
	req := &offsetfetch.Request{GroupID: c.cfg.Group, Topics: []offsetfetch.RequestTopic{}}
	for topic, parts := range byTopic {
		req.Topics = append(req.Topics, offsetfetch.RequestTopic{Name: topic, PartitionIndexes: parts})
	}
	msg, err := c.groupCall(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("committed offsets: %w", err)
	}
	res := msg.(*offsetfetch.Response)
	if code := kafka.Error(res.ErrorCode); code == kafka.GroupIdNotFound {
		return map[topicPartition]commit{}, nil // a group that never committed
	} else if code != 0 {
		c.coordinatorMoved(code)
		return nil, fmt.Errorf("committed offsets: %w", denied(code, "group "+c.cfg.Group, "Describe"))
	}
	got := map[topicPartition]commit{}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if code := kafka.Error(p.ErrorCode); code != 0 {
				c.coordinatorMoved(code)
				return nil, fmt.Errorf("committed offset of %s/%d: %w", t.Name, p.PartitionIndex, denied(code, "topic "+t.Name, "Describe"))
			}
			if p.CommittedOffset >= 0 {
				got[topicPartition{t.Name, p.PartitionIndex}] = commit{p.CommittedOffset, p.Metadata}
			}
		}
	}
	return got, nil
}

// commitAll commits in one request under a generation, and gives each partition's error code.
func (c *Consumer) commitAll(ctx context.Context, generation int32, member string, commits map[topicPartition]commit) (map[topicPartition]kafka.Error, error) {
	byTopic := map[string][]offsetcommit.RequestPartition{}
	for tp, cm := range commits {
		byTopic[tp.topic] = append(byTopic[tp.topic], offsetcommit.RequestPartition{
			PartitionIndex: tp.partition, CommittedOffset: cm.offset, CommittedMetadata: cm.metadata, CommittedLeaderEpoch: -1, CommitTimestamp: -1,
		})
	}
	req := &offsetcommit.Request{GroupID: c.cfg.Group, GenerationID: generation, MemberID: member, RetentionTimeMs: -1}
	for topic, parts := range byTopic {
		req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: topic, Partitions: parts})
	}
	msg, err := c.groupCall(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("committing: %w", err)
	}
	codes := map[topicPartition]kafka.Error{}
	for _, t := range msg.(*offsetcommit.Response).Topics {
		for _, p := range t.Partitions {
			code := kafka.Error(p.ErrorCode)
			c.coordinatorMoved(code)
			codes[topicPartition{t.Name, p.PartitionIndex}] = code
		}
	}
	return codes, nil
}

// position finds out where each assigned partition of a generation starts.
//
// A commit below the log's start means that retention was faster: what is lost is counted. One beyond
// the log's end means that the topic was made anew: it is read from its start. A partition without a
// commit starts where start_offset says if the whole group has none, at its beginning otherwise: it
// is new.
func (g *Generation) position(ctx context.Context, l *layout) error {
	c := g.c
	var tps []topicPartition
	for _, p := range g.partitions {
		tps = append(tps, topicPartition{p.Topic, p.ID})
	}
	if len(tps) == 0 && c.cfg.StartOffset != Latest {
		return nil
	}
	commits, err := c.committed(ctx, tps)
	if err != nil {
		return err
	}
	if c.cfg.StartOffset == Latest {
		if commits, err = g.resolveLatest(ctx, l, tps, commits); err != nil {
			return err
		}
	}
	known, err := c.bounds(ctx, tps, true)
	if err != nil {
		return err
	}
	for i, p := range g.partitions {
		if err := g.positionOne(p, commits, known, tps[i]); err != nil {
			return err
		}
	}
	return g.rewind(ctx, known)
}

func (g *Generation) positionOne(p *Partition, commits map[topicPartition]commit, known map[topicPartition]bounds, tp topicPartition) error {
	cm, hasCommit := commits[tp]
	b, hasBounds := known[tp]
	p.committed.Store(-1)
	start := cm.offset
	switch {
	case !hasBounds && (!hasCommit || g.c.cfg.UntilCaughtUp):
		return fmt.Errorf("the leader of %s/%d does not tell its offsets: %w", tp.topic, tp.partition, kafka.LeaderNotAvailable)
	case !hasBounds: // the first fetch will tell
	case !hasCommit:
		start = b.start
	case cm.offset < b.start:
		g.c.lost(p.Topic, p.ID, cm.offset, b.start)
		start = b.start
	case cm.offset > b.end:
		g.c.beyondEnd(p.Topic, p.ID, cm.offset, b)
		start = b.start
	}
	if hasCommit && start == cm.offset {
		p.committed.Store(start)
		p.metadata, p.said = cm.metadata, cm.metadata
	}
	p.start, p.first, p.endKnown = start, start, hasBounds
	p.tracker.start(start)
	p.position.Store(start)
	p.end.Store(start)
	if hasBounds {
		p.end.Store(b.stable)
		p.live.Store(true)
	}
	return nil
}

// resolveLatest makes sure that every assigned partition has a commit, so that "latest" means one
// moment, whatever the number of workers and whenever they crash. The member that has partition 0 of
// the first topic commits for all of them: the end of each if the group has no commit at all, else the
// beginning of those without, which are new. The others wait for it.
func (g *Generation) resolveLatest(ctx context.Context, l *layout, mine []topicPartition, commits map[topicPartition]commit) (map[topicPartition]commit, error) {
	topics := l.topics()
	for {
		if slices.Contains(mine, topicPartition{topics[0], 0}) {
			if err := g.commitStarts(ctx, l); err != nil {
				return nil, err
			}
		}
		if len(commits) == len(mine) {
			return commits, nil
		}
		if !sleep(ctx, g.c.cfg.retryEvery/5) {
			return nil, context.Cause(ctx)
		}
		var err error
		if commits, err = g.c.committed(ctx, mine); err != nil {
			return nil, err
		}
	}
}

func (g *Generation) commitStarts(ctx context.Context, l *layout) error {
	var all, without []topicPartition
	for tp := range l.leaders {
		all = append(all, tp)
	}
	commits, err := g.c.committed(ctx, all)
	if err != nil {
		return err
	}
	for _, tp := range all {
		if _, ok := commits[tp]; !ok {
			without = append(without, tp)
		}
	}
	if len(without) == 0 {
		return nil
	}
	known, err := g.c.bounds(ctx, without, true)
	if err != nil {
		return err
	}
	fresh := len(without) == len(all)
	starts := map[topicPartition]commit{}
	for _, tp := range without {
		b, ok := known[tp]
		if !ok {
			return fmt.Errorf("the leader of %s/%d does not tell its offsets: %w", tp.topic, tp.partition, kafka.LeaderNotAvailable)
		}
		starts[tp] = commit{offset: b.start}
		if fresh {
			starts[tp] = commit{offset: b.stable}
		}
	}
	codes, err := g.c.commitAll(ctx, g.ID, g.Member, starts)
	if err != nil {
		return err
	}
	for tp, code := range codes {
		if code != 0 {
			return fmt.Errorf("committing the start of %s/%d: %w", tp.topic, tp.partition, code)
		}
	}
	g.c.log.Info("start offsets committed", zap.Int("partitions", len(starts)), zap.Bool("at the end", fresh))
	return nil
}

// lost counts and logs messages that retention removed before they were read.
func (c *Consumer) lost(topic string, partition int32, from, to int64) {
	c.counters.lose(topic, to-from)
	c.log.Error("messages were removed by retention before they were read: they are lost; raise the topic's retention or the worker's throughput",
		zap.String("topic", topic), zap.Int32("partition", partition), zap.Int64("first", from), zap.Int64("last", to-1), zap.Int64("offsets", to-from))
}

// beyondEnd logs that an offset lies beyond the log's end.
func (c *Consumer) beyondEnd(topic string, partition int32, offset int64, b bounds) {
	c.counters.resets.Add(1)
	c.log.Error("the committed offset lies beyond the end of the partition: the topic was made anew, or its log was cut; it is read from its start",
		zap.String("topic", topic), zap.Int32("partition", partition), zap.Int64("offset", offset), zap.Int64("start", b.start), zap.Int64("end", b.end))
}
