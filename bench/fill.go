package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/realtest/servers"
)

// A log is a topic that is filled.
type log struct {
	*traffic
	Topic    string
	Bytes    int64 // of all values
	Events   int64 // Insights events that come of all messages
	marks    [2]int64
	Measured int // messages between the marks
}

// fill makes the topics of a traffic and produces all its messages. Its marks are the Insights
// events of the messages before those that are measured, and until their end: the first and the
// last fiftieth after the history count as start and end of the run.
func fill(ctx context.Context, addr string, t *traffic, history int, codec kgo.CompressionCodec) (*log, error) {
	l := &log{traffic: t, Topic: fmt.Sprintf("bench-%s-%d", t.Name, time.Now().UnixMilli())}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(50*time.Millisecond),
		kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(64<<10), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := l.create(ctx, addr); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	edge := (t.Messages - history) / 50
	var r record
	for i := range t.all() {
		switch i {
		case history + edge:
			l.marks[0] = l.Events
		case t.Messages - edge:
			l.marks[1] = l.Events
		}
		t.at(&r, i)
		l.Bytes += int64(len(r.Value))
		l.Events += int64(r.Events)
		memory := append(append(make([]byte, 0, len(r.Key)+len(r.Value)), r.Key...), r.Value...)
		client.Produce(ctx, &kgo.Record{Topic: l.Topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Time),
			Key: memory[:len(r.Key)], Value: memory[len(r.Key):]}, func(_ *kgo.Record, err error) {
			if err != nil {
				stop(err)
			}
		})
	}
	l.Measured = t.Messages - history - 2*edge
	if err := client.Flush(ctx); err != nil {
		return nil, fmt.Errorf("fill %s: %w", l.Topic, context.Cause(ctx))
	}
	return l, context.Cause(ctx)
}

func (l *log) deadLetters() string { return l.Topic + ".dead-letter" }
func (l *log) replays() string     { return l.Topic + ".replay" }

func (l *log) topics() []string { return []string{l.Topic, l.deadLetters(), l.replays()} }

// create makes the topics and waits until they can be written.
func (l *log) create(ctx context.Context, addr string) error {
	client, done := adminClient(addr)
	defer done()
	var req kafka.CreateTopicsRequest
	for _, topic := range l.topics() {
		req.Topics = append(req.Topics, kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1})
	}
	res, err := client.CreateTopics(ctx, &req)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for topic, err := range res.Errors {
		if err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	for {
		err := servers.LeadersReady(ctx, client, l.topics()...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the topics do not get ready: %w", err)
		case <-time.After(tick):
		}
	}
}

// remove deletes the topics, which matters to a broker that goes on running.
func (l *log) remove(ctx context.Context, addr string) error {
	client, done := adminClient(addr)
	defer done()
	_, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: l.topics()})
	return err
}

func adminClient(addr string) (client *kafka.Client, done func()) {
	transport := &kafka.Transport{MetadataTTL: time.Second}
	return &kafka.Client{Addr: kafka.TCP(addr), Transport: transport, Timeout: 30 * time.Second}, transport.CloseIdleConnections
}
