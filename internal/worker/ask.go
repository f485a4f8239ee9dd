package worker

import (
	"context"
	"errors"
	"time"
)

// askTimeout bounds how long a task may take to get to a question.
const askTimeout = 10 * time.Second

// errBusy: the task's goroutine does not come to questions.
var errBusy = errors.New("the task does not answer: it waits for its store, or for memory")

// ask has the task's goroutine call do, between two chunks: only it may touch the section. When ask
// returns an error, do was not called and will not be, unless it is running.
func (r *runner) ask(ctx context.Context, do func()) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	done := make(chan struct{})
	select {
	case r.asks <- func() { defer close(done); do() }:
	case <-ctx.Done():
		return errBusy
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// answer answers a question, if there is one.
func (r *runner) answer() {
	select {
	case do := <-r.asks:
		do()
	default:
	}
}

// runnerOf is the task that a record with this key belongs to, by murmur2.
func (w *Worker) runnerOf(key []byte) *runner {
	g := w.current.Load()
	if g == nil || g.ended() {
		return nil
	}
	for _, r := range g.runners {
		for _, p := range r.source.Partitions {
			if p.Topic != w.cfg.Kafka.ReplayTopic && p.Expects(key) {
				return r
			}
		}
	}
	return nil
}
