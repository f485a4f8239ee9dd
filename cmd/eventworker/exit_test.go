package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"eventworker/internal/config"
)

func TestErrorsBecomeExitCodes(t *testing.T) {
	stoppedBy := func(s syscall.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(&interrupted{s})
		return ctx
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		text string
	}{
		{"none", nil, nil, 0, ""},
		{"a command's own", nil, ran{errors.New("broker away")}, 1, "Error: broker away\n"},
		{"cobra's", nil, errors.New("required flag"), 2, "Error: required flag\nTry: eventworker --help\n"},
		{"usage", nil, ran{usagef("x --help", "bad %d", 1)}, 2, "Error: bad 1\nTry: x --help\n"},
		{"wrapped remainder", nil, ran{fmt.Errorf("check: %w", withCode(exitRemainder, "", errors.New("2 refused")))}, 3, "Error: check: 2 refused\n"},
		{"guard", nil, ran{withCode(exitGuard, "again", errors.New("canary"))}, 4, "Error: canary\nTry: again\n"},
		{"failure with a hint", nil, ran{failf("again", "no")}, 1, "Error: no\nTry: again\n"},
		{"configuration", nil, ran{&config.Error{Problems: []config.Problem{{Path: "a", Message: "b"}}}}, 2, "a: b\nError: 1 mistake in the configuration\nTry: eventworker config check\n"},
		{"long", nil, ran{errors.New("1\n2\n3\n4")}, 1, "Error: 1\n2\n"},
		{"SIGINT", stoppedBy(syscall.SIGINT), ran{fmt.Errorf("produce: %w", context.Canceled)}, 130, "Error: interrupted by interrupt\n"},
		{"SIGTERM", stoppedBy(syscall.SIGTERM), ran{&interrupted{syscall.SIGTERM}}, 143, "Error: interrupted by terminated\n"},
		{"failed while stopping", stoppedBy(syscall.SIGTERM), ran{errors.New("disk full")}, 1, "Error: disk full\n"},
	} {
		var errs bytes.Buffer
		a := &app{streams: streams{err: &errs}}
		ctx := c.ctx
		if ctx == nil {
			ctx = context.Background()
		}
		if code := a.report(ctx, c.err); code != c.code || errs.String() != c.text {
			t.Errorf("%s: code %d, %q; want %d, %q", c.name, code, errs.String(), c.code, c.text)
		}
	}
}

func TestFirstSignalEndsTheContextAndTheSecondTheProcess(t *testing.T) {
	stderr, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	exited := make(chan int, 1)
	ctx, stop := interruptible(t.Context(), stderr, func(code int) { exited <- code })
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	var cause *interrupted
	if !errors.As(context.Cause(ctx), &cause) || cause.code() != 143 {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	if err := self.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := <-exited; code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	stop()
	told, err := os.ReadFile(stderr.Name())
	if err != nil || !strings.Contains(string(told), "once more stops at once") {
		t.Errorf("%q, %v", told, err)
	}
}
