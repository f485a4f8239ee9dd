package insights

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/batch"
)

const testKey = "0123456789abcdef0123456789abcdef"

// oneBatch makes a batch of n small events, whose refs are their places.
func oneBatch(t testing.TB, n int) *batch.Batch[int] {
	t.Helper()
	var got *batch.Batch[int]
	b := batch.NewBuilder(batch.Limits{MaxEvents: n}, func(b *batch.Batch[int]) { got = b })
	run := &batch.Run[int]{}
	for i := range n {
		start := len(run.Buf)
		run.Buf = fmt.Appendf(run.Buf, `{"id":%d}`, i)
		run.Entries = append(run.Entries, batch.Entry[int]{
			Start: uint32(start), End: uint32(len(run.Buf)), Time: time.Now().UnixMilli(), Ref: i,
		})
	}
	b.Add(run)
	return got
}

// application returns an application with the usual credentials, MaxInFlight as its limit from the
// start, and changes to its configuration.
func application(t testing.TB, change func(*ApplicationConfig)) *Application {
	t.Helper()
	cfg := ApplicationConfig{Name: "default", AppID: "APPID12345", APIKey: testKey, Region: "us"}
	if change != nil {
		change(&cfg)
	}
	if cfg.Limiter == nil { // times of tests are exact
		cfg.Limiter = FixedLimit(cfg.withDefaults().MaxInFlight)
	}
	a, err := NewApplication(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// against returns an application whose endpoint is a server with the handler.
func against(t testing.TB, h http.HandlerFunc) *Application {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return application(t, func(c *ApplicationConfig) { c.Endpoint = s.URL })
}

func sendOne(t testing.TB, a *Application) error {
	t.Helper()
	_, err := a.client.send(t.Context(), oneBatch(t, 2).Part(0, 2), 1, true)
	return err
}

func TestRequestIsWhatTheAPIExpects(t *testing.T) {
	var got *http.Request
	var body []byte
	a := against(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, `{"status":200,"message":"OK"}`)
	})
	if err := sendOne(t, a); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.String() != "/1/events" || string(body) != `{"events":[{"id":0},{"id":1}]}` {
		t.Errorf("%s %s %s", got.Method, got.URL, body)
	}
	if got.ContentLength != int64(len(body)) || len(got.TransferEncoding) > 0 {
		t.Errorf("length %d, encoding %v", got.ContentLength, got.TransferEncoding)
	}
	for name, want := range map[string]string{
		"X-Algolia-Application-Id": "APPID12345", "X-Algolia-API-Key": testKey, "Content-Type": "application/json", "Idempotency-Key": "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("header %s: %q", name, v)
		}
	}
}

func TestEachAnswerHasItsKindOfFailure(t *testing.T) {
	type answer struct {
		status int
		header http.Header
		body   string
	}
	const api = `{"status":422,"message":"The 'userToken' is wrong"}`
	for _, c := range []struct {
		answer answer
		want   error
	}{
		{answer{200, nil, `{"status":200,"message":"OK"}`}, nil},
		{answer{201, nil, ""}, nil},
		{answer{202, nil, ""}, nil},
		{answer{204, nil, ""}, nil},
		{answer{301, http.Header{"Location": {"https://elsewhere.example/secret"}}, ""}, &MisconfiguredError{Status: 301, Words: "Moved Permanently"}},
		{answer{304, nil, ""}, &MisconfiguredError{Status: 304, Words: "Not Modified"}},
		{answer{307, http.Header{"Location": {"/1/events"}}, ""}, &MisconfiguredError{Status: 307, Words: "Temporary Redirect"}},
		{answer{400, http.Header{"Content-Type": {"text/html"}}, "<html>Bad</html>"}, &RejectedError{Status: 400, Words: "Bad Request"}},
		{answer{400, nil, "  <!DOCTYPE html>"}, &RejectedError{Status: 400, Words: "Bad Request"}},
		{answer{422, nil, api}, &RejectedError{Status: 422, Words: "The 'userToken' is wrong"}},
		{answer{422, nil, "plain\ntext"}, &RejectedError{Status: 422, Words: "plain text"}},
		{answer{413, nil, ""}, &TooLargeError{Status: 413, Words: "Request Entity Too Large"}},
		{answer{401, nil, `{"message":"key ` + testKey + ` is bad"}`}, &MisconfiguredError{Status: 401, Words: "key [key] is bad"}},
		{answer{402, nil, ""}, &MisconfiguredError{Status: 402, Words: "Payment Required"}},
		{answer{403, nil, ""}, &MisconfiguredError{Status: 403, Words: "Forbidden"}},
		{answer{404, nil, ""}, &MisconfiguredError{Status: 404, Words: "Not Found"}},
		{answer{405, nil, ""}, &MisconfiguredError{Status: 405, Words: "Method Not Allowed"}},
		{answer{407, nil, ""}, &MisconfiguredError{Status: 407, Words: "Proxy Authentication Required"}},
		{answer{408, nil, ""}, &RetryableError{Status: 408, TimedOut: true, Words: "Request Timeout"}},
		{answer{418, nil, ""}, &MisconfiguredError{Status: 418, Words: "I'm a teapot"}},
		{answer{425, nil, ""}, &RetryableError{Status: 425, Words: "Too Early"}},
		{answer{429, http.Header{"Retry-After": {"7"}}, ""}, &RetryableError{Status: 429, Words: "Too Many Requests", After: 7 * time.Second}},
		{answer{451, nil, ""}, &MisconfiguredError{Status: 451, Words: "Unavailable For Legal Reasons"}},
		{answer{500, nil, ""}, &RetryableError{Status: 500, Words: "Internal Server Error"}},
		{answer{501, nil, ""}, &RetryableError{Status: 501, Words: "Not Implemented"}},
		{answer{502, nil, ""}, &RetryableError{Status: 502, Words: "Bad Gateway", MayHaveBeenTaken: true}},
		{answer{503, http.Header{"Retry-After": {"86400"}}, ""}, &RetryableError{Status: 503, Words: "Service Unavailable", After: 5 * time.Minute}},
		{answer{504, nil, ""}, &RetryableError{Status: 504, TimedOut: true, Words: "Gateway Timeout", MayHaveBeenTaken: true}},
		{answer{599, nil, ""}, &RetryableError{Status: 599}},
	} {
		t.Run(fmt.Sprint(c.answer.status, c.answer.body), func(t *testing.T) {
			requests := 0
			a := against(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				io.Copy(io.Discard, r.Body)
				maps.Copy(w.Header(), c.answer.header)
				w.WriteHeader(c.answer.status)
				io.WriteString(w, c.answer.body)
			})
			got := sendOne(t, a)
			if m, ok := got.(*MisconfiguredError); ok {
				if m.Hint == "" || strings.Contains(m.Hint, "secret") {
					t.Errorf("hint %q", m.Hint)
				}
				m.Hint = ""
			}
			if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
			if requests != 1 {
				t.Errorf("%d requests, want 1", requests)
			}
			if got != nil && strings.Contains(got.Error(), testKey) {
				t.Errorf("the key is in the error %v", got)
			}
		})
	}
}

// failing is a transport that fails with err, after reading so much of the body.
func failing(err error, read int64) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		io.CopyN(io.Discard, r.Body, read)
		r.Body.Close()
		return nil, err
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEachFailureOfTheTransportHasItsKind(t *testing.T) {
	const all = 1 << 20
	size := int64(len(`{"events":[{"id":0},{"id":1}]}`))
	for _, c := range []struct {
		name          string
		err           error
		read          int64
		misconfigured bool
		taken         bool
	}{
		{"refused", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, 0, false, false},
		{"reset in the body", io.ErrUnexpectedEOF, size - 1, false, false},
		{"reset after the body", io.ErrUnexpectedEOF, size, false, true},
		{"reset after the body's end was seen", io.EOF, all, false, true},
		{"no such host", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", IsNotFound: true}}, 0, true, false},
		{"name server away", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", IsTimeout: true}}, 0, false, false},
		{"no TLS there", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, 0, true, false},
		{"proxy wants a password", &proxyRefusal{"proxy:3128", 407}, 0, true, false},
		{"proxy setting", errProxySetting, 0, true, false},
		{"proxy in trouble", &proxyRefusal{"proxy:3128", 503}, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := application(t, func(cfg *ApplicationConfig) { cfg.Transport = failing(c.err, c.read) })
			err := sendOne(t, a)
			m, misconfigured := err.(*MisconfiguredError)
			if misconfigured != c.misconfigured {
				t.Fatalf("got %#v", err)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("the cause is gone: %v", err)
			}
			if misconfigured {
				if m.Hint == "" {
					t.Error("no hint")
				}
			} else if r := err.(*RetryableError); r.MayHaveBeenTaken != c.taken {
				t.Errorf("MayHaveBeenTaken %t", r.MayHaveBeenTaken)
			}
		})
	}
}

func TestUntrustedCertificateIsAMisconfiguration(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	s.StartTLS()
	defer s.Close()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint = s.URL })
	err := sendOne(t, a)
	if m, ok := err.(*MisconfiguredError); !ok || !strings.Contains(m.Hint, "certificates") {
		t.Fatalf("got %#v", err)
	}
}

func TestTLSVersionTooOldIsAMisconfiguration(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	s.StartTLS()
	defer s.Close()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint = s.URL })
	if err, ok := sendOne(t, a).(*MisconfiguredError); !ok {
		t.Fatalf("got %#v", err)
	}
}

func TestHandshakeThatBreaksOffPasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint = "https://" + l.Addr().String() })
	if err, ok := sendOne(t, a).(*RetryableError); !ok || err.MayHaveBeenTaken {
		t.Fatalf("got %#v", err)
	}
}

func TestProxyThatRefusesIsAMisconfiguration(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(407) }))
	defer s.Close()
	a := application(t, nil)
	proxy, _ := url.Parse(s.URL)
	a.own.Proxy = http.ProxyURL(proxy)
	if err, ok := sendOne(t, a).(*MisconfiguredError); !ok || !strings.Contains(err.Error(), "407") {
		t.Fatalf("got %#v", err)
	}
}

func TestTimeOutAfterTheWholeBodyMayHaveBeenTaken(t *testing.T) {
	release := make(chan struct{})
	a := against(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-release
	})
	defer close(release)
	a.client.timeout.Store(int64(20 * time.Millisecond))
	err, ok := sendOne(t, a).(*RetryableError)
	if !ok || !err.MayHaveBeenTaken || err.Status != 0 || !errors.Is(err, errNoAnswer) {
		t.Fatalf("got %#v", err)
	}
}

func TestEndOfTheCallersContextIsNoFailureOfTheAPI(t *testing.T) {
	reached := make(chan struct{})
	a := against(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(reached)
		<-r.Context().Done()
	})
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-reached
		cancel(why)
	}()
	if _, err := a.client.send(ctx, oneBatch(t, 1).Part(0, 1), 1, true); err != why {
		t.Fatalf("got %#v", err)
	}
}

func TestLongAnswersAreReadThroughALimit(t *testing.T) {
	a := against(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(422)
		io.WriteString(w, strings.Repeat("ä", 1<<20))
	})
	err, ok := sendOne(t, a).(*RejectedError)
	if !ok || len(err.Words) > maxWords || len(err.Words) < maxWords-4 {
		t.Fatalf("%d bytes of words", len(err.Words))
	}
}

// staleServer answers the first request on each connection, and closes it at the second one without
// an answer, after having read it. Later connections answer always.
func staleServer(t *testing.T) (url string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	var wg sync.WaitGroup
	serve := func(c net.Conn, stale bool) {
		defer c.Close()
		r := bufio.NewReader(c)
		for served := 0; ; served++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			requests.Add(1)
			if stale && served == 1 {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c, n == 0) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String(), requests
}

func TestStaleConnectionGetsOneSecondTryAtOnce(t *testing.T) {
	for _, second := range []bool{true, false} {
		t.Run(fmt.Sprint("allowed=", second), func(t *testing.T) {
			endpoint, requests := staleServer(t)
			var exchanges []Exchange
			a := application(t, func(c *ApplicationConfig) {
				c.Endpoint = endpoint
				c.Observer.Exchange = func(e *Exchange) { exchanges = append(exchanges, *e) }
			})
			t.Cleanup(a.Close)
			defer a.Close()
			b := oneBatch(t, 1)
			if n, err := a.client.send(t.Context(), b.Part(0, 1), 1, true); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			n, err := a.client.send(t.Context(), b.Part(0, 1), 1, second)
			if second {
				if n != 2 || err != nil || requests.Load() != 3 {
					t.Fatalf("%d requests, %v; the server saw %d", n, err, requests.Load())
				}
				if len(exchanges) != 3 || !exchanges[2].Second || exchanges[1].Second {
					t.Errorf("the second try was not counted apart: %+v", exchanges)
				}
				return
			}
			if r, ok := err.(*RetryableError); n != 1 || !ok || !r.MayHaveBeenTaken {
				t.Fatalf("%d requests, %#v", n, err)
			}
		})
	}
}

func TestSecondTryDoesNotForgetThatTheFirstMayHaveBeenTaken(t *testing.T) {
	requests := 0
	a := application(t, func(c *ApplicationConfig) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Reused: true})
			if requests++; requests == 1 {
				io.Copy(io.Discard, r.Body)
			}
			r.Body.Close()
			return nil, io.EOF
		})
	})
	if err, ok := sendOne(t, a).(*RetryableError); !ok || !err.MayHaveBeenTaken || requests != 2 {
		t.Fatalf("%d requests, %#v", requests, err)
	}
}

func TestFreshConnectionGetsNoSecondTry(t *testing.T) {
	requests := 0
	a := application(t, func(c *ApplicationConfig) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			requests++
			r.Body.Close()
			return nil, io.EOF
		})
	})
	if err, ok := sendOne(t, a).(*RetryableError); !ok || requests != 1 {
		t.Fatalf("%d requests, %#v", requests, err)
	}
}

func TestUndocumentedSuccessIsLoggedOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) }))
	defer s.Close()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint, c.Log = s.URL, zap.New(core) })
	defer a.Close()
	for range 3 {
		if err := sendOne(t, a); err != nil {
			t.Fatal(err)
		}
	}
	if n := logs.FilterField(zap.Int("status", 202)).Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestConnectionIsUsedAgainAfterEveryKindOfAnswer(t *testing.T) {
	var conns atomic.Int64
	n := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader([]int{200, 422, 500, 401}[n%4])
		io.WriteString(w, strings.Repeat("x", 8<<10))
		n++
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint = s.URL })
	defer a.Close()
	for range 8 {
		sendOne(t, a)
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for requests one after the other", conns.Load())
	}
}

func TestHTTP2Works(t *testing.T) {
	proto := make(chan string, 2)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		proto <- r.Proto
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	a := application(t, func(c *ApplicationConfig) { c.Endpoint = s.URL })
	a.own.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	defer a.Close()
	if err := sendOne(t, a); err != nil {
		t.Fatal(err)
	}
	if p := <-proto; p != "HTTP/2.0" {
		t.Errorf("protocol %s", p)
	}
}

func TestRetryAfterInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	at := func(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"7", "", 7 * time.Second},
		{" 7 ", "", 7 * time.Second},
		{"300", "", 5 * time.Minute},
		{"301", "", 5 * time.Minute},
		{"99999999999999999999999999", "", 5 * time.Minute},
		{"-7", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{at(now.Add(9 * time.Second)), "", 9 * time.Second},
		{at(now.Add(-9 * time.Second)), "", 0},
		{at(now.Add(time.Hour)), "", 5 * time.Minute},
		// The server's clock is an hour behind, then ahead: only its own difference counts.
		{at(now.Add(-time.Hour + 4*time.Second)), at(now.Add(-time.Hour)), 4 * time.Second},
		{at(now.Add(time.Hour + 4*time.Second)), at(now.Add(time.Hour)), 4 * time.Second},
		{at(now.Add(9 * time.Second)), "nonsense", 9 * time.Second},
	} {
		h := http.Header{"Retry-After": {c.value}, "Date": {c.date}}
		if got := retryAfter(h, now); got != c.want {
			t.Errorf("%q, date %q: %v, want %v", c.value, c.date, got, c.want)
		}
	}
}

func FuzzRetryAfterStaysWithinBounds(f *testing.F) {
	for _, s := range []string{"7", "-1", "Wed, 25 Nov 2026 12:00:00 GMT", "99999999999999999999", "", " "} {
		f.Add(s, "Wed, 25 Nov 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		d := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, time.Now())
		if d < 0 || d > maxRetryAfter {
			t.Fatalf("%q, %q: %v", value, date, d)
		}
	})
}

func FuzzWordsAreOneShortLine(f *testing.F) {
	f.Add(422, "application/json", []byte(`{"status":422,"message":"a\nb"}`))
	f.Add(400, "text/html", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		w := words(status, contentType, body)
		if len(w) > maxWords || strings.ContainsAny(w, "\n\r\x00") || strings.ToValidUTF8(w, "") != w {
			t.Fatalf("%q", w)
		}
	})
}

func TestWordsInLogsHoldNoValues(t *testing.T) {
	e := &RejectedError{Status: 422, Words: `userToken "anna@example.com" and ` + "`x`" + ` do not "match`}
	if got, want := e.Error(), `the Insights API refused the events with 422: userToken "…" and `+"`…`"+` do not "match`; got != want {
		t.Errorf("%s", got)
	}
}

func TestConfigurationIsCheckedAtTheStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ApplicationConfig)
		want   string
	}{
		{"region", func(c *ApplicationConfig) { c.Region = "eu" }, `"eu": there is us and de`},
		{"no region", func(c *ApplicationConfig) { c.Region = "" }, "there is us and de"},
		{"scheme", func(c *ApplicationConfig) { c.Endpoint = "ftp://x" }, "scheme"},
		{"no host", func(c *ApplicationConfig) { c.Endpoint = "https:///x" }, "host"},
		{"user in URL", func(c *ApplicationConfig) { c.Endpoint = "https://u:" + testKey + "@x" }, "user"},
		{"not a URL", func(c *ApplicationConfig) { c.Endpoint = "https://x:" + testKey }, "not a URL"},
		{"no key", func(c *ApplicationConfig) { c.APIKey = "" }, "API key is empty"},
		{"key with a line break", func(c *ApplicationConfig) { c.APIKey = testKey + "\n" }, "visible ASCII"},
		{"no app id", func(c *ApplicationConfig) { c.AppID = "" }, "app_id"},
		{"key file missing", func(c *ApplicationConfig) { c.APIKeyFile = "/does/not/exist" }, "/does/not/exist"},
	} {
		cfg := ApplicationConfig{Name: "default", AppID: "APPID12345", APIKey: testKey, Region: "us"}
		c.change(&cfg)
		_, err := NewApplication(cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestEndpointAddresses(t *testing.T) {
	for _, c := range []struct{ endpoint, region, want string }{
		{"", "us", "https://insights.us.algolia.io/1/events"},
		{"", "de", "https://insights.de.algolia.io/1/events"},
		{"http://127.0.0.1:8080", "us", "http://127.0.0.1:8080/1/events"},
		{"http://127.0.0.1:8080/", "", "http://127.0.0.1:8080/1/events"},
		{"https://proxy/insights/", "", "https://proxy/insights/1/events"},
		{"https://proxy/1/events", "", "https://proxy/1/events"},
	} {
		u, err := endpointURL(c.endpoint, c.region)
		if err != nil || u.String() != c.want {
			t.Errorf("%+v: %v, %v", c, u, err)
		}
	}
}

func TestAKeyThatLeavesTheMachineUnencryptedIsWarnedOf(t *testing.T) {
	for endpoint, want := range map[string]int{"http://insights.example": 1, "http://127.0.0.1:1": 0, "http://[::1]:1": 0, "https://insights.example": 0} {
		core, logs := observer.New(zap.WarnLevel)
		application(t, func(c *ApplicationConfig) { c.Endpoint, c.Log = endpoint, zap.New(core) })
		if n := logs.FilterMessageSnippet("unencrypted").Len(); n != want {
			t.Errorf("%s: %d warnings", endpoint, n)
		}
	}
}
