package insights

import (
	"sync"

	"go.uber.org/zap"
)

// Observer are callbacks for metrics; each may be nil. They are called from many goroutines, must
// not wait, and must not call back into the Application or the Deliverer.
type Observer struct {
	// Exchange is called after each request.
	Exchange func(e *Exchange)
	// Batch is called for each batch that was submitted, with what sealed it and the size of its body.
	Batch func(trigger string, events, bytes int)
	// Retry is called when events go back to wait for another try.
	Retry func(events int)
	// State is called for each change of state, in order.
	State func(s State)
}

func (o *Observer) batch(trigger string, events, bytes int) {
	if o.Batch != nil {
		o.Batch(trigger, events, bytes)
	}
}

func (o *Observer) retry(events int) {
	if o.Retry != nil {
		o.Retry(events)
	}
}

// Limiter says how many requests of an application may be in flight. It is called under the
// application's lock and must not wait.
type Limiter interface {
	// Limit is the number now, at least 1.
	Limit() int
	// Observe tells of each request that ended.
	Observe(e *Exchange)
}

// FixedLimit is the limiter that learns nothing: what the adaptive one is compared with.
type FixedLimit int

// Limit implements Limiter.
func (n FixedLimit) Limit() int { return int(n) }

// Observe implements Limiter.
func (FixedLimit) Observe(*Exchange) {}

// oddAnswers logs, once for each status, answers of the 200s that the API does not document. The
// events count as delivered.
func oddAnswers(log *zap.Logger) func(status int, contentType string) {
	var seen sync.Map // of int
	return func(status int, contentType string) {
		if _, again := seen.LoadOrStore(status, true); !again {
			log.Warn("the Insights API answered in a way that is not documented; its events count as delivered",
				zap.Int("status", status), zap.String("content_type", oneLine(contentType)))
		}
	}
}
