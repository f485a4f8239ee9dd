package join

import "container/heap"

// Needs says whether the next message to be decided waits for source i to be read on: the one that asks for
// the earliest event time. False where nothing waits for the log, but for the clock or for outcomes.
//
// A caller that has no room for more messages that wait may leave all sources alone that are not needed: those
// that are, read on, or at their end once the message has waited join.wait, let it be decided, and then Needs
// tells what the one after it waits for. Messages of a needed source that wait themselves all wait for that
// source: they lie within the lateness of the log behind its progress.
func (t *Task[M]) Needs(i int) bool {
	s := t.sources.list[i]
	if s.Replay || t.rules.bestEffort {
		return false
	}
	due, item, waits := t.nextDue()
	return waits && s.progress < due && (s.Shown || item && s.Clicked && t.rules.useClicks)
}

// nextDue is the earliest event time that a waiting message asks for, and whether it is an item; waits says if there is one.
func (t *Task[M]) nextDue() (due int64, item, waits bool) {
	for q := range t.waiting.queues {
		queue := &t.waiting.queues[q]
		for len(*queue) > 0 && (*queue)[0].decided {
			heap.Pop(queue)
		}
		if len(*queue) == 0 {
			continue
		}
		h := (*queue)[0]
		if d := t.rules.due(h.at, h.level); !waits || d < due {
			due, item, waits = d, h.item, true
		}
	}
	return due, item, waits
}
