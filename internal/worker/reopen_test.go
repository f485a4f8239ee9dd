package worker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// TestAStoreThatMustBeOpenedAnewLosesNothing: an fsync fails after so much was added that the store cannot
// write it again. The process goes on: the section is opened anew, what it lost comes from Kafka, and what is
// bought afterwards gets the queryIDs that were lost.
func TestAStoreThatMustBeOpenedAnewLosesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.config()
	disk := &brokenDisk{full: make(chan struct{})}
	worker := startPrepared(t, c, func(worker *Worker) {
		replaceStore(t, worker, querystore.Options{Path: c.Store.Path, Memory: 1, SegmentBytes: 64 << 10, Fsync: disk.fsync})
	})

	w.send(record("before", shown("before", time.Now(), "before")), record("before", `{"type":"recommendation.clicked","userToken":"before","objectID":"before"}`))
	worker.settles(2)
	const users = 60
	user := func(i int) string { return fmt.Sprintf("user-%d", i) }
	disk.broken.Store(true)
	for i := range users { // 600 KB of impressions: more than the store keeps in memory
		objects := []string{user(i)}
		for k := range 40 {
			objects = append(objects, fmt.Sprintf("%s-%d-%s", user(i), k, strings.Repeat("x", 200)))
		}
		w.send(record(user(i), shown(user(i), time.Now(), objects...)))
	}
	w.send(record(user(0), fmt.Sprintf(`{"type":"recommendation.clicked","userToken":%q,"objectID":%q}`, user(0), user(0))))
	worker.settlesSome(2 + users) // the click waits for the end of the log: it may be decided only in the next generation
	close(disk.full)
	worker.unready("opened anew")
	worker.ready()

	var bought []*kgo.Record
	for i := range users {
		bought = append(bought, record(user(i), fmt.Sprintf(`{"type":"recommendation.purchased","id":"order-%d","userToken":%q,"items":[{"objectID":%q}]}`, i, user(i), user(i))))
	}
	w.send(append(bought, record("before", `{"type":"recommendation.purchased","id":"o","userToken":"before","items":[{"objectID":"before"}]}`))...)
	worker.await("all purchases", func() bool { return w.purchases() == users+1 })
	w.mu.Lock()
	for _, e := range w.events {
		if e.EventSubtype == "purchase" && (len(e.ObjectData) != 1 || e.ObjectData[0].QueryID != query) {
			t.Errorf("the purchase of %v came without its queryID", e.ObjectIDs)
		}
		if e.EventType == "click" && e.QueryID != query {
			t.Errorf("the click on %v came without its queryID", e.ObjectIDs)
		}
	}
	w.mu.Unlock()
	lines := worker.lines()
	if n := strings.Count(lines, "the store of a task must be opened anew"); n != 1 {
		t.Errorf("the loss was said %d times:\n%s", n, lines)
	}
	worker.stop()
}

// startPrepared starts a worker that was changed before.
func startPrepared(t *testing.T, c *config.Config, prepare func(*Worker)) *running {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	metrics := telemetry.NewMetrics()
	worker, err := New(c, Options{Log: zap.New(core), Metrics: metrics, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	prepare(worker)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: worker, t: t, logs: logs, metrics: metrics, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = worker.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// brokenDisk fails one fsync, once it is full.
type brokenDisk struct {
	broken atomic.Bool
	full   chan struct{}
}

func (d *brokenDisk) fsync(_ string, do func() error) error {
	if !d.broken.Load() {
		return do()
	}
	<-d.full
	if d.broken.CompareAndSwap(true, false) {
		return syscall.EIO
	}
	return do()
}

// replaceStore gives a worker that does not run yet another store.
func replaceStore(t *testing.T, w *Worker, o querystore.Options) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := querystore.OpenDisk(o)
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
}

// purchases counts the accepted purchases, copies not counted.
func (w *world) purchases() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	objects := make(map[string]bool)
	for _, e := range w.events {
		if e.EventSubtype == "purchase" {
			objects[e.ObjectIDs[0]] = true
		}
	}
	return len(objects)
}

func TestAStoreThatFailsAgainAndAgainIsOpenedLessAndLessOften(t *testing.T) {
	w := &Worker{sections: map[int32]querystore.Section{3: nopSection{}}, failing: map[int32]error{}, lost: map[int32]*reopening{}}
	err := &querystore.IOError{Task: 3, Op: "sync", Final: true, Err: syscall.EIO}
	var delays []time.Duration
	for range 8 {
		if !w.markLost(3, err) || w.markLost(3, err) {
			t.Fatal("a loss is one loss until the section is opened anew")
		}
		if w.giveBack(3) == nil {
			t.Fatal("the section may be opened at once")
		}
		l := w.lost[3]
		delays = append(delays, l.delay)
		l.next = time.Now()
		if err := w.giveBack(3); err != nil || w.sections[3] != nil {
			t.Fatal("the section is not given back", err)
		}
		w.sections[3] = nopSection{}
	}
	if delays[0] != reopenFirst || delays[1] != 2*reopenFirst || delays[7] != reopenLast {
		t.Errorf("delays %v", delays)
	}
	w.lost[3].last = time.Now().Add(-2 * reopenCalm)
	if w.markLost(3, err); w.lost[3].delay != reopenFirst {
		t.Errorf("after a calm time the delay is %v", w.lost[3].delay)
	}
}

type nopSection struct{ querystore.Section }

func (nopSection) Close() error { return nil }

func TestAServerThatLostDataLosesItForAllTasks(t *testing.T) {
	w := &Worker{sections: map[int32]querystore.Section{1: nopSection{}, 2: nopSection{}}, failing: map[int32]error{}, lost: map[int32]*reopening{}, log: zap.NewNop()}
	w.lose(1, &querystore.LostError{Task: 1, Why: "restarted empty"})
	if !w.lost[1].due || !w.lost[2].due {
		t.Error("a task keeps a section whose data is lost")
	}
}
