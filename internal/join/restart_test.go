package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// A late click was already a miss when it was read. A worker that starts over at the click must not
// wait for what came after it.
func TestAMissIsBelievedNoLaterAfterARestart(t *testing.T) {
	const base = int64(1_764_000_000_000)
	shown := func(user, queryID string, at int64) []byte {
		return fmt.Appendf(nil, `{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"index":"products","queryID":"%032s","objectIDs":["a"]}`, user, at, queryID)
	}
	values := [][]byte{
		shown("other", "1", base+100_000),
		fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"late","timestamp":%d,"objectID":"a","index":"products"}`, base+50_000),
		shown("late", "2", base+49_000),
	}
	for _, start := range []int64{0, 1} {
		rules := storefront.DefaultRules()
		j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		store := querystore.NewMemory(querystore.Options{})
		section, err := store.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		task := join.NewTask(configOf(rules), section, []join.SourceConfig{{Topic: "t", Start: start, Progress: start * (base + 100_000), Shown: true, Clicked: true}}, j)
		task.Clock(base + 200_000)
		for i := start; i < 3; i++ {
			j.kept[uint64(i)] = join.Message{Offset: i, Time: base + 100_000, Key: []byte("late"), Value: values[i]}
			if err := task.Handle(0, uint64(i), j.kept[uint64(i)]); err != nil {
				t.Fatal(err)
			}
		}
		if task.Counters.Plain != 1 || task.Counters.Shown != 0 {
			t.Errorf("start %d: %d plain and %d matched, want the click plain", start, task.Counters.Plain, task.Counters.Shown)
		}
		_ = store.Close()
	}
}

// The section must not claim to have the effects of a message that may still leave a mark: another
// worker may deliver it.
func TestCoverageEndsAtTheFirstMessageThatMayStillLeaveAMark(t *testing.T) {
	const base = int64(1_764_000_000_000)
	cart := func(id string) []byte {
		return fmt.Appendf(nil, `{"type":"recommendation.addedToCart","id":%q,"userToken":"u","timestamp":%d,"index":"products","items":[{"objectID":"a","queryID":"%032d"}]}`, id, base, 1)
	}
	for _, firstDelivered := range []bool{false, true} {
		rules := storefront.DefaultRules()
		j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		store := querystore.NewMemory(querystore.Options{})
		section, err := store.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		task := join.NewTask(configOf(rules), section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
		task.Clock(base)
		covered := func(want int64) {
			t.Helper()
			if err := task.EndChunk(); err != nil {
				t.Fatal(err)
			}
			if got := section.Coverage(section.Source("t")).Applied; got != want {
				t.Errorf("the section covers up to %d, want %d", got, want)
			}
		}
		for i, id := range []string{"1", "2", "1", "3", ""} { // the third is a copy of the first
			j.kept[uint64(i)] = join.Message{Offset: int64(i), Time: base, Key: []byte("u"), Value: cart(id)}
			if err := task.Handle(0, uint64(i), j.kept[uint64(i)]); err != nil {
				t.Fatal(err)
			}
		}
		outcome := func(m uint64, delivered bool) {
			t.Helper()
			if err := task.Outcome(m, delivered); err != nil {
				t.Fatal(err)
			}
		}
		covered(0)
		outcome(1, true)
		covered(0)
		outcome(0, firstDelivered) // its copy goes its own way unless it was delivered
		if firstDelivered {
			covered(3)
		} else {
			covered(2)
			outcome(2, true)
			covered(3)
		}
		outcome(3, false)
		covered(5)
		_ = store.Close()
	}
}
