package telemetry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// serveActing is an admin server with an action, served over the network.
func serveActing(t *testing.T, token string, h http.HandlerFunc) (address string, client *http.Client) {
	t.Helper()
	a, err := NewAdmin(AdminOptions{Listen: "127.0.0.1:0", Gather: NewMetrics().Registry, Health: NewHealth(), Log: zap.NewNop(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	a.HandleAction(Action{Method: http.MethodPost, Path: "/act", JSON: true}, h)
	large := make([]byte, 8<<20) // more than the network's buffers hold
	a.Handle("/large", "for those who do not read it", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(large)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return a.Addr().String(), &http.Client{Transport: transport}
}

func TestCallersWithoutATokenDoNotMakeProbesFail(t *testing.T) {
	const post = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n%s\r\n{"
	for name, sends := range map[string]string{
		"a probe with a body that does not come":      "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
		"a probe with chunks that do not come":        "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"a page that is not there":                    "GET /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
		"an action without the token":                 fmt.Sprintf(post, "/act", ""),
		"an action without the token that is patient": fmt.Sprintf(post, "/act", "Expect: 100-continue\r\n"),
		"an action with the token, slowly":            fmt.Sprintf(post, "/act", "Authorization: Bearer t0ken\r\n"),
		"a method that is not allowed":                fmt.Sprintf(post, "/livez", ""),
		"an answer that nobody takes":                 "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address, c := serveActing(t, "t0ken", func(http.ResponseWriter, *http.Request) {})
			for range 5 * adminConnections {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10) // a hint: less is written in vain
				_, _ = io.WriteString(conn, sends)             // the server may have closed it already
			}
			for range 20 {
				if err := probe(t, c, "http://"+address); err != nil {
					t.Fatalf("a probe fails: %v", err)
				}
			}
		})
	}
}

func TestABodyThatComesSlowlyIsTakenAndOneThatIsTooLargeRefused(t *testing.T) {
	got := make(chan string, 1)
	address, c := serveActing(t, "t0ken", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
	})
	call := func(body io.Reader) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/act", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer t0ken")
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	read, write := io.Pipe() // sent in chunks
	go func() {
		for _, part := range []string{`{"a":`, `1}`} {
			_, _ = io.WriteString(write, part) // the reader's end tells of errors
		}
		write.Close()
	}()
	if status := call(read); status != http.StatusOK || <-got != `{"a":1}` {
		t.Errorf("a body in chunks: %d", status)
	}
	if status := call(strings.NewReader(strings.Repeat("x", adminBodyBytes+1))); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d", status)
	}
}

// TestARequestIsNotGivenUpWhenTheTimeForReadingItIsOver, as net/http does by itself.
func TestARequestIsNotGivenUpWhenTheTimeForReadingItIsOver(t *testing.T) {
	const read = 20 * time.Millisecond
	for _, body := range []string{"", "{}"} {
		ended := make(chan error, 1)
		server := &http.Server{ReadTimeout: read, Handler: bodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := wantBody(w, r); err != nil {
				t.Error(err)
			}
			select {
			case <-r.Context().Done():
				t.Error("the request was given up")
			case <-time.After(5 * read):
			}
		}))}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- server.Serve(l) }()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := c.Post("http://"+l.Addr().String(), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		server.Close()
		<-ended
	}
}

func TestAProbeWithABodyIsAnsweredAndItsConnectionEnds(t *testing.T) {
	address, c := serveActing(t, "", func(http.ResponseWriter, *http.Request) {})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/livez", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || string(body) != "ok\n" || !answer.Close {
		t.Errorf("%d %q, connection ends: %t", answer.StatusCode, body, answer.Close)
	}
}

func TestProfilesAreTakenAFewAtATime(t *testing.T) {
	limit := atMost(2)
	begun, end := make(chan struct{}), make(chan struct{})
	slow := limit(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	})
	quick := limit(func(http.ResponseWriter, *http.Request) {})
	ask := func(h http.Handler) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Code
	}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() { ask(slow) })
		<-begun
	}
	if code := ask(quick); code != http.StatusServiceUnavailable {
		t.Errorf("a third is answered %d", code)
	}
	close(end)
	running.Wait()
	if code := ask(quick); code != http.StatusOK {
		t.Errorf("after them one is answered %d", code)
	}
}
