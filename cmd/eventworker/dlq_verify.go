package main

import (
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

func newDLQVerifyCommand(a *app) *cobra.Command {
	var out outFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "verify REPLAY | FILE",
		Short: "What became of each letter of a replay",
		Long: `Follows each letter of a plan, by the id of the replay or by the plan's file, to
what became of it:

  delivered    the API took it
  duplicate    it had been delivered before
  absorbed     nothing was to be sent
  dead         it is dead again, of an old cause or a new one
  unsettled    the workers have not settled it yet
  unknown      they did, and nothing says what came of it
  not-written  it is planned, and not on the topic

The counts add up to the plan. The exit code is 3 unless all ended well, that is
in one of the first three.`,
		Example: `  eventworker dlq verify p-7c1e09ab --config eventworker.yaml
  eventworker dlq verify plan.json --wait 10m -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && !helpWanted(cmd) {
				return usagef("eventworker dlq replays", "%s wants the id of a replay, or the file of its plan", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.verify(cmd); err != nil {
				return err
			}
			if out.format == "help" {
				return writeSchema(a.out, dlq.VerifySchema)
			}
			if wait < 0 {
				return usagef(cmd.CommandPath()+" --help", "--wait wants 0 or more, got %s", wait)
			}
			if err := isReplay(args[0], true); err != nil {
				return err
			}
			return a.dlqVerify(cmd, args[0], &out, wait)
		},
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeFromDesk(cmd.Context(), completeReplays), cobra.ShellCompDirectiveDefault // or a file
	}
	a.configFlags(cmd)
	out.add(cmd, "table", "json")
	out.noHeaderFlag(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait as long as `DURATION` for letters that are not settled")
	return cmd
}

// replayID is the form of a replay's id.
var replayID = regexp.MustCompile(`^p-[0-9a-f]{8}$`)

// isReplay refuses what cannot be the id of a replay, nor, where one may stand, the file of a plan.
func isReplay(name string, orFile bool) error {
	if replayID.MatchString(name) {
		return nil
	}
	if !orFile {
		return usagef("eventworker dlq replays", "%q is no id of a replay: want one such as p-7c1e09ab", name)
	}
	if _, err := os.Stat(name); err != nil {
		return usagef("eventworker dlq replays", "%q is neither the id of a replay, such as p-7c1e09ab, nor a file: %w", name, err)
	}
	return nil
}

// completePlan completes --plan and --release of dlq replay: the id of a replay, or a file.
func (a *app) completePlan(cmd *cobra.Command) {
	for _, name := range []string{"plan", "release"} {
		err := cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeFromDesk(cmd.Context(), completeReplays), cobra.ShellCompDirectiveDefault
		})
		if err != nil {
			panic(err) // the flag was defined before
		}
	}
}

// noHeaderFlag defines --no-header for tables without fields.
func (o *outFlags) noHeaderFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.noHeader, "no-header", false, "leave out the names of the columns")
}

func (a *app) dlqVerify(cmd *cobra.Command, name string, out *outFlags, wait time.Duration) error {
	ctx := cmd.Context()
	d, err := a.desk(ctx, &deskFlags{})
	if err != nil {
		return err
	}
	defer d.Close()
	plan, err := a.readPlan(ctx, d, name)
	if err != nil {
		return a.kafkaError(callError(err))
	}
	last := time.Now()
	v, err := d.Verify(ctx, plan, dlq.VerifyOptions{Wait: wait, Mask: d.mask, Progress: func(v *dlq.Verification) {
		if now := time.Now(); wait > 0 && now.Sub(last) >= progressEvery {
			last = now
			fmt.Fprintf(a.err, "settled %s of %s\n", dlq.Thousands(v.Good()+v.Dead), dlq.Thousands(v.Planned))
		}
	}})
	if v == nil {
		return a.kafkaError(err)
	}
	if writeErr := a.writeVerification(cmd, v, out); writeErr != nil || err != nil {
		return firstOf(err, writeErr)
	}
	fmt.Fprintf(a.err, "%s: %s of %s letters ended well\n", plan.ID, dlq.Thousands(v.Good()), dlq.Thousands(v.Planned))
	return a.verdictOf(plan, v)
}

// verdictOf is the error of a replay that did not end well.
func (a *app) verdictOf(plan *dlq.Plan, v *dlq.Verification) error {
	try := a.next("stats", "--replays", ">0")
	switch {
	case v.AllGood():
		return nil
	case v.NotWritten > 0:
		try = a.next("replay", "--plan", plan.ID, "--yes")
	case v.Unsettled > 0:
		try = a.next("verify", plan.ID, "--wait", "10m")
	}
	return withCode(exitRemainder, try, fmt.Errorf("%s letters did not end well, or not yet", dlq.Thousands(v.Planned-v.Good())))
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// outcomeRow is a line of dlq verify.
type outcomeRow struct {
	outcome string
	count   int64
	death   dlq.Death
}

var outcomeColumns = []column[outcomeRow]{
	{name: "outcome", value: func(r *outcomeRow) any { return r.outcome }},
	{name: "count", right: true, value: func(r *outcomeRow) any { return r.count }, text: func(r *outcomeRow, _ *outStyle) string { return dlq.Thousands(r.count) }},
	{name: "old_cause", optional: 1, value: func(r *outcomeRow) any { return r.death.Old }},
	{name: "new_cause", value: func(r *outcomeRow) any { return r.death.New }},
	{name: "reason", value: func(r *outcomeRow) any { return r.death.Reason }},
	{name: "letter", value: func(r *outcomeRow) any { return r.death.Letter }},
	{name: "what", value: func(r *outcomeRow) any {
		if r.death.Field != "" {
			return r.death.Field + ": " + r.death.What
		}
		return r.death.What
	}},
}

func (a *app) writeVerification(cmd *cobra.Command, v *dlq.Verification, out *outFlags) error {
	if out.format == "json" {
		return writeDocument(a.out, v)
	}
	l, err := newList(a, cmd, out, dlq.VerificationSchema, "outcomes", outcomeColumns)
	if err != nil {
		return err
	}
	rows := []outcomeRow{{outcome: "delivered", count: v.Delivered}, {outcome: "duplicate", count: v.Duplicate}, {outcome: "absorbed", count: v.Absorbed}}
	for _, d := range v.Deaths {
		rows = append(rows, outcomeRow{"dead", d.Count, d})
	}
	if v.Dead == 0 {
		rows = append(rows, outcomeRow{outcome: "dead"})
	}
	rows = append(rows, outcomeRow{outcome: "unsettled", count: v.Unsettled}, outcomeRow{outcome: "unknown", count: v.Unknown},
		outcomeRow{outcome: "not-written", count: v.NotWritten})
	for i := range rows {
		if err := l.add(&rows[i]); err != nil {
			return err
		}
	}
	return l.end()
}
