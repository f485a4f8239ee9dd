package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// AdminOptions say what the admin server shows.
type AdminOptions struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// PProf adds Go's profiles below /debug/pprof/.
	PProf   bool
	Gather  prometheus.Gatherer
	Health  *Health
	Log     *zap.Logger
	Version string
	// Status gives what /statusz shows: any value that encodes as a JSON object. It must be quick and
	// safe for concurrent use. nil: only readiness is shown.
	Status func() any
	// Page gives what /statusz shows people; nil: the page shows Status as it is. It must be quick and
	// safe for concurrent use.
	Page func() *StatusPage
	// Live says whether the process gets anywhere, and what does not; nil: it does while it answers.
	Live func() (ok bool, why []string)
	// Token protects what changes something, see [Admin.HandleAction]; empty: none.
	Token string
}

// The bounds of the admin server. A profile takes 30 s by default, so writing may take longer.
const (
	adminReadHeader  = 5 * time.Second
	adminRead        = 15 * time.Second // of a request with its body
	adminWrite       = 65 * time.Second
	adminIdle        = 2 * time.Minute
	adminHeaderBytes = 16 << 10
	adminBody        = 5 * time.Second // of the body of an action, once it is allowed
	adminBodyBytes   = 1 << 20
	adminConnections = 64
	adminScrapes     = 4
	adminProfiles    = 2
	adminShutdown    = time.Second
)

// Admin is the HTTP server of metrics, probes and status. For these it does not ask who one is: it
// listens on the loopback address unless the configuration says otherwise, and they show nothing secret.
// What changes something, or shows a user's history, is protected: see [Admin.HandleAction].
type Admin struct {
	token     atomic.Pointer[string]
	options   AdminOptions
	listener  *boundedListener
	mux       *http.ServeMux
	endpoints []endpoint
}

type endpoint struct {
	Path, About string
	Link        bool // it can be looked at: GET
}

// Href is the path relative to the index, so that the page works below a proxy's prefix too.
func (e endpoint) Href() string { return strings.TrimPrefix(e.Path, "/") }

// NewAdmin takes the address at once, so that a wrong or a taken one is an error at start.
func NewAdmin(o AdminOptions) (*Admin, error) {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("the admin server cannot listen on %s (admin.listen): %w", o.Listen, listenCause(err))
	}
	a := &Admin{options: o, listener: bounded(listener, adminConnections), mux: http.NewServeMux()}
	a.Handle("/metrics", "metrics in Prometheus' format", promhttp.HandlerFor(o.Gather, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: zap.NewStdLog(o.Log.Named("metrics")),
		MaxRequestsInFlight: adminScrapes, Timeout: 10 * time.Second,
	}))
	a.SetToken(o.Token)
	a.Handle("/livez", "200 while the process gets anywhere, or is kept from it for a known reason", http.HandlerFunc(a.livez))
	a.Handle("/readyz", "200 when ready, else 503 with every condition that fails", http.HandlerFunc(a.readyz))
	a.Handle("/statusz", "what the worker does now: a page where Accept names text/html, else JSON (or ?format=html, ?format=json)", http.HandlerFunc(a.statusz))
	if o.PProf {
		a.handleProfiles()
	}
	a.mux.HandleFunc("GET /{$}", a.index)
	a.mux.HandleFunc("GET /style.css", style)
	a.mux.HandleFunc("GET /robots.txt", robots)
	return a, nil
}

// listenCause leaves out what net repeats of the address.
func listenCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// Handle adds an endpoint for GET and HEAD and lists it on the index with a line about it. Endpoints
// are added before Run.
func (a *Admin) Handle(path, about string, h http.Handler) {
	a.mux.Handle("GET "+path, h)
	a.endpoints = append(a.endpoints, endpoint{path, about, true})
}

// handleProfiles leaves out /debug/pprof/cmdline: --set may have given a key on the command line.
func (a *Admin) handleProfiles() {
	limit := atMost(adminProfiles)
	a.Handle("/debug/pprof/", "Go's profiles", limit(pprof.Index))
	a.mux.Handle("GET /debug/pprof/profile", limit(pprof.Profile))
	a.mux.Handle("GET /debug/pprof/symbol", limit(pprof.Symbol))
	a.mux.Handle("GET /debug/pprof/trace", limit(pprof.Trace))
}

// atMost lets n calls of the handlers that it makes run at a time and answers 503 to others: one may take a minute,
// in which its connection cannot be closed for somebody else's probe.
func atMost(n int) func(http.HandlerFunc) http.Handler {
	running := make(chan struct{}, n)
	return func(h http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case running <- struct{}{}:
				defer func() { <-running }()
				h(w, r)
			default:
				w.Header().Set("Retry-After", "60")
				http.Error(w, "other profiles are being taken: try again when they are done", http.StatusServiceUnavailable)
			}
		})
	}
}

// Addr is the address that is listened on.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// Close gives the address back where Run was not called.
func (a *Admin) Close() error { return a.listener.Close() }

// Handler is what Run serves.
func (a *Admin) Handler() http.Handler {
	return a.listener.busy(headers(bodies(http.MaxBytesHandler(a.mux, adminBodyBytes))))
}

// Run serves until ctx is done, gives requests that are being answered a second, and returns nil;
// or the error that ended it.
func (a *Admin) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           a.Handler(),
		ConnState:         a.listener.state,
		ConnContext:       withConn,
		ReadHeaderTimeout: adminReadHeader,
		ReadTimeout:       adminRead,
		WriteTimeout:      adminWrite,
		IdleTimeout:       adminIdle,
		MaxHeaderBytes:    adminHeaderBytes,
		ErrorLog:          zap.NewStdLog(a.options.Log.Named("admin")),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(a.listener) }()
	ended := func(err error) error { return fmt.Errorf("the admin server on %s ended: %w", a.Addr(), err) }
	select {
	case err := <-served:
		return ended(err)
	case <-ctx.Done():
	}
	polite, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminShutdown)
	defer cancel()
	if server.Shutdown(polite) != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return ended(err)
	}
	return nil
}

// headers sets what every answer carries.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		next.ServeHTTP(w, r)
	})
}

// robots keeps search engines out of what somebody made public by mistake.
func robots(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "User-agent: *\nDisallow: /\n")
}

func (a *Admin) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if a.options.Live != nil {
		if ok, why := a.options.Live(); !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "not alive\n"+strings.Join(why, "\n"))
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	ready, conditions := a.options.Health.Ready()
	code := http.StatusOK
	if !ready {
		code = http.StatusServiceUnavailable
	}
	if prefers(r, "text/plain", "application/json") == "application/json" {
		writeJSON(w, code, map[string]any{"ready": ready, "conditions": conditions})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	if ready {
		fmt.Fprintln(w, "ready")
		return
	}
	var b strings.Builder
	b.WriteString("not ready\n")
	for _, c := range conditions {
		if !c.OK {
			fmt.Fprintf(&b, "%s: %s\n", c.Name, c.Why)
		}
	}
	fmt.Fprint(w, b.String())
}
