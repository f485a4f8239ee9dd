package consume

import (
	"context"
	"sync"
	"time"
)

// leaderWatch knows which broker leads each partition, and runs a fetcher per leader.
type leaderWatch struct {
	g     *Generation
	asked chan struct{} // a token: look soon

	mu       sync.Mutex
	fetchers map[int32]*fetcher
	wg       sync.WaitGroup
}

const (
	leadersEvery = 500 * time.Millisecond
	leadersSoon  = 100 * time.Millisecond
)

func newLeaderWatch(g *Generation) *leaderWatch {
	return &leaderWatch{g: g, asked: make(chan struct{}, 1), fetchers: map[int32]*fetcher{}}
}

// refresh asks for a look soon.
func (w *leaderWatch) refresh() {
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// pokeAll makes all fetchers plan anew.
func (w *leaderWatch) pokeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.fetchers {
		f.poke()
	}
}

// run looks at the metadata, which the Transport keeps fresh, until ctx is done, and then waits for the
// fetchers.
func (w *leaderWatch) run(ctx context.Context) {
	defer w.wg.Wait()
	ticker := time.NewTicker(leadersEvery)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-w.asked:
			if !sleep(ctx, leadersSoon) {
				return
			}
		}
	}
}

func (w *leaderWatch) look(ctx context.Context) {
	l, err := w.g.c.readLayout(ctx)
	if ctx.Err() != nil {
		return
	}
	w.g.c.condition.report("metadata", err)
	if err != nil {
		return
	}
	changed := false
	for _, p := range w.g.partitions {
		leader, ok := l.leaders[topicPartition{p.Topic, p.ID}]
		if !ok {
			leader = -1
		}
		if p.leader.Swap(leader) == leader {
			continue
		}
		changed = true
		if leader < 0 {
			p.unknown()
			continue
		}
		w.start(ctx, leader)
	}
	if changed {
		w.pokeAll()
	}
}

// start runs a fetcher for a leader that has none.
func (w *leaderWatch) start(ctx context.Context, leader int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fetchers[leader] != nil {
		return
	}
	f := &fetcher{g: w.g, broker: leader, wake: make(chan struct{}, 1)}
	f.build.maxBatch = w.g.c.cfg.MaxBatchBytes
	w.fetchers[leader] = f
	w.wg.Go(func() { f.run(ctx) })
}
