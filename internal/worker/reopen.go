package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// A store may come to where only opening it anew helps: an fsync failed, or a server lost what it held.
// Then the generation ends in good order, and the next one opens the section again; what it lacks is read
// again from Kafka like anything else that a section lacks (restore.go).

// errReopen ends a task's work in its generation: its section must be opened anew.
var errReopen = errors.New("the store of the task must be opened anew")

// The time between a loss and the next opening doubles from the first to the last of these while losses
// follow one another within reopenCalm of the opening.
const (
	reopenFirst = time.Second
	reopenLast  = time.Minute
	reopenCalm  = 5 * time.Minute
)

// reopening is the history of a task's losses.
type reopening struct {
	due   bool // the section is to be closed and opened anew
	delay time.Duration
	next  time.Time // not before this
	last  time.Time // when it was opened anew last
	why   error
}

// lose notes that the section of a task can only be opened anew, says so, and ends the generation. It may be
// called from any goroutine, and more than once for one loss.
func (w *Worker) lose(task int32, err error) {
	server := (*querystore.LostError)(nil)
	w.mu.Lock()
	first := w.markLost(task, err)
	if first && errors.As(err, &server) {
		for other := range w.sections { // all lie on that server
			w.markLost(other, err)
		}
	}
	var wait time.Duration
	if l := w.lost[task]; l != nil {
		wait = l.delay
	}
	w.mu.Unlock()
	if first {
		w.log.Error("the store of a task must be opened anew; the generation ends, and what the store lost is read again from Kafka",
			telemetry.Task(task), zap.Duration("opened_in", wait), zap.Error(err))
	}
	if g := w.current.Load(); g != nil {
		g.source.End(fmt.Sprintf("the store of task %d must be opened anew", task))
	}
}

// markLost does that for one task, and says whether it was not known; mu is held.
func (w *Worker) markLost(task int32, err error) bool {
	if w.sections[task] == nil {
		return false
	}
	l := w.lost[task]
	if l == nil {
		l = &reopening{}
		w.lost[task] = l
	}
	if l.due {
		return false
	}
	now := time.Now()
	switch {
	case l.delay == 0 || now.Sub(l.last) > reopenCalm:
		l.delay = reopenFirst
	default:
		l.delay = min(2*l.delay, reopenLast)
	}
	l.due, l.next, l.why = true, now.Add(l.delay), err
	w.failing[task] = err
	return true
}

// giveBack closes a section that must be opened anew. It returns an error while it is too early for that.
// It is called between generations, when nobody uses the section.
func (w *Worker) giveBack(task int32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lost[task]
	if l == nil || !l.due {
		return nil
	}
	now := time.Now()
	if now.Before(l.next) {
		return fmt.Errorf("the store of task %d is opened anew at %s: %w", task, l.next.UTC().Format(time.TimeOnly), l.why)
	}
	if s := w.sections[task]; s != nil {
		_ = s.Close() // it cannot: that is why
		delete(w.sections, task)
	}
	l.due, l.last, l.why = false, now, nil
	return nil
}

// Sync implements consume.Handler: it makes the effects of all that may be committed durable.
//
// A section that must be opened anew does not hold up the commit: what it lost below the frontier is made
// again when it is opened. Without a restore it does, and the messages are delivered once more.
func (w *Worker) Sync(ctx context.Context) error {
	began := time.Now()
	var group errgroup.Group
	group.SetLimit(syncers)
	w.mu.Lock()
	tasks := slices.Collect(maps.Keys(w.sections))
	lost := make([]error, len(tasks))
	for i, task := range tasks {
		s := w.sections[task]
		group.Go(func() error {
			err := s.Sync()
			if !querystore.MustReopen(err) {
				return err
			}
			lost[i] = err
			if w.restores() {
				return nil
			}
			return err
		})
	}
	w.mu.Unlock()
	err := group.Wait()
	for i, err := range lost {
		if err != nil {
			w.lose(tasks[i], err)
		}
	}
	w.metrics.StoreSync.Observe(time.Since(began).Seconds())
	return err
}
