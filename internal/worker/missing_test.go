package worker

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/telemetry"
)

// misspelt is a topic that nobody made.
const misspelt = "evnets"

// looksOften makes a worker look for topics more often than every 30 s.
func looksOften(t *testing.T) func(*Worker) {
	return func(w *Worker) {
		c := w.consumerConfig(nil, nil)
		c.RecheckInterval = 50 * time.Millisecond
		kafka, err := consume.New(c, w, w.log)
		if err != nil {
			t.Fatal(err)
		}
		w.kafka.CloseIdleConnections()
		w.kafka = kafka
	}
}

func TestAMisspeltInputTopicIsSeenEverywhereAlthoughTheReplayTopicExists(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config(func(c *config.Config) { c.Kafka.Topics = []string{misspelt} }))
	run.await("consuming", func() bool { return run.kafka.Status().State == "consuming" })
	run.unready("input topics: nothing is read of what does not exist (kafka.topics): " + misspelt)
	s := run.scrape()
	if s[telemetry.TopicsMissing] != 1 || s[telemetry.Ready] != 0 || s[telemetry.Live] != 1 {
		t.Errorf("missing %v, ready %v, live %v", s[telemetry.TopicsMissing], s[telemetry.Ready], s[telemetry.Live])
	}
	p := run.Page()
	if p.Level != "bad" || !strings.HasPrefix(p.Verdict, "Nothing to read; missing: input topic "+misspelt) || !slices.Equal(p.MissingTopics, []string{misspelt}) {
		t.Errorf("%s: %s, missing %v", p.Level, p.Verdict, p.MissingTopics)
	}
	if encoded, err := json.Marshal(p); err != nil || !strings.Contains(string(encoded), `"missing_topics":["`+misspelt+`"]`) {
		t.Errorf("%v %s", err, encoded)
	}
	run.stop()
}

func TestAMissingTopicAmongOthersMakesWorkersUnreadyUntilItAppears(t *testing.T) {
	w := newWorld(t)
	both := func(c *config.Config) { c.Kafka.Topics = []string{topic, "later"} }
	own := func(c *config.Config) { c.Store.Path += "-2" }
	runs := []*running{startWorker(t, w.config(both), Options{}, looksOften(t)), startWorker(t, w.config(both, own), Options{}, looksOften(t))}
	w.send(clicks("u", "a", 3)...)
	for _, run := range runs {
		run.unready("input topics: nothing is read of what does not exist (kafka.topics): later")
		if v := run.Page().Verdict; !strings.Contains(v, "missing: input topic later") || strings.Contains(v, topic) {
			t.Error(v)
		}
	}
	awaitFor(t, "the other topic's messages", func() bool { return len(w.accepted()) == 3 }, runs[0].lines)
	w.create("later", 1)
	for _, run := range runs {
		run.ready()
		if n := run.scrape()[telemetry.TopicsMissing]; n != 0 {
			t.Errorf("%v topics are missing", n)
		}
	}
	for _, run := range runs {
		run.stop()
	}
}

func TestTopicsThatAreCreatedMakeAWorkerReady(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{letters} })
	run := w.start(w.config(func(c *config.Config) { c.Kafka.CreateTopics = true }))
	run.ready()
	run.stop()
}

func TestAReplayTopicMayBeMissing(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{topic, letters} })
	run := w.start(w.config())
	run.ready()
	if p := run.Page(); len(p.MissingTopics) != 0 || p.Level != "ok" {
		t.Errorf("%s: %s %v", p.Level, p.Verdict, p.MissingTopics)
	}
	run.stop()
}
