package main

import (
	"os"
	"os/signal"
	"syscall"

	"eventworker/internal/worker"
)

// hangups takes SIGHUP, which otherwise ends the process, until stop. What comes before there is a worker,
// or after it, ends nothing: the first is kept for it.
func hangups() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// reloadOnHangup has a worker read its configuration again at each SIGHUP; the worker logs what came of
// it. stop waits for the goroutine.
func reloadOnHangup(w *worker.Worker, signals <-chan os.Signal) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
				_, _ = w.Reload() // it has logged the error
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
