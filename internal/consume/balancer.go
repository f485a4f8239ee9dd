package consume

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// balancerName is the protocol's name in the group. Members that do not know it, such as those of an
// older version, make the group fall back to range, which also keeps tasks together as long as all
// members read the same topics with the same number of partitions.
const balancerName = "eventworker-tasks-v1"

// rangeBalancer is the library's range over partitions in order. The library takes them in the order of
// the brokers' metadata, which differs by topic, and so would split tasks.
type rangeBalancer struct{ kafka.RangeGroupBalancer }

// AssignGroups implements kafka.GroupBalancer.
func (r rangeBalancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	partitions = slices.Clone(partitions)
	slices.SortFunc(partitions, func(a, b kafka.Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
	})
	return r.RangeGroupBalancer.AssignGroups(members, partitions)
}

// taskBalancer assigns whole tasks, the partitions of one number over all topics, and leaves a task
// with the member that had it last as far as an even share allows.
type taskBalancer struct {
	mu         sync.Mutex
	generation int32
	tasks      []int32
}

// remember keeps what this member has, for its next join.
func (b *taskBalancer) remember(generation int32, tasks []int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.generation, b.tasks = generation, tasks
}

// ProtocolName implements kafka.GroupBalancer.
func (*taskBalancer) ProtocolName() string { return balancerName }

const claimVersion = 1

// UserData implements kafka.GroupBalancer: version, generation, number of tasks, tasks.
func (b *taskBalancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data := []byte{claimVersion}
	data = binary.BigEndian.AppendUint32(data, uint32(b.generation))
	data = binary.BigEndian.AppendUint32(data, uint32(len(b.tasks)))
	for _, t := range b.tasks {
		data = binary.BigEndian.AppendUint32(data, uint32(t))
	}
	return data, nil
}

// claim is what a member says it had.
type claim struct {
	generation int32
	tasks      []int32
}

// decodeClaim reads UserData; what it does not understand claims nothing.
func decodeClaim(data []byte) (c claim) {
	be := binary.BigEndian
	if len(data) < 9 || data[0] != claimVersion || uint64(len(data)-9) != 4*uint64(be.Uint32(data[5:])) {
		return claim{}
	}
	c.generation = int32(be.Uint32(data[1:]))
	for data = data[9:]; len(data) > 0; data = data[4:] {
		c.tasks = append(c.tasks, int32(be.Uint32(data)))
	}
	return c
}

// AssignGroups implements kafka.GroupBalancer.
func (*taskBalancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	byTask := map[int32][]string{} // the topics that have a partition of this number
	topics := map[string]bool{}
	for _, p := range partitions {
		byTask[int32(p.ID)] = append(byTask[int32(p.ID)], p.Topic)
		topics[p.Topic] = true
	}
	result := kafka.GroupMemberAssignments{}
	for _, m := range members {
		result[m.ID] = map[string][]int{}
	}
	owners := spread(eligible(members, topics), slices.Sorted(maps.Keys(byTask)))
	for task, owner := range owners {
		for _, topic := range byTask[task] {
			if slices.Contains(owner.Topics, topic) {
				result[owner.ID][topic] = append(result[owner.ID][topic], int(task))
			}
		}
	}
	for _, byTopic := range result {
		for _, ps := range byTopic {
			slices.Sort(ps)
		}
	}
	return result
}

// eligible are the members that read all topics, or, if none does, those that read most. While a topic
// appears or goes, members differ in what they read until they looked again: a task that is split
// would join wrongly, one that waits for a moment loses nothing.
func eligible(members []kafka.GroupMember, topics map[string]bool) []kafka.GroupMember {
	most := 0
	reads := func(m kafka.GroupMember) (n int) {
		for _, t := range m.Topics {
			if topics[t] {
				n++
			}
		}
		return n
	}
	for _, m := range members {
		most = max(most, reads(m))
	}
	var out []kafka.GroupMember
	for _, m := range members {
		if reads(m) == most {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b kafka.GroupMember) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// spread gives each task an owner. Nobody has more than one task more than another, and as many tasks
// as this allows stay where they were. members are in order of their ids.
func spread(members []kafka.GroupMember, tasks []int32) map[int32]kafka.GroupMember {
	owners := map[int32]kafka.GroupMember{}
	if len(members) == 0 {
		return owners
	}
	claims := claimed(members, tasks)
	order := make([]int, len(members)) // those that had most first: they may keep one more
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(claims[b]) - len(claims[a]) })
	least, extra := len(tasks)/len(members), len(tasks)%len(members)
	quota := make([]int, len(members))
	for rank, i := range order {
		quota[i] = least
		if rank < extra {
			quota[i]++
		}
		for _, t := range claims[i][:min(len(claims[i]), quota[i])] {
			owners[t] = members[i]
			quota[i]--
		}
	}
	next := 0
	for _, t := range tasks {
		if _, taken := owners[t]; taken {
			continue
		}
		for quota[next] == 0 {
			next++
		}
		owners[t] = members[next]
		quota[next]--
	}
	return owners
}

// claimed gives, per member, the tasks that it had last, in order: where two claim one, the later
// generation is right, and of equal ones the first member.
func claimed(members []kafka.GroupMember, tasks []int32) [][]int32 {
	type holder struct {
		member     int
		generation int32
	}
	holders := map[int32]holder{}
	for i, m := range members {
		c := decodeClaim(m.UserData)
		for _, t := range c.tasks {
			if h, ok := holders[t]; !ok || c.generation > h.generation {
				holders[t] = holder{i, c.generation}
			}
		}
	}
	out := make([][]int32, len(members))
	for _, t := range tasks {
		if h, ok := holders[t]; ok {
			out[h.member] = append(out[h.member], t)
		}
	}
	return out
}
