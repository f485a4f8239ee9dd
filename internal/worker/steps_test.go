package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/join"
)

// A click that is read after a restart, and lies before the restart point of the other topic, sees of that topic
// what it would have seen without the restart: not an impression that came too late.
func TestARestartDoesNotShowAClickWhatCameTooLateInAnotherTopic(t *testing.T) {
	const clicksTopic = "clicks"
	w := newWorld(t, func(s *setting) { s.topics = append(s.topics, clicksTopic) })
	c := w.config(func(c *config.Config) {
		c.Kafka.Topics, c.Kafka.ShownTopics, c.Kafka.ClickedTopics = []string{topic, clicksTopic}, []string{topic}, []string{clicksTopic}
	})
	base := time.Now().Add(-5 * time.Minute).Truncate(time.Millisecond)
	at := func(after time.Duration, topic, value string) *kgo.Record {
		return &kgo.Record{Topic: topic, Key: []byte("u"), Value: []byte(value), Timestamp: base.Add(after)}
	}
	list := func(user string, after time.Duration, n int, object string) string {
		return fmt.Sprintf(`{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"index":"products","queryID":"%032d","objectIDs":[%q]}`, user, base.Add(after).UnixMilli(), n, object)
	}
	clicked := func(after time.Duration, object string) string {
		return fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":%q}`, base.Add(after).UnixMilli(), object)
	}
	w.send(
		at(0, topic, list("u", 0, 1, "a")),
		at(20*time.Second, topic, list("v", 20*time.Second, 3, "x")),
		at(21*time.Second, topic, list("u", time.Second, 2, "a")), // late
		at(22*time.Second, topic, list("v", 22*time.Second, 4, "x")),
	)
	w.send(at(time.Second, clicksTopic, clicked(time.Second, "nothing")))
	for life := range 2 {
		first := w.start(c)
		first.settles(int64(5 - 4*life))
		if life == 0 {
			first.stop()
			w.send(at(5*time.Second, clicksTopic, clicked(5*time.Second, "a")))
			continue
		}
		if n := first.restored.Load(); n != 5 {
			t.Errorf("%d messages were read again, want all 5", n)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.EventType == "click" && e.ObjectIDs[0] == "a" && e.QueryID != fmt.Sprintf("%032d", 1) {
			t.Errorf("the click has queryID %q: that of an impression that came after %v had passed", e.QueryID, 5*time.Second)
		}
	}
}

func TestStepsWithAGapBeforeTheStartAreForgotten(t *testing.T) {
	steps := []join.Step{{Progress: 100, Next: 1}, {Progress: 200, Next: 5}, {Progress: 300, Next: 9}}
	for _, c := range []struct {
		start, progress int64
		want            int
	}{
		{0, 100, 0}, // nothing is known of what lies before
		{5, 200, 2}, {8, 200, 2}, {9, 300, 3}, {50, 300, 3},
		{50, 400, 0}, // somebody else read on
		{8, 300, 0},  // not what this worker saw
	} {
		if got := stepsUpTo(steps, c.start, c.progress); len(got) != c.want {
			t.Errorf("start %d, progress %d: %v, want %d steps", c.start, c.progress, got, c.want)
		}
	}
}
