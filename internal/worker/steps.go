package worker

import (
	"cmp"
	"slices"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/join"
)

// Where messages of several topics meet in a task, one that lies behind the others' restart points must see of
// them what was read until they had reached its time, not what was read until the restart. What is known of that
// goes from one generation to the next in memory; a worker that starts, or gets a task from another one, reads a
// stretch before the committed offsets again, for its times only.

const (
	// stepsLeast is how far that stretch reaches back, in event time, at the least: messages that are later
	// than that behind their topic may see more of others after a restart.
	stepsLeast = 30 * time.Second
	// stepsMost bounds what is read again because another topic lies behind.
	stepsMost = time.Hour
)

// rewindSteps asks for the stretches of a task's topics whose times are not known.
func (w *Worker) rewindSteps(t *consume.Task, want func(*consume.Partition, consume.Rewind)) {
	if !w.cfg.Kafka.Copartitioned {
		return
	}
	progress := make(map[*consume.Partition]int64)
	behind := int64(0) // the progress of the topic that is furthest behind and has more to come
	for _, p := range t.Partitions {
		if p.Topic == w.cfg.Kafka.ReplayTopic {
			continue
		}
		progress[p] = w.progressOf(p)
		if at := progress[p]; at > 0 && (behind == 0 || at < behind) && !(p.EndKnown() && p.Start() >= p.End()) {
			behind = at
		}
	}
	if len(progress) < 2 {
		return
	}
	reach := max(stepsLeast, 2*(w.cfg.Join.AllowedLateness+w.cfg.Join.ClockSkew)).Milliseconds()
	for p, at := range progress {
		if at == 0 {
			continue // nothing is known of what was read before, if anything was
		}
		from := at
		if behind > 0 {
			from = min(from, behind)
		}
		from = max(from-reach, at-stepsMost.Milliseconds())
		if steps := w.stepsOf(p, at); len(steps) == 0 || steps[0].Progress > from {
			want(p, consume.Rewind{NotBefore: time.UnixMilli(from)})
		}
	}
}

// stepsOf is what an earlier generation of this worker knew of a partition before its start, where the progress
// was the given one; nil if that is not all there is to know: another worker may have had the task meanwhile.
func (w *Worker) stepsOf(p *consume.Partition, progress int64) []join.Step {
	w.mu.Lock()
	defer w.mu.Unlock()
	return stepsUpTo(w.steps[p.ID][p.Topic], p.Start(), progress)
}

func stepsUpTo(steps []join.Step, start, progress int64) []join.Step {
	n, _ := slices.BinarySearchFunc(steps, start+1, func(s join.Step, offset int64) int { return cmp.Compare(s.Next, offset) })
	if n == 0 || steps[n-1].Progress != progress {
		return nil
	}
	return steps[:n]
}

// keepSteps notes what a task knows when its generation ends.
func (r *runner) keepSteps() {
	known := make(map[string][]join.Step)
	for i, p := range r.source.Partitions {
		if steps := r.task.Steps(i); len(steps) > 0 {
			known[p.Topic] = steps
		}
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.steps[r.source.Number] = known
}
