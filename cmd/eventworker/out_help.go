package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

// The schemas of what commands print as JSON, but for those that other packages publish.
var (
	//go:embed schemas/config-check.v1.schema.json
	configCheckSchema []byte
	//go:embed schemas/config.v1.schema.json
	configSchema []byte
	//go:embed schemas/group-reset.v1.schema.json
	groupResetSchema []byte
	//go:embed schemas/group-show.v1.schema.json
	groupShowSchema []byte
	//go:embed schemas/version.v1.schema.json
	versionSchema []byte
)

// schemaFlag gives a command -o, of which help prints the schema and needs nothing else of the call. It comes
// after Args and RunE.
func (a *app) schemaFlag(cmd *cobra.Command, output *string, schema []byte, choices ...string) {
	choices = append(choices, "help")
	outputFlag(cmd, output, choices...)
	args, run := cmd.Args, cmd.RunE
	if args == nil {
		args = noArguments
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if *output == "help" {
			return nil
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if err := oneOf(cmd, "output", *output, choices...); err != nil {
			return err
		}
		if *output == "help" {
			return writeSchema(a.out, schema)
		}
		return run(cmd, given)
	}
}

// filtersHelp explains the keys of filters.
func filtersHelp() string {
	var b strings.Builder
	b.WriteString(`Dead letters are chosen by flags, as in --reason invalid --since 2h, or by a
query, as in -q 'reason:invalid since:2h -cause:c1-9f2ab01c'. Both mean the same
and may be mixed. Values with a comma between: one of them must apply. A key
that stands twice: both must apply. In a query - before a key: it must not
apply, and "…" holds a value with spaces or commas together. A key or a value
that is not known is an error, never no filter.

`)
	for _, key := range dlq.FilterKeys {
		wants, about := dlq.DescribeKey(key)
		fmt.Fprintf(&b, "  %-12s %s\n", key, fold(about+"; "+wants, 15))
	}
	b.WriteString(`
A TIME is RFC 3339, a date (UTC), a duration before now (2h, 3d), now, or 13
digits of milliseconds. It is resolved once, when the command begins.
`)
	return b.String()
}

// reasonsHelp explains the reasons of dead letters in a sentence each.
func reasonsHelp() string {
	var b strings.Builder
	b.WriteString("Why messages become dead letters, in order of precedence:\n\n")
	for _, reason := range dlq.Reasons() {
		fmt.Fprintf(&b, "  %-20s %s\n", reason, fold(strings.ReplaceAll(dlq.ReasonSummary(reason), "`", ""), 23))
	}
	b.WriteString(`
eventworker dlq explain REASON tells who is at fault, how to look closer, and
how to repair and replay.
`)
	return b.String()
}
