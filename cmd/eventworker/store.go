package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newStoreCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "What the store holds of a user",
		Example: `  eventworker store user user-1234 --admin 127.0.0.1:9402
  eventworker store user - --object sku-2 < token.txt`,
	}
	cmd.AddCommand(newStoreUserCommand(a))
	return cmd
}

// tokenArgument is the userToken of a command line; - reads it from standard input, so that it stands
// neither in the shell's history nor in the list of processes.
func (a *app) tokenArgument(cmd *cobra.Command, argument string) (string, error) {
	token := argument
	if argument == "-" {
		line, err := bufio.NewReader(io.LimitReader(a.in, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("standard input: %w", err)
		}
		token = strings.TrimRight(line, "\r\n")
	}
	if token == "" {
		return "", usagef(cmd.CommandPath()+" --help", "TOKEN is empty")
	}
	return token, nil
}

// oneToken wants one TOKEN.
func oneToken(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return usagef(cmd.CommandPath()+" --help", "%s wants one TOKEN, or - to read it from standard input; got %d arguments", cmd.CommandPath(), len(args))
}
