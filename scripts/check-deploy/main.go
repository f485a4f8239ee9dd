// Command check-deploy checks what is deployed beside the program: the Helm chart, the rules with
// their alerts, the dashboard, and whether every query finds what the worker says.
//
//	go run ./scripts/check-deploy                 # everything
//	go run ./scripts/check-deploy chart rules     # some parts: rules, chart, dashboard, live
//
// It needs prometheus with promtool (2.42 or later), Node with npm, and Python with venv for a
// package of Kubernetes' schemas; helm and kubeconform are built from tools/. Everything runs on
// loopback, on ports of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// part is a part of the checks.
type part struct {
	name string
	run  func(context.Context, *checks) error
}

var parts = []part{{"rules", checkRules}, {"chart", checkChart}, {"dashboard", checkDashboard}, {"live", checkLive}}

// checks is what the parts share.
type checks struct {
	work string // a folder for temporary files
}

func main() {
	// Processes die with the thread that started them (see kill_linux.go), so that must be one that
	// lives as long as this process.
	runtime.LockOSThread()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "check-deploy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, wanted []string) error {
	if _, err := os.Stat("deploy/prometheus/rules"); err != nil {
		return errors.New("run it in the repository's root: there is no deploy/prometheus/rules here")
	}
	known := make([]string, 0, len(parts))
	for _, p := range parts {
		known = append(known, p.name)
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return fmt.Errorf("no part %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	work, err := os.MkdirTemp("", "eventworker-check-deploy-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(work); err != nil {
			fmt.Fprintln(os.Stderr, "could not remove", work+":", err)
		}
	}()
	c := &checks{work: work}
	for _, p := range parts {
		if len(wanted) > 0 && !slices.Contains(wanted, p.name) {
			continue
		}
		began := time.Now()
		if err := p.run(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Printf("%-10s ok, %.1f s\n", p.name, time.Since(began).Seconds())
	}
	return nil
}

// say prints what a part found.
func say(format string, args ...any) { fmt.Printf("           "+format+"\n", args...) }

// command runs a program; its output is in the error.
func command(ctx context.Context, name string, args ...string) (string, error) {
	return commandIn(ctx, "", "", name, args...)
}

func commandIn(ctx context.Context, dir, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// tool builds a program of tools/ and gives its path.
func (c *checks) tool(ctx context.Context, name string) (string, error) {
	mod := "-modfile=tools/" + name + "/go.mod"
	list, err := command(ctx, "go", "list", mod, "-f", "{{.ImportPath}}", "tool")
	if err != nil {
		return "", err
	}
	program := filepath.Join(c.work, name)
	if _, err := command(ctx, "go", "build", mod, "-o", program, strings.TrimSpace(list)); err != nil {
		return "", err
	}
	return program, nil
}

// cache is a folder that outlives the run, for what is fetched.
func cache(name string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "eventworker", name), nil
}

// filled gives the cached folder of a name, which fill makes where there is none; a run that was cut
// off leaves none.
func filled(name string, fill func(dir string) error) (string, error) {
	dir, err := cache(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "filling-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := fill(fresh); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", err
	}
	return dir, nil
}
