package insights

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Payload is a request body that can be read again; batch.Part is one.
type Payload interface {
	Len() int            // events
	Size() int           // bytes
	Open() io.ReadCloser // a new reader from the start
}

// Exchange is one request and what came of it.
type Exchange struct {
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Result is delivered, retryable, rejected, too-large, misconfigured or cancelled.
	Result string
	// Events and Bytes are those of the request body.
	Events, Bytes int
	// Duration is from the start of the request to the end of the answer's body.
	Duration time.Duration
	// InFlight is how many requests of the application were in flight when it ended, itself included.
	// Only a Limiter is told.
	InFlight int
	// Second says that it was the immediate second try after a stale connection.
	Second bool
}

// client sends one request at a time per call and says what kind of failure it was. When to try
// again is not its business, but for a connection that the server had closed before.
type client struct {
	transport http.RoundTripper
	url       *url.URL
	keys      *keyring
	timeout   atomic.Int64    // nanoseconds
	exchanged func(*Exchange) // may be nil
	oddAnswer func(status int, contentType string)
}

// send posts p. It returns how many requests were made, one or two, and nil, *RetryableError, *RejectedError,
// *TooLargeError, *MisconfiguredError, or the cause of ctx's end.
//
// If a connection that had served before breaks before the first byte of an answer, the server most
// likely had closed it while it was idle: one second try is made at once, on another connection, if
// second allows it. The first may have been taken all the same.
//
// attempt is the number of the request among those that carried these events, from 1. From the second
// on it goes out as the header X-Eventworker-Attempt, so that the other side can tell retries apart.
func (c *client) send(ctx context.Context, p Payload, attempt int, second bool) (requests int, err error) {
	stale, err := c.post(ctx, p, attempt, false)
	if !stale || !second {
		return 1, err
	}
	first := mayHaveBeenTaken(err)
	_, err = c.post(ctx, p, attempt+1, true)
	if r, ok := err.(*RetryableError); ok && first {
		r.MayHaveBeenTaken = true
	}
	return 2, err
}

func mayHaveBeenTaken(err error) bool {
	r, ok := err.(*RetryableError)
	return ok && r.MayHaveBeenTaken
}

// post makes one request. stale says that it failed without an answer on a connection used before.
func (c *client) post(ctx context.Context, p Payload, attempt int, second bool) (stale bool, err error) {
	started := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, time.Duration(c.timeout.Load()), errNoAnswer)
	defer cancel()
	var w wire
	resp, err := c.transport.RoundTrip(c.request(w.trace(limited), &w, p, attempt))
	x := Exchange{Events: p.Len(), Bytes: p.Size(), Second: second}
	if err != nil {
		err = c.failure(ctx, limited, &w, err)
		_, retryable := err.(*RetryableError)
		stale = retryable && limited.Err() == nil && w.reused.Load() && !w.answered.Load()
	} else {
		x.Status = resp.StatusCode
		err = c.judge(resp, started)
		resp.Body.Close()
	}
	if c.exchanged != nil {
		x.Duration, x.Result = time.Since(started), resultOf(err)
		c.exchanged(&x)
	}
	return stale, err
}

// attemptHeader is not among those that make Go's transport repeat a POST by itself, as
// Idempotency-Key would.
const attemptHeader = "X-Eventworker-Attempt"

func (c *client) request(ctx context.Context, w *wire, p Payload, attempt int) *http.Request {
	size := int64(p.Size())
	open := func() (io.ReadCloser, error) {
		return &watchedBody{ReadCloser: p.Open(), left: size, wire: w}, nil
	}
	body, _ := open()
	header := c.keys.current.Load().header
	if attempt > 1 {
		header = header.Clone()
		header.Set(attemptHeader, strconv.Itoa(attempt))
	}
	req := &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header,
		Body:   body, GetBody: open, ContentLength: size,
	}
	return req.WithContext(ctx)
}

// judge turns an answer into an error (docs/contract.md, section 4) and reads its body.
func (c *client) judge(resp *http.Response, now time.Time) error {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		drain(resp.Body)
		if html := isHTML(resp.Header.Get("Content-Type"), nil); status != http.StatusOK || html {
			c.oddAnswer(status, resp.Header.Get("Content-Type"))
		}
		return nil
	}
	words := strings.ReplaceAll(readWords(resp), c.keys.current.Load().key, "[key]")
	switch {
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		return &RejectedError{Status: status, Words: words}
	case status == http.StatusRequestEntityTooLarge:
		return &TooLargeError{Status: status, Words: words}
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly ||
		status == http.StatusTooManyRequests || status >= 500:
		return &RetryableError{
			Status: status, Words: words, After: retryAfter(resp.Header, now),
			TimedOut: status == http.StatusRequestTimeout || status == http.StatusGatewayTimeout,
			// A gateway that lost the API's answer, or did not wait for it.
			MayHaveBeenTaken: status == http.StatusBadGateway || status == http.StatusGatewayTimeout,
		}
	default:
		return &MisconfiguredError{Status: status, Words: words, Hint: statusHint(resp)}
	}
}

func resultOf(err error) string {
	switch err.(type) {
	case nil:
		return "delivered"
	case *RetryableError:
		return "retryable"
	case *RejectedError:
		return "rejected"
	case *TooLargeError:
		return "too-large"
	case *MisconfiguredError:
		return "misconfigured"
	default:
		return "cancelled"
	}
}

// wire is what is known of a request on its way.
type wire struct {
	reused   atomic.Bool // the connection had served a request before
	answered atomic.Bool // a byte of an answer came
	complete atomic.Bool // the transport read the body to its last byte
	refused  atomic.Bool // a TLS handshake failed, not for want of a connection
}

func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { w.reused.Store(info.Reused) },
		GotFirstResponseByte: func() { w.answered.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil && !isBroken(err) {
				w.refused.Store(true)
			}
		},
	})
}

// watchedBody notes when the whole body was handed over: before that the server cannot have taken
// it, since the length it was told is not there.
type watchedBody struct {
	io.ReadCloser
	left int64
	wire *wire
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left <= 0 {
		b.wire.complete.Store(true)
	}
	return n, err
}

func statusHint(resp *http.Response) string {
	host := ""
	if resp.Request != nil && resp.Request.URL != nil {
		host = resp.Request.URL.Host
	}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		return "check app_id and api_key of the application: the key must belong to it and have the ACL search"
	case s == http.StatusForbidden:
		return "check the key's restrictions (ACL search, sources) and that the network lets requests through to " + host
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return "check insights.endpoint: " + host + " does not take POST " + eventsPath
	case s >= 300 && s < 400:
		return fmt.Sprintf("check insights.endpoint: %s redirects%s, and redirects are not followed", host, locationHost(resp))
	default:
		return "check insights.endpoint and what stands between here and " + host + ": this status is none of the API's"
	}
}

func locationHost(resp *http.Response) string {
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Host == "" {
		return ""
	}
	return " to " + u.Host
}
