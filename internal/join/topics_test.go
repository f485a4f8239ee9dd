package join_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"eventworker/internal/insightsfake"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// Each type has its topic, so that only event times relate a click to its impression. The partitions
// are read in random orders; each message must come to the same.
func TestTheOrderInWhichTopicsAreReadChangesNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rules := storefront.DefaultRules()
			rules.RefusedObjects = nil
			g, err := storefront.NewGenerator(storefront.Config{Seed: seed, Messages: 4000, Partitions: 1, Users: 60,
				ShownTopic: "shown", ClickedTopic: "clicked", Topic: "bought", Late: 0.1, OutOfOrder: 0.3, Skewed: 0.2, Rules: rules})
			if err != nil {
				t.Fatal(err)
			}
			logs := map[string][]storefront.Message{}
			for m := new(storefront.Message); g.Next(m); m = new(storefront.Message) {
				logs[m.Topic] = append(logs[m.Topic], *m)
			}
			first, most := readInOrder(t, g.Config().Rules, logs, rand.New(rand.NewPCG(seed, 1)), math.MaxInt)
			for order := range uint64(6) {
				room := math.MaxInt
				if order%2 == 1 {
					room = 20
				}
				next, waited := readInOrder(t, g.Config().Rules, logs, rand.New(rand.NewPCG(seed, 100+order)), room)
				if room < most && waited > 2*room {
					t.Errorf("order %d: %d messages waited although only what they need was read beyond %d; without that %d did", order, waited, room, most)
				}
				for d, n := range first {
					if next[d] != n {
						t.Fatalf("order %d: event %v came %d times, in the first order %d times", order, d, next[d], n)
					}
				}
				if len(next) != len(first) {
					t.Fatalf("order %d: %d different events, in the first order %d", order, len(next), len(first))
				}
			}
		})
	}
}

// readInOrder reads the topics in runs of random length from a random one, and gives the events. While more
// than room messages wait and no topic has come to its end, only sources that are needed are read; most is
// how many waited then.
func readInOrder(t *testing.T, rules storefront.Rules, logs map[string][]storefront.Message, random *rand.Rand, room int) (events map[insightsfake.Digest]int, most int) {
	t.Helper()
	a := &api{t: t, fake: insightsfake.New(insightsfake.Options{Keep: true})}
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	store := querystore.NewMemory(querystore.Options{Memory: 64 << 20})
	defer func() { _ = store.Close() }()
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	topics := slices.Sorted(maps.Keys(logs))
	var sources []join.SourceConfig
	for _, topic := range topics {
		sources = append(sources, join.SourceConfig{Topic: topic, Shown: topic == "shown", Clicked: topic == "clicked"})
	}
	task := join.NewTask(configOf(rules), section, sources, j)
	task.Clock(rules.Now)
	next := make([]int, len(topics))
	hear := func() {
		for len(j.claimed) > 0 {
			seq := j.claimed[0]
			j.claimed = j.claimed[1:]
			if err := task.Outcome(seq, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	for left := len(topics); left > 0; {
		i := random.IntN(len(topics))
		for range 1 + random.IntN(200) {
			if left == len(topics) {
				most = max(most, task.Waiting())
				if task.Waiting() > room {
					i = slices.IndexFunc(topics, func(topic string) bool { return task.Needs(slices.Index(topics, topic)) })
					if i < 0 {
						t.Fatalf("%d messages wait, and nothing is to be read for them", task.Waiting())
					}
				}
			}
			if next[i] == len(logs[topics[i]]) {
				break
			}
			m := &logs[topics[i]][next[i]]
			msg := join.Message{Offset: int64(next[i]), Time: m.Time, Key: m.Key, Value: m.Value}
			j.kept[m.Seq] = msg
			if err := task.Handle(i, m.Seq, msg); err != nil {
				t.Fatal(err)
			}
			hear()
			if next[i]++; next[i] == len(logs[topics[i]]) {
				left--
				if left > 0 {
					continue
				}
			}
		}
		a.post(task)
	}
	// Only when all is read are the ends known, as after an outage.
	for i := range topics {
		if err := task.AtEnd(i, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.Tick(rules.Now + 3600_000); err != nil {
		t.Fatal(err)
	}
	hear()
	a.post(task)
	if n := task.Waiting(); n > 0 {
		t.Errorf("%d messages wait after the end of the log", n)
	}
	events = map[insightsfake.Digest]int{}
	a.fake.Accepted().Each(func(d insightsfake.Digest, n int) { events[d] = n })
	return events, most
}

func TestMessagesOutOfTheirUsersWayAreCounted(t *testing.T) {
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	store := querystore.NewMemory(querystore.Options{})
	defer func() { _ = store.Close() }()
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	expects := func(key []byte) bool { return string(key) != "elsewhere" }
	task := join.NewTask(configOf(storefront.DefaultRules()), section, []join.SourceConfig{{Topic: "t", Shown: true, Expects: expects}}, j)
	task.Clock(1_764_000_000_000)
	for i, m := range []struct{ key, user string }{{"a", "a"}, {"b", "a"}, {"elsewhere", "elsewhere"}, {"", "a"}} {
		value := fmt.Appendf(nil, `{"type":"recommendation.shown","userToken":%q,"timestamp":1764000000000,"objectIDs":["x"],"index":"products"}`, m.user)
		if err := task.Handle(0, uint64(i), join.Message{Offset: int64(i), Time: 1_764_000_000_000, Key: []byte(m.key), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if task.Counters.NotKeyed != 2 || task.Counters.WrongPartition != 1 {
		t.Errorf("%d not keyed and %d in a wrong partition, want 2 and 1", task.Counters.NotKeyed, task.Counters.WrongPartition)
	}
}
