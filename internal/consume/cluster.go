package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"
)

// callTimeout bounds every request to a broker but fetches.
const callTimeout = 5 * time.Second

type topicPartition struct {
	topic     string
	partition int32
}

// layout is what the cluster's metadata says of the input topics: those that exist.
type layout struct {
	leaders map[topicPartition]int32 // -1: none
	counts  map[string]int           // partitions by topic
	missing []string
}

// topics are those that exist, sorted.
func (l *layout) topics() []string { return slices.Sorted(maps.Keys(l.counts)) }

// PartitionCountError says that input topics that must have the same number of partitions do not.
type PartitionCountError struct {
	// Counts are the numbers of partitions by topic.
	Counts map[string]int
}

func (e *PartitionCountError) Error() string {
	var parts []string
	for _, t := range slices.Sorted(maps.Keys(e.Counts)) {
		parts = append(parts, fmt.Sprintf("%s has %d", t, e.Counts[t]))
	}
	return "kafka.copartitioned: the input topics must have the same number of partitions, or a user's messages do not meet: " +
		strings.Join(parts, ", ") + "; recreate the topics alike, or set kafka.copartitioned to false"
}

func (l *layout) checkCopartitioned() error {
	first := -1
	for _, n := range l.counts {
		if first < 0 {
			first = n
		}
		if n != first {
			return &PartitionCountError{Counts: maps.Clone(l.counts)}
		}
	}
	return nil
}

// call sends a request to the cluster with a deadline.
func (c *Consumer) call(ctx context.Context, msg protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.transport.RoundTrip(ctx, c.addr, msg)
}

// readLayout gives the metadata of the input topics, at most a second old. No topic is created by it.
func (c *Consumer) readLayout(ctx context.Context) (*layout, error) {
	msg, err := c.call(ctx, &metadata.Request{TopicNames: c.inputs})
	if err != nil {
		return nil, c.firstAnswer(err)
	}
	l := &layout{leaders: map[topicPartition]int32{}, counts: map[string]int{}}
	for _, t := range msg.(*metadata.Response).Topics {
		switch code := kafka.Error(t.ErrorCode); {
		case code == kafka.UnknownTopicOrPartition:
			l.missing = append(l.missing, t.Name)
			continue
		case code != 0 && code != kafka.LeaderNotAvailable:
			return nil, fmt.Errorf("metadata of topic %s: %w", t.Name, denied(code, "topic "+t.Name, "Describe"))
		}
		if len(t.Partitions) == 0 {
			l.missing = append(l.missing, t.Name) // being created
			continue
		}
		l.counts[t.Name] = len(t.Partitions)
		for _, p := range t.Partitions {
			leader := p.LeaderID
			if p.ErrorCode != 0 && kafka.Error(p.ErrorCode) != kafka.ReplicaNotAvailable {
				leader = -1
			}
			l.leaders[topicPartition{t.Name, p.PartitionIndex}] = leader
		}
	}
	return l, nil
}

// awaitTopics waits until brokers answer and an input topic exists. It gives an error when the topics
// cannot be used, or ctx is done.
func (c *Consumer) awaitTopics(ctx context.Context) (*layout, error) {
	for {
		c.condition.report("create topics", c.createMissing(ctx))
		l, err := c.readLayout(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.condition.report("metadata", err)
		if err == nil {
			c.sayMissing(l.missing)
			if len(l.counts) > 0 {
				c.condition.forget("create topics") // said once; what stays missing is told as such
				if c.cfg.Copartitioned {
					return l, l.checkCopartitioned()
				}
				return l, nil
			}
			c.setState(StateNoTopics)
		} else {
			c.setState(StateConnecting)
		}
		if !sleep(ctx, c.cfg.retryEvery) {
			return nil, context.Cause(ctx)
		}
	}
}

// sayMissing logs topics that do not exist, once each.
func (c *Consumer) sayMissing(missing []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range missing {
		if !slices.Contains(c.missing, t) {
			c.log.Warn("an input topic does not exist; it is read once it does", zap.String("topic", t), zap.Duration("looked for every", c.cfg.RecheckInterval))
		}
	}
	c.missing = slices.Clone(missing)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// bounds are the ends of a partition's log.
type bounds struct {
	start int64 // the first offset that is there
	end   int64 // the high watermark
	// stable is the last stable offset: no message below it belongs to an open transaction.
	stable int64
}

// listKind is what ListOffsets is asked for.
type listKind struct {
	timestamp int64
	isolation int8
}

// bounds asks the leaders for the bounds of partitions; stable says whether the last stable offset is
// needed too. Partitions whose leader does not answer are missing from the result; an error means that
// none answered.
func (c *Consumer) bounds(ctx context.Context, tps []topicPartition, stable bool) (map[topicPartition]bounds, error) {
	l, err := c.readLayout(ctx)
	if err != nil {
		return nil, err
	}
	byLeader := map[int32][]topicPartition{}
	for _, tp := range tps {
		if leader, ok := l.leaders[tp]; ok && leader >= 0 {
			byLeader[leader] = append(byLeader[leader], tp)
		}
	}
	all := map[topicPartition]bounds{}
	var firstErr error
	for _, leader := range slices.Sorted(maps.Keys(byLeader)) {
		err := c.leaderBounds(ctx, leader, byLeader[leader], stable, all)
		if err != nil && firstErr == nil {
			firstErr = err
		}
	}
	if len(all) == 0 && len(tps) > 0 {
		if firstErr == nil {
			firstErr = kafka.LeaderNotAvailable
		}
		return nil, firstErr
	}
	return all, nil
}

func (c *Consumer) leaderBounds(ctx context.Context, leader int32, tps []topicPartition, stable bool, into map[topicPartition]bounds) error {
	starts, err := c.listOffsets(ctx, leader, tps, listKind{kafka.FirstOffset, 0})
	if err != nil {
		return err
	}
	ends, err := c.listOffsets(ctx, leader, tps, listKind{kafka.LastOffset, 0})
	if err != nil {
		return err
	}
	stables := ends
	if stable {
		if stables, err = c.listOffsets(ctx, leader, tps, listKind{kafka.LastOffset, readCommitted}); err != nil {
			return err
		}
	}
	for tp, start := range starts {
		end, ok1 := ends[tp]
		st, ok2 := stables[tp]
		if ok1 && ok2 {
			into[tp] = bounds{start: start, end: end, stable: st}
		}
	}
	return nil
}

func (c *Consumer) listOffsets(ctx context.Context, leader int32, tps []topicPartition, kind listKind) (map[topicPartition]int64, error) {
	byTopic := map[string][]listoffsets.RequestPartition{}
	for _, tp := range tps {
		byTopic[tp.topic] = append(byTopic[tp.topic], listoffsets.RequestPartition{Partition: tp.partition, CurrentLeaderEpoch: -1, Timestamp: kind.timestamp})
	}
	req := &listoffsets.Request{ReplicaID: -1, IsolationLevel: kind.isolation}
	for topic, parts := range byTopic {
		req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: topic, Partitions: parts})
	}
	msg, err := c.call(ctx, &directed{Message: req, broker: leader, clientID: c.cfg.ClientID})
	if err != nil {
		return nil, fmt.Errorf("offsets of broker %d: %w", leader, err)
	}
	got := map[topicPartition]int64{}
	var firstErr error
	for _, t := range msg.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				firstErr = fmt.Errorf("offsets of %s/%d: %w", t.Topic, p.Partition, denied(kafka.Error(p.ErrorCode), "topic "+t.Topic, "Describe"))
				continue
			}
			got[topicPartition{t.Topic, p.Partition}] = p.Offset
		}
	}
	if len(got) == 0 && firstErr != nil {
		return nil, firstErr
	}
	return got, nil
}

// groupCall sends a request to the group's coordinator, which it looks up once and again after failures.
func (c *Consumer) groupCall(ctx context.Context, msg protocol.Message) (protocol.Message, error) {
	id := c.coordinator.Load()
	if id < 0 {
		found, err := c.call(ctx, &findcoordinator.Request{Key: c.cfg.Group})
		if err != nil {
			return nil, fmt.Errorf("looking up the group's coordinator: %w", err)
		}
		res := found.(*findcoordinator.Response)
		if res.ErrorCode != 0 {
			return nil, fmt.Errorf("looking up the group's coordinator: %w", denied(kafka.Error(res.ErrorCode), "group "+c.cfg.Group, "Describe"))
		}
		id = res.NodeID
		c.coordinator.Store(id)
	}
	res, err := c.call(ctx, &directed{Message: msg, broker: id, clientID: c.cfg.ClientID})
	if err != nil {
		c.coordinator.CompareAndSwap(id, -1)
	}
	return res, err
}

// coordinatorMoved looks for the coordinator anew if a code means that it is another broker now.
func (c *Consumer) coordinatorMoved(code kafka.Error) {
	if errors.Is(code, kafka.NotCoordinatorForGroup) || errors.Is(code, kafka.GroupCoordinatorNotAvailable) {
		c.coordinator.Store(-1)
	}
}
