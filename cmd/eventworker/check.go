package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/check"
	"eventworker/internal/config"
	"eventworker/internal/worker"
)

// checking is what the flags of check say.
type checking struct {
	explain  bool
	output   string
	now      string
	only     string
	limit    int
	noHeader bool
}

func newCheckCommand(a *app) *cobra.Command {
	var c checking
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Says what would become of raw messages, without Kafka",
		Long: `Judges raw messages as the worker would, and prints the Insights events they
give, or why they are refused or absorbed. Nothing is sent. A FILE holds one
message, or one a line; - is standard input. Records as simulate writes them
are read too, each with its partition, key and time.

The messages are read in their order, as one partition of a topic: impressions
among them answer for clicks and purchases, and a second copy of an id is
absorbed. One without a timestamp has the time of the call. What still waits
when the last one is read is decided as at the end of the log.

--explain says of each clicked or bought object which impression or click gave
it its queryID, and why others did not. Tables hold no user tokens; the events
of --output json are as they would be sent, and --output help prints its schema.

Where no application is configured, those that the messages name are taken to
exist, without a default_index.

Exits with 0 if no message is refused, and with 3 if one is.`,
		Example: `  eventworker check message.json
  eventworker check --explain --now 2025-11-24T16:00:00Z messages.jsonl
  eventworker check --config eventworker.yaml --only refused messages.jsonl
  eventworker simulate --count 100 | eventworker check --output jsonl -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !cmd.Flags().Changed("output") {
				return usagef(cmd.CommandPath()+" --help", "check wants one FILE or more; - is standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.verify(cmd, args); err != nil {
				return err
			}
			if c.output == "help" {
				_, err := a.out.Write(check.JSONSchema)
				return err
			}
			return a.check(cmd.Context(), &c, args)
		},
	}
	a.configFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.explain, "explain", false, "say how each object came by its queryID")
	f.StringVar(&c.now, "now", "", "judge ages as at this `TIME`, as 2026-08-03T10:00:00Z (default: the clock)")
	f.StringVar(&c.only, "only", "", "show messages of one `OUTCOME`: delivered, refused or absorbed")
	f.IntVar(&c.limit, "limit", 0, "show `N` messages in tables (default: 50 on a terminal, elsewhere all)")
	f.BoolVar(&c.noHeader, "no-header", false, "leave out the names of the columns")
	outputFlag(cmd, &c.output, "table", "json", "jsonl", "help")
	outcomes := []cobra.Completion{string(check.Delivered), string(check.Refused), string(check.Absorbed)}
	if err := cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(outcomes, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was defined above
	}
	return cmd
}

func (c *checking) verify(cmd *cobra.Command, args []string) error {
	try := cmd.CommandPath() + " --help"
	if err := oneOf(cmd, "output", c.output, "table", "json", "jsonl", "help"); err != nil {
		return err
	}
	if len(args) == 0 && c.output != "help" {
		return usagef(try, "check wants one FILE or more; - is standard input")
	}
	if c.only != "" {
		if err := oneOf(cmd, "only", c.only, string(check.Delivered), string(check.Refused), string(check.Absorbed)); err != nil {
			return err
		}
	}
	if c.limit < 0 {
		return usagef(try, "--limit wants 0 or more, got %d", c.limit)
	}
	for _, flag := range []string{"limit", "no-header"} {
		if c.output != "table" && cmd.Flags().Changed(flag) {
			return usagef(try, "--%s belongs to --output table, not to %s", flag, c.output)
		}
	}
	return nil
}

func (a *app) check(ctx context.Context, c *checking, files []string) error {
	now, err := parseMoment(c.now, time.Now())
	if err != nil {
		return err
	}
	loaded, err := a.loadConfig(false)
	if err != nil {
		return err
	}
	records, err := a.readMessages(ctx, files)
	if err != nil {
		return err
	}
	report, err := check.Run(ctx, check.Options{
		Rules: *worker.JoinConfig(&loaded.Config), AnyApplication: !namesApplications(loaded),
		ShownTopics: loaded.Kafka.ShownTopics, ClickedTopics: loaded.Kafka.ClickedTopics,
		Now: now, Explain: c.explain,
	}, records)
	if err != nil {
		return err
	}
	if err := a.writeReport(c, report); err != nil || a.readerGone() {
		return err
	}
	a.sayReport(c, report)
	if report.Summary.Refused == 0 {
		return nil
	}
	return withCode(exitRemainder, a.nextCheck(c, report, files),
		fmt.Errorf("%d of %s would be refused", report.Summary.Refused, plural(report.Summary.Messages, "message")))
}

// namesApplications says whether any source of the configuration speaks of applications.
func namesApplications(l *config.Loaded) bool {
	_, standard := l.Insights.Applications[config.DefaultApplication]
	if !standard || len(l.Insights.Applications) > 1 || l.Origin("insights.only") != config.FromDefault {
		return true
	}
	for _, key := range []string{"app_id", "api_key", "api_key_file", "default_index", "indices"} {
		if l.Origin("insights.applications."+config.DefaultApplication+"."+key) != config.FromDefault {
			return true
		}
	}
	return false
}

// writeReport writes the data, in the form asked for.
func (a *app) writeReport(c *checking, r *check.Report) error {
	switch shown := r.Only(check.Outcome(c.only)); c.output {
	case "json":
		return shown.WriteJSON(a.out)
	case "jsonl":
		return shown.WriteJSONLines(a.out)
	default:
		o := check.TextOptions{Header: !c.noHeader, Limit: c.limit}
		if width := a.outWidth(); width > 0 {
			o.Width = width
			if o.Limit == 0 {
				o.Limit = 50
			}
		}
		left, err := shown.WriteText(a.out, o)
		if left > 0 && err == nil {
			fmt.Fprintf(a.err, "%d more; all of them: --limit %d\n", left, left+o.Limit)
		}
		return err
	}
}
