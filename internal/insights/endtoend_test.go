package insights

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"eventworker/internal/batch"
)

// chaos is an API over a real network that refuses some events, and whose requests fail in many
// ways, before or after it took them.
type chaos struct {
	mu       sync.Mutex
	random   *rand.Rand
	accepted map[int]int
	broken   []string
	answered chan struct{} // a token whenever an answer goes out
}

func chaosBad(id int) bool { return id%97 == 13 }

func (c *chaos) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var body struct{ Events []struct{ ID int } }
	defer poke(c.answered)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.Unmarshal(data, &body); err != nil {
		c.broken = append(c.broken, err.Error())
	}
	fault := c.random.IntN(12)
	switch fault {
	case 0:
		w.WriteHeader(503)
		return
	case 1:
		panic(http.ErrAbortHandler) // the connection breaks
	case 2:
		w.WriteHeader(401)
		return
	case 3:
		if len(body.Events) > 50 {
			w.WriteHeader(413)
			return
		}
	}
	for _, e := range body.Events {
		if chaosBad(e.ID) {
			w.WriteHeader(422)
			return
		}
	}
	for _, e := range body.Events {
		c.accepted[e.ID]++
	}
	if fault == 4 {
		panic(http.ErrAbortHandler) // taken, and nobody knows
	}
}

func TestNothingIsLostOrRefusedWronglyOverAFaultyNetwork(t *testing.T) {
	const events, size = 20_000, 200
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	api := &chaos{random: rand.New(rand.NewPCG(seed, 0)), accepted: map[int]int{}, answered: make(chan struct{}, 1)}
	server := httptest.NewServer(api)
	defer server.Close()
	app := application(t, func(c *ApplicationConfig) {
		c.Endpoint, c.MaxInFlight = server.URL, 8
		c.Backoff = Backoff{InitialInterval: time.Microsecond, MaxInterval: time.Millisecond, RandomizationFactor: 0.5}
	})

	var mu sync.Mutex
	outcomes := make([]OutcomeKind, events)
	left := events
	all := make(chan struct{})
	d := NewDeliverer(app, DelivererConfig[int]{}, func(b *batch.Batch[int], i, j int, o Outcome) {
		entries := b.Entries[i:j]
		mu.Lock()
		defer mu.Unlock()
		for _, e := range entries {
			if outcomes[e.Ref] != 0 {
				t.Errorf("event %d was settled twice", e.Ref)
			}
			outcomes[e.Ref] = o.Kind
		}
		if left -= len(entries); left == 0 {
			close(all)
		}
	})
	ran := make(chan error)
	go func() { ran <- d.Run(context.Background()) }()
	builder := batch.NewBuilder(batch.Limits{MaxEvents: size, Linger: time.Hour}, d.Submit)
	run := &batch.Run[int]{}
	for id := range events {
		start := len(run.Buf)
		run.Buf = fmt.Appendf(run.Buf, `{"id":%d}`, id)
		run.Entries = append(run.Entries, batch.Entry[int]{Start: uint32(start), End: uint32(len(run.Buf)), Time: int64(id), Ref: id})
		if len(run.Entries) == 333 {
			builder.Add(run)
			run.Reset()
		}
	}
	builder.Add(run)
	builder.Close()
	watchFigures(api.answered, all, d, app)
	if n := d.Drain(t.Context()); n != 0 {
		t.Errorf("%d left", n)
	}
	<-ran

	if len(api.broken) > 0 {
		t.Errorf("bodies that are no JSON: %v", api.broken)
	}
	for id, kind := range outcomes {
		switch taken := api.accepted[id]; {
		case chaosBad(id) && (kind != Rejected || taken != 0):
			t.Fatalf("bad event %d: %v, taken %d times", id, kind, taken)
		case !chaosBad(id) && (kind != Delivered || taken == 0):
			t.Fatalf("good event %d: %v, taken %d times", id, kind, taken)
		}
	}
	if s := app.Status(); s.InFlight != 0 {
		t.Errorf("%d requests in flight at the end", s.InFlight)
	}
}

// watchFigures asks for figures while requests end, as a metrics server may.
func watchFigures(answered, all <-chan struct{}, d *Deliverer[int], app *Application) {
	for {
		select {
		case <-all:
			return
		case <-answered:
			for range 10 {
				d.Pending()
				app.Status()
			}
		}
	}
}

// counter is an API in memory that reads bodies and takes everything.
type counter struct{ buffers sync.Pool }

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	buf := c.buffers.Get().(*[64 << 10]byte)
	for {
		if _, err := r.Body.Read(buf[:]); err != nil {
			break
		}
	}
	c.buffers.Put(buf)
	r.Body.Close()
	return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// BenchmarkDeliver is the way of an event from its run of encoded bytes to its outcome; one op is
// one event of about 235 bytes.
func BenchmarkDeliver(b *testing.B) {
	sink := &counter{buffers: sync.Pool{New: func() any { return new([64 << 10]byte) }}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	for _, c := range []struct {
		name string
		cfg  func(*ApplicationConfig)
	}{
		{"memory", func(c *ApplicationConfig) { c.Transport = sink }},
		{"loopback", func(c *ApplicationConfig) { c.Endpoint = server.URL }},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkDeliver(b, application(b, c.cfg)) })
	}
}

func benchmarkDeliver(b *testing.B, app *Application) {
	defer app.Close()
	room := make(chan struct{}, 64_000/250) // what the byte budget is to the worker
	var settled sync.WaitGroup
	d := NewDeliverer(app, DelivererConfig[*int]{MaxEventAge: 95 * time.Hour}, func(b *batch.Batch[*int], i, j int, o Outcome) {
		entries := b.Entries[i:j]
		for range len(entries) / 250 {
			<-room
			settled.Done()
		}
	})
	ran := make(chan error)
	go func() { ran <- d.Run(context.Background()) }()
	builder := batch.NewBuilder(batch.Limits{Linger: time.Hour}, d.Submit)
	run := &batch.Run[*int]{}
	now := time.Now().UnixMilli()
	for range 250 {
		start := len(run.Buf)
		run.Buf = AppendEvent(run.Buf, shapes["click"])
		run.Entries = append(run.Entries, batch.Entry[*int]{Start: uint32(start), End: uint32(len(run.Buf)), Time: now})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 1000 {
		for range 4 {
			room <- struct{}{}
			settled.Add(1)
			builder.Add(run)
		}
	}
	settled.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	d.Drain(b.Context())
	<-ran
}
