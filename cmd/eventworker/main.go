// Command eventworker reads what shoppers were shown, clicked and bought from Kafka and ships it as
// Insights events to Algolia.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A reader that goes away shows as an error of the write, which ends the command quietly.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := interruptible(context.Background(), os.Stderr, os.Exit)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ()})
	stop()
	os.Exit(code)
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i *interrupted) Error() string { return "interrupted by " + i.signal.String() }

// code is the exit code of a process that a signal ended, as shells count it.
func (i *interrupted) code() int { return 128 + int(i.signal) }

// interruptible gives a context that the first SIGINT or SIGTERM ends; the second ends the process at
// once. stop gives the signals back and waits for the goroutine.
func interruptible(parent context.Context, stderr *os.File, exit func(int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			select {
			case s := <-signals:
				number, _ := s.(syscall.Signal)
				cause := &interrupted{number}
				if !first {
					exit(cause.code())
					return
				}
				cancel(cause)
				fmt.Fprintln(stderr, "stopping: finishing what is in flight; once more stops at once")
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		cancel(nil)
	}
}
