package worker

import (
	"context"
	"errors"
	"maps"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/consume"
	"eventworker/internal/telemetry"
)

// How often the brokers are asked for how long topics keep their messages: settings change rarely.
const (
	retentionEvery = 10 * time.Minute
	retentionRetry = 10 * time.Second
)

// watchRetention keeps what is known of the input topics' retention up to date until ctx is done. A user
// who may not ask (DescribeConfigs) does without the metric, and so without the warning that messages are
// about to be removed unread: that is said once.
func (w *Worker) watchRetention(ctx context.Context) error {
	var said, warned bool
	for {
		again := retentionEvery
		kept, err := w.kafka.Retentions(ctx, w.inputTopics())
		if err != nil || len(kept) == 0 {
			again = retentionRetry
		}
		denied := errors.As(err, new(*consume.DeniedError))
		switch {
		case err == nil || ctx.Err() != nil:
		case denied && !warned:
			warned = true
			w.log.Warn("how long topics keep their messages may not be asked for: "+telemetry.TopicRetention+
				" lacks them, and nothing warns of messages that retention is about to remove", zap.Error(err))
		case !denied && !said:
			said = true
			w.log.Debug("the topics' retention is not known", zap.Error(err))
		}
		known := make(map[string]time.Duration, len(kept))
		if before := w.retention.Load(); err != nil && !denied && before != nil {
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
