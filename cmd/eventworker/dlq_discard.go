package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

// discard is a call of dlq discard.
type discard struct {
	flags    deskFlags
	out      outFlags
	ask      asking
	confirm  int64
	dryRun   bool
	anyGroup bool
}

func newDLQDiscardCommand(a *app) *cobra.Command {
	c := &discard{}
	cmd := &cobra.Command{
		Use:   "discard",
		Short: "Marks dead letters as given up, with a note that says why",
		Long: `Counts the letters that the filter takes, by cause, and marks them as discarded:
they are left out of replays, and of list and stats unless --state asks for
them. They stay in their topic until its retention removes them. The note is
required, and so is the number of letters, which is typed at the prompt or given
with --confirm. Letters of other consumer groups are left alone, but for those
of a message that has letters of several groups: what is decided about a message
counts for all of them.`,
		Example: `  eventworker dlq discard --cause c1-9f2ab01c --note "test orders" --dry-run
  eventworker dlq discard --cause c1-9f2ab01c --note "test orders" --confirm=312`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.out.verify(cmd); err != nil {
				return err
			}
			if c.out.format == "help" {
				return writeSchema(a.out, dlq.DiscardDocumentSchema)
			}
			return a.dlqDiscard(cmd, c)
		},
	}
	c.flags.add(a, cmd)
	c.out.add(cmd, "table", "json")
	c.out.noHeaderFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&c.ask.note, "note", "", "why, in your own `WORDS`; required")
	c.ask.addAudit(cmd)
	f.Int64Var(&c.confirm, "confirm", 0, "do not ask, if there are `N` letters")
	f.BoolVar(&c.dryRun, "dry-run", false, "only count")
	f.BoolVar(&c.anyGroup, "any-group", false, "also letters that another consumer group wrote")
	f.BoolVar(&c.ask.noInput, "no-input", false, "never ask: fail where --confirm is missing")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "confirm")
	return cmd
}

// discardDocument is the JSON of dlq discard.
type discardDocument struct {
	*dlq.Discarding
	Discarded int64 `json:"discarded"`
	DryRun    bool  `json:"dry_run"`
}

func (a *app) dlqDiscard(cmd *cobra.Command, c *discard) error {
	switch try := cmd.CommandPath() + " --help"; {
	case strings.TrimSpace(c.ask.note) == "" && !c.dryRun:
		return usagef(try, "--note is missing: say why the letters are given up")
	case dlq.CheckNote(c.ask.note) != nil:
		return callError(dlq.CheckNote(c.ask.note))
	case c.confirm < 0:
		return usagef(try, "--confirm wants the number of letters, got %d", c.confirm)
	case c.confirm == 0 && !c.dryRun && !c.ask.can(a, &c.out):
		return usagef(a.again(cmd)+" --dry-run", "--confirm is missing, and nobody can be asked here")
	}
	filter, err := c.flags.filter(clock())
	if err != nil {
		return err
	}
	if filter.Empty() {
		return usagef("eventworker dlq stats", "discard wants a filter: it never takes everything by default")
	}
	ctx := cmd.Context()
	d, err := a.desk(ctx, &c.flags)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := c.ask.auditApart(cmd, d); err != nil {
		return err
	}
	if _, err := a.snapshot(ctx, d); err != nil {
		return err
	}
	progress := a.scanProgress()
	plan, err := d.PlanDiscard(ctx, dlq.DiscardOptions{Filter: d.filter, AnyGroup: c.anyGroup, Mask: d.mask, Progress: progress.tell})
	if err != nil {
		return a.kafkaError(err)
	}
	plan.Filter = d.filterForPeople()
	a.acts = !c.dryRun
	if err := a.writeDiscarding(cmd, c, plan); err != nil && (!closedPipe(err) || c.dryRun) {
		return err
	}
	if err := a.agreed(cmd, c, plan); err != nil {
		return err
	}
	done := int64(0)
	if !c.dryRun && plan.Count > 0 {
		audit, unready := a.openAudit(ctx, d, c.ask.auditTopic, false)
		if unready != nil {
			return unready
		}
		done, err = d.Discard(ctx, plan, who(), c.ask.note)
		unaudited := audit(dlq.Audit{By: who(), Action: "dlq.discard", Filter: plan.Filter, Topic: d.Topics.DeadLetter, Count: done, Note: c.ask.note, Result: resultOf(ctx, err)})
		line := fmt.Sprintf("discarded %s of %s letters", dlq.Thousands(done), dlq.Thousands(plan.Count))
		if err == nil && done < plan.Count {
			line += ": the others were replayed or discarded meanwhile"
		}
		fmt.Fprintln(a.err, line)
		err = errors.Join(err, unaudited)
	}
	if c.out.format == "json" {
		if gone := writeDocument(a.out, &discardDocument{plan, done, c.dryRun}); !closedPipe(gone) {
			err = errors.Join(err, gone)
		}
	}
	return a.kafkaError(err)
}

// agreed asks for the number of letters, or compares it with --confirm.
func (a *app) agreed(cmd *cobra.Command, c *discard, plan *dlq.Discarding) error {
	switch {
	case plan.Count == 0:
		fmt.Fprintln(a.err, "no letter is to be discarded")
		return nil
	case c.dryRun:
		fmt.Fprintf(a.err, "dry run: nothing was discarded\nTry: %s --confirm=%d\n", a.again(cmd, "dry-run"), plan.Count)
		return nil
	case c.confirm == plan.Count:
		return nil
	case c.confirm > 0:
		return usagef(a.again(cmd, "confirm")+fmt.Sprintf(" --confirm=%d", plan.Count), "nothing was discarded: there are %d letters, --confirm says %d", plan.Count, c.confirm)
	}
	fmt.Fprintf(a.err, "Discard %s letters? Type their number: ", dlq.Thousands(plan.Count))
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answers <- strings.ReplaceAll(strings.TrimSpace(line), ",", "")
	}()
	select {
	case answer := <-answers:
		switch answer {
		case fmt.Sprint(plan.Count):
			return nil
		case "":
		default:
			return failIn(categoryCall, "", "nothing was discarded: there are %d letters, not %.40q", plan.Count, answer)
		}
	case <-cmd.Context().Done():
	}
	return failf("", "nothing was discarded")
}

var discardColumns = []column[dlq.DiscardCause]{
	{name: "cause", value: func(c *dlq.DiscardCause) any { return c.Cause }},
	{name: "count", right: true, value: func(c *dlq.DiscardCause) any { return c.Count }, text: func(c *dlq.DiscardCause, _ *outStyle) string { return dlq.Thousands(c.Count) }},
	{name: "reason", value: func(c *dlq.DiscardCause) any { return c.Reason }},
	{name: "letter", value: func(c *dlq.DiscardCause) any { return c.Letter }},
	{name: "what", value: func(c *dlq.DiscardCause) any {
		if c.Field != "" {
			return c.Field + ": " + c.What
		}
		return c.What
	}},
}

func (a *app) writeDiscarding(cmd *cobra.Command, c *discard, plan *dlq.Discarding) error {
	if c.out.format == "table" {
		l, err := newList(a, cmd, &c.out, dlq.DiscardSchema, "causes", discardColumns)
		if err != nil {
			return err
		}
		for i := range plan.Causes {
			if err := l.add(&plan.Causes[i]); err != nil {
				return err
			}
		}
		if err := l.end(); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("%s letters to discard", dlq.Thousands(plan.Count))
	if plan.Already > 0 {
		line += fmt.Sprintf(", %s are discarded already", dlq.Thousands(plan.Already))
	}
	if plan.Replayed > 0 {
		line += fmt.Sprintf(", %s were replayed and are left alone", dlq.Thousands(plan.Replayed))
	}
	if plan.OtherGroup > 0 {
		line += fmt.Sprintf(", %s are of another group and are left alone (--any-group takes them, too)", dlq.Thousands(plan.OtherGroup))
	}
	if plan.Unreadable > 0 {
		line += fmt.Sprintf(", %s do not say which message they are of and are left alone", dlq.Thousands(plan.Unreadable))
	}
	fmt.Fprintln(a.err, line)
	if !plan.Complete {
		fmt.Fprintf(a.err, "! not complete: %s\n", plan.Why)
	}
	return nil
}
