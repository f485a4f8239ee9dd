//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"
)

// The worker may be asked to reload before it has come up, or while it sends its last spans.
func TestHangupBeforeTheWorkerIsUpIsKept(t *testing.T) {
	signals, stop := hangups()
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if s := <-signals; s != syscall.SIGHUP {
		t.Errorf("got %v", s)
	}
}
