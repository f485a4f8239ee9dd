package insights

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"eventworker/internal/batch"
)

// remote is an API in memory that takes its time, for a number of requests at once; others queue.
type remote struct {
	counter
	takes time.Duration
	slots chan struct{}
}

func newRemote(takes time.Duration, atOnce int) *remote {
	r := &remote{takes: takes, slots: make(chan struct{}, atOnce)}
	r.buffers.New = func() any { return new([64 << 10]byte) }
	return r
}

func (r *remote) RoundTrip(req *http.Request) (*http.Response, error) {
	r.slots <- struct{}{}
	time.Sleep(r.takes)
	<-r.slots
	return r.counter.RoundTrip(req)
}

// BenchmarkInFlight is what fixed numbers of requests in flight get through, and what the adaptive one
// does, by the API's latency; one op is one batch of 1,000 events. The API answers all at once, or
// eight at a time; with eight at a time more requests in flight gain nothing and wait.
func BenchmarkInFlight(b *testing.B) {
	for _, atOnce := range []int{1 << 10, 8} {
		for _, takes := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond} {
			for _, limit := range []int{1, 8, 32, 0} {
				name := fmt.Sprintf("room=%d/latency=%v/in_flight=%d", atOnce, takes, limit)
				if limit == 0 {
					name = fmt.Sprintf("room=%d/latency=%v/in_flight=adaptive", atOnce, takes)
				}
				b.Run(name, func(b *testing.B) {
					app := application(b, func(c *ApplicationConfig) {
						c.Transport = newRemote(takes, atOnce)
						c.Limiter = FixedLimit(limit)
						if limit == 0 {
							c.Limiter = newAdaptive(32)
						}
					})
					benchmarkInFlight(b, app)
				})
			}
		}
	}
}

func benchmarkInFlight(b *testing.B, app *Application) {
	room := make(chan struct{}, 64) // what the byte budget is to the worker
	var settled sync.WaitGroup
	d := NewDeliverer(app, DelivererConfig[int]{MaxEventAge: 95 * time.Hour}, func(*batch.Batch[int], int, int, Outcome) {
		<-room
		settled.Done()
	})
	ran := make(chan error)
	go func() { ran <- d.Run(context.Background()) }()
	builder := batch.NewBuilder(batch.Limits{Linger: time.Hour}, d.Submit)
	run := &batch.Run[int]{}
	now := time.Now().UnixMilli()
	for range 1000 {
		start := len(run.Buf)
		run.Buf = AppendEvent(run.Buf, shapes["click"])
		run.Entries = append(run.Entries, batch.Entry[int]{Start: uint32(start), End: uint32(len(run.Buf)), Time: now})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		room <- struct{}{}
		settled.Add(1)
		builder.Add(run)
	}
	settled.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(app.Status().Limit), "limit")
	d.Drain(b.Context())
	<-ran
}
