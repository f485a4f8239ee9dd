package main

import (
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
