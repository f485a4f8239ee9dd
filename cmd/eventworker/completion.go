package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
)

var shells = []cobra.Completion{"bash", "zsh", "fish", "powershell"}

func newCompletionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Prints a script that completes commands and flags",
		Long: `Prints a script that makes a shell complete eventworker's commands, flags and
values: bash, zsh, fish or powershell.`,
		Example: `  eventworker completion bash > /etc/bash_completion.d/eventworker
  eventworker completion zsh > "${fpath[1]}/_eventworker"
  eventworker completion fish > ~/.config/fish/completions/eventworker.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("eventworker completion bash", "completion wants one shell: %s", strings.Join(shells, ", "))
			}
			return oneShell(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
		},
	}
}

func oneShell(name string) error {
	if slices.Contains(shells, name) {
		return nil
	}
	hint := "; known: " + strings.Join(shells, ", ")
	if near := config.Nearest(name, shells); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return usagef("eventworker completion bash", "unknown shell %q%s", name, hint)
}

// completes completes a flag's values; where several may stand with commas between, those after the first,
// too.
func completes(cmd *cobra.Command, flag string, values func(*cobra.Command) []cobra.Completion) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return afterCommas(values(cmd), typed), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag was defined before
	}
}

// afterCommas puts what was typed up to the last comma before each value, and leaves out what stands there.
func afterCommas(values []cobra.Completion, typed string) []cobra.Completion {
	last := strings.LastIndexByte(typed, ',')
	if last < 0 {
		return values
	}
	before := strings.Split(typed[:last], ",")
	var more []cobra.Completion
	for _, v := range values {
		name, _, _ := strings.Cut(v, "\t") // the description
		if !slices.Contains(before, name) {
			more = append(more, typed[:last+1]+v)
		}
	}
	return more
}

func fixedValues(cmd *cobra.Command, flag string, values []string) {
	completes(cmd, flag, func(*cobra.Command) []cobra.Completion { return values })
}

// configured completes a flag's values by the configuration, silently.
func (a *app) configured(cmd *cobra.Command, flag string, of func(*config.Config) []string) {
	completes(cmd, flag, func(*cobra.Command) []cobra.Completion {
		loaded, err := a.loadConfig(false)
		if err != nil {
			return nil
		}
		return of(&loaded.Config)
	})
}

func inputTopics(c *config.Config) []string { return c.Kafka.Topics }

func groupTopics(c *config.Config) []string {
	if c.Kafka.ReplayTopic == "" {
		return c.Kafka.Topics
	}
	return append(slices.Clip(c.Kafka.Topics), c.Kafka.ReplayTopic)
}

func applicationNames(c *config.Config) []string {
	return slices.Sorted(maps.Keys(c.Insights.Applications))
}
