package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// healthServer is an admin server that is ready from its nth answer on.
func healthServer(t *testing.T, readyFrom int32) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch {
		case r.URL.Path == "/livez":
			fmt.Fprintln(w, "ok")
		case r.URL.Path == "/stats":
			fmt.Fprint(w, "{\n}\n")
		case r.URL.Path != "/readyz":
			http.NotFound(w, r)
		case n < readyFrom:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "not ready\nkafka: no broker answers\n")
		default:
			fmt.Fprintln(w, "ready")
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), asked
}

func TestHealthFailsUntilTheWorkerIsReadyAndNamesWhatIsMissing(t *testing.T) {
	address, _ := healthServer(t, 2)
	r := call(t, nil, "health", "--admin", address)
	if r.code != exitFailed || r.out != "" || !strings.Contains(r.err, "503") || !strings.Contains(r.err, "kafka: no broker answers") {
		t.Errorf("not ready: %+v", r)
	}
	if r = call(t, nil, "health", "--admin", address); r.code != exitOK || r.out != "ready\n" || r.err != "" {
		t.Errorf("ready: %+v", r)
	}
}

func TestHealthWaitsForAWorkerThatStarts(t *testing.T) {
	address, asked := healthServer(t, 3)
	if r := call(t, nil, "health", "--admin", "http://"+address+"/", "--wait", "1m"); r.code != exitOK || r.out != "ready\n" {
		t.Errorf("%+v", r)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestHealthAsksWhatItIsTold(t *testing.T) {
	address, _ := healthServer(t, 1000)
	for _, args := range [][]string{{"--live", "--admin", address}, {"--admin", "http://" + address + "/stats"}} {
		if r := call(t, nil, append([]string{"health"}, args...)...); r.code != exitOK || r.out != "ok\n" {
			t.Errorf("%v: %+v", args, r)
		}
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if r := call(t, nil, "health", "--admin", closed.URL); r.code != exitFailed || !strings.Contains(r.err, "does not answer") {
		t.Errorf("nobody listens: %+v", r)
	}
	for _, wrong := range []string{"ftp://x", "http://", "http://a b"} {
		if r := call(t, nil, "health", "--admin", wrong); r.code != exitUsage {
			t.Errorf("--admin %s: %+v", wrong, r)
		}
	}
}
