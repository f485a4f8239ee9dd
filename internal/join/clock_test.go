package join_test

import (
	"fmt"
	"strings"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/storefront"
)

// A message of a storefront whose clock is ahead counts with its record's time, so that a log gives the same when it
// is read live and two hours later. What a producer with such a clock stamps the record itself with is another
// matter: docs/contract.md, section 9.
func TestAClockAheadInAMessageChangesNoAnswerBetweenLiveAndBacklog(t *testing.T) {
	answer := func(ahead int64) string {
		section := openMemory(t)
		a := &again{t: t, journal: &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}}
		a.task = join.NewTask(configOf(storefront.DefaultRules()), section, []join.SourceConfig{{Topic: "events", Shown: true, Clicked: true}}, a.journal)
		var all []string
		base := replayBase
		put := func(recordTime, now int64, value string) {
			m := a.next
			a.next++
			msg := join.Message{Offset: a.offsets[0], Time: recordTime, Key: []byte("u"), Value: []byte(value)}
			a.offsets[0]++
			a.journal.kept[m] = msg
			a.task.Clock(now + ahead) // live: now is when the record was written
			if err := a.task.Handle(0, m, msg); err != nil {
				t.Fatal(err)
			}
			all = append(all, a.sent()...)
		}
		put(base, base, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"products","objectID":"sku"}`, base))
		// ten minutes ahead by its own word, written 10 s later
		put(base+10_000, base+10_000, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"v","timestamp":%d,"index":"products","objectIDs":["x"]}`, base+610_000))
		// the impression comes late
		put(base+10_500, base+10_500, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"objectIDs":["sku"]}`, base-1000, hexID))
		put(base+60_000, base+60_000, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"v","timestamp":%d,"index":"products","objectIDs":["x"]}`, base+60_000))
		for _, e := range all {
			if strings.Contains(e, `"click"`) {
				return e
			}
		}
		return "none"
	}
	live, later := answer(0), answer(2*3600_000)
	// By the second record the click's miss is final, so the impression is too late for it.
	if live != later || live == "none" || strings.Contains(live, hexID) {
		t.Errorf("live:  %s\nlater: %s", live, later)
	}
}
