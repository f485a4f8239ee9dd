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

// Topics are read by tasks that end on the way, each topic at another time, and begin again where they were
// settled. With the steps of the task before, or with a stretch of each topic read again for its times, every
// message sees of the other topics what it would have seen without the break.
func TestABreakChangesNoAnswerOfSeveralTopics(t *testing.T) {
	for _, known := range []bool{true, false} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("steps known %v, seed %d", known, seed), func(t *testing.T) {
				rules := storefront.DefaultRules()
				rules.RefusedObjects = nil
				g, err := storefront.NewGenerator(storefront.Config{Seed: seed, Messages: 3000, Partitions: 1, Users: 30,
					ShownTopic: "shown", ClickedTopic: "clicked", Topic: "bought", Late: 0.2, OutOfOrder: 0.4, Skewed: 0.2, Rules: rules})
				if err != nil {
					t.Fatal(err)
				}
				logs := map[string][]storefront.Message{}
				for m := new(storefront.Message); g.Next(m); m = new(storefront.Message) {
					logs[m.Topic] = append(logs[m.Topic], *m)
				}
				want, _ := readInOrder(t, g.Config().Rules, logs, rand.New(rand.NewPCG(seed, 1)), math.MaxInt)
				b := &broken{t: t, logs: logs, topics: slices.Sorted(maps.Keys(logs)), rules: g.Config().Rules, known: known, random: rand.New(rand.NewPCG(seed, 2))}
				got := b.read()
				if b.breaks < 5 {
					t.Fatalf("only %d breaks", b.breaks)
				}
				for d, n := range want {
					if got[d] == 0 {
						t.Fatalf("event %v did not come; without a break it came %d times", d, n)
					}
				}
				if len(got) != len(want) {
					t.Fatalf("%d different events, without a break %d", len(got), len(want))
				}
			})
		}
	}
}

// broken reads topics with breaks.
type broken struct {
	t       *testing.T
	logs    map[string][]storefront.Message
	topics  []string
	rules   storefront.Rules
	known   bool
	random  *rand.Rand
	breaks  int
	section querystore.Section
}

func (b *broken) read() map[insightsfake.Digest]int {
	a := &api{t: b.t, fake: insightsfake.New(insightsfake.Options{Keep: true})}
	b.section = openMemory(b.t)
	n := len(b.topics)
	deliver, progress, steps := make([]int64, n), make([][]int64, n), make([][]join.Step, n)
	for i, topic := range b.topics {
		progress[i] = make([]int64, len(b.logs[topic])+1)
	}
	for {
		j := &journal{t: b.t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		var from []join.SourceConfig
		next := slices.Clone(deliver)
		for i, topic := range b.topics {
			c := join.SourceConfig{Topic: topic, Start: deliver[i], Deliver: deliver[i], Progress: progress[i][deliver[i]], Shown: topic == "shown", Clicked: topic == "clicked"}
			if b.known {
				c.Steps = steps[i]
			} else {
				c.Start = 0 // as far back as can be
			}
			next[i] = c.Start
			from = append(from, c)
		}
		task := join.NewTask(configOf(b.rules), b.section, from, j)
		task.Clock(b.rules.Now)
		if b.run(task, j, a, next, deliver, progress) {
			events := map[insightsfake.Digest]int{}
			a.fake.Accepted().Each(func(d insightsfake.Digest, n int) { events[d] = n })
			return events
		}
		b.breaks++
		for i, topic := range b.topics { // what is settled from the beginning on is committed
			steps[i] = task.Steps(i)
			for deliver[i] < next[i] && j.settled[b.logs[topic][deliver[i]].Seq] != "" {
				deliver[i]++
			}
		}
	}
}

// run reads until a break, or to the end, of which it tells.
func (b *broken) run(task *join.Task[uint64], j *journal, a *api, next, deliver []int64, progress [][]int64) (ended bool) {
	b.t.Helper()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	hear := func() {
		for len(j.claimed) > 0 {
			seq := j.claimed[0]
			j.claimed = j.claimed[1:]
			must(task.Outcome(seq, true))
		}
		must(task.EndChunk())
		a.post(task)
	}
	left := 300 + b.random.IntN(600)
	for left > 0 {
		i := b.random.IntN(len(b.topics))
		for range 1 + b.random.IntN(100) {
			log := b.logs[b.topics[i]]
			if next[i] == int64(len(log)) {
				break
			}
			m := &log[next[i]]
			msg := join.Message{Offset: next[i], Time: m.Time, Key: m.Key, Value: m.Value}
			j.kept[m.Seq] = msg
			if next[i] >= deliver[i] {
				progress[i][next[i]] = task.Progress(i)
			}
			must(task.Handle(i, m.Seq, msg))
			if next[i]++; next[i] >= deliver[i] {
				progress[i][next[i]] = task.Progress(i)
				left--
			}
		}
		hear()
		if !slices.ContainsFunc(b.topics, func(topic string) bool { return next[slices.Index(b.topics, topic)] < int64(len(b.logs[topic])) }) {
			for i := range b.topics {
				must(task.AtEnd(i, true))
			}
			must(task.Tick(b.rules.Now + 3600_000))
			hear()
			return true
		}
	}
	return false
}
