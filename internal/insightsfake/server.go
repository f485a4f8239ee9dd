package insightsfake

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a [Server]. The zero value accepts any credentials, is strict,
// keeps nothing and has the API's limits.
type Options struct {
	// Credentials are the API keys of each application id. Empty: any id with
	// any key will do, but both must be there.
	Credentials map[string][]string

	// Lenient turns off the rules whose names start with "Strict".
	Lenient bool

	// Keep remembers a digest and a count of each accepted event, for Accepted.
	Keep bool
	// KeepEvents is how many accepted events Recent gives whole. 0: none.
	KeepEvents int
	// OnAccept is called with the events of each accepted request before it is
	// answered, from the goroutine that serves the request. It may keep them.
	// Requests that are served at the same time call it at the same time.
	OnAccept func(applicationID string, events []Event)

	// MaxEvents of a request. 0: 1,000.
	MaxEvents int
	// MaxBody is the size in bytes from which a body is answered 413. 0: 2,000,000.
	MaxBody int
	// MaxFilters of an event, at most 20. 0: 10, the smaller of the two limits
	// that the API's documentation gives.
	MaxFilters int
	// MaxAge of an event's timestamp. 0: 30 days. Negative: no limit.
	MaxAge time.Duration

	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

const (
	defaultMaxEvents  = 1000
	defaultMaxBody    = 2_000_000
	defaultMaxFilters = 10
	upperMaxFilters   = 20
	defaultMaxAge     = 30 * 24 * time.Hour
)

// Server is a fake of the Insights API. It is an http.Handler without
// goroutines or connections of its own, and safe for concurrent use.
type Server struct {
	opts     Options
	counters counters
	kept     Accepted
	recent   ring
	script   atomic.Pointer[script]
	pool     sync.Pool // of *scratch
}

// New makes a fake of the Insights API.
func New(opts Options) *Server {
	if opts.MaxEvents <= 0 {
		opts.MaxEvents = defaultMaxEvents
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = defaultMaxBody
	}
	if opts.MaxFilters <= 0 {
		opts.MaxFilters = defaultMaxFilters
	}
	opts.MaxFilters = min(opts.MaxFilters, upperMaxFilters)
	if opts.MaxAge == 0 {
		opts.MaxAge = defaultMaxAge
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{opts: opts}
	s.pool.New = func() any { return new(scratch) }
	s.Reset()
	return s
}

// Reset forgets accepted events, counts and faults.
func (s *Server) Reset() {
	now := s.opts.Now()
	s.script.Store(newScript(Faults{}, now))
	s.counters.reset(now)
	s.kept.reset()
	s.recent.reset(s.opts.KeepEvents)
}

// Accepted gives access to what was accepted; it stays valid and current.
func (s *Server) Accepted() *Accepted { return &s.kept }

// Recent gives the last [Options.KeepEvents] accepted events, oldest first.
// They are for reading only.
func (s *Server) Recent() []Event { return s.recent.events() }

// SetFaults replaces the script of faults; times and requests count from now.
func (s *Server) SetFaults(f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	s.script.Store(newScript(f, s.opts.Now()))
	return nil
}

// Faults gives the script in force and how often each fault struck.
func (s *Server) Faults() Faults { return s.script.Load().snapshot() }

// ServeHTTP implements http.Handler. Where a fault wants a connection cut that
// cannot be taken over (HTTP/2), it panics with http.ErrAbortHandler, which
// net/http's server turns into a reset stream.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, isToken := strings.CutPrefix(r.URL.Path, "/1/usertokens/")
	switch path := r.URL.Path; {
	case path == "/1/events":
		s.counters.request()
		if s.method(w, r, http.MethodPost) {
			s.events(w, r)
		}
	case isToken:
		s.counters.request()
		if s.method(w, r, http.MethodDelete) {
			s.deleteToken(w, r, token)
		}
	case path == "/stats" && allow(w, r, http.MethodGet):
		writeJSON(w, s.Stats())
	case path == "/accepted" && allow(w, r, http.MethodGet):
		s.listAccepted(w)
	case path == "/faults" && allow(w, r, http.MethodGet, http.MethodPut):
		s.serveFaults(w, r)
	case path == "/reset" && allow(w, r, http.MethodPost):
		s.Reset()
		writeAnswer(w, http.StatusOK, messageOK)
	case path == "/stats", path == "/accepted", path == "/faults", path == "/reset":
		// allow has answered.
	default:
		s.counters.request()
		s.answer(w, http.StatusNotFound, messageNotFound)
	}
}

// method answers 405 unless the method is the one that is wanted.
func (s *Server) method(w http.ResponseWriter, r *http.Request, want string) bool {
	if allow(w, r, want) {
		return true
	}
	s.counters.status(http.StatusMethodNotAllowed)
	return false
}

func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	writeAnswer(w, http.StatusMethodNotAllowed, messageMethod)
	return false
}

// answer counts an answer of the API and writes it.
func (s *Server) answer(w http.ResponseWriter, status int, message string) {
	s.counters.status(status)
	writeAnswer(w, status, message)
}

// authorized: the application id and the key belong together.
func (s *Server) authorized(r *http.Request) bool {
	application, key := credentials(r)
	if application == "" || key == "" {
		return false
	}
	return len(s.opts.Credentials) == 0 || slices.Contains(s.opts.Credentials[application], key)
}

func credentials(r *http.Request) (application, key string) {
	return r.Header.Get("X-Algolia-Application-Id"), r.Header.Get("X-Algolia-Api-Key")
}

func (s *Server) deleteToken(w http.ResponseWriter, r *http.Request, token string) {
	switch {
	case !s.authorized(r):
		s.answer(w, http.StatusUnauthorized, messageUnauthorized)
	case !isToken([]byte(token)):
		s.answer(w, http.StatusUnprocessableEntity, rules[ruleUserToken].message)
	default:
		s.counters.count(func(s *Stats) { s.TokensDeleted++ })
		s.counters.status(http.StatusNoContent)
		w.Header().Set("X-Ratelimit-Limit", "100")
		w.Header().Set("X-Ratelimit-Remaining", "99")
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) listAccepted(w http.ResponseWriter) {
	if !s.opts.Keep {
		writeAnswer(w, http.StatusNotFound, "This fake was started without keeping what it accepts")
		return
	}
	w.Header().Set("Content-Type", listingType)
	_, _ = s.kept.WriteTo(w) // an error: the reader went away, and sees it on its side
}

func (s *Server) serveFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		writeJSON(w, s.Faults())
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScriptBytes))
	if err != nil {
		writeAnswer(w, http.StatusRequestEntityTooLarge, "The script of faults cannot be read, or is over 1 MiB")
		return
	}
	f, err := ParseFaults(b)
	if err == nil {
		err = s.SetFaults(f)
	}
	if err != nil {
		writeAnswer(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	writeAnswer(w, http.StatusOK, messageOK)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", typeJSON)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // an error: the reader went away, and sees it on its side
}

// wait returns early, with false, if the client goes away.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ring holds the last few events.
type ring struct {
	mu   sync.Mutex
	size int
	list []Event
	next int // the oldest, once the ring is full
}

func (g *ring) reset(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.size, g.list, g.next = max(size, 0), nil, 0
}

func (g *ring) add(events []Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range events {
		if len(g.list) < g.size {
			g.list = append(g.list, e)
			continue
		}
		if g.size > 0 {
			g.list[g.next] = e
			g.next = (g.next + 1) % g.size
		}
	}
}

func (g *ring) events() []Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(slices.Clone(g.list[g.next:]), g.list[:g.next]...)
}
