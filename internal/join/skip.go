package join

import "eventworker/internal/event"

// Skip makes a dead letter of a message that waits for the log to say more, and says whether it does. A
// copy that waits for the outcome of the first message of its id does not. After an error of the store
// the caller may call it again.
func (t *Task[M]) Skip(m M, reason event.Reason, rule, message string) (waited bool, err error) {
	for _, h := range t.waiting.byRead {
		if h.m != m || h.decided {
			continue
		}
		f := t.again
		f.m, f.src, f.waited, f.expired, f.claimed, f.kept, f.seen = h.m, h.src, h, false, h.claimed, true, h.seen
		err := t.over(f, func() error {
			f.resolved = f.resolved[:0]
			t.refuse(f.refuse(reason, event.StageJoin, "", rule, message))
			t.decided()
			return nil
		})
		if err == nil {
			err = t.unblock()
		}
		if err == nil {
			err = t.copies()
		}
		return true, err
	}
	return false, nil
}
