package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/consume"
)

// topicCheck is what is known of the dead-letter topic before the first letter.
type topicCheck struct {
	mu    sync.Mutex
	found bool
	why   string
}

// letterRetry is the time between two looks for the dead-letter topic.
const letterRetry = 500 * time.Millisecond

// awaitLetterTopic looks for the dead-letter topic, so that one which is missing is known before the
// first message that needs it. The worker is not ready meanwhile, but goes on with what needs no dead
// letter. It says so once, and returns when the topic is there or ctx is done.
func (w *Worker) awaitLetterTopic(ctx context.Context) error {
	ticker := time.NewTicker(letterRetry)
	defer ticker.Stop()
	said := false
	for !w.lookForLetterTopic(ctx, &said) {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	return nil
}

func (w *Worker) lookForLetterTopic(ctx context.Context, said *bool) (found bool) {
	if s := w.kafka.Status().State; s == consume.StateStarting || s == consume.StateConnecting {
		return false // the consumer says that no broker answers
	}
	count, warnings, err := w.letters.Check(ctx)
	if ctx.Err() != nil {
		return false
	}
	w.topic.mu.Lock()
	w.topic.found = err == nil
	if err != nil {
		w.topic.why = err.Error()
	}
	w.topic.mu.Unlock()
	topic := zap.String("topic", w.cfg.Kafka.DeadLetterTopic)
	switch {
	case err == nil:
		for _, warning := range warnings {
			w.log.Warn("dead letters may not last: " + warning)
		}
		if *said {
			w.log.Info("the dead-letter topic is there", topic, zap.Int("partitions", count))
		}
	case !*said:
		*said = true
		w.log.Warn("the dead-letter topic cannot be used; messages that need it wait, and it is looked for again", topic, zap.Error(err))
	}
	return err == nil
}

// lettersHealthy says whether dead letters can be written, and if not, why.
func (w *Worker) lettersHealthy() (ok bool, why string) {
	if ok, why := w.letters.Healthy(); !ok {
		return false, why
	}
	w.topic.mu.Lock()
	defer w.topic.mu.Unlock()
	if !w.topic.found && w.topic.why == "" {
		return false, "the topic has not been looked for yet"
	}
	return w.topic.found, w.topic.why
}
