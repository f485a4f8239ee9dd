package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/demo"
	"eventworker/internal/telemetry"
)

// demoCommand is what the flags of demo say.
type demoCommand struct {
	messages uint64
	seed     uint64
	faults   bool
	report   string
	verbose  bool
}

const demoMost = 5_000_000

func newDemoCommand(a *app) *cobra.Command {
	var d demoCommand
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Shows the worker at work, with everything it needs in one process",
		Long: `Starts an embedded broker that speaks Kafka's protocol, a strict fake of the
Insights API, a simulated storefront, and the worker with its store in a
temporary folder. When all messages are settled it compares, message by
message, what arrived with what had to arrive, and prints a report that adds up.

Nothing leaves this machine. The exit status is 0 if everything arrived as it
had to, and 3 if not.`,
		Example: `  eventworker demo
  eventworker demo --messages 500000 --seed 7
  eventworker demo --faults --report report.json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), &d) },
	}
	flags := cmd.Flags()
	flags.Uint64Var(&d.messages, "messages", 100_000, "simulate `N` messages")
	flags.Uint64Var(&d.seed, "seed", 1, "another `N` gives other traffic, the same one the same")
	flags.BoolVar(&d.faults, "faults", false, "make the fake API slow, limiting and failing for a while")
	flags.StringVar(&d.report, "report", "", "write the report to this `FILE` as JSON, too")
	flags.BoolVarP(&d.verbose, "verbose", "v", false, "log what the worker logs")
	return cmd
}

func (a *app) demo(ctx context.Context, d *demoCommand) error {
	if d.messages == 0 || d.messages > demoMost {
		return usagef("eventworker demo --messages 100000", "--messages wants 1 to %d, got %d", demoMost, d.messages)
	}
	if d.report != "" { // better now than after the run
		if err := os.WriteFile(d.report, nil, 0o600); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "eventworker-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(a.err, "could not remove the store's folder:", err)
		}
	}()
	level := "error"
	if d.verbose {
		level = "info"
	}
	log, err := telemetry.NewLogger(telemetry.LogOptions{Level: level, Format: "auto", Out: a.err})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%d messages of a simulated storefront, seed %d: embedded broker, fake Insights API, disk store in %s\n", d.messages, d.seed, dir)
	bar := a.newProgress("settled", int64(d.messages))
	report, err := demo.Run(ctx, demo.Options{
		Messages: d.messages, Seed: d.seed, Faults: d.faults, Dir: dir, Log: log,
		Progress: func(p demo.Progress) { bar.add(int(p.Settled) - int(bar.done)) },
	})
	bar.finish()
	if err != nil {
		return err
	}
	if err := report.WriteText(a.out); err != nil {
		return err
	}
	if d.report != "" {
		if err := writeReport(d.report, report); err != nil {
			return err
		}
	}
	if !report.OK() {
		return withCode(exitRemainder, fmt.Sprintf("eventworker demo --messages %d --seed %d --verbose", d.messages, d.seed), errors.New("what arrived is not what had to arrive"))
	}
	return nil
}

func writeReport(name string, report *demo.Report) error {
	text, err := json.MarshalIndent(struct {
		Schema string    `json:"schema"`
		At     time.Time `json:"at"`
		OK     bool      `json:"ok"`
		*demo.Report
	}{"eventworker.demo/v1", time.Now().UTC(), report.OK(), report}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o600)
}
