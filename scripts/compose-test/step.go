//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// step does something and says how long it took.
func step(name string, do func() error) error {
	fmt.Printf("== %s\n", name)
	began := time.Now()
	err := do()
	result := "done"
	if err != nil {
		result = "FAILED"
	}
	fmt.Printf("-- %s in %.1f s\n", result, time.Since(began).Seconds())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// say tells a detail of the step that runs.
func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// command is a program with the test's environment, in a group of its own so that a Ctrl-C reaches it
// through us. When the context ends it is asked to end, and killed ten seconds later.
func (t *test) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = t.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// output runs a program and gives what it writes to standard output. What it writes beside that is in
// the error, if it fails.
func (t *test) output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := t.command(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), failed(ctx, name, args, err, append(out.Bytes(), errs.Bytes()...))
	}
	return out.String(), nil
}

// quietly runs a program whose output matters only if it fails.
func (t *test) quietly(ctx context.Context, in io.Reader, name string, args ...string) error {
	cmd := t.command(ctx, name, args...)
	var all bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &all, &all
	if err := cmd.Run(); err != nil {
		return failed(ctx, name, args, err, all.Bytes())
	}
	return nil
}

func failed(ctx context.Context, name string, args []string, err error, said []byte) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	const enough = 6000
	said = bytes.TrimSpace(said)
	if len(said) > enough {
		said = said[len(said)-enough:]
	}
	return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said)
}

// patience bounds each wait. It is generous: the machine may be busy with everything else.
const patience = 5 * time.Minute

// wrong is an error that no waiting heals.
type wrong struct{ error }

// until asks every so often until there is no error, or one that no waiting heals, or [patience] is at its end.
func until(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	for {
		err := ask(ctx)
		var w *wrong
		if err == nil || errors.As(err, &w) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// environment is that of docker and compose: our own daemon, no settings of the user, the classic
// builder, which every engine has.
func environment(dir string, official bool) []string {
	env := []string{"COMPOSE_PROJECT_NAME=" + project}
	own := map[string]bool{"COMPOSE_PROJECT_NAME": true, "COMPOSE_FILE": true, "COMPOSE_PROFILES": true, "COMPOSE_ENV_FILES": true}
	if !official {
		env = append(env, "DOCKER_HOST=unix://"+dir+"/docker.sock", "DOCKER_CONFIG="+dir+"/config", "DOCKER_BUILDKIT=0", "COMPOSE_DOCKER_CLI_BUILD=0")
		for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD"} {
			own[name] = true
		}
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !own[name] {
			env = append(env, v)
		}
	}
	return env
}
