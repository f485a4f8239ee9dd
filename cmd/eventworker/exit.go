package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// failure is an error with an exit code and the command to type next. category is empty where exit code and
// cause tell it.
type failure struct {
	code     int
	err      error
	try      string
	category string
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

// failIn is a failure of a category of its own: exit code 1.
func failIn(category, try, format string, args ...any) error {
	return &failure{code: exitFailed, err: fmt.Errorf(format, args...), try: try, category: category}
}

// ran marks an error that a command's own code gave; any other error of cobra's is a wrong call.
type ran struct{ error }

func (r ran) Unwrap() error { return r.error }

// report tells of an error on standard error and gives the exit code: in three lines at most (a
// configuration's mistakes are a line each), or, for callers of --output json and jsonl, as a JSON object.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	said := failureOf(ctx, err)
	told := toldError{Schema: errorSchema, Category: categoryOf(ctx, err), Message: a.words(said.err), Try: a.located(said.try)}
	var wrong *config.Error
	if errors.As(err, &wrong) {
		for _, p := range wrong.Problems {
			told.Problems = append(told.Problems, checkedProblem(p))
		}
	}
	if a.asJSON {
		fmt.Fprintf(a.err, "%s\n", compact(&told))
		return said.code
	}
	if wrong != nil {
		fmt.Fprintln(a.err, wrong)
	}
	a.tell(&told)
	return said.code
}

// errorSchema names the form of an error in JSON.
const errorSchema = "eventworker.error/v1"

// toldError is an error as JSON.
type toldError struct {
	Schema   string `json:"schema"`
	Category string `json:"category"`
	Message  string `json:"message"`
	// Try is the command to type next, empty where there is none.
	Try string `json:"try"`
	// Problems are the mistakes of a configuration.
	Problems []checkedProblem `json:"problems,omitempty"`
}

// failureOf is what is told of an error, and its exit code.
func failureOf(ctx context.Context, err error) *failure {
	var wrong *config.Error
	if errors.As(err, &wrong) {
		return &failure{exitUsage, fmt.Errorf("%s in the configuration", plural(len(wrong.Problems), "mistake")), "eventworker config check", ""}
	}
	var f *failure
	if errors.As(err, &f) {
		return &failure{f.code, err, f.try, f.category}
	}
	if !errors.As(err, new(ran)) {
		return &failure{exitUsage, err, "eventworker --help", ""}
	}
	if stopped := wasStopped(ctx, err); stopped != nil {
		return &failure{stopped.code(), stopped, "", ""}
	}
	return &failure{exitFailed, err, "", ""}
}

// wasStopped is the signal that ended a command, nil where something else did.
func wasStopped(ctx context.Context, err error) *interrupted {
	var stopped *interrupted
	if errors.As(context.Cause(ctx), &stopped) && errors.Is(err, context.Canceled) || errors.As(err, &stopped) {
		return stopped
	}
	return nil
}

// located is a command to type with the settings of this call, where it lacks them and has a use for them.
func (a *app) located(try string) string {
	words := strings.Fields(try)
	if len(words) < 3 || words[0] != "eventworker" || !slices.Contains([]string{"config", "dlq", "group", "store"}, words[1]) ||
		slices.ContainsFunc(words, func(w string) bool { return slices.Contains([]string{"--help", "--config", "--set", "…"}, w) }) {
		return try
	}
	return try + a.settings()
}

// words is an error's text, with what the brokers said in plain words.
func (a *app) words(err error) string {
	group := "kafka.group"
	if loaded, wrong := a.loadConfig(false); wrong == nil {
		group = loaded.Kafka.Group
	}
	return inKafkaWords(err, strings.TrimSpace(err.Error()), group)
}

func (a *app) tell(told *toldError) {
	lines := strings.Split(told.Message, "\n")
	lines = lines[:min(2, len(lines))]
	fmt.Fprintln(a.err, "Error: "+strings.Join(lines, "\n"))
	if told.Try != "" {
		fmt.Fprintln(a.err, "Try: "+told.Try)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
