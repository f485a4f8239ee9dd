package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// produce writes letters of one source partition and returns nil once all in-sync replicas have all
// of them. After any other outcome none, or all, may be there.
func (w *Writer) produce(ctx context.Context, source int32, batch []*letter) error {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	count, err := w.partitions(ctx)
	if err != nil {
		return err
	}
	res, err := w.client.Produce(ctx, &kafka.ProduceRequest{
		Topic:        w.cfg.Topic,
		Partition:    int(source) % count,
		RequiredAcks: kafka.RequireAll,
		// A record that fitted its own topic compressed must fit here, too.
		Compression: kafka.Lz4,
		Records:     &recordReader{letters: batch, now: time.Now()},
	})
	switch {
	case err != nil:
		return fmt.Errorf("write to topic %s: %w", w.cfg.Topic, err)
	case res.Error != nil:
		return fmt.Errorf("write to topic %s: %w", w.cfg.Topic, res.Error)
	}
	return nil
}

// partitions is the number of the topic's partitions. It is asked for each request, from the cached
// metadata, because a topic may grow or be made again.
func (w *Writer) partitions(ctx context.Context) (int, error) {
	count, err := w.lookUp(ctx)
	if w.cfg.CreateTopic && errors.Is(err, kafka.UnknownTopicOrPartition) {
		if err = w.create(ctx); err == nil {
			count, err = w.lookUp(ctx)
		}
	}
	return count, err
}

func (w *Writer) lookUp(ctx context.Context) (int, error) {
	meta, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{w.cfg.Topic}})
	if err != nil {
		return 0, fmt.Errorf("read metadata of topic %s: %w", w.cfg.Topic, err)
	}
	topic := &meta.Topics[0]
	switch {
	case errors.Is(topic.Error, kafka.UnknownTopicOrPartition):
		return 0, fmt.Errorf("dead-letter topic %s does not exist: create it, or set kafka.create_topics: %w", w.cfg.Topic, topic.Error)
	case topic.Error != nil:
		return 0, fmt.Errorf("dead-letter topic %s: %w", w.cfg.Topic, topic.Error)
	case len(topic.Partitions) == 0:
		return 0, fmt.Errorf("dead-letter topic %s has no partitions yet", w.cfg.Topic)
	}
	return len(topic.Partitions), nil
}

func (w *Writer) create(ctx context.Context) error {
	count := w.cfg.Partitions
	if count <= 0 {
		count = -1 // the broker's default
	}
	res, err := w.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic:             w.cfg.Topic,
		NumPartitions:     count,
		ReplicationFactor: -1,
	}}})
	if err == nil {
		err = res.Errors[w.cfg.Topic]
	}
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("create dead-letter topic %s: %w", w.cfg.Topic, err)
	}
	return nil
}

// recordReader hands letters to the library without copying them. Each request has its own, because
// the library may still read from one whose request has timed out.
type recordReader struct {
	letters []*letter
	now     time.Time
	next    int
	record  kafka.Record
	headers []kafka.Header
}

// ReadRecord returns the next letter as a record with the time of the request: retention and look-ups
// by time go by it.
func (r *recordReader) ReadRecord() (*kafka.Record, error) {
	if r.next == len(r.letters) {
		return nil, io.EOF
	}
	m := &r.letters[r.next].message
	r.next++
	r.headers = r.headers[:0]
	for i := range m.Headers {
		r.headers = append(r.headers, kafka.Header(m.Headers[i]))
	}
	r.record = kafka.Record{Time: r.now, Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: r.headers}
	return &r.record, nil
}

// tooLarge says that the broker's limit for a batch, and so for a record, was passed.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// refusesRecord says that the broker has something against a record itself: other letters may do.
// Every other failure concerns the topic or the way to it and passes, or is mended, in time.
func refusesRecord(err error) bool {
	return tooLarge(err) || errors.Is(err, kafka.InvalidRecord) || errors.Is(err, kafka.InvalidMessage) ||
		errors.Is(err, kafka.InvalidTimestamp)
}

// explain says of a letter that the broker refuses for itself what a person can do.
func (w *Writer) explain(ctx context.Context, one *letter, err error) string {
	if !tooLarge(err) {
		return fmt.Sprintf("%v: check the settings of topic %s", err, w.cfg.Topic)
	}
	limit := "its max.message.bytes"
	if settings, e := w.settings(ctx); e == nil && settings[maxMessageBytes] != "" {
		limit = maxMessageBytes + " is " + settings[maxMessageBytes]
	}
	return fmt.Sprintf("the record alone takes %d bytes, more than topic %s allows (%s): raise max.message.bytes of the topic to at least %d",
		one.size, w.cfg.Topic, limit, one.size+batchOverhead)
}

// batchOverhead is what a batch of one record takes besides the record.
const batchOverhead = 64

// The settings of the topic that matter here.
const (
	maxMessageBytes = "max.message.bytes"
	cleanupPolicy   = "cleanup.policy"
	retentionMs     = "retention.ms"
)

// settings are the topic's, by name.
func (w *Writer) settings(ctx context.Context) (map[string]string, error) {
	res, err := w.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic,
		ResourceName: w.cfg.Topic,
		ConfigNames:  []string{maxMessageBytes, cleanupPolicy, retentionMs},
	}}})
	if err != nil {
		return nil, err
	}
	settings := make(map[string]string)
	for _, resource := range res.Resources {
		if resource.Error != nil {
			return nil, resource.Error
		}
		for _, entry := range resource.ConfigEntries {
			settings[entry.ConfigName] = entry.ConfigValue
		}
	}
	return settings, nil
}

// Check makes sure, before the first letter, that the topic can be reached and exists, and creates it
// where the configuration says so. warnings are about settings under which dead letters do not last;
// settings that cannot be read warn of nothing.
func (w *Writer) Check(ctx context.Context) (partitions int, warnings []string, err error) {
	if partitions, err = w.partitions(ctx); err != nil {
		return 0, nil, err
	}
	settings, err := w.settings(ctx)
	if err != nil {
		return partitions, nil, nil // reading them may be forbidden, and nothing depends on it
	}
	return partitions, w.warnings(settings), nil
}

func (w *Writer) warnings(settings map[string]string) (list []string) {
	if policy := settings[cleanupPolicy]; policy != "" && policy != "delete" {
		list = append(list, fmt.Sprintf("topic %s has cleanup.policy %s: compaction removes dead letters of the same user and refuses those without key; set it to delete", w.cfg.Topic, policy))
	}
	ms, err := strconv.ParseInt(settings[retentionMs], 10, 64)
	if err == nil && ms >= 0 && time.Duration(ms)*time.Millisecond < w.cfg.MaxEventAge {
		list = append(list, fmt.Sprintf("topic %s keeps dead letters for %s, less than delivery.max_event_age (%s): some are gone while they could still be replayed",
			w.cfg.Topic, time.Duration(ms)*time.Millisecond, w.cfg.MaxEventAge))
	}
	return list
}
