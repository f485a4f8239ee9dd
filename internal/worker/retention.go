package worker

import (
	"context"
	"maps"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/telemetry"
)

// How often the brokers are asked for how long topics keep their messages: settings change rarely.
const (
	retentionEvery = 10 * time.Minute
	retentionRetry = 10 * time.Second
)

// watchRetention keeps what is known of the input topics' retention up to date until ctx is done. A user
// who may not ask (DescribeConfigs) does without the metric.
func (w *Worker) watchRetention(ctx context.Context) error {
	told := false
	for {
		again := retentionEvery
		kept, err := w.kafka.Retentions(ctx, w.inputTopics())
		if err != nil || len(kept) == 0 {
			again = retentionRetry
			if err != nil && !told && ctx.Err() == nil {
				told = true
				w.log.Debug("the topics' retention is not known", zap.Error(err))
			}
		}
		known := make(map[string]time.Duration, len(kept))
		if before := w.retention.Load(); err != nil && before != nil {
			maps.Copy(known, *before)
		}
		for _, r := range kept {
			if r.For >= 0 && r.Policy != "compact" {
				known[r.Topic] = r.For
			}
		}
		w.retention.Store(&known)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// emitRetention gives the time that topics keep their messages, where it is bounded and known.
func (w *Worker) emitRetention(emit telemetry.Emit) {
	known := w.retention.Load()
	if known == nil {
		return
	}
	for topic, kept := range *known {
		emit(telemetry.TopicRetention, kept.Seconds(), topic)
	}
}
