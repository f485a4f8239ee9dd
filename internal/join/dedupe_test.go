package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// Three messages of one id: the second lies outside the window of the first, the third inside that of
// the second. Whether outcomes are heard at once or after a backlog was read changes nothing.
func TestEachCopyIsHeldAgainstTheFirstWithinItsWindow(t *testing.T) {
	for _, early := range []bool{true, false} {
		const base = int64(1_764_000_000_000)
		rules := storefront.DefaultRules()
		j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		store := querystore.NewMemory(querystore.Options{})
		section, err := store.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		task := join.NewTask(configOf(rules), section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
		task.Clock(base + 27*3600_000)
		for i, h := range []int64{0, 25, 26} {
			at := base + h*3600_000
			j.kept[uint64(i)] = join.Message{Offset: int64(i), Time: at, Key: []byte("u"), Value: fmt.Appendf(nil, `{"type":"recommendation.addedToCart","id":"x","userToken":"u","timestamp":%d,"items":[{"objectID":"a","index":"products","queryID":"%032d"}]}`, at, 1)}
			if err := task.Handle(0, uint64(i), j.kept[uint64(i)]); err != nil {
				t.Fatal(err)
			}
			if early { // outcomes are heard at once
				for _, seq := range j.claimed {
					if err := task.Outcome(seq, true); err != nil {
						t.Fatal(err)
					}
				}
				j.claimed = nil
			}
		}
		for _, seq := range j.claimed { // a backlog: outcomes come after the reading
			if err := task.Outcome(seq, true); err != nil {
				t.Fatal(err)
			}
		}
		if j.settled[0] != "encoded" || j.settled[1] != "encoded" || j.settled[2] != "absorbed duplicate" {
			t.Errorf("outcomes heard at once: %v: %v", early, j.settled)
		}
		_ = store.Close()
	}
}

// The third of three messages lies in the window of the second only, which is a copy of the first.
func TestACopyOfACopyWaitsForWhatBecomesOfIt(t *testing.T) {
	for _, c := range []struct {
		firstDelivered bool
		want           string
	}{
		{true, "map[0:encoded 1:absorbed duplicate 2:encoded]"},
		{false, "map[0:encoded 1:encoded 2:absorbed duplicate]"},
	} {
		for _, early := range []bool{true, false} {
			j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
			task := join.NewTask(configOf(storefront.DefaultRules()), openMemory(t), []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
			task.Clock(replayBase + 27*3600_000)
			hear := func() {
				for len(j.claimed) > 0 {
					seq := j.claimed[0]
					j.claimed = j.claimed[1:]
					if err := task.Outcome(seq, seq > 0 || c.firstDelivered); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, h := range []int64{0, 13, 25} {
				at := replayBase + h*3600_000
				j.kept[uint64(i)] = join.Message{Offset: int64(i), Time: at, Key: []byte("u"), Value: fmt.Appendf(nil, `{"type":"recommendation.addedToCart","id":"x","userToken":"u","timestamp":%d,"items":[{"objectID":"a","index":"products","queryID":"%032d"}]}`, at, 1)}
				if err := task.Handle(0, uint64(i), j.kept[uint64(i)]); err != nil {
					t.Fatal(err)
				}
				if early {
					hear()
				}
			}
			hear()
			if got := fmt.Sprint(j.settled); got != c.want || task.Waiting() != 0 {
				t.Errorf("first delivered %v, outcomes heard at once %v: %s, %d wait; want %s", c.firstDelivered, early, got, task.Waiting(), c.want)
			}
		}
	}
}
