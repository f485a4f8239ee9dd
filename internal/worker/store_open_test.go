package worker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eventworker/internal/querystore"
)

// closedStore gives no section out until it is opened.
type closedStore struct {
	querystore.Store
	opened *atomic.Bool
}

func (s *closedStore) Open(task int32) (querystore.Section, error) {
	if !s.opened.Load() {
		return nil, errors.New("read segment: input/output error")
	}
	return s.Store.Open(task)
}

func TestAStoreThatCannotBeOpenedIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	worker, err := New(w.config(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Bool
	worker.store = &closedStore{worker.store, &opened}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	w.send(record("u", shown("u", time.Now(), "a")))
	failing := func() bool {
		_, conditions := worker.health.Ready()
		for _, c := range conditions {
			if c.Name == "store" {
				return !c.OK && strings.Contains(c.Why, "input/output error")
			}
		}
		return false
	}
	state := func() string { return "" }
	// Nothing lies before the start of a new group, so the store is first asked for when the generation is served.
	awaitFor(t, "readiness that names the store", failing, state)
	opened.Store(true)
	awaitFor(t, "the message", func() bool { return worker.Ledger().Snapshot().Delivered == 1 }, state)
	awaitFor(t, "a store that is ready", func() bool { return !failing() }, state)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
