package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

func newDLQReplaysCommand(a *app) *cobra.Command {
	var out outFlags
	cmd := &cobra.Command{
		Use:   "replays [show REPLAY]",
		Short: "Which replays were begun, and what came of them",
		Long: `Lists the replays that were begun, the newest first, from the topic that keeps
the states of dead letters. What a later replay or a decision has overwritten is
not counted again: dlq verify follows each letter.

show prints the plan of one replay: who, why, which letters, the edit, and what
was said of each cause. As JSON it can be kept and given to --plan.`,
		Example: `  eventworker dlq replays --config eventworker.yaml
  eventworker dlq replays -o json
  eventworker dlq replays show p-7c1e09ab -o json > plan.json`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch {
			case len(args) == 0:
				return []cobra.Completion{"show"}, cobra.ShellCompDirectiveNoFileComp
			case len(args) == 1 && args[0] == "show":
				return a.completeFromDesk(cmd.Context(), completeReplays), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || helpWanted(cmd):
				return nil
			case args[0] != "show" || len(args) != 2:
				return usagef(cmd.CommandPath()+" --help", "%s takes nothing, or show and the id of one replay", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.verify(cmd); err != nil {
				return err
			}
			if out.format == "help" && len(args) == 0 {
				return writeSchema(a.out, dlq.ReplaysSchema)
			}
			if len(args) == 0 {
				return a.dlqReplays(cmd, &out)
			}
			if err := isReplay(args[1], false); err != nil {
				return err
			}
			switch out.format {
			case "help":
				return writeSchema(a.out, dlq.PlanDocumentSchema)
			case "table", "json":
				return a.dlqReplaysShow(cmd, args[1], &out)
			}
			return usagef(cmd.CommandPath()+" --help", "a plan is shown as table or json, not as %s", out.format)
		},
	}
	a.configFlags(cmd)
	out.add(cmd, "table", "json", "jsonl", "csv")
	out.addTable(cmd, columnNames(replayColumns))
	out.pagerFlag(cmd)
	return cmd
}

func (a *app) dlqReplays(cmd *cobra.Command, out *outFlags) error {
	ctx := cmd.Context()
	d, err := a.desk(ctx, &deskFlags{})
	if err != nil {
		return err
	}
	defer d.Close()
	l, err := newList(a, cmd, out, "eventworker.dlq.replays/v1", "replays", replayColumns)
	if err != nil {
		return err
	}
	list, err := d.Replays(ctx)
	if err != nil {
		return a.kafkaError(err)
	}
	for i := range list {
		if err := l.add(&list[i]); err != nil {
			return err
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(a.err, "no replay was begun")
	}
	return nil
}

func replayNumber(name string, optional int, of func(*dlq.Replay) int64) column[dlq.Replay] {
	return column[dlq.Replay]{name: name, right: true, optional: optional, value: func(r *dlq.Replay) any { return of(r) },
		text: func(r *dlq.Replay, _ *outStyle) string { return dlq.Thousands(of(r)) }}
}

var replayColumns = []column[dlq.Replay]{
	{name: "id", value: func(r *dlq.Replay) any { return r.ID }},
	{name: "created", value: func(r *dlq.Replay) any { return r.Created }, text: func(r *dlq.Replay, s *outStyle) string { return s.time(r.Created) }},
	replayNumber("planned", 0, func(r *dlq.Replay) int64 { return r.Planned }),
	replayNumber("replayed", 4, func(r *dlq.Replay) int64 { return r.Replayed }),
	replayNumber("delivered", 0, func(r *dlq.Replay) int64 { return r.Delivered }),
	replayNumber("duplicate", 3, func(r *dlq.Replay) int64 { return r.Duplicate }),
	replayNumber("absorbed", 2, func(r *dlq.Replay) int64 { return r.Absorbed }),
	replayNumber("dead", 0, func(r *dlq.Replay) int64 { return r.Dead }),
	replayNumber("open", 0, func(r *dlq.Replay) int64 { return r.Open }),
	{name: "by", optional: 5, value: func(r *dlq.Replay) any { return r.By }},
	{name: "filter", hidden: true, value: func(r *dlq.Replay) any { return r.Filter }},
	{name: "edit", hidden: true, value: func(r *dlq.Replay) any { return r.Edit }},
	{name: "last", hidden: true, value: func(r *dlq.Replay) any { return r.Last }, text: func(r *dlq.Replay, s *outStyle) string { return s.time(r.Last) }},
	{name: "note", value: func(r *dlq.Replay) any { return r.Note }},
}

func (a *app) dlqReplaysShow(cmd *cobra.Command, id string, out *outFlags) error {
	ctx := cmd.Context()
	d, err := a.desk(ctx, &deskFlags{})
	if err != nil {
		return err
	}
	defer d.Close()
	plan, err := d.KeptPlan(ctx, id)
	if err != nil {
		return a.kafkaError(callError(err))
	}
	if out.format == "json" {
		return writeDocument(a.out, plan)
	}
	for _, one := range [][2]string{{"created", plan.Created.Format(time.RFC3339)}, {"by", plan.By}, {"note", plan.Note}, {"version", plan.Version},
		{"filter", plan.Filter}, {"group", plan.Group}, {"edit", string(plan.Edit)}} {
		if one[1] != "" {
			fmt.Fprintf(a.err, "%-8s %s\n", one[0], clean(one[1]))
		}
	}
	return a.writePlanText(&replay{out: *out}, plan)
}
