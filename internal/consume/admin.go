package consume

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
)

// Admin looks at a group, and moves its offsets, from outside. Make it with [NewAdmin] and close it.
type Admin struct{ c *Consumer }

// NewAdmin makes an Admin of cfg's group and input topics. It does not connect yet.
func NewAdmin(cfg Config) (*Admin, error) {
	c, err := New(cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Admin{c}, nil
}

// Close closes the connections.
func (a *Admin) Close() {
	a.c.transport.CloseIdleConnections()
	a.c.connections.closeAll()
}

// Group is the state of a consumer group and its input topics.
type Group struct {
	// State is Kafka's word, such as Stable, PreparingRebalance, Empty or Dead; Dead is also a group that
	// never was.
	State   string
	Members []GroupMember
	// Partitions are those of the input topics that exist, in order of topic and number.
	Partitions []GroupPartition
	// MissingTopics are input topics that do not exist.
	MissingTopics []string
}

// Active says whether the group has members, or may have: nothing may be moved under them.
func (g *Group) Active() bool { return g.State != "Empty" && g.State != "Dead" || len(g.Members) > 0 }

// GroupMember is one member of a group.
type GroupMember struct{ ID, Client, Host string }

// GroupPartition is a partition as the group and the log see it.
type GroupPartition struct {
	Topic     string
	Partition int32
	// Owner is the id of the member that it is assigned to; empty: none.
	Owner string
	// Committed is the group's offset, -1: none. Metadata was committed with it.
	Committed int64
	Metadata  string
	// Start is the first offset that is there, End the last stable offset; both -1 where the leader
	// does not tell.
	Start, End int64
}

// Group asks the brokers.
func (a *Admin) Group(ctx context.Context) (*Group, error) {
	l, err := a.c.readLayout(ctx)
	if err != nil {
		return nil, a.explain(err)
	}
	g := &Group{MissingTopics: l.missing}
	owners, err := a.describe(ctx, g)
	if err != nil {
		return nil, a.explain(err)
	}
	tps := slices.SortedFunc(maps.Keys(l.leaders), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	commits, err := a.c.committed(ctx, tps)
	if err != nil {
		return nil, a.explain(err)
	}
	known, err := a.c.bounds(ctx, tps, true)
	if err != nil && ctx.Err() != nil {
		return nil, a.explain(err)
	}
	for _, tp := range tps {
		p := GroupPartition{Topic: tp.topic, Partition: tp.partition, Owner: owners[tp], Committed: -1, Start: -1, End: -1}
		if cm, ok := commits[tp]; ok {
			p.Committed, p.Metadata = cm.offset, cm.metadata
		}
		if b, ok := known[tp]; ok {
			p.Start, p.End = b.start, b.stable
		}
		g.Partitions = append(g.Partitions, p)
	}
	return g, nil
}

// describe asks for the group's state and members, and gives the owner of each partition.
func (a *Admin) describe(ctx context.Context, g *Group) (owners map[topicPartition]string, err error) {
	msg, err := a.c.groupCall(ctx, &describegroups.Request{Groups: []string{a.c.cfg.Group}})
	if err != nil {
		return nil, fmt.Errorf("describe the group: %w", err)
	}
	res := msg.(*describegroups.Response)
	if len(res.Groups) != 1 {
		return nil, errors.New("describe the group: the coordinator does not name it")
	}
	described := &res.Groups[0]
	g.State = described.GroupState
	owners = map[topicPartition]string{}
	switch code := kafka.Error(described.ErrorCode); {
	case code == kafka.GroupIdNotFound: // some brokers say this, others that it is dead
		g.State = "Dead"
		return owners, nil
	case code != 0:
		a.c.coordinatorMoved(code)
		return nil, fmt.Errorf("describe the group: %w", denied(code, "group "+a.c.cfg.Group, "Describe"))
	}
	for i := range described.Members {
		m := &described.Members[i]
		g.Members = append(g.Members, GroupMember{m.MemberID, m.ClientID, m.ClientHost})
		for _, tp := range decodeAssignment(m.MemberAssignment) {
			owners[tp] = m.MemberID
		}
	}
	return owners, nil
}

// decodeAssignment reads what the group's leader assigned to a member, the beginning of which is alike
// in all versions of the consumer protocol. What it does not understand assigns nothing.
func decodeAssignment(b []byte) (tps []topicPartition) {
	be, failed := binary.BigEndian, false
	take := func(n int) []byte {
		if failed || n < 0 || n > len(b) {
			failed = true
			return make([]byte, 4)
		}
		head := b[:n]
		b = b[n:]
		return head
	}
	take(2) // version
	for range int32(be.Uint32(take(4))) {
		topic := string(take(int(int16(be.Uint16(take(2))))))
		for range int32(be.Uint32(take(4))) {
			tp := topicPartition{topic, int32(be.Uint32(take(4)))}
			if failed {
				return nil
			}
			tps = append(tps, tp)
		}
		if failed {
			return nil
		}
	}
	return tps
}

// explain says what to do about an error of the brokers.
func (a *Admin) explain(err error) error {
	_, err = classify(err, a.c.condition.on)
	return err
}

// OffsetsAt gives, for each partition, the offset of its first message with a record timestamp at or
// after a time, or its end where there is none.
func (a *Admin) OffsetsAt(ctx context.Context, partitions []GroupPartition, at time.Time) ([]int64, error) {
	l, err := a.c.readLayout(ctx)
	if err != nil {
		return nil, a.explain(err)
	}
	byLeader := map[int32][]topicPartition{}
	for _, p := range partitions {
		tp := topicPartition{p.Topic, p.Partition}
		byLeader[l.leaders[tp]] = append(byLeader[l.leaders[tp]], tp)
	}
	found := map[topicPartition]int64{}
	for leader, tps := range byLeader {
		offsets, err := a.c.listOffsets(ctx, leader, tps, listKind{max(at.UnixMilli(), 0), readCommitted})
		if err != nil {
			return nil, a.explain(err)
		}
		maps.Copy(found, offsets)
	}
	list := make([]int64, len(partitions))
	for i, p := range partitions {
		offset, ok := found[topicPartition{p.Topic, p.Partition}]
		if !ok {
			return nil, fmt.Errorf("the leader of %s/%d does not tell its offsets: %w", p.Topic, p.Partition, kafka.LeaderNotAvailable)
		}
		if offset < 0 || offset > p.End {
			offset = p.End
		}
		list[i] = offset
	}
	return list, nil
}

// ErrActive says that a group has members, so that its offsets may not be moved.
var ErrActive = errors.New("the group has active members")

// Reset commits an offset for each partition. The brokers refuse it while the group has members: then
// the error is [ErrActive], and nothing was moved.
func (a *Admin) Reset(ctx context.Context, partitions []GroupPartition, to []int64) error {
	now := &Group{}
	if _, err := a.describe(ctx, now); err != nil {
		return a.explain(err)
	}
	if now.Active() {
		return ErrActive
	}
	commits := map[topicPartition]commit{}
	for i, p := range partitions {
		commits[topicPartition{p.Topic, p.Partition}] = commit{offset: to[i]}
	}
	codes, err := a.c.commitAll(ctx, -1, "", commits)
	if err != nil {
		return a.explain(err)
	}
	var errs []error
	for tp, code := range codes {
		switch code {
		case 0:
		case kafka.UnknownMemberId, kafka.IllegalGeneration, kafka.RebalanceInProgress:
			return ErrActive
		default:
			errs = append(errs, fmt.Errorf("commit the offset of %s/%d: %w", tp.topic, tp.partition, denied(code, "topic "+tp.topic, "Read")))
		}
	}
	return a.explain(errors.Join(errs...))
}
