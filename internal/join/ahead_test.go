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

// distant is a section across a network that may fail: it counts the round trips that nobody foresaw, and
// knows what is not acknowledged yet.
type distant struct {
	querystore.Section
	random     *rand.Rand
	failing    float64
	known      map[string]bool
	unsaved    int
	trips      int
	walks      int
	unexpected int
}

func (d *distant) fails() bool { return d.random.Float64() < d.failing }

func (d *distant) Prefetch(keys [][]byte) error {
	if d.trips++; d.fails() {
		return errStore
	}
	d.known = make(map[string]bool)
	for _, key := range keys {
		d.known[string(key)] = true
	}
	return nil
}

func (d *distant) Flush() error {
	if d.trips++; d.fails() {
		return errStore
	}
	d.unsaved = 0
	return nil
}

func (d *distant) Walk(key []byte, visit func(*querystore.Record) bool) error {
	d.walks++
	if !d.known[string(key)] {
		if d.unexpected++; d.fails() {
			return errStore
		}
	}
	return d.Section.Walk(key, visit)
}

func (d *distant) AddImpression(user []byte, v *querystore.Impression) error {
	d.unsaved++
	return d.Section.AddImpression(user, v)
}

func (d *distant) AddClick(user []byte, v *querystore.Click) error {
	d.unsaved++
	return d.Section.AddClick(user, v)
}

func (d *distant) AddMark(user []byte, v *querystore.Mark) error {
	d.unsaved++
	return d.Section.AddMark(user, v)
}

var _ querystore.Remote = (*distant)(nil)

// A store across a network gives every answer that one at hand gives, few look-ups cost a round trip of their
// own, and nothing is handed on before what it left is acknowledged.
func TestAStoreAcrossANetworkIsReadAheadAndChangesNoAnswer(t *testing.T) {
	for seed := range uint64(3) {
		for _, failing := range []float64{0, 0.1} {
			t.Run(fmt.Sprintf("seed %d, failing %v", seed, failing), func(t *testing.T) {
				rules := storefront.DefaultRules()
				rules.RefusedObjects = nil
				log, truth, c := logOf(t, storefront.Config{Seed: seed, Messages: 6000, Partitions: 1, Users: 60, Late: 0.1, OutOfOrder: 0.3, Skewed: 0.2, Copies: 0.2, Rules: rules})
				store := querystore.NewMemory(querystore.Options{Memory: 256 << 20})
				defer func() { _ = store.Close() }()
				section, err := store.Open(0)
				if err != nil {
					t.Fatal(err)
				}
				d := &distant{Section: section, random: rand.New(rand.NewPCG(seed, 3)), failing: failing}
				j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
				a := &api{t: t, fake: insightsfake.New(insightsfake.Options{Keep: true, KeepEvents: 100_000})}
				playRemote(t, configOf(c.Rules), d, log[0], c.Rules.Now, a, j)
				if report := truth.Compare(storefront.Arrived{Accepted: a.fake.Accepted(), DeadLetters: j.letters}, 2); !report.Matches() {
					t.Error("the answers are not those of the contract")
				}
				if d.walks < 2000 || d.unexpected > d.walks/100 {
					t.Errorf("%d of %d walks cost a round trip of their own", d.unexpected, d.walks)
				}
			})
		}
	}
}

// playRemote runs a partition through a task whose section is remote, as its runner would.
func playRemote(t *testing.T, c *join.Config, d *distant, log []storefront.Message, now int64, a *api, j *journal) {
	t.Helper()
	task := join.NewTask(c, d, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
	task.Clock(now)
	if !task.Remote() {
		t.Fatal("the task does not see that its section is remote")
	}
	retry := func(do func() error) {
		for err := do(); err != nil; err = do() {
			if !errors.Is(err, errStore) {
				t.Fatal(err)
			}
		}
	}
	handOn := func() {
		retry(task.EndChunk)
		if d.unsaved > 0 {
			t.Fatalf("%d effects are not acknowledged after EndChunk", d.unsaved)
		}
		a.post(task)
		for len(j.claimed) > 0 {
			seq := j.claimed[0]
			j.claimed = j.claimed[1:]
			retry(func() error { return task.Outcome(seq, true) })
		}
		retry(task.EndChunk)
	}
	const size = 200
	for first := 0; first < len(log); first += size {
		chunk := log[first:min(first+size, len(log))]
		record := func(k int) join.Message {
			return join.Message{Offset: int64(first + k), Time: chunk[k].Time, Key: chunk[k].Key, Value: chunk[k].Value}
		}
		retry(func() error { return task.Prefetch(0, len(chunk), record) })
		for k := range chunk {
			j.kept[chunk[k].Seq] = record(k)
			retry(func() error { return task.Handle(0, chunk[k].Seq, record(k)) })
		}
		handOn()
	}
	retry(func() error { return task.AtEnd(0, true) })
	retry(func() error { return task.Tick(now + 3600_000) })
	for len(j.claimed) > 0 {
		handOn()
	}
	handOn()
	if n := task.Waiting(); n > 0 {
		t.Errorf("%d messages wait after the end of the log", n)
	}
}
