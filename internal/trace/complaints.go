package trace

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.uber.org/zap"
)

// complaints takes what OpenTelemetry complains of. While it is set up that is a variable it cannot use,
// in whose place it would take a default: another collector, other certificates, all spans. Later it is a
// collector that is away, which is logged once a minute at most.
type complaints struct {
	log *zap.Logger

	mu    sync.Mutex
	ready bool
	early []error
	said  time.Time
}

// listen makes a complaints the process' own.
func listen(log *zap.Logger) *complaints {
	c := &complaints{log: log}
	otel.SetErrorHandler(c)
	otel.SetLogger(logr.New(sink{c}))
	return c
}

// setUp ends the set-up and gives what was wrong with it.
func (c *complaints) setUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	return errors.Join(c.early...)
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		c.early = append(c.early, err)
		return
	}
	if time.Since(c.said) < time.Minute {
		return
	}
	c.said = time.Now()
	c.log.Warn("traces cannot be sent; spans are dropped, and nothing else", zap.Error(err))
}

// sink is OpenTelemetry's own log: its errors are complaints, the rest is of no use here.
type sink struct{ to *complaints }

func (sink) Init(logr.RuntimeInfo)            {}
func (sink) Enabled(int) bool                 { return false }
func (sink) Info(int, string, ...any)         {}
func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }

// Error leaves the values out: among them are whole variables, and so headers with a token in them. The
// error of an address repeats the address, with the password that may be in it.
func (s sink) Error(err error, what string, _ ...any) {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	s.to.Handle(fmt.Errorf("%s: %w", what, err))
}
