package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
	"eventworker/internal/telemetry"
)

// streams are what a process is given.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      []string // NAME=value
}

// app is what commands have in common: where to read and write, and the configuration's flags.
type app struct {
	streams
	configFile string
	set        []string
	// acts says that the command changes something: how that ended is told whoever reads its output.
	acts bool
	// asJSON says that whoever calls wants errors as JSON, too.
	asJSON bool
}

// run executes one command line and gives the exit code. It is the whole program but for signals, so
// that tests can call it.
func run(ctx context.Context, args []string, s streams) int {
	out := &reader{to: s.out}
	a := &app{streams: s}
	a.out = out
	root := newRoot(a)
	root.SetArgs(append([]string{}, args...)) // cobra takes nil as those of the process
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if a.readerGone() && !a.acts {
		return exitOK // whoever read our output has seen enough
	}
	a.asJSON = wantsJSON(cmd, args)
	return a.report(ctx, foundByCobra(cmd, err))
}

// wantsJSON says whether a call asked for JSON: by the flag, or, where the call could not be read so far, by
// its words.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	isJSON := func(format string) bool { return format == "json" || format == "jsonl" }
	if f := cmd.Flags().Lookup("output"); f != nil && f.Changed {
		return isJSON(f.Value.String())
	}
	for i, word := range args {
		switch name, value, cut := strings.Cut(word, "="); {
		case word == "--":
			return false
		case (name == "--output" || name == "-o") && cut:
			return isJSON(value)
		case (word == "--output" || word == "-o") && i+1 < len(args):
			return isJSON(args[i+1])
		case strings.HasPrefix(word, "-o"):
			return isJSON(word[2:])
		}
	}
	return false
}

// closedPipe says whether an error is that nobody reads what is written.
func closedPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// readerGone says whether nobody reads standard output any more.
func (a *app) readerGone() bool {
	r, ok := a.out.(*reader)
	return ok && r.gone.Load()
}

// outIsTerminal says whether standard output is a terminal; errIsTerminal the same of standard error.
func (a *app) outIsTerminal() bool {
	r, ok := a.out.(*reader)
	return ok && telemetry.IsTerminal(r.to)
}

func (a *app) errIsTerminal() bool { return telemetry.IsTerminal(a.err) }

// configFlags gives a command --config and --set.
func (a *app) configFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&a.configFile, "config", "c", "", "YAML `FILE` of settings (default: none)")
	cmd.Flags().StringArrayVar(&a.set, "set", nil, "one setting, as `KEY=VALUE`; wins over file and environment; may repeat")
	if err := cmd.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // the flag was defined two lines above
	}
}

// loadConfig reads the configuration that the flags and the environment describe. forRun also wants
// what only a running worker needs, such as API keys.
func (a *app) loadConfig(forRun bool) (*config.Loaded, error) {
	return config.Load(config.Sources{File: a.configFile, Env: a.env, Set: a.set, ForRun: forRun})
}

// reader is standard output, which remembers that nobody reads it any more.
type reader struct {
	to   io.Writer
	gone atomic.Bool
}

func (r *reader) Write(p []byte) (int, error) {
	n, err := r.to.Write(p)
	if closedPipe(err) {
		r.gone.Store(true)
	}
	return n, err
}
