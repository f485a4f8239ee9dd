package main

import (
	"os"
	"os/signal"
	"syscall"

	"eventworker/internal/worker"
)

// reloadOnHangup has a worker read its configuration again at each SIGHUP; the worker logs what came of
// it. stop gives the signal back and waits for the goroutine.
func reloadOnHangup(w *worker.Worker) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
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
		signal.Stop(signals)
		close(done)
		<-ended
	}
}
