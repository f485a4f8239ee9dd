package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/consume"
	"eventworker/internal/dlq"
	"eventworker/internal/telemetry"
)

// reset is a call of group reset.
type reset struct {
	earliest, latest bool
	time             string
	offset           int64
	dryRun, yes      bool
	noInput          bool
	output           string
	which            selection
}

func newGroupResetCommand(a *app) *cobra.Command {
	r := &reset{}
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Moves the group's offsets, after showing the plan",
		Long: `Shows what would be read again or left out, asks, and commits exactly that.
It is refused while the group has members: stop the workers first.

Messages that are read again are delivered again, but for those that carry an
id and were delivered within dedupe.window. What the store remembers stays.

TIME is RFC 3339, a date, a duration before now such as 2h or 3d, or 13 digits
of milliseconds; it is compared with the records' timestamps.`,
		Example: `  eventworker group reset --config eventworker.yaml --to-earliest --dry-run
  eventworker group reset --config eventworker.yaml --to-time 2h --yes
  eventworker group reset --topic events --partition 3 --to-offset 1200 --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.resetGroup(cmd, r) },
	}
	a.configFlags(cmd)
	r.which.flags(a, cmd)
	flags := cmd.Flags()
	flags.BoolVar(&r.earliest, "to-earliest", false, "to the first message that is there")
	flags.BoolVar(&r.latest, "to-latest", false, "to the end: nothing that is there now is read")
	flags.StringVar(&r.time, "to-time", "", "to the first message at or after a `TIME`")
	flags.Int64Var(&r.offset, "to-offset", 0, "to this `OFFSET`; wants --topic and one --partition")
	flags.BoolVar(&r.dryRun, "dry-run", false, "only show the plan")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	flags.BoolVar(&r.noInput, "no-input", false, "never ask: fail where --yes is missing")
	a.schemaFlag(cmd, &r.output, groupResetSchema, "table", "json")
	cmd.MarkFlagsMutuallyExclusive("to-earliest", "to-latest", "to-time", "to-offset")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "yes")
	return cmd
}

func (a *app) resetGroup(cmd *cobra.Command, r *reset) error {
	at, err := r.check(a, cmd)
	if err != nil {
		return err
	}
	admin, name, err := a.groupAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx := cmd.Context()
	g, err := readGroup(ctx, admin)
	if err != nil {
		return err
	}
	plan, err := r.plan(ctx, cmd, admin, g, at)
	if err != nil {
		return err
	}
	plan.Group = name
	a.acts = !r.dryRun
	if err := a.showPlan(r, plan, at); err != nil && (!closedPipe(err) || r.dryRun) {
		return err
	}
	switch {
	case g.Active():
		return refusedActive(len(g.Members))
	case r.dryRun:
		fmt.Fprintln(a.err, "dry run: nothing was moved")
		return nil
	case len(plan.moves()) == 0:
		fmt.Fprintln(a.err, "every offset is there already: nothing to move")
		return nil
	case !r.yes && !a.confirm(cmd, fmt.Sprintf("Move %s of group %s?", plural(len(plan.moves()), "offset"), name)):
		return failf("", "nothing was moved")
	}
	err = admin.Reset(ctx, plan.partitions(), plan.targets())
	if errors.Is(err, consume.ErrActive) {
		return refusedActive(0)
	}
	if err != nil {
		return failf("eventworker group show", "some offsets may have been moved: %w", err)
	}
	fmt.Fprintf(a.err, "moved %s of group %s\n", plural(len(plan.moves()), "offset"), name)
	return nil
}

func refusedActive(members int) error {
	has := "members"
	if members > 0 {
		has = plural(members, "member")
	}
	return withCode(exitGuard, "stop the workers, wait for kafka.session_timeout, and call again",
		fmt.Errorf("nothing was moved: the group has %s, and offsets may not move under them", has))
}

// check finds wrong calls before anything is asked of the brokers.
func (r *reset) check(a *app, cmd *cobra.Command) (at time.Time, err error) {
	try := cmd.CommandPath() + " --help"
	if !r.earliest && !r.latest && r.time == "" && !cmd.Flags().Changed("to-offset") {
		return at, usagef(try, "where to is missing: --to-earliest, --to-latest, --to-time or --to-offset")
	}
	if cmd.Flags().Changed("to-offset") && (len(r.which.topics) != 1 || len(r.which.partitions) != 1) {
		return at, usagef(try, "--to-offset means one partition: name it with --topic and --partition")
	}
	if r.offset < 0 {
		return at, usagef(try, "--to-offset wants 0 or more, got %d", r.offset)
	}
	if r.time != "" {
		if at, err = dlq.ParseTime(r.time, time.Now()); err != nil {
			return at, usagef(try, "--to-time: %w", err)
		}
	}
	asks := telemetry.IsTerminal(a.err) && inIsTerminal(a) && r.output == "table" && !r.noInput
	if !r.dryRun && !r.yes && !asks {
		return at, usagef(cmd.CommandPath()+" … --dry-run", "--yes is missing, and nobody can be asked here")
	}
	return at, nil
}

// resetPlan is the JSON of group reset.
type resetPlan struct {
	Schema     string       `json:"schema"`
	Group      string       `json:"group"`
	DryRun     bool         `json:"dry_run"`
	Partitions []resetEntry `json:"partitions"`
}

type resetEntry struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: none
	To        int64  `json:"to"`
	// Again is how many offsets are read again, LeftOut how many are not read at all.
	Again   int64 `json:"again"`
	LeftOut int64 `json:"left_out"`
	of      consume.GroupPartition
}

func (p *resetPlan) moves() (list []resetEntry) {
	for _, e := range p.Partitions {
		if e.To != e.Committed {
			list = append(list, e)
		}
	}
	return list
}

func (p *resetPlan) partitions() (list []consume.GroupPartition) {
	for _, e := range p.moves() {
		list = append(list, e.of)
	}
	return list
}

func (p *resetPlan) targets() (list []int64) {
	for _, e := range p.moves() {
		list = append(list, e.To)
	}
	return list
}

// plan resolves the target of each partition once: what is shown is what is committed.
func (r *reset) plan(ctx context.Context, cmd *cobra.Command, admin *consume.Admin, g *consume.Group, at time.Time) (*resetPlan, error) {
	selected, err := r.which.of(cmd, g)
	if err != nil {
		return nil, err
	}
	for _, p := range selected {
		if p.End < 0 {
			return nil, failf(cmd.CommandPath()+" … (once its leader is back)", "the leader of %s/%d does not tell its offsets", p.Topic, p.Partition)
		}
	}
	targets := make([]int64, len(selected))
	if r.time != "" {
		if targets, err = admin.OffsetsAt(ctx, selected, at); err != nil {
			return nil, failf("", "%w", err)
		}
	}
	plan := &resetPlan{Schema: "eventworker.group.reset/v1", DryRun: r.dryRun, Partitions: []resetEntry{}}
	for i, p := range selected {
		switch {
		case r.earliest:
			targets[i] = p.Start
		case r.latest:
			targets[i] = p.End
		case r.time == "":
			if r.offset < p.Start || r.offset > p.End {
				return nil, usagef(cmd.CommandPath()+" --help", "--to-offset %d lies outside of %s/%d, which holds %d to %d", r.offset, p.Topic, p.Partition, p.Start, p.End)
			}
			targets[i] = r.offset
		}
		from := max(p.Committed, p.Start)
		plan.Partitions = append(plan.Partitions, resetEntry{Topic: p.Topic, Partition: p.Partition, Committed: p.Committed, To: targets[i],
			Again: max(0, min(from, p.End)-targets[i]), LeftOut: max(0, targets[i]-from), of: p})
	}
	return plan, nil
}

// showPlan writes the plan: it is the data of this command.
func (a *app) showPlan(r *reset, plan *resetPlan, at time.Time) error {
	if r.time != "" {
		fmt.Fprintf(a.err, "to the first message at or after %s\n", at.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if r.output == "json" {
		return writeDocument(a.out, plan)
	}
	rows := [][]string{{"TOPIC", "PARTITION", "COMMITTED", "TO", "AGAIN", "LEFT-OUT"}}
	again, leftOut := int64(0), int64(0)
	for _, e := range plan.Partitions {
		rows = append(rows, []string{e.Topic, fmt.Sprint(e.Partition), number(e.Committed), fmt.Sprint(e.To), fmt.Sprint(e.Again), fmt.Sprint(e.LeftOut)})
		again, leftOut = again+e.Again, leftOut+e.LeftOut
	}
	if err := writeTable(a.out, rows, 1, 5); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%d offsets would be read again, %d left out\n", again, leftOut)
	return nil
}

// confirm asks on standard error; anything but yes is no.
func (a *app) confirm(cmd *cobra.Command, question string) bool {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		return answer == "y" || answer == "yes"
	case <-cmd.Context().Done():
		return false
	}
}

// inIsTerminal says whether somebody can answer a question.
func inIsTerminal(a *app) bool { return telemetry.IsTerminal(a.in) }
