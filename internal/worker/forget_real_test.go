package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/config"
	"eventworker/internal/realtest"
)

// TestForgettingOnApacheKafka repeats with a real broker what the fake one shows: what others were told is
// learned from the state topic, which the first order makes, and the report says how long topics keep.
func TestForgettingOnApacheKafka(t *testing.T) {
	broker := realtest.Kafka(t)
	input := realtest.Topic(t, broker, 1, "retention.ms", "7200000")
	w := &world{t: t, dir: t.TempDir(), brokers: []string{broker}}
	w.startAPI(&setting{})
	cfg := func(folder string) *config.Config {
		return w.config(func(c *config.Config) {
			c.Kafka.Topics, c.Kafka.DeadLetterTopic, c.Kafka.ReplayTopic, c.Kafka.Group = []string{input}, input+".dead-letter", input+".replay", input
			c.Kafka.CreateTopics = true
			c.Store.Path += folder
		})
	}
	client := &kafka.Client{Addr: kafka.TCP(broker), Timeout: 10 * time.Second, Transport: &kafka.Transport{MetadataTopics: []string{input}}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	shown := shown("u", time.Now().Add(-time.Hour), "a")
	if _, err := client.Produce(t.Context(), &kafka.ProduceRequest{Topic: input, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Key: kafka.NewBytes([]byte("u")), Value: kafka.NewBytes([]byte(shown)), Time: time.Now().Add(-time.Hour)})}); err != nil {
		t.Fatal(err)
	}
	one := startWorker(t, cfg("-1"), Options{})
	one.settles(1)
	report := asked[ForgetReport](one, ForgetPath, `{"userToken":"u"}`, 200)
	if !report.Owner || !report.Shared || !report.Settled || report.Impressions != 1 {
		t.Errorf("%+v", report)
	}
	kept := map[string]int64{}
	for _, r := range report.Remains {
		kept[r.Place] = r.Seconds
	}
	if kept["topic "+input] != 7200 || kept["topic "+input+".dead-letter"] <= 0 {
		t.Errorf("what remains: %+v", report.Remains)
	}
	one.stop()
	two := startWorker(t, cfg("-2"), Options{})
	two.await("all read again", func() bool { return two.restored.Load() == 1 && two.restoring() == 0 })
	if h := asked[UserHistory](two, StoreUserPath, `{"userToken":"u","objectID":"a"}`, 200); len(h.Impressions) != 0 || h.Forgotten == nil {
		t.Errorf("the history came back: %+v", h)
	}
	for _, line := range two.warnings() {
		if strings.Contains(line, "learned") {
			t.Error(line)
		}
	}
	two.stop()
}
