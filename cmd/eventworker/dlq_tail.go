package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

func newDLQTailCommand(a *app) *cobra.Command {
	var flags deskFlags
	var out outFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "One line for each new dead letter, equal ones as one",
		Long: `Follows the dead-letter topic from now on, until Ctrl-C. Letters of one cause
that come within half a second are one line, with ×N before what the newest of
them says.`,
		Example: `  eventworker dlq tail --config eventworker.yaml
  eventworker dlq tail --reason rejected -o jsonl
  eventworker dlq tail --limit 10`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.verify(cmd); err != nil {
				return err
			}
			if out.format == "help" {
				return writeSchema(a.out, dlq.TailSchema)
			}
			return a.dlqTail(cmd, &flags, &out)
		},
	}
	out.add(cmd, "table", "jsonl", "csv")
	out.addTable(cmd, columnNames(tailColumns()))
	out.addLimit(cmd, "end after `N` lines (default: never)")
	flags.add(a, cmd)
	return cmd
}

func (a *app) dlqTail(cmd *cobra.Command, flags *deskFlags, out *outFlags) error {
	d, err := a.desk(cmd.Context(), flags)
	if err != nil {
		return err
	}
	defer d.Close()
	l, err := newList(a, cmd, out, "eventworker.dlq.tail/v1", "", tailColumns())
	if err != nil {
		return err
	}
	l.live()
	told := false
	report, err := d.Tail(cmd.Context(), d.filter, dlq.TailOptions{Mask: d.mask, Limits: d.limits}, func(c *dlq.Collapsed) error {
		if err := errors.Join(l.add(c), l.flush()); err != nil {
			return err
		}
		if out.limit > 0 && l.rows == out.limit {
			return &dlq.Stop{Why: fmt.Sprintf("limit %d", out.limit)}
		}
		return nil
	}, func() error {
		if !told {
			told = true
			fmt.Fprintf(a.err, "following topic %s\n", d.Topics.DeadLetter)
		}
		return nil
	})
	err = errors.Join(err, l.end())
	if a.readerGone() {
		return err
	}
	fmt.Fprintf(a.err, "%s dead letters came, %s matched\n", dlq.Thousands(report.Records-report.Foreign), dlq.Thousands(report.Matched))
	return a.kafkaError(err)
}

// tailColumns are those of lists, and how many letters a line stands for.
func tailColumns() []column[dlq.Collapsed] {
	columns := []column[dlq.Collapsed]{}
	for _, c := range rowColumns {
		one := column[dlq.Collapsed]{name: c.name, head: c.head, right: c.right, hidden: c.hidden, optional: c.optional,
			value: func(r *dlq.Collapsed) any { return c.value(&r.Row) }}
		if c.text != nil {
			one.text = func(r *dlq.Collapsed, s *outStyle) string { return c.text(&r.Row, s) }
		}
		if c.name == "message" {
			columns = append(columns, column[dlq.Collapsed]{name: "count", hidden: true, right: true, value: func(r *dlq.Collapsed) any { return r.Count }})
			one.text = func(r *dlq.Collapsed, s *outStyle) string {
				if r.Count > 1 {
					return fmt.Sprintf("×%d %s", r.Count, c.text(&r.Row, s))
				}
				return c.text(&r.Row, s)
			}
		}
		columns = append(columns, one)
	}
	return columns
}
