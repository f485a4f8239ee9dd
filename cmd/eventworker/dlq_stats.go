package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

func newDLQStatsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "One line for each cause, the most frequent first",
		Long: `Counts dead letters by cause: letters of one cause need the same remedy. FIRST
and LAST are when messages of it failed; DEADLINE is when the next of them can
no longer be replayed, because the event is too old or the topic forgets the
letter, with ! if that is within a day; WHAT is the sentence of one of them.

[new] marks causes of the last day in a topic with older letters, [returning]
those with letters that had been replayed before.`,
		Example: `  eventworker dlq stats --config eventworker.yaml --since 2h
  eventworker dlq stats --reason rejected -o json
  eventworker dlq stats --fields cause,count,newest,what`,
	}
	return a.rowsCommand(cmd, rows{
		schema: dlq.StatsSchema, columns: columnNames(causeColumns), what: "causes", run: a.dlqStats,
	})
}

// causeRow is a cause with the number that shares are of.
type causeRow struct {
	dlq.CauseStats
	total int64
}

func (a *app) dlqStats(cmd *cobra.Command, d *openDesk, states *stateFlag, out *outFlags) error {
	ctx := cmd.Context()
	l, err := newList(a, cmd, out, "eventworker.dlq.stats/v1", "causes", causeColumns)
	if err != nil {
		return err
	}
	s, tellHidden, err := states.snapshot(ctx, a, d)
	if err != nil {
		return err
	}
	progress := a.scanProgress()
	stats, report, err := d.Stats(ctx, s, d.filter, dlq.StatsOptions{ScanOptions: dlq.ScanOptions{Progress: progress.tell}, Mask: d.mask, Limits: d.limits, Now: d.now})
	limit := limitOr(out, l)
	for i := range stats.Causes {
		if limit > 0 && i == limit {
			break
		}
		err = errors.Join(err, l.add(&causeRow{stats.Causes[i], stats.Count}))
	}
	err = errors.Join(err, l.end(member{"total", statsTotal(stats)}, member{"report", &report}))
	if a.readerGone() {
		return err
	}
	progress.end(&report)
	tellHidden()
	a.sayStats(stats)
	if limit > 0 && len(stats.Causes) > limit {
		fmt.Fprintf(a.err, "%d more causes: %s --limit %d\n", len(stats.Causes)-limit, a.again(cmd, "limit"), len(stats.Causes))
	}
	return a.kafkaError(err)
}

// totalStats is what a document says of all causes together.
type totalStats struct {
	Count             int64   `json:"count"`
	Causes            int     `json:"causes"`
	FirstFailedAt     instant `json:"first_failed_at"`
	LastFailedAt      instant `json:"last_failed_at"`
	UnreplayableSoon  int64   `json:"unreplayable_within_24h"`
	UnreplayableNow   int64   `json:"unreplayable"`
	Replayed          int64   `json:"replayed_before"`
	ObjectsLookedUp   int64   `json:"objects_looked_up"`
	ObjectsUnmatched  int64   `json:"objects_unmatched"`
	CountWithoutCause int64   `json:"beyond_limit_of_causes"`
}

func statsTotal(s *dlq.Stats) totalStats {
	return totalStats{Count: s.Count, Causes: len(s.Causes), FirstFailedAt: instant(s.First), LastFailedAt: instant(s.Last), UnreplayableSoon: s.Soon,
		UnreplayableNow: s.Past, Replayed: s.Replayed, ObjectsLookedUp: s.Objects, ObjectsUnmatched: s.Unmatched, CountWithoutCause: s.Beyond}
}

// leastMatched is the share of objects with a queryID below which stats warns, as Algolia's own check
// of events does.
const leastMatched = 0.8

// sayStats says on standard error what is urgent or odd.
func (a *app) sayStats(s *dlq.Stats) {
	if s.Count > 0 {
		fmt.Fprintf(a.err, "%s dead letters in %s\n", dlq.Thousands(s.Count), plural(len(s.Causes), "cause"))
	}
	if s.Soon > 0 {
		fmt.Fprintf(a.err, "! %s can no longer be replayed within 24h\n", dlq.Thousands(s.Soon))
	}
	if s.Past > 0 {
		fmt.Fprintf(a.err, "%s can no longer be replayed\n", dlq.Thousands(s.Past))
	}
	if s.Beyond > 0 {
		fmt.Fprintf(a.err, "%s letters have causes beyond the first %d and are in no line\n", dlq.Thousands(s.Beyond), len(s.Causes))
	}
	if matched := s.Objects - s.Unmatched; s.Objects > 0 && float64(matched) < leastMatched*float64(s.Objects) {
		fmt.Fprintf(a.err, "! only %d%% of %s objects that were looked up had a queryID, less than %d%%: impressions may be missing (eventworker dlq explain unmatched)\n",
			matched*100/s.Objects, dlq.Thousands(s.Objects), int(100*leastMatched))
	}
}

// marks says what is special about a cause.
func marks(c *causeRow) string {
	var words []string
	if c.New {
		words = append(words, "new")
	}
	if c.Returning() {
		words = append(words, "returning")
	}
	return strings.Join(words, ",")
}

// shareBar is a share as a bar of ten places and a percentage.
func shareBar(c *causeRow) string {
	const width = 10
	full := int((c.Count*width*2 + c.total) / (2 * max(c.total, 1)))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full) + " " + percent(c)
}

func percent(c *causeRow) string {
	p := float64(c.Count) * 100 / float64(max(c.total, 1))
	if p < 10 {
		return fmt.Sprintf("%.1f%%", p)
	}
	return fmt.Sprintf("%.0f%%", p)
}

func deadlineCell(c *causeRow, s *outStyle) string {
	switch {
	case c.Deadline.IsZero() && c.Past > 0:
		return "past"
	case c.Soon > 0:
		return s.time(c.Deadline) + " !"
	}
	return s.time(c.Deadline)
}

// causeColumns are the fields of a cause.
var causeColumns = []column[causeRow]{
	{name: "cause", value: func(c *causeRow) any { return c.Cause }},
	{name: "count", right: true, value: func(c *causeRow) any { return c.Count }, text: func(c *causeRow, _ *outStyle) string { return dlq.Thousands(c.Count) }},
	{name: "share", value: func(c *causeRow) any { return float64(c.Count*10000/max(c.total, 1)) / 10000 }, text: func(c *causeRow, _ *outStyle) string { return shareBar(c) }},
	{name: "first_failed_at", head: "FIRST", optional: 2, value: func(c *causeRow) any { return c.First }, text: ago(func(c *causeRow) time.Time { return c.First })},
	{name: "last_failed_at", head: "LAST", optional: 1, value: func(c *causeRow) any { return c.Last }, text: ago(func(c *causeRow) time.Time { return c.Last })},
	{name: "deadline", value: func(c *causeRow) any { return c.Deadline }, text: deadlineCell, paint: func(c *causeRow) string {
		if c.Soon > 0 {
			return red
		}
		return ""
	}},
	{name: "reason", value: func(c *causeRow) any { return c.Reason }},
	{name: "unreplayable_within_24h", hidden: true, right: true, value: func(c *causeRow) any { return c.Soon }},
	{name: "unreplayable", hidden: true, right: true, value: func(c *causeRow) any { return c.Past }},
	{name: "replayed_before", hidden: true, right: true, value: func(c *causeRow) any { return c.Replayed }},
	{name: "marks", hidden: true, value: func(c *causeRow) any { return marks(c) }},
	{name: "stage", hidden: true, value: func(c *causeRow) any { return c.Stage }},
	{name: "field", hidden: true, value: func(c *causeRow) any { return c.Field }},
	{name: "rule", hidden: true, value: func(c *causeRow) any { return c.Rule }},
	{name: "type", hidden: true, value: func(c *causeRow) any { return c.Type }},
	{name: "application", hidden: true, value: func(c *causeRow) any { return c.Application }},
	{name: "newest", hidden: true, value: func(c *causeRow) any { return c.Newest.String() }},
	{name: "what", value: func(c *causeRow) any { return c.What }, text: func(c *causeRow, _ *outStyle) string {
		if m := marks(c); m != "" {
			return "[" + m + "] " + c.What
		}
		return c.What
	}},
}

func ago(of func(*causeRow) time.Time) func(*causeRow, *outStyle) string {
	return func(c *causeRow, s *outStyle) string { return s.time(of(c)) }
}
