package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// script fails the next calls of AddClick.
type script struct {
	querystore.Section
	clickFail int
}

func (f *script) AddClick(u []byte, v *querystore.Click) error {
	if f.clickFail > 0 {
		f.clickFail--
		return errStore
	}
	return f.Section.AddClick(u, v)
}

// Two topics, shown behind: a click waits, and at the end of shown the store fails once.
func TestWhatWaitedForAnEndIsDecidedAfterTheStoreFailed(t *testing.T) {
	const base = int64(1_764_000_000_000)
	rules := storefront.DefaultRules()
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	store := querystore.NewMemory(querystore.Options{})
	defer func() { _ = store.Close() }()
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	f := &script{Section: section}
	task := join.NewTask(configOf(rules), f, []join.SourceConfig{{Topic: "clicks", Clicked: true}, {Topic: "shown", Shown: true}}, j)
	now := base + 10_000
	task.Clock(now)
	put := func(src int, seq uint64, off int64, at int64, v string) {
		j.kept[seq] = join.Message{Offset: off, Time: at, Key: []byte("u"), Value: []byte(v)}
		if err := task.Handle(src, seq, j.kept[seq]); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 1, 0, base, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":"%032s","objectIDs":["a"]}`, base, "1"))
	put(0, 2, 0, base+1000, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a","index":"products"}`, base+1000))
	if err := task.AtEnd(0, true); err != nil {
		t.Fatal(err)
	}
	f.clickFail = 1
	n := 0
	for { // as runner.retry does
		n++
		if err := task.AtEnd(1, true); err == nil {
			break
		}
	}
	for i := range int64(100) {
		task.Clock(now + i*3600_000)
		if err := task.Tick(now + i*3600_000); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("AtEnd called %d times; settled %v; waiting %d after 100 hours at the end", n, j.settled, task.Waiting())
	if task.Waiting() != 0 {
		t.Error("click waits for ever")
	}
}
