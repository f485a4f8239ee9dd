package main

import (
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"eventworker/internal/worker"
)

// reloadOnHangup reads the API keys of the configuration again at each SIGHUP, and lets a worker take
// them. stop gives the signal back and waits for the goroutine.
func (a *app) reloadOnHangup(w *worker.Worker, log *zap.Logger) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signals:
				a.reloadKeys(w, log)
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

func (a *app) reloadKeys(w *worker.Worker, log *zap.Logger) {
	loaded, err := a.loadConfig(true)
	if err == nil {
		err = w.ReloadKeys(&loaded.Config)
	}
	if err != nil {
		log.Error("API keys could not be read again; those before stay", zap.Error(err))
		return
	}
	log.Info("API keys were read again; other settings need a restart")
}
