package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"eventworker/internal/config"
)

// newRoot is the command line with all commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "eventworker",
		Short: "Ships recommendation events from Kafka to Algolia's Insights API",
		Long: `eventworker reads what shoppers were shown, clicked and bought from Kafka, joins
clicks and purchases with the recommendations they came from, and ships them as
events to Algolia's Insights API. What it cannot deliver goes to a dead-letter
topic, where it can be looked at, repaired and replayed.`,
		Example: `  eventworker run --config eventworker.yaml
  eventworker config check --config eventworker.yaml
  eventworker help exit-codes`,
		Version:           buildOf().Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("eventworker {{.Version}}\n")
	root.AddCommand(commands(a)...)
	root.SetHelpCommand(newHelpCommand(a))
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { writeHelp(cmd.OutOrStderr(), cmd); return nil })
	root.InitDefaultHelpCmd()
	finish(root)
	return root
}

// commands lists the subcommands in the order of the help. Each new one has its line here.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(a),
		newDemoCommand(a),
		newSimulateCommand(a),
		newFakeInsightsCommand(a),
		newCheckCommand(a),
		newDLQCommand(a),
		newGroupCommand(a),
		newStoreCommand(a),
		newForgetCommand(a),
		newHealthCommand(a),
		newConfigCommand(a),
		newVersionCommand(a),
		newCompletionCommand(a),
	}
}

// finish gives every command what none may lack, so that nobody has to remember: a group refuses
// words it does not know instead of printing its help, wrong arguments are wrong calls, and what a
// command's own code returns is told apart from what cobra found wrong with the call.
func finish(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args = noSuchCommand
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	} else if cmd.Args == nil {
		cmd.Args = noArguments
	}
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error { return wrongCall(cmd, args(cmd, given)) }
	}
	if runE := cmd.RunE; runE != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := runE(cmd, args); err != nil {
				return ran{err}
			}
			return nil
		}
	}
	cmd.DisableFlagsInUseLine = true
	for _, child := range cmd.Commands() {
		finish(child)
	}
}

// wrongCall makes any error about arguments one of exit code 2 with a hint.
func wrongCall(cmd *cobra.Command, err error) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	return usagef(cmd.CommandPath()+" --help", "%w", err)
}

// exclusive is what cobra says of flags that exclude each other.
var exclusive = regexp.MustCompile(`^if any flags in the group .* none of the others can be; \[(.*)\] were all set$`)

// foundByCobra says what cobra found wrong with a call in the words of this program.
func foundByCobra(cmd *cobra.Command, err error) error {
	var own ran
	if err == nil || errors.As(err, &own) {
		return err
	}
	if found := exclusive.FindStringSubmatch(err.Error()); found != nil {
		flags := strings.Fields(found[1])
		return usagef(cmd.CommandPath()+" --help", "--%s exclude each other", strings.Join(flags, " and --"))
	}
	return wrongCall(cmd, err)
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef(cmd.CommandPath()+" --help", "%s takes no arguments, got %q", cmd.CommandPath(), args[0])
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if near := config.Nearest(args[0], names); near != "" {
		return usagef(cmd.CommandPath()+" "+near+" --help", "unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef(cmd.CommandPath()+" --help", "unknown command %q for %q; known: %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
}

// wantedValues are what flags want, by the names of their types.
var wantedValues = map[string]string{
	"int": "a whole number", "int32": "a whole number", "int64": "a whole number", "uint64": "a whole number, 0 or more",
	"float64": "a number", "bool": "true or false", "duration": "a duration such as 90s or 10m", "int32Slice": "whole numbers, as 0,3",
}

// wrongFlag says what a value should be, or names the nearest flag there is.
func wrongFlag(cmd *cobra.Command, err error) error {
	try := cmd.CommandPath() + " --help"
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		if wants := wantedValues[value.GetFlag().Value.Type()]; wants != "" {
			return usagef(try, "--%s wants %s, got %q", value.GetFlag().Name, wants, value.GetValue())
		}
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usagef(try, "%w", err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return usagef(try, "unknown flag --%s for %q; did you mean --%s?", unknown.GetSpecifiedName(), cmd.CommandPath(), near)
	}
	return usagef(try, "unknown flag --%s for %q", unknown.GetSpecifiedName(), cmd.CommandPath())
}

// oneOf checks a flag's value against its choices.
func oneOf(cmd *cobra.Command, flag, value string, choices ...string) error {
	if slices.Contains(choices, value) {
		return nil
	}
	hint := ""
	if near := config.Nearest(value, choices); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return usagef(cmd.CommandPath()+" --help", "--%s wants one of %s, got %q%s", flag, strings.Join(choices, ", "), value, hint)
}

// outputFlag gives a command -o, with its choices and their completion; the first is the default.
func outputFlag(cmd *cobra.Command, output *string, choices ...string) {
	cmd.Flags().StringVarP(output, "output", "o", choices[0], "`FORMAT`: "+strings.Join(choices, " or "))
	fixed := make([]cobra.Completion, len(choices))
	copy(fixed, choices)
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(fixed, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was defined above
	}
}
