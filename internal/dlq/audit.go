package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Audit is the line that every action leaves that writes something.
type Audit struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	// Action is such as dlq.replay; Plan and Filter say on what.
	Action string `json:"action"`
	Plan   string `json:"plan,omitempty"`
	Filter string `json:"filter,omitempty"`
	Topic  string `json:"topic"`
	Target string `json:"target,omitempty"`
	Count  int64  `json:"count"`
	Note   string `json:"note,omitempty"`
	// Result is done, interrupted, stopped or failed.
	Result string `json:"result"`
}

// Line is the audit line as JSON, without a line feed.
func (a Audit) Line() []byte {
	a.Schema, a.Time = "eventworker.audit/v1", time.Now().UTC().Truncate(time.Millisecond)
	text, _ := json.Marshal(a) // plain values always marshal
	return text
}

// AuditTopic is a topic that keeps audit lines, in the order in which they were written: in its partition 0.
// Make it with [Desk.OpenAudit] and close it.
type AuditTopic struct {
	topic  string
	client *kafka.Client
	done   func()
}

// OpenAudit makes sure that the topic is there, before anything is done that would have to be written to it.
// It makes none: how long audit lines are kept is for others to say.
func (d *Desk) OpenAudit(ctx context.Context, topic string) (*AuditTopic, error) {
	client, done := d.Cluster.Client(topic)
	a := &AuditTopic{topic: topic, client: client, done: done}
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err == nil {
		err = meta.Topics[0].Error
	}
	if err != nil {
		done()
		return nil, fmt.Errorf("nothing was done, because the audit topic %s cannot be written: %w", topic, err)
	}
	return a, nil
}

// Write writes a line, with who did it as its key, and returns once all in-sync replicas have it. After an
// error it may be there.
func (a *AuditTopic) Write(ctx context.Context, by string, line []byte) error {
	keep, cancel := outlive(ctx)
	defer cancel()
	err := again(keep, func() error {
		res, err := a.client.Produce(keep, &kafka.ProduceRequest{Topic: a.topic, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(kafka.Record{Key: kafka.NewBytes([]byte(by)), Value: kafka.NewBytes(line)})})
		if err == nil {
			err = res.Error
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the audit line is not in topic %s: %w", a.topic, err)
	}
	return nil
}

// Close closes the connections.
func (a *AuditTopic) Close() { a.done() }
