package join_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"eventworker/internal/insightsfake"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

var errStore = errors.New("the store fails")

type flaky struct {
	querystore.Section
	r                      *rand.Rand
	p                      float64
	walk, click, imp, mark bool
	fails                  int
}

func (f *flaky) fail(on bool) bool {
	if on && f.r.Float64() < f.p {
		f.fails++
		return true
	}
	return false
}
func (f *flaky) Walk(u []byte, v func(*querystore.Record) bool) error {
	if f.fail(f.walk) {
		return errStore
	}
	return f.Section.Walk(u, v)
}
func (f *flaky) AddClick(u []byte, v *querystore.Click) error {
	if f.fail(f.click) {
		return errStore
	}
	return f.Section.AddClick(u, v)
}
func (f *flaky) AddImpression(u []byte, v *querystore.Impression) error {
	if f.fail(f.imp) {
		return errStore
	}
	return f.Section.AddImpression(u, v)
}
func (f *flaky) AddMark(u []byte, v *querystore.Mark) error {
	if f.fail(f.mark) {
		return errStore
	}
	return f.Section.AddMark(u, v)
}

func TestAStoreThatFailsNowAndThenChangesNoAnswer(t *testing.T) {
	for _, kind := range []string{"walk", "click", "imp", "mark", "click-dedupeclicks"} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s-%d", kind, seed), func(t *testing.T) {
				rules := storefront.DefaultRules()
				rules.RefusedObjects = nil
				if kind == "click-dedupeclicks" {
					rules.DedupeTypes = []string{"clicked", "addedToCart", "purchased"}
				}
				cfg := storefront.Config{Seed: seed, Messages: 6000, Partitions: 1, Users: 8, Late: 0.1, OutOfOrder: 0.3, Skewed: 0.2, Copies: 0.2, Rules: rules}
				log, truth, c := logOf(t, cfg)
				a := &api{t: t, fake: insightsfake.New(insightsfake.Options{Keep: true, KeepEvents: 100_000})}
				j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
				store := querystore.NewMemory(querystore.Options{Memory: 256 << 20})
				defer func() { _ = store.Close() }()
				section, err := store.Open(0)
				if err != nil {
					t.Fatal(err)
				}
				f := &flaky{Section: section, r: rand.New(rand.NewPCG(seed, 1)), p: 0.03}
				switch kind {
				case "walk":
					f.walk = true
				case "click", "click-dedupeclicks":
					f.click = true
				case "imp":
					f.imp = true
				case "mark":
					f.mark = true
				}
				task := join.NewTask(configOf(c.Rules), f, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
				task.Clock(c.Rules.Now)
				retry := func(do func() error) {
					for do() != nil {
					}
				}
				out := func() {
					for len(j.claimed) > 0 {
						seq := j.claimed[0]
						j.claimed = j.claimed[1:]
						retry(func() error { return task.Outcome(seq, true) })
					}
				}
				for i := range log[0] {
					m := &log[0][i]
					msg := join.Message{Offset: int64(i), Time: m.Time, Key: m.Key, Value: m.Value}
					j.kept[m.Seq] = msg
					retry(func() error { return task.Handle(0, m.Seq, msg) })
					if i%10 == 9 {
						out()
						retry(task.EndChunk)
						a.post(task)
					}
				}
				retry(func() error { return task.AtEnd(0, true) })
				retry(func() error { return task.Tick(c.Rules.Now + 3600_000) })
				out()
				a.post(task)
				if n := task.Waiting(); n > 0 {
					t.Errorf("%d messages wait after the end of the log", n)
				}
				arrived := storefront.Arrived{Accepted: a.fake.Accepted(), DeadLetters: j.letters}
				report := truth.Compare(arrived, 2)
				t.Logf("fails %d matches %v", f.fails, report.Matches())
				if !report.Matches() {
					t.Errorf("no match")
				}
			})
		}
	}
}
