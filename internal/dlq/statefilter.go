package dlq

import (
	"context"
	"slices"
	"sync/atomic"

	"eventworker/internal/deadletter"
)

// LetterStates are the states that [Desk.ByState] knows, and all.
var LetterStates = []string{deadletter.StateOpen, deadletter.StateReplayed, deadletter.StateDiscarded, deadletter.StateParked, "all"}

// ByState narrows a filter to letters in one of some states; without any, to all but discarded ones. A letter
// that is not its message's last one was replayed. hidden tells how many letters the filter took but for
// their states.
func (d *Desk) ByState(ctx context.Context, f *Filter, wanted []string) (hidden func() int64, err error) {
	n := new(atomic.Int64)
	if slices.Contains(wanted, "all") {
		return n.Load, nil
	}
	for _, state := range wanted {
		if err := known(state, LetterStates); err != nil {
			return nil, callf("eventworker dlq list --help", "--state: %v", err)
		}
	}
	states, err := d.States(ctx)
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 && states.Len() == 0 {
		return n.Load, nil
	}
	f.byState = func(l *Letter) bool {
		s, current := StateOf(l, states)
		if !current && s.Status != deadletter.StateDiscarded {
			s.Status = deadletter.StateReplayed
		}
		if slices.Contains(wanted, s.Status) || len(wanted) == 0 && s.Status != deadletter.StateDiscarded {
			return true
		}
		n.Add(1)
		return false
	}
	return n.Load, nil
}
