package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

// stateFlag is --state, for commands that leave discarded letters out.
type stateFlag struct{ wanted []string }

func (s *stateFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&s.wanted, "state", nil, "only letters that are `STATE`: "+strings.Join(dlq.LetterStates, ", ")+" (default: all but discarded)")
	fixedValues(cmd, "state", dlq.LetterStates)
}

// snapshot applies the flag to the desk's filter and resolves it. tell says afterwards how many letters were
// left out, and how many were replayed.
func (s *stateFlag) snapshot(ctx context.Context, a *app, d *openDesk) (snapshot dlq.Snapshot, tell func(), err error) {
	told, err := d.ByState(ctx, d.filter, s.wanted)
	if err != nil {
		return snapshot, nil, a.kafkaError(callError(err))
	}
	tell = func() {
		hidden, replayed := told()
		if replayed > 0 {
			fmt.Fprintf(a.err, "%s of the letters that were looked at were replayed: --state open leaves them out\n", dlq.Thousands(replayed))
		}
		if hidden > 0 {
			what := "discarded"
			if len(s.wanted) > 0 {
				what = "in other states"
			}
			fmt.Fprintf(a.err, "%s more letters are %s: --state all\n", dlq.Thousands(hidden), what)
		}
	}
	snapshot, err = a.snapshot(ctx, d)
	return snapshot, tell, err
}
