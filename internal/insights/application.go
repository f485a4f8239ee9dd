package insights

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
)

// Backoff says how long to wait after failures in a row: InitialInterval, then Multiplier times as
// long each time up to MaxInterval, each spread at random by RandomizationFactor to both sides
// (0.5: half to one and a half times as long, so up to 45 s for the default 30 s).
type Backoff struct {
	InitialInterval     time.Duration // 0: 500 ms
	MaxInterval         time.Duration // 0: 30 s
	Multiplier          float64       // below 1: 2
	RandomizationFactor float64       // 0 to 1, 0: no spread
}

// ApplicationConfig says how one application of the Insights API is reached.
type ApplicationConfig struct {
	// Name is the application's name in the configuration; it stands in logs and hints.
	Name string
	// AppID and APIKey are the credentials; APIKeyFile, if not empty, is read instead of APIKey, at
	// the start and again before each probe while the application is misconfigured.
	AppID, APIKey, APIKeyFile string
	// Region is us or de. Endpoint, if not empty, replaces the region's host: scheme://host[:port][/path].
	Region, Endpoint string
	// Timeout bounds a request from its start to the end of the answer. 0: 10 s.
	Timeout time.Duration
	// MaxInFlight is the largest number of requests in flight. 0: 32.
	MaxInFlight int
	// MaxEventsPerSecond caps the rate; a burst is one batch. 0: no cap.
	MaxEventsPerSecond int
	Backoff            Backoff
	// DeadLetterSystemic: where the API seems to refuse everything, go on and reject each event
	// (delivery.on_systemic: dead-letter) instead of pausing.
	DeadLetterSystemic bool
	// Shadow: make no request, and take every event as delivered (delivery.mode: shadow).
	Shadow bool
	// UserAgent is the header of that name; empty: Go's own.
	UserAgent string

	// Transport replaces the own HTTP transport; nil: an own one.
	Transport http.RoundTripper
	// Limiter says how many requests may be in flight; nil: one that finds the useful number below
	// MaxInFlight by itself.
	Limiter Limiter
	// Log gets one line for each change of state. nil: no log.
	Log      *zap.Logger
	Observer Observer
}

func (c ApplicationConfig) withDefaults() ApplicationConfig {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 32
	}
	if c.Backoff.InitialInterval <= 0 {
		c.Backoff.InitialInterval = 500 * time.Millisecond
	}
	if c.Backoff.MaxInterval <= 0 {
		c.Backoff.MaxInterval = 30 * time.Second
	}
	c.Backoff.MaxInterval = max(c.Backoff.MaxInterval, c.Backoff.InitialInterval)
	if c.Backoff.Multiplier < 1 {
		c.Backoff.Multiplier = 2
	}
	c.Backoff.RandomizationFactor = min(max(c.Backoff.RandomizationFactor, 0), 1)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Limiter == nil {
		c.Limiter = newAdaptive(c.MaxInFlight)
	}
	return c
}

func (b Backoff) new() *backoff.ExponentialBackOff {
	e := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(b.InitialInterval),
		backoff.WithMaxInterval(b.MaxInterval),
		backoff.WithMultiplier(b.Multiplier),
		backoff.WithRandomizationFactor(b.RandomizationFactor),
		backoff.WithMaxElapsedTime(0),
	)
	return e
}

// Application is one application of the Insights API, for the life of the process: its connections,
// key, backoff and state, which all its Deliverers share, one after the other or at the same time.
type Application struct {
	cfg    ApplicationConfig
	client *client
	own    *http.Transport // nil: given by the caller

	mu sync.Mutex
	gate
	listeners             map[chan<- struct{}]struct{}
	requests, secondTries int64
	shadow                ShadowReport
}

// NewApplication checks the configuration and reads the key. It makes no request and starts no
// goroutine. The error names the setting at fault and never the key.
func NewApplication(cfg ApplicationConfig) (*Application, error) {
	cfg = cfg.withDefaults()
	a := &Application{cfg: cfg, listeners: map[chan<- struct{}]struct{}{}}
	url, err := endpointURL(cfg.Endpoint, cfg.Region)
	if err != nil {
		return nil, err
	}
	if cfg.Shadow { // nothing is sent, so no credentials are needed
		cfg.AppID, cfg.APIKey, cfg.APIKeyFile = "shadow", "shadow", ""
	}
	keys, err := newKeyring(&cfg)
	if err != nil {
		return nil, fmt.Errorf("insights.applications.%s: %w", cfg.Name, err)
	}
	a.client = &client{
		transport: cfg.Transport, url: url, keys: keys,
		exchanged: a.exchanged, oddAnswer: oddAnswers(a.log()),
	}
	a.client.timeout.Store(int64(cfg.Timeout))
	switch {
	case cfg.Shadow:
		a.client.transport = shadow{}
		a.log().Warn("shadow mode: no request is made, and what would have been sent counts as delivered; offsets are committed, so use a group and a store of its own",
			zap.String("setting", "delivery.mode"))
	case cfg.Transport == nil:
		a.own = newTransport(cfg.MaxInFlight)
		a.client.transport = a.own
	}
	if url.Scheme == "http" && !cfg.Shadow && !isLoopback(url) {
		a.log().Warn("the API key goes over the network unencrypted: insights.endpoint is not https", zap.String("host", url.Host))
	}
	a.gate.init(cfg.Backoff.new())
	return a, nil
}

// Close closes idle connections of the own transport. In shadow mode it says what would have been sent.
func (a *Application) Close() {
	a.logShadow()
	if a.own != nil {
		a.own.CloseIdleConnections()
	}
}

// Host is the host of the API that requests go to.
func (a *Application) Host() string { return a.client.url.Hostname() }

// Name is the application's name in the configuration.
func (a *Application) Name() string { return a.cfg.Name }

func (a *Application) log() *zap.Logger { return a.cfg.Log.With(zap.String("application", a.cfg.Name)) }

// reloadKey reads the key file again, if there is one.
func (a *Application) reloadKey() {
	changed, err := a.client.keys.reload()
	switch {
	case err != nil:
		a.log().Warn("the API key could not be read again; the one before stays", zap.Error(err))
	case changed:
		a.log().Info("the API key was read again, and is another one")
	}
}

// ReloadKey takes another API key, from the file if one is named, else as given, without a restart. A
// misconfigured application tries it at once. On an error, which names no key, the one before stays.
func (a *Application) ReloadKey(key, file string) error {
	if a.cfg.Shadow {
		return nil
	}
	changed, err := a.client.keys.replace(key, file)
	if err != nil {
		return fmt.Errorf("insights.applications.%s: %w", a.cfg.Name, err)
	}
	if changed {
		a.log().Info("the API key was read again, and is another one")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == StateMisconfigured {
		a.nextTry = time.Now()
		a.changed()
	}
	return nil
}

// exchanged hands each request to who counts and to who limits.
func (a *Application) exchanged(e *Exchange) {
	if a.cfg.Observer.Exchange != nil {
		a.cfg.Observer.Exchange(e)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.InFlight = a.inFlight
	a.cfg.Limiter.Observe(e)
	a.requests++
	if e.Second {
		a.secondTries++
	}
	if e.Result != "cancelled" {
		a.last = LastAnswer{Status: e.Status, Result: e.Result, At: time.Now()}
	}
}

// listen has a token put into ch, if there is room, whenever a request that could not be made may
// be possible now. The returned function ends it.
func (a *Application) listen(ch chan<- struct{}) (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners[ch] = struct{}{}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.listeners, ch)
	}
}

// changed wakes the listeners; the lock is held.
func (a *Application) changed() {
	for ch := range a.listeners {
		poke(ch)
	}
}

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
