package consume

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"
)

// createMissing creates those of Config.CreateTopics that do not exist, with as many partitions as the
// topics that do. Where none exists, the first gets the broker's default number and the others that of
// the first. Several workers may do so at once.
func (c *Consumer) createMissing(ctx context.Context) error {
	for len(c.cfg.CreateTopics) > 0 {
		missing, partitions, err := c.missingOf(ctx, c.cfg.CreateTopics)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		if partitions < 0 {
			missing = missing[:1]
		}
		if err := c.create(ctx, missing, partitions); err != nil {
			return err
		}
		if !sleep(ctx, c.cfg.retryEvery/5) { // the brokers learn of them
			return context.Cause(ctx)
		}
	}
	return nil
}

// missingOf says which topics do not exist, in their order, and how many partitions the first one that
// does has, -1 if none does.
func (c *Consumer) missingOf(ctx context.Context, topics []string) (missing []string, partitions int32, err error) {
	msg, err := c.call(ctx, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, 0, c.firstAnswer(err)
	}
	found := map[string]int32{}
	for _, t := range msg.(*metadata.Response).Topics {
		switch code := kafka.Error(t.ErrorCode); {
		case code == kafka.UnknownTopicOrPartition:
		case code != 0 && code != kafka.LeaderNotAvailable:
			return nil, 0, &DeniedError{Resource: "topic " + t.Name, Operation: "Describe", Err: code}
		default:
			found[t.Name] = int32(len(t.Partitions))
		}
	}
	partitions = -1
	for _, t := range topics {
		n, exists := found[t]
		if !exists {
			missing = append(missing, t)
		} else if partitions < 0 && n > 0 {
			partitions = n
		}
	}
	return missing, partitions, nil
}

func (c *Consumer) create(ctx context.Context, topics []string, partitions int32) error {
	req := &createtopics.Request{TimeoutMs: int32(callTimeout.Milliseconds())}
	for _, t := range topics {
		req.Topics = append(req.Topics, createtopics.RequestTopic{Name: t, NumPartitions: partitions, ReplicationFactor: -1})
	}
	msg, err := c.call(ctx, req)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	var errs []error
	for _, t := range msg.(*createtopics.Response).Topics {
		switch code := kafka.Error(t.ErrorCode); code {
		case 0:
			c.log.Info("topic created (kafka.create_topics)", zap.String("topic", t.Name), zap.Int32("partitions", partitions))
		case kafka.TopicAlreadyExists:
		case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed:
			errs = append(errs, &DeniedError{Resource: "topic " + t.Name, Operation: "Create", Err: code})
		default:
			errs = append(errs, fmt.Errorf("create topic %s: %w (%s)", t.Name, code, t.ErrorMessage))
		}
	}
	return errors.Join(errs...)
}
