package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
)

// What is read again reaches back from the messages that are still to be delivered, not from now: after an outage
// of some days the oldest of them still find their impressions.
func TestAfterALongOutageARestoreReachesBackFromWhatIsStillUnread(t *testing.T) {
	w := newWorld(t)
	c := w.config(func(c *config.Config) { c.Store.Kind = "memory" })
	began := time.Now().Add(-70 * time.Hour).Truncate(time.Millisecond)
	at := func(after time.Duration, value string) *kgo.Record {
		return &kgo.Record{Topic: topic, Key: []byte("u"), Value: []byte(value), Timestamp: began.Add(after)}
	}
	first := w.start(c)
	w.send(at(0, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"objectIDs":["a"]}`, began.UnixMilli(), query)))
	first.settles(1)
	first.stop()
	w.send(at(time.Hour, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a"}`, began.Add(time.Hour).UnixMilli())),
		at(70*time.Hour, click("u", "b")))
	second := w.start(c)
	second.settles(2)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.EventType == "click" && e.ObjectIDs[0] == "a" && e.QueryID != query {
			t.Errorf("the click after the outage has queryID %q: its impression was not read again", e.QueryID)
		}
	}
}
