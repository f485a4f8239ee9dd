package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"eventworker/internal/config"
)

// The exit codes, which help exit-codes explains.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitRemainder = 3
	exitGuard     = 4
)

// failure is an error with an exit code and the command to type next.
type failure struct {
	code int
	err  error
	try  string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usagef is a wrong call: exit code 2.
func usagef(try, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), try: try}
}

// failf is a failure with a hint: exit code 1.
func failf(try, format string, args ...any) error {
	return &failure{code: exitFailed, err: fmt.Errorf(format, args...), try: try}
}

// withCode gives an error an exit code of its own, such as exitRemainder or exitGuard.
func withCode(code int, try string, err error) error {
	return &failure{code: code, err: err, try: try}
}

// ran marks an error that a command's own code gave; any other error of cobra's is a wrong call.
type ran struct{ error }

func (r ran) Unwrap() error { return r.error }

// report tells of an error on standard error, in three lines at most (a configuration's mistakes are
// a line each), and gives the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	var wrong *config.Error
	if errors.As(err, &wrong) {
		fmt.Fprintln(a.err, wrong)
		fmt.Fprintf(a.err, "Error: %s in the configuration\nTry: eventworker config check\n", plural(len(wrong.Problems), "mistake"))
		return exitUsage
	}
	var f *failure
	if errors.As(err, &f) {
		a.tell(err, f.try)
		return f.code
	}
	var own ran
	if !errors.As(err, &own) {
		a.tell(err, "eventworker --help")
		return exitUsage
	}
	var stopped *interrupted
	if errors.As(context.Cause(ctx), &stopped) && errors.Is(err, context.Canceled) || errors.As(err, &stopped) {
		a.tell(stopped, "")
		return stopped.code()
	}
	a.tell(err, "")
	return exitFailed
}

func (a *app) tell(err error, try string) {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	lines = lines[:min(2, len(lines))]
	fmt.Fprintln(a.err, "Error: "+strings.Join(lines, "\n"))
	if try != "" {
		fmt.Fprintln(a.err, "Try: "+try)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
