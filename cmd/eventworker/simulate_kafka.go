package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"eventworker/internal/storefront"
)

// The waits of the simulator towards a broker.
const (
	simulateTimeout    = 30 * time.Second // of one request
	simulateReady      = 30 * time.Second // for new topics to have leaders
	simulateRetryEvery = 200 * time.Millisecond
	simulateParallel   = 8 // partitions written at a time
)

// broker writes groups of messages to the partitions the generator chose. Of each partition one
// request is on its way at a time, so that the log has the order of the generator.
type broker struct {
	client *kafka.Client
	closer func()
}

func (a *app) brokerDestination(ctx context.Context, s *simulation) (destination, error) {
	for i, b := range s.brokers {
		s.brokers[i] = strings.TrimSpace(b)
	}
	transport := &kafka.Transport{ClientID: "eventworker-simulate", MetadataTTL: time.Second}
	b := &broker{
		client: &kafka.Client{Addr: kafka.TCP(s.brokers...), Timeout: simulateTimeout, Transport: transport},
		closer: transport.CloseIdleConnections,
	}
	topics := topicsOf(s)
	fmt.Fprintf(a.err, "simulating %d messages, seed %d, to %s at %s\n",
		s.shop.Messages, s.shop.Seed, strings.Join(topics, ", "), strings.Join(s.brokers, ", "))
	if err := b.prepare(ctx, s, topics); err != nil {
		b.closer()
		return nil, err
	}
	return b, nil
}

func topicsOf(s *simulation) []string {
	topics := []string{s.shop.Topic}
	for _, t := range []string{s.shop.ShownTopic, s.shop.ClickedTopic} {
		if t != "" && !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	return topics
}

// prepare waits until every partition has a leader, creates topics if asked to, and takes the number
// of partitions from the broker.
func (b *broker) prepare(ctx context.Context, s *simulation, topics []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, simulateReady, errors.New("the topics had no leaders in "+simulateReady.String()))
	defer cancel()
	created := false
	for {
		counts, err := b.partitions(ctx, topics)
		switch {
		case errors.Is(err, kafka.UnknownTopicOrPartition) && !s.create:
			return failf("eventworker simulate --create-topics ...", "%w", err)
		case errors.Is(err, kafka.UnknownTopicOrPartition) && !created:
			if err := b.create(ctx, s, topics); err != nil {
				return err
			}
			created = true
		case err == nil:
			return s.fit(topics, counts)
		case !waitsForLeader(err) && !created:
			return b.noAnswer(s, err)
		}
		if err := sleepUntil(ctx, time.Now().Add(simulateRetryEvery)); err != nil {
			return err
		}
	}
}

// noAnswer names the addresses that were asked. The library's errors begin with the name of its method,
// which means nothing to a person.
func (b *broker) noAnswer(s *simulation, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "kafka.(*Client).") {
		err = inner
	}
	return failIn(categoryNetwork, "eventworker simulate --brokers HOST:PORT ...",
		"no broker answers at %s, which --brokers names: %w", strings.Join(s.brokers, ", "), err)
}

// waitsForLeader are errors that pass by themselves and say that nothing was written.
func waitsForLeader(err error) bool {
	return errors.Is(err, kafka.LeaderNotAvailable) || errors.Is(err, kafka.NotLeaderForPartition) ||
		errors.Is(err, kafka.UnknownTopicOrPartition)
}

// partitions asks how many partitions each topic has; an error unless all have leaders.
func (b *broker) partitions(ctx context.Context, topics []string) ([]int, error) {
	meta, err := b.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	counts := make([]int, len(topics))
	for _, t := range meta.Topics {
		if t.Error != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Name, t.Error)
		}
		for _, p := range t.Partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("topic %s, partition %d: %w", t.Name, p.ID, p.Error)
			}
		}
		if i := slices.Index(topics, t.Name); i >= 0 {
			counts[i] = len(t.Partitions)
		}
	}
	if i := slices.Index(counts, 0); i >= 0 {
		return nil, fmt.Errorf("topic %s: %w", topics[i], kafka.UnknownTopicOrPartition)
	}
	return counts, nil
}

func (b *broker) create(ctx context.Context, s *simulation, topics []string) error {
	count := int(s.shop.Partitions)
	if count == 0 {
		count = 12
	}
	request := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		request.Topics = append(request.Topics, kafka.TopicConfig{Topic: t, NumPartitions: count, ReplicationFactor: -1})
	}
	answer, err := b.client.CreateTopics(ctx, request)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for topic, err := range answer.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

// fit takes the broker's number of partitions, which all topics must share.
func (s *simulation) fit(topics []string, counts []int) error {
	for i, n := range counts {
		if n != counts[0] {
			return fmt.Errorf("topic %s has %d partitions and %s has %d: the worker joins topics with the same number only",
				topics[0], counts[0], topics[i], n)
		}
	}
	if s.shop.Partitions != 0 && int(s.shop.Partitions) != counts[0] {
		return usagef("eventworker simulate --partitions 0 ...", "--partitions %d, but topic %s has %d", s.shop.Partitions, topics[0], counts[0])
	}
	s.shop.Partitions = int32(counts[0])
	return nil
}

// target is one partition of one topic.
type target struct {
	topic     string
	partition int32
}

func (b *broker) write(ctx context.Context, messages []storefront.Message) error {
	groups := map[target][]*storefront.Message{}
	for i := range messages {
		t := target{messages[i].Topic, messages[i].Partition}
		groups[t] = append(groups[t], &messages[i])
	}
	parallel, ctx := errgroup.WithContext(ctx)
	parallel.SetLimit(simulateParallel)
	for t, group := range groups {
		parallel.Go(func() error { return b.produce(ctx, t, group) })
	}
	return parallel.Wait()
}

// produce writes the messages of one partition. It tries again only after errors that say that
// nothing was written: a second copy would belie the truth.
func (b *broker) produce(ctx context.Context, t target, group []*storefront.Message) error {
	deadline := time.Now().Add(simulateReady)
	for {
		answer, err := b.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: t.topic, Partition: int(t.partition), RequiredAcks: kafka.RequireAll, Records: &recordsOf{group: group},
		})
		if err == nil {
			err = answer.Error
		}
		if err == nil {
			return nil
		}
		if !waitsForLeader(err) || time.Now().After(deadline) {
			return fmt.Errorf("write to topic %s, partition %d: %w", t.topic, t.partition, err)
		}
		if err := sleepUntil(ctx, time.Now().Add(simulateRetryEvery)); err != nil {
			return err
		}
	}
}

func (b *broker) finish() error {
	b.closer()
	return nil
}

// recordsOf hands messages to the library without copying them.
type recordsOf struct {
	group   []*storefront.Message
	next    int
	record  kafka.Record
	headers []kafka.Header
}

// ReadRecord implements kafka.RecordReader.
func (r *recordsOf) ReadRecord() (*kafka.Record, error) {
	if r.next == len(r.group) {
		return nil, io.EOF
	}
	m := r.group[r.next]
	r.next++
	r.headers = r.headers[:0]
	for _, h := range m.Headers {
		r.headers = append(r.headers, kafka.Header(h))
	}
	r.record = kafka.Record{
		Time: time.UnixMilli(m.Time), Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: r.headers,
	}
	return &r.record, nil
}
