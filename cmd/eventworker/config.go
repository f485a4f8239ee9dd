package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
)

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Checks and prints the configuration",
		Example: `  eventworker config check --config eventworker.yaml
  eventworker config print --config eventworker.yaml --origin`,
	}
	cmd.AddCommand(newConfigCheckCommand(a), newConfigPrintCommand(a))
	return cmd
}

func newConfigCheckCommand(a *app) *cobra.Command {
	var output, keysEndpoint string
	var forRun, online bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Names every mistake in the configuration",
		Long: `Reads the configuration as a worker would and names every mistake in it at once,
one a line: file(line,column) key: what is wrong. Exits with 2 if there is one.

Credentials and files that only a running worker needs are checked too, unless
--for-run=false: a build has them rarely.

With --online Algolia is asked, too, whether each key exists and has the right
to send events (ACL search), and with store.kind redis the servers, whether they
can serve as the store. No event is sent, nothing is stored. Exits with 2 if a
key has not the right or Redis cannot serve, with 1 if one could not be asked.`,
		Example: `  eventworker config check --config eventworker.yaml
  eventworker config check --config eventworker.yaml --for-run=false
  eventworker config check --config eventworker.yaml --online
  eventworker config check --set batch.max_events=500 --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if online && !forRun {
				return usagef("eventworker config check --online", "--online needs the keys, which --for-run=false does without")
			}
			loaded, err := a.loadConfig(forRun)
			if err != nil || !online {
				return a.writeCheck(err, nil, nil, output)
			}
			answers, unsure := askRights(cmd.Context(), &loaded.Config, keysEndpoint)
			store, away := askStore(cmd.Context(), &loaded.Config)
			return errors.Join(a.writeCheck(nil, answers, store, output), onlineVerdict(answers, store, errors.Join(unsure, away)))
		},
	}
	a.configFlags(cmd)
	cmd.Flags().BoolVar(&online, "online", false, "ask Algolia for the rights of the keys, and Redis whether it can serve")
	cmd.Flags().StringVar(&keysEndpoint, "keys-endpoint", "", "replaces https://APPID.algolia.net, for tests")
	if err := cmd.Flags().MarkHidden("keys-endpoint"); err != nil {
		panic(err) // the flag was defined two lines above
	}
	cmd.Flags().BoolVar(&forRun, "for-run", true, "check what only a running worker needs")
	a.schemaFlag(cmd, &output, configCheckSchema, "text", "json")
	return cmd
}

// checked is the JSON of config check.
type checked struct {
	Schema   string           `json:"schema"`
	OK       bool             `json:"ok"`
	Problems []checkedProblem `json:"problems"`
	// Applications are there with --online.
	Applications []checkedApplication `json:"applications,omitempty"`
	// Store is there with --online and store.kind redis.
	Store *checkedStore `json:"store,omitempty"`
}

type checkedProblem struct {
	Source  string `json:"source"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

// writeCheck writes the mistakes and what the API and the store said: they are the data here, so they go to standard
// output.
func (a *app) writeCheck(err error, answers []checkedApplication, store *checkedStore, output string) error {
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	var problems []config.Problem
	if wrong != nil {
		problems = wrong.Problems
	}
	if output == "json" {
		doc := checked{Schema: "eventworker.config-check/v1", OK: wrong == nil, Problems: []checkedProblem{}, Applications: answers, Store: store}
		for _, answer := range answers {
			doc.OK = doc.OK && answer.OK
		}
		doc.OK = doc.OK && (store == nil || store.OK)
		for _, p := range problems {
			doc.Problems = append(doc.Problems, checkedProblem(p))
		}
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(doc); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			if _, err := fmt.Fprintln(a.out, p); err != nil {
				return err
			}
		}
		for _, answer := range answers {
			if _, err := fmt.Fprintf(a.out, "application %s: %s\n", answer.Name, answer.Message); err != nil {
				return err
			}
		}
		if store != nil {
			if _, err := fmt.Fprintf(a.out, "store %s: %s\n", store.Kind, store.Message); err != nil {
				return err
			}
		}
	}
	if wrong == nil {
		fmt.Fprintln(a.err, "the configuration is valid")
		return nil
	}
	return &failure{exitUsage, fmt.Errorf("%s in the configuration", plural(len(problems), "mistake")), "", categoryConfig}
}

func newConfigPrintCommand(a *app) *cobra.Command {
	var output string
	var origin bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Prints the configuration in force, secrets as ***",
		Long: `Prints every setting with the value in force, as a file for --config. Secrets
are printed as ***. With --origin each value says where it came from: default,
file(line,column), env NAME or --set.`,
		Example: `  eventworker config print --config eventworker.yaml --origin
  eventworker config print --output json`,
		RunE: func(*cobra.Command, []string) error {
			loaded, err := a.loadConfig(false)
			if err != nil {
				return err
			}
			return loaded.Print(a.out, output, origin)
		},
	}
	a.configFlags(cmd)
	cmd.Flags().BoolVar(&origin, "origin", false, "say of each value where it came from")
	a.schemaFlag(cmd, &output, configSchema, "yaml", "json")
	return cmd
}
