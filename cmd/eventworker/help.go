package main

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
)

// helpWidth is the width of all help texts.
const helpWidth = 80

// writeHelp writes the help of a command: what it does, examples, commands, flags.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(strings.TrimSpace(text) + "\n")
	b.WriteString("\nUsage:\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND [flags]\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(&b, "  %s [flags]\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		b.WriteString("\nExamples:\n" + strings.TrimRight(cmd.Example, "\n") + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "  %-14s %s\n", c.Name(), fold(c.Short, 17))
			}
		}
	}
	if flags := cmd.LocalFlags(); flags.HasAvailableFlags() {
		b.WriteString("\nFlags:\n" + flags.FlagUsagesWrapped(helpWidth))
	}
	if !cmd.HasParent() {
		b.WriteString("\nTopics, for eventworker help TOPIC:\n  " + fold(strings.Join(topicNames(), ", "), 2) + "\n")
	}
	_, _ = io.WriteString(w, b.String()) // a reader that went away is noticed by the stream
}

// fold breaks a text into lines that fit beside a margin, which all but the first begin with.
func fold(text string, margin int) string {
	var b strings.Builder
	width := margin
	for i, word := range strings.Fields(text) {
		switch n := len([]rune(word)); {
		case i == 0:
			width += n
		case width+1+n > helpWidth:
			b.WriteString("\n" + strings.Repeat(" ", margin))
			width = margin + n
		default:
			b.WriteByte(' ')
			width += 1 + n
		}
		b.WriteString(word)
	}
	return b.String()
}

// topics are help texts about more than one command.
var topics = map[string]func() string{
	"exit-codes":   func() string { return exitCodesHelp },
	"filters":      filtersHelp,
	"output":       func() string { return outputHelp },
	"reasons":      reasonsHelp,
	"errors":       func() string { return errorsHelp },
	"error-schema": func() string { return string(errorDocumentSchema) },
	"environment": func() string {
		return environmentHelp + "\n" + strings.Join(environmentNames(), "\n") + "\n"
	},
}

func topicNames() []string {
	names := make([]string, 0, len(topics))
	for name := range topics {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

const exitCodesHelp = `Exit codes of all commands:

  0          done; that nothing matched is also done (standard error says so)
  1          failed, or declined at a prompt
  2          wrong call or configuration; --yes missing off a terminal
  3          done, with a remainder that needs a person
  4          stopped by a guard; can be resumed
  130, 143   interrupted by SIGINT or SIGTERM; can be resumed

The worker (eventworker run) ends with 0 after a clean stop by a signal. A
second signal stops any command at once. A reader of standard output that goes
away (such as head) ends a command with 0.
`

const outputHelp = `Data goes to standard output; progress, counts, hints and errors go to standard
error, so nothing but standard output is needed by a script.

With -o json there is one document, with -o jsonl one object a line, with the
same fields. "schema" names form and version: fields are added to a version,
never renamed or given another type; -o help prints the JSON Schema, of any
command that has JSON. Offsets are texts, because some readers round large
numbers; bytes that are no UTF-8 are base64, and "encoding" says so. -o csv has
a line of names first. Texts for people may change any day.

A table fits its terminal: the last column is shortened, and columns that need
not be there leave. In a pipe it has tabs, whole values and no limit. --fields
chooses the fields of any format, --no-header leaves out the names of columns.

Times are relative on a terminal, RFC 3339 in UTC elsewhere; --time-format
chooses. Colours are used on a terminal, unless NO_COLOR is set and not empty,
TERM is dumb, or --color says otherwise. Long texts of dlq show and dlq explain,
and the differences that an edit makes, are paged on a terminal by
EVENTWORKER_PAGER, PAGER or less; see --no-pager.

With -o json or jsonl an error is a JSON object, too: the last line of standard
error, with a category for scripts. help errors says which there are.

A scan says on standard error what it read, of how much, and whether that was
all. Secrets are never printed; a configuration shows them as ***. User tokens
and e-mail addresses are masked: equal ones have equal masks, which are keyed
by eventworker/mask.key in the user's directory of configurations.
--show-tokens shows them, for one call.
`

const errorsHelp = `An error says on standard error what failed and why, in a line that begins with
"Error: ", and in one with "Try: " what to type next. With -o json or -o jsonl
it is instead one JSON object in the last line of standard error:

  {"schema":"eventworker.error/v1","category":"network",
   "message":"no broker answers at ...","try":"eventworker config print"}

"message" and "try" are for people and may change any day; "category" is one of

  call       the call is wrong: a flag, a filter, a stale plan
  config     the configuration is wrong, or names a topic that is not there
  auth       a broker or worker refuses the user, or a certificate is refused
  network    a broker, worker or store does not answer; calling again may help
  api        the Insights API refuses, or does not answer
  data       what was read needs a person, or cannot be made out
  guard      stopped by a guard, a person or a signal; can be resumed
  internal   anything else

"problems" lists the mistakes of a configuration. Where the call was understood,
the document on standard output may be there all the same: the exit code counts,
see help exit-codes. help error-schema prints the JSON Schema.
`

const environmentHelp = `Settings come from, later ones winning: defaults, the file of --config, the
environment, --set. A variable's name is the path of its setting in upper case,
with EVENTWORKER_ before it and two underscores between levels. A list is comma
separated or YAML, as in EVENTWORKER_KAFKA__TOPICS='[a, b]'. NAME stands for the
name of an application, in upper case and with _ for -. A variable that begins
with EVENTWORKER_ and is no setting is an error, but for those that Kubernetes
sets for Services.

Other variables: EVENTWORKER_PAGER, PAGER, NO_COLOR.
`

// environmentNames are the variables of all settings.
func environmentNames() []string {
	keys := config.Keys()
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = "  " + config.EnvName(strings.ReplaceAll(key, "*", "NAME"))
	}
	return names
}

// newHelpCommand is help for a command or a topic. Unlike cobra's own it refuses what it does not know.
func newHelpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Explains a command or a topic",
		Example: `  eventworker help simulate
  eventworker help exit-codes`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(commandNames(cmd.Root()), topicNames()...), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && topics[args[0]] != nil {
				_, err := io.WriteString(a.out, topics[args[0]]())
				return err
			}
			about := cmd.Root()
			for _, word := range args {
				next := childOf(about, word)
				if next == nil {
					return unknownHelp(about, word)
				}
				about = next
			}
			about.InitDefaultHelpFlag()
			writeHelp(a.out, about)
			return nil
		},
	}
}

func childOf(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

func unknownHelp(cmd *cobra.Command, word string) error {
	known := commandNames(cmd)
	if !cmd.HasParent() {
		known = append(known, topicNames()...)
	}
	if near := config.Nearest(word, known); near != "" {
		return usagef("eventworker help "+near, "no help about %q; did you mean %s?", word, near)
	}
	return usagef("eventworker help", "no help about %q; known: %s", word, strings.Join(known, ", "))
}
