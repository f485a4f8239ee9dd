//go:build linux

// Command compose-test brings docker-compose.yml up, unchanged, and checks that what goes in comes out:
//
//	go run ./scripts/compose-test
//
// It starts a Docker daemon of its own with data in a temporary folder, so that it needs none that runs and
// sees nothing of its images, and builds local images under the names of the official ones, since no registry
// may be in reach: Apache Kafka from its jars by Maven, Redis and Prometheus from Debian. Grafana cannot be
// had that way; in its place stands a program that reads what is provisioned and answers its health
// check. Missing tools are installed where it is root on Debian. What stays behind are folders of downloads
// in the user's cache and, as after any daemon, the interface docker0 and Docker's chains of iptables.
//
// A daemon that starts empties those chains, so where another one runs its containers are cut off from
// outside until it starts again. There it is refused, unless -beside says that this does no harm.
//
//	go run ./scripts/compose-test -official
//
// does the same with the Docker daemon that runs and the official images. -walk-through executes the
// commands of docs/walk-through.md as well and writes what they print into the page. -keep leaves
// everything up until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"eventworker/internal/consume"
)

// The daemon dies with the thread that started it, so that must be one that lives as long as the process.
func init() { runtime.LockOSThread() }

type options struct {
	official bool          // use the running daemon and the official images
	beside   bool          // start a daemon although another one runs
	keep     bool          // wait for Ctrl-C before taking it down
	write    bool          // write the walk-through's output into its page
	only     string        // "": everything; "check", "walk-through"
	deadline time.Duration // of everything
}

func parse() options {
	var o options
	flag.BoolVar(&o.official, "official", false, "use the running Docker daemon and the official images")
	flag.BoolVar(&o.beside, "beside", false, "start a daemon although one runs, whose containers lose their rules of iptables")
	flag.BoolVar(&o.keep, "keep", false, "leave everything up until Ctrl-C")
	flag.BoolVar(&o.write, "walk-through", false, "write what the commands of docs/walk-through.md print into the page")
	flag.StringVar(&o.only, "only", "", "`PART`: check, or walk-through (default both)")
	flag.DurationVar(&o.deadline, "deadline", 20*time.Minute, "give up after this `TIME`")
	flag.Parse()
	if flag.NArg() > 0 || o.only != "" && o.only != "check" && o.only != "walk-through" {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

func main() { os.Exit(attempt(parse())) }

// attempt runs the test, says how it ended, and gives the exit status.
func attempt(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	go watchParent(stop)
	limited, cancel := context.WithTimeoutCause(ctx, o.deadline, fmt.Errorf("not done within %v (-deadline)", o.deadline))
	defer cancel()
	began := time.Now()
	if err := run(limited, o); err != nil {
		fmt.Printf("\ncompose-test: %v\n0 passed, 1 failed\n", err)
		return 1
	}
	fmt.Printf("\neverything arrived as it had to, in %.0f s\n1 passed, 0 failed\n", time.Since(began).Seconds())
	return 0
}

// watchParent ends us with our parent: go run does not pass on a SIGTERM.
func watchParent(stop func()) {
	parent := os.Getppid()
	for parent != 1 && os.Getppid() == parent {
		time.Sleep(time.Second)
	}
	if parent != 1 {
		stop()
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "eventworker-compose-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &test{options: o, dir: dir, env: environment(dir, o.official)}
	if !o.official {
		end, err := t.prepare(ctx)
		defer end()
		if err != nil {
			return err
		}
	}
	if err := t.findCompose(ctx); err != nil {
		return err
	}
	return t.exercise(ctx)
}

// test is one run.
type test struct {
	options
	dir     string   // temporary folder
	env     []string // of docker and compose
	compose []string // docker-compose, or docker compose
	cache   cached
	ports   ports
	// traffic counts the messages that were sent in rounds whose truth is checked.
	traffic uint64
	seed    uint64                   // of the last round
	lastEnd time.Time                // of the last round
	killed  []consume.GroupPartition // as they were at the kill
}

// exercise brings the stack up, checks it and takes it down.
func (t *test) exercise(ctx context.Context) (err error) {
	if err := step("settings: .env.example against docker-compose.yml", t.settings); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.tellLogs()
		}
		err = errors.Join(err, t.takeDown(ctx))
	}()
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"build the image", t.build},
		{"up, until everything is healthy", t.up},
		{"a bounded log: equation, commits, truth", t.firstRound},
		{"the worker is killed while the API answers", t.killRound},
		{"profile scale: three workers share a log", t.scaleRound},
		{"STORE_KIND=redis, and back", t.redisRound},
		{"profile metrics: scraped, rules loaded, provisioned", t.metrics},
		{"docs/walk-through.md, command by command", t.walkThrough},
	}
	for _, s := range steps {
		if t.skips(s.name) {
			continue
		}
		if err := step(s.name, func() error { return s.do(ctx) }); err != nil {
			return err
		}
	}
	if t.keep {
		fmt.Printf("\neverything is up:\n%s\nCtrl-C takes it down\n", t.describe())
		<-ctx.Done()
	}
	return nil
}
