package consume

import (
	"fmt"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

func partitionsOf(counts map[string]int) (ps []kafka.Partition) {
	for topic, n := range counts {
		for i := range n {
			ps = append(ps, kafka.Partition{Topic: topic, ID: i})
		}
	}
	return ps
}

// TestTasksStayWholeEvenAndWhereTheyWere changes the membership at random and checks each assignment.
func TestTasksStayWholeEvenAndWhereTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := []string{"clicks", "replay", "shown"}[:rapid.IntRange(1, 3).Draw(t, "topics")]
		n := rapid.IntRange(1, 40).Draw(t, "partitions")
		counts := map[string]int{}
		for _, topic := range topics {
			counts[topic] = n
		}
		states := map[string]*taskBalancer{}
		before := map[int32]string{}
		for generation := range int32(rapid.IntRange(1, 6).Draw(t, "generations")) {
			for i := range 8 {
				id := fmt.Sprintf("m%d", i)
				if rapid.Bool().Draw(t, "here") {
					if states[id] == nil {
						states[id] = &taskBalancer{}
					}
				} else if len(states) > 1 {
					delete(states, id)
				}
			}
			var members []kafka.GroupMember
			for id, state := range states {
				data, err := state.UserData()
				if err != nil {
					t.Fatal(err)
				}
				members = append(members, kafka.GroupMember{ID: id, Topics: topics, UserData: data})
			}
			if len(members) == 0 {
				continue
			}
			result := (&taskBalancer{}).AssignGroups(members, partitionsOf(counts))
			owners := map[int32]string{}
			least, most, stayed := n, 0, 0
			for _, m := range members {
				var tasks []int32
				for _, p := range result[m.ID][topics[0]] {
					if owners[int32(p)] != "" {
						t.Fatalf("task %d has two owners", p)
					}
					owners[int32(p)] = m.ID
					tasks = append(tasks, int32(p))
				}
				for _, topic := range topics {
					if !slices.Equal(result[m.ID][topic], result[m.ID][topics[0]]) {
						t.Fatalf("%s has %v of %s and %v of %s", m.ID, result[m.ID][topic], topic, result[m.ID][topics[0]], topics[0])
					}
				}
				least, most = min(least, len(tasks)), max(most, len(tasks))
				states[m.ID].remember(generation+1, tasks)
			}
			if len(owners) != n {
				t.Fatalf("%d of %d tasks have an owner", len(owners), n)
			}
			if most-least > 1 {
				t.Fatalf("one member has %d tasks, another %d", most, least)
			}
			// As many tasks stay as an even share allows: at least min(had, floor) of each member.
			had := map[string]int{}
			for task, owner := range before {
				if states[owner] != nil {
					had[owner]++
				}
				if owners[task] == owner {
					stayed++
				}
			}
			want := 0
			for _, k := range had {
				want += min(k, n/len(members))
			}
			if stayed < want {
				t.Fatalf("%d tasks stayed, at least %d could", stayed, want)
			}
			before = owners
		}
	})
}

func TestTheLaterClaimWins(t *testing.T) {
	old, young := &taskBalancer{}, &taskBalancer{}
	old.remember(3, []int32{0, 1})
	young.remember(5, []int32{0, 1})
	a, _ := old.UserData()
	b, _ := young.UserData()
	members := []kafka.GroupMember{{ID: "a", Topics: []string{"t"}, UserData: a}, {ID: "b", Topics: []string{"t"}, UserData: b}, {ID: "c", Topics: []string{"t"}, UserData: []byte("garbage")}}
	got := (&taskBalancer{}).AssignGroups(members, partitionsOf(map[string]int{"t": 3}))
	if len(got["b"]["t"]) != 1 || got["b"]["t"][0] > 1 {
		t.Errorf("b has %v, want one of its own tasks", got["b"]["t"])
	}
	if len(got["a"]["t"]) != 1 || len(got["c"]["t"]) != 1 {
		t.Errorf("a has %v and c has %v, want one each", got["a"]["t"], got["c"]["t"])
	}
}

// TestNoTaskIsSplitWhileATopicAppears: a member that does not read it yet gets no task.
func TestNoTaskIsSplitWhileATopicAppears(t *testing.T) {
	members := []kafka.GroupMember{{ID: "a", Topics: []string{"clicks"}}, {ID: "b", Topics: []string{"clicks", "shown"}}}
	got := (&taskBalancer{}).AssignGroups(members, partitionsOf(map[string]int{"clicks": 4, "shown": 4}))
	if len(got["a"]) != 0 || len(got["b"]["clicks"]) != 4 || len(got["b"]["shown"]) != 4 {
		t.Errorf("assignment %v", got)
	}
}

// TestRangeKeepsTasksWhole whatever the order of the brokers' metadata.
func TestRangeKeepsTasksWhole(t *testing.T) {
	topics := []string{"clicks", "shown"}
	members := []kafka.GroupMember{{ID: "a", Topics: topics}, {ID: "b", Topics: topics}}
	var ps []kafka.Partition
	for _, id := range []int{2, 0, 3, 1} {
		ps = append(ps, kafka.Partition{Topic: "clicks", ID: id}, kafka.Partition{Topic: "shown", ID: 3 - id})
	}
	got := rangeBalancer{}.AssignGroups(members, ps)
	for _, m := range members {
		if !slices.Equal(got[m.ID]["clicks"], got[m.ID]["shown"]) || len(got[m.ID]["clicks"]) != 2 {
			t.Errorf("%s has %v", m.ID, got[m.ID])
		}
	}
}

func TestSplitTasksAreSeen(t *testing.T) {
	g := &Generation{layout: &layout{counts: map[string]int{"clicks": 4, "shown": 4}}}
	g.Tasks = []*Task{{Number: 0, Partitions: []*Partition{{}, {}}}, {Number: 1, Partitions: []*Partition{{}}}}
	if n := g.splitTasks(); n != 1 {
		t.Errorf("%d split tasks, want 1", n)
	}
}

func FuzzDecodeClaim(f *testing.F) {
	b := &taskBalancer{}
	b.remember(7, []int32{1, 2, 3})
	data, _ := b.UserData()
	f.Add(data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if c := decodeClaim(data); len(c.tasks) > len(data)/4 {
			t.Errorf("%d tasks from %d bytes", len(c.tasks), len(data))
		}
	})
}
