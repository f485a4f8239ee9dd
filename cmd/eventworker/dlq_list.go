package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
)

func newDLQListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "One line for each dead letter, the newest first",
		Long: `Lists dead letters, the newest first. ADDRESS is the letter's partition and
offset in the dead-letter topic, as show and explain take it; SOURCE is where
the message was read first.

What is listed is what the topic held when the command began. The last line on
standard error says how many offsets were read of how many.`,
		Example: `  eventworker dlq list --config eventworker.yaml --since 2h
  eventworker dlq list --reason invalid,malformed --topic events --limit 200
  eventworker dlq list -q 'type:purchased -cause:c1-9f2ab01c' -o jsonl
  eventworker dlq list --fields address,deadline,message --status 4xx`,
	}
	return a.rowsCommand(cmd, rows{
		schema: dlq.ListSchema, columns: columnNames(rowColumns), what: "letters", run: a.dlqList,
	})
}

// terminalRows is --limit on a terminal where none is given.
const terminalRows = 50

func (a *app) dlqList(cmd *cobra.Command, d *openDesk, states *stateFlag, out *outFlags) error {
	ctx := cmd.Context()
	l, err := newList(a, cmd, out, "eventworker.dlq.list/v1", "letters", rowColumns)
	if err != nil {
		return err
	}
	s, tellHidden, err := states.snapshot(ctx, a, d)
	if err != nil {
		return err
	}
	limit := limitOr(out, l)
	progress := a.scanProgress()
	soon := 0
	report, err := d.Newest(ctx, s, d.filter, dlq.ListOptions{Limit: limit, Mask: d.mask, Limits: d.limits, Progress: progress.tell}, func(r *dlq.Row) error {
		if left := r.Deadline.Sub(d.now); !r.Deadline.IsZero() && left > 0 && left <= deadlineSoon {
			soon++
		}
		return l.add(r)
	})
	// What was found is written whatever happened; a document says itself that it is not complete.
	err = errors.Join(err, l.end(member{"report", &report}))
	if a.readerGone() {
		return err
	}
	progress.end(&report)
	tellHidden()
	if soon > 0 {
		fmt.Fprintf(a.err, "%d of them can no longer be replayed within 24h\n", soon)
	}
	if err == nil && !report.Complete && limit > 0 {
		fmt.Fprintf(a.err, "more: %s --limit %d\n", a.again(cmd, "limit"), 10*limit)
	}
	return a.kafkaError(err)
}

// deadlineSoon is how near a deadline is told of.
const deadlineSoon = 24 * time.Hour

// again is the command line that was given, without the flags named.
func (a *app) again(cmd *cobra.Command, leaveOut ...string) string {
	words, shown := []string{cmd.CommandPath()}, a.shownSetting()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed || slices.Contains(leaveOut, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if many, ok := f.Value.(interface{ GetSlice() []string }); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			switch {
			case f.Value.Type() == "bool" && v == "true":
				words = append(words, "--"+f.Name)
			case f.Value.Type() == "bool":
				words = append(words, "--"+f.Name+"="+v)
			case f.Name == "set":
				words = append(words, "--set", shellWord(shown(v)))
			default:
				words = append(words, "--"+f.Name, shellWord(v))
			}
		}
	})
	return strings.Join(words, " ")
}

// shortType is a type without the beginning that all have.
func shortType(t string) string { return strings.TrimPrefix(t, "recommendation.") }

// rowColumns are the fields of a letter in lists.
var rowColumns = []column[dlq.Row]{
	{name: "address", value: func(r *dlq.Row) any { return fmt.Sprintf("%d:%d", r.Partition, r.Offset) }},
	{name: "failed_at", head: "AGE", value: func(r *dlq.Row) any { return r.Failed }, text: func(r *dlq.Row, s *outStyle) string {
		if s.timeFormat == "relative" {
			return span(s.now.Sub(r.Failed))
		}
		return s.time(r.Failed)
	}},
	{name: "reason", value: func(r *dlq.Row) any { return r.Reason }},
	{name: "cause", value: func(r *dlq.Row) any { return r.Cause }},
	{name: "type", value: func(r *dlq.Row) any { return r.Type }, text: func(r *dlq.Row, _ *outStyle) string { return orDash(shortType(r.Type)) }},
	{name: "application", head: "APP", optional: 1, value: func(r *dlq.Row) any {
		if r.Application == "" {
			return config.DefaultApplication
		}
		return r.Application
	}},
	{name: "source", optional: 2, value: func(r *dlq.Row) any { return r.Source.String() }},
	{name: "partition", hidden: true, right: true, value: func(r *dlq.Row) any { return r.Partition }},
	{name: "offset", hidden: true, right: true, value: func(r *dlq.Row) any { return offset(r.Offset) }},
	{name: "written_at", hidden: true, value: func(r *dlq.Row) any { return r.Time }},
	{name: "first_failed_at", hidden: true, value: func(r *dlq.Row) any { return r.FirstFailed }},
	{name: "event_time", hidden: true, value: func(r *dlq.Row) any { return r.EventTime }},
	{name: "deadline", hidden: true, value: func(r *dlq.Row) any { return r.Deadline }},
	{name: "user", hidden: true, value: func(r *dlq.Row) any { return r.User }},
	{name: "stage", hidden: true, value: func(r *dlq.Row) any { return r.Stage }},
	{name: "field", hidden: true, value: func(r *dlq.Row) any { return r.Field }},
	{name: "rule", hidden: true, value: func(r *dlq.Row) any { return r.Rule }},
	{name: "source_topic", hidden: true, value: func(r *dlq.Row) any { return r.Source.Topic }},
	{name: "source_partition", hidden: true, right: true, value: func(r *dlq.Row) any { return r.Source.Partition }},
	{name: "source_offset", hidden: true, right: true, value: func(r *dlq.Row) any { return offset(r.Source.Offset) }},
	{name: "group", hidden: true, value: func(r *dlq.Row) any { return r.Group }},
	{name: "http_status", hidden: true, right: true, value: func(r *dlq.Row) any { return r.Status }},
	{name: "attempts", hidden: true, right: true, value: func(r *dlq.Row) any { return r.Attempts }},
	{name: "parts", hidden: true, value: func(r *dlq.Row) any { return r.Parts }},
	{name: "replays", hidden: true, right: true, value: func(r *dlq.Row) any { return r.Replays }},
	{name: "replay_id", hidden: true, value: func(r *dlq.Row) any { return r.ReplayID }},
	{name: "edited", hidden: true, value: func(r *dlq.Row) any { return r.Edited }},
	{name: "message", value: func(r *dlq.Row) any { return r.Message }, text: func(r *dlq.Row, _ *outStyle) string {
		if r.Field != "" {
			return r.Field + ": " + r.Message
		}
		return r.Message
	}},
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
