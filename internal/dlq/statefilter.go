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
// that is not its message's last one was replayed. The result tells afterwards how many letters the filter took
// but for their states, and, without any, how many of those that it took were replayed.
func (d *Desk) ByState(ctx context.Context, f *Filter, wanted []string) (told func() (hidden, replayed int64), err error) {
	hidden, replayed := new(atomic.Int64), new(atomic.Int64)
	told = func() (int64, int64) { return hidden.Load(), replayed.Load() }
	if slices.Contains(wanted, "all") {
		return told, nil
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
		return told, nil
	}
	f.byState = func(l *Letter) bool {
		s, current := StateOf(l, states)
		if !current && s.Status != deadletter.StateDiscarded {
			s.Status = deadletter.StateReplayed
		}
		switch {
		case len(wanted) == 0 && s.Status == deadletter.StateReplayed:
			replayed.Add(1)
			return true
		case len(wanted) == 0 && s.Status != deadletter.StateDiscarded, slices.Contains(wanted, s.Status):
			return true
		}
		hidden.Add(1)
		return false
	}
	return told, nil
}
