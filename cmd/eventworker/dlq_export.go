package main

import (
	"errors"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

func newDLQExportCommand(a *app) *cobra.Command {
	var flags deskFlags
	var masked bool
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Dead letters byte for byte, as JSON lines",
		Long: `Writes dead letters as JSON lines: key, value and headers byte for byte, in
base64 with "encoding":"base64" where they are not UTF-8. That holds user
tokens, and needs --show-tokens.

--masked writes a copy to show to others instead. Its first line says so, and it
cannot be replayed. --output help prints the schema of a line.`,
		Example: `  eventworker dlq export --config eventworker.yaml --show-tokens > letters.jsonl
  eventworker dlq export --cause c1-9f2ab01c --masked > to-show.jsonl`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.showTokens == masked {
				return usagef("eventworker dlq export --masked", "export wants either --show-tokens, for the letters as they are, or --masked, for a copy that cannot be replayed")
			}
			return a.dlqExport(cmd, &flags)
		},
	}
	flags.add(a, cmd)
	a.schemaFlag(cmd, &output, dlq.ExportJSONSchema, "jsonl")
	cmd.Flags().BoolVar(&masked, "masked", false, "a copy with user tokens and e-mail addresses masked")
	return cmd
}

func (a *app) dlqExport(cmd *cobra.Command, flags *deskFlags) error {
	ctx := cmd.Context()
	d, err := a.desk(ctx, flags)
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := a.snapshot(ctx, d)
	if err != nil {
		return err
	}
	e, err := dlq.NewExporter(a.out, d.mask)
	if err != nil {
		return err
	}
	progress := a.scanProgress()
	// One partition after the other: the same topic gives the same file.
	report, err := d.Scan(ctx, s, d.filter, dlq.ScanOptions{Partitions: 1, Progress: progress.tell}, e.Write)
	err = errors.Join(err, e.Flush())
	if a.readerGone() {
		return err
	}
	progress.end(&report)
	return a.kafkaError(err)
}
