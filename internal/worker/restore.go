package worker

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/consume"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// What the section of a task lacks is read again from Kafka, for its effects only, before anything
// of the task is delivered. One mechanism so serves a lost volume, a damaged file, another
// store.kind, the memory store after a restart, and a task that comes from another worker.

// restoreRange is what is read again of one partition.
type restoreRange struct {
	from, to int64
	// next is how far the task's goroutine is.
	next atomic.Int64
}

// rewind implements consume.Config.Rewind: it says what of a task's partitions must be read again.
func (w *Worker) rewind(t *consume.Task, want func(*consume.Partition, consume.Rewind)) error {
	if err := w.giveBack(t.Number); err != nil {
		return err
	}
	section, err := w.openSection(t.Number)
	if err != nil {
		w.storeFails(t.Number, err)
		return err // it is tried again: delivery must not begin without what the section holds
	}
	w.storeWorks(t.Number)
	w.dropRecreated(t, section)
	w.rewindSteps(t, want)
	lacking, since := int64(0), w.unreadSince(t, time.Now()).Add(-w.memory())
	for _, p := range t.Partitions {
		applied := section.Coverage(section.Source(p.Topic)).Applied
		if applied >= p.Start() {
			continue
		}
		lacking += p.Start() - applied
		if w.restores() {
			want(p, consume.Rewind{From: applied, NotBefore: since})
		}
	}
	switch {
	case lacking == 0 || w.restores():
	case !w.cfg.Kafka.Copartitioned:
		w.log.Warn("the store lacks what earlier messages left, and with kafka.copartitioned: false it is not read again: their clicks and purchases go unattributed",
			telemetry.Task(t.Number), telemetry.Messages(lacking))
	default:
		w.log.Warn("the store lacks what earlier messages left, and store.restore is off: their clicks and purchases go unattributed",
			telemetry.Task(t.Number), telemetry.Messages(lacking))
	}
	return nil
}

// unreadSince is the event time that the oldest message of a task that is still to be delivered can have. A topic
// that was read to its end goes on from now. Where it is not known how far a topic was read, its messages may be as
// old as the API takes them: what is older is not delivered, whatever the store holds.
func (w *Worker) unreadSince(t *consume.Task, now time.Time) time.Time {
	oldest := now
	limit := now.Add(-w.cfg.Delivery.MaxEventAge)
	for _, p := range t.Partitions {
		if p.Topic == w.cfg.Kafka.ReplayTopic || p.EndKnown() && p.Start() >= p.End() {
			continue
		}
		at := limit
		if progress := w.progressOf(p); progress > 0 {
			at = time.UnixMilli(progress)
		}
		if at.Before(oldest) {
			oldest = at
		}
	}
	if oldest.Before(limit) {
		return limit
	}
	return oldest
}

// progressOf is how far a partition was read at the committed offset, in event time; 0: that is not known.
func (w *Worker) progressOf(p *consume.Partition) int64 {
	return ParseCommit(p.CommitMetadata(), w.cfg.Kafka.Group, p.Topic, p.ID, p.Start()).Progress
}

// restores says whether what the store lacks is read again from Kafka. Where topics are not copartitioned
// it is not: what a section holds is then no function of its own task's log.
func (w *Worker) restores() bool { return w.cfg.Store.Restore != "off" && w.cfg.Kafka.Copartitioned }

// dropRecreated empties a section that knows offsets beyond a partition's end: the topic was made
// anew, and its offsets mean other messages.
func (w *Worker) dropRecreated(t *consume.Task, section querystore.Section) {
	for _, p := range t.Partitions {
		c := section.Coverage(section.Source(p.Topic))
		if !p.EndKnown() || max(c.Applied, c.Written) <= max(p.End(), p.Start()) {
			continue
		}
		w.log.Error("the store knows offsets beyond the partition's end: the topic was made anew; what the store holds of this task is dropped",
			telemetry.Topic(p.Topic), telemetry.Partition(p.ID), zap.Int64("known", c.Applied), zap.Int64("end", p.End()))
		if r, ok := section.(querystore.Resetter); ok {
			if err := r.Reset(); err != nil {
				w.storeFails(t.Number, err)
			}
		}
		w.mu.Lock()
		delete(w.steps, t.Number)
		w.mu.Unlock()
		return
	}
}

// memory is how far before a message the log can matter for its answer: an item takes a click of the click
// window, which took an impression of the window before.
func (w *Worker) memory() time.Duration {
	j := &w.cfg.Join
	reach := j.Window + j.ClickWindow
	if j.Attribution == "shown" {
		reach = j.Window
	}
	if len(w.cfg.Dedupe.Types) > 0 {
		reach = max(reach, w.cfg.Dedupe.Window)
	}
	return reach + j.AllowedLateness + j.ClockSkew + join.LateAllowance
}

// restoring is how many messages are still to be read again for their effects.
func (g *generation) restoring() (left int64) {
	for _, r := range g.runners {
		for _, rr := range r.restores {
			if rr != nil {
				left += max(0, rr.to-rr.next.Load())
			}
		}
	}
	return left
}

// restoring is that of the generation that runs now.
func (w *Worker) restoring() int64 {
	if g := w.current.Load(); g != nil {
		return g.restoring()
	}
	return 0
}

// announceRestore says what will be read again.
func (g *generation) announceRestore() {
	if left := g.restoring(); left > 0 {
		g.w.log.Info("earlier messages are read again before delivery starts: for what the store lacks of them, or for how far their topics had come", telemetry.Messages(left))
		g.restoreBegan = time.Now()
	}
}

// restored notes how far a partition is, and says when the whole generation has what it lacked.
func (r *runner) restored(i int, next int64) {
	rr := r.restores[i]
	if rr == nil || rr.next.Load() >= rr.to {
		return
	}
	rr.next.Store(next)
	if next >= rr.to && r.g.restoring() == 0 && r.g.restoredOnce.CompareAndSwap(false, true) {
		r.w.log.Info("the store has what it lacked, and earlier messages are read; delivery starts", telemetry.Duration(time.Since(r.g.restoreBegan)),
			telemetry.Messages(r.w.restored.Load()))
	}
}
