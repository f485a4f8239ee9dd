package worker

import "eventworker/internal/consume"

// What waits in the join is copied out of its chunk and pins nothing, so the budget alone does not stop the
// fetching of more of it. This does:
//
// A task has an even share of half of memory.budget for its messages that wait, or waited and are not settled
// yet. While they hold more, nothing more is taken of the partitions that they come from, but of one that the
// next message to be decided waits for itself. So at any time what the next decision needs is read on, and no
// wait can starve what it waits for.
//
// A partition that has to be read on adds at most messages that wait for its own progress: they all lie within
// the larger of join.allowed_lateness and join.clock_skew of event time. So a task's share may be passed by one
// fetch of each of its partitions, and by what lies that close together.

// waits are the bytes of a task's messages that wait in the join, as the budget counts them. They belong to
// the task's goroutine.
type waits struct {
	limit   int64
	bytes   int64
	stopped bool // a partition may be stopped
}

// stoppedWhy says it to people.
const stoppedWhy = "what waits in the join holds its share of memory.budget"

// stopped is how many partitions throttle stopped.
func stopped(k *consume.Status) (n int) {
	for i := range k.Partitions {
		if k.Partitions[i].Waiting {
			n++
		}
	}
	return n
}

// waitLimit is a task's share of the half of the budget that may wait.
func waitLimit(budget int64, tasks int) int64 { return budget / 2 / int64(max(1, tasks)) }

// add counts a message that begins to wait, and was detached.
func (w *waits) add(m message) {
	p := m.batch
	if p.waits == 0 {
		w.bytes += p.chunk.RecordBytes() // for its sake they stay
	}
	p.waits++
	w.bytes += p.chunk.CopyBytes(int(m.i))
}

// drop takes back what add counted, before the message is settled.
func (w *waits) drop(m message) {
	p := m.batch
	p.waits--
	if p.waits == 0 {
		w.bytes -= p.chunk.RecordBytes()
	}
	w.bytes -= p.chunk.CopyBytes(int(m.i))
}

// over takes a message back if it waited.
func (w *waits) over(m message) {
	if m.batch.waits > 0 && m.batch.left[m.i].Load()&waitsBit != 0 {
		w.drop(m)
	}
}

// throttle stops partitions while the messages that wait, or waited, hold more than the task's share, and
// lets them go on.
//
// What was decided and is not settled is the deliverers' to finish, whatever is fetched: it stops all partitions
// that it comes from while it alone holds the share, or while what still waits is within it. A partition that
// was read to its end has nothing to be stopped; what comes will.
func (r *runner) throttle() {
	w := &r.waits
	if !w.stopped && r.source.Kept() <= w.limit {
		return
	}
	r.source.AwaitRoom(true)
	kept := r.source.Kept()
	full, decided := kept > w.limit, kept-w.bytes
	for i, p := range r.source.Partitions {
		p.SetWaiting(full && p.Kept() > 0 && !p.AtEnd() &&
			(decided > w.limit || w.bytes <= w.limit || !r.task.Needs(i)))
	}
	if w.stopped = full; !full {
		r.source.AwaitRoom(false)
	}
}
