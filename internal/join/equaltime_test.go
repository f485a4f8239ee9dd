package join_test

import (
	"fmt"
	"strings"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/storefront"
)

// With a click, its topic reaches the time of a purchase in another topic. The purchase waits for that click
// and takes what the click ends with, in whatever order the two are read.
func TestAPurchaseWaitsForAClickOfItsOwnTimeInEachOrderOfReading(t *testing.T) {
	const at = replayBase
	shown := func(user string, queryID int, object string, time int64) string {
		return fmt.Sprintf(`{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"index":"products","queryID":"%032d","model":"m%d","objectIDs":[%q]}`, user, time, queryID, queryID, object)
	}
	logs := [2][]string{
		{
			shown("u", 1, "b", at-10),
			fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"products","model":"m2","objectID":"b"}`, at),
			shown("u", 2, "b", at), // late: after the record that reached the purchase, before what decides the click
			shown("v", 3, "a", at+60_000),
		}, {
			fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"index":"products","items":[{"objectID":"b"}]}`, at),
			shown("v", 3, "a", at+60_000),
		},
	}
	for _, order := range [][]int{{1, 0, 0, 0, 0, 1}, {0, 0, 1, 0, 0, 1}, {0, 0, 0, 0, 1, 1}, {1, 1, 0, 0, 0, 0}} {
		j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		task := join.NewTask(configOf(storefront.DefaultRules()), openMemory(t), []join.SourceConfig{{Topic: "web", Shown: true, Clicked: true}, {Topic: "app", Shown: true, Clicked: true}}, j)
		task.Clock(at + 1000)
		var next [2]int
		for n, source := range order {
			msg := join.Message{Offset: int64(next[source]), Time: at + 60_000, Value: []byte(logs[source][next[source]])}
			next[source]++
			j.kept[uint64(n)] = msg
			if err := task.Handle(source, uint64(n), msg); err != nil {
				t.Fatal(err)
			}
		}
		var bought string
		for i := range task.Runs {
			for _, e := range task.Runs[i].Entries {
				if event := string(task.Runs[i].Buf[e.Start:e.End]); strings.Contains(event, `"purchase"`) {
					bought = event
				}
			}
		}
		if !strings.Contains(bought, fmt.Sprintf("%032d", 2)) {
			t.Errorf("read in the order %v, the purchase is %q", order, bought)
		}
	}
}
