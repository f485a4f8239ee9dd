package insights

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eventworker/internal/batch"
)

// ref is what tests let an event belong to.
type ref struct {
	id       int
	message  uint64
	purchase bool
}

// call is one request that the scripted API got.
type call struct {
	n   int           // its number, from 0
	at  time.Duration // since the start of the test
	ids []int
	key string
	// attempt is the header that numbers the tries, empty for the first.
	attempt string
}

// reply is what the scripted API does with a request.
type reply struct {
	status int
	header http.Header
	body   string
	after  time.Duration // how long it takes; the end of the request's context is obeyed
	err    error         // instead of an answer
}

// script is an API in memory: a http.RoundTripper that asks a function what to do.
type script struct {
	t     testing.TB
	start time.Time
	reply func(call) reply

	mu       sync.Mutex
	calls    []call
	now, max int // requests in flight
	accepted map[int]int
}

func newScript(t testing.TB, f func(call) reply) *script {
	return &script{t: t, start: time.Now(), reply: f, accepted: map[int]int{}}
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || int64(len(data)) != r.ContentLength {
		s.t.Errorf("body of %d bytes, claimed %d: %v", len(data), r.ContentLength, err)
	}
	c := s.begin(data, r.Header)
	defer s.end()
	a := s.reply(c)
	if a.after > 0 {
		select {
		case <-time.After(a.after):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	if a.status == 200 {
		s.accept(c.ids)
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	return &http.Response{
		StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

func (s *script) begin(data []byte, h http.Header) call {
	var body struct{ Events []struct{ ID int } }
	if err := json.Unmarshal(data, &body); err != nil {
		s.t.Errorf("body %s: %v", data, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := call{n: len(s.calls), at: time.Since(s.start), key: h.Get("X-Algolia-Api-Key"), attempt: h.Get("X-Eventworker-Attempt")}
	for _, e := range body.Events {
		c.ids = append(c.ids, e.ID)
	}
	s.calls = append(s.calls, c)
	s.now++
	s.max = max(s.max, s.now)
	return c
}

func (s *script) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
}

func (s *script) accept(ids []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.accepted[id]++
	}
}

// times are the moments at which requests began.
func (s *script) times() (at []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		at = append(at, c.at)
	}
	return at
}

// last is the last request so far.
func (s *script) last() call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[len(s.calls)-1]
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// rig is a deliverer against a scripted API, running, that knows the outcome of every event.
type rig struct {
	t     testing.TB
	api   *script
	app   *Application
	d     *Deliverer[ref]
	ran   chan error
	start time.Time

	mu       sync.Mutex
	outcomes map[int]Outcome
	settled  map[int]time.Duration
	next     int
}

type rigConfig struct {
	app      func(*ApplicationConfig)
	delivery DelivererConfig[ref]
}

// newRig starts a deliverer in a bubble of synctest. Its backoff has no spread: times are exact.
func newRig(t testing.TB, cfg rigConfig, reply func(call) reply) *rig {
	t.Helper()
	r := &rig{t: t, start: time.Now(), ran: make(chan error, 1), outcomes: map[int]Outcome{}, settled: map[int]time.Duration{}}
	r.api = newScript(t, reply)
	r.app = application(t, func(c *ApplicationConfig) {
		c.Transport = r.api
		if cfg.app != nil {
			cfg.app(c)
		}
	})
	r.run(cfg.delivery)
	return r
}

// newRigOf starts a deliverer for an application that is there.
func newRigOf(t testing.TB, app *Application) *rig {
	t.Helper()
	r := &rig{t: t, start: time.Now(), ran: make(chan error, 1), outcomes: map[int]Outcome{}, settled: map[int]time.Duration{}, app: app}
	r.run(DelivererConfig[ref]{})
	return r
}

func (r *rig) run(cfg DelivererConfig[ref]) {
	cfg.Message = func(x ref) uint64 { return x.message }
	cfg.Together = func(x, y ref) bool { return x.message == y.message }
	cfg.IsPurchase = func(x ref) bool { return x.purchase }
	r.d = NewDeliverer(r.app, cfg, r.settle)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.ran <- r.d.Run(ctx) }()
	synctest.Wait()
	r.t.Cleanup(func() {
		cancel()
		<-r.ran
	})
}

func (r *rig) settle(b *batch.Batch[ref], i, j int, o Outcome) {
	entries := b.Entries[i:j]
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(entries) == 0 {
		r.t.Error("settled nothing")
	}
	for _, e := range entries {
		if old, ok := r.outcomes[e.Ref.id]; ok {
			r.t.Errorf("event %d has two outcomes: %+v, %+v", e.Ref.id, old, o)
		}
		r.outcomes[e.Ref.id] = o
		r.settled[e.Ref.id] = time.Since(r.start)
	}
}

// events makes a batch of events whose ids go on from the last batch's; change may alter them.
func (r *rig) events(n int, change func(*batch.Entry[ref])) *batch.Batch[ref] {
	var got *batch.Batch[ref]
	b := batch.NewBuilder(batch.Limits{MaxEvents: n}, func(b *batch.Batch[ref]) { got = b })
	run := &batch.Run[ref]{}
	for range n {
		start := len(run.Buf)
		run.Buf = fmt.Appendf(run.Buf, `{"id":%d}`, r.next)
		e := batch.Entry[ref]{
			Start: uint32(start), End: uint32(len(run.Buf)), Time: time.Now().UnixMilli(),
			Ref: ref{id: r.next, message: uint64(r.next)},
		}
		if change != nil {
			change(&e)
		}
		run.Entries = append(run.Entries, e)
		r.next++
	}
	b.Add(run)
	return got
}

func (r *rig) submit(n int) { r.d.Submit(r.events(n, nil)) }

// kinds counts the outcomes.
func (r *rig) kinds() map[OutcomeKind]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := map[OutcomeKind]int{}
	for _, o := range r.outcomes {
		m[o.Kind]++
	}
	return m
}

func (r *rig) outcome(id int) (Outcome, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[id], r.settled[id]
}

// refusing is the reply of an API that refuses requests with one of the bad events in them.
func refusing(bad func(id int) bool) func(call) reply {
	return func(c call) reply {
		for _, id := range c.ids {
			if bad(id) {
				return reply{status: 422, body: fmt.Sprintf(`{"status":422,"message":"event %d"}`, id)}
			}
		}
		return reply{status: 200}
	}
}

func ok(call) reply { return reply{status: 200} }
