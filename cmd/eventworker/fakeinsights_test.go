package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"eventworker/internal/insightsfake"
)

// told is a standard error that one can wait on.
type told struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	for {
		line, err := o.text.ReadString('\n')
		if err != nil {
			o.text.WriteString(line)
			return len(p), nil
		}
		o.lines <- line
	}
}

// startFake runs fake-insights until stop is called, which gives its exit code.
func startFake(t *testing.T, args ...string) (base string, lines chan string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	stderr := &told{lines: make(chan string, 10)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"fake-insights", "--listen", "127.0.0.1:0"}, args...), streams{out: io.Discard, err: stderr})
	}()
	line := <-stderr.lines
	_, rest, ok := strings.Cut(line, "http://")
	if !ok {
		t.Fatalf("%q", line)
	}
	address, _, _ := strings.Cut(rest, " ")
	return "http://" + address, stderr.lines, func() int {
		cancel(&interrupted{syscall.SIGTERM})
		return <-code
	}
}

func push(t *testing.T, base, app, key, objectID string) int {
	t.Helper()
	body := fmt.Sprintf(`{"events":[{"eventType":"view","eventName":"Viewed","index":"products","userToken":"u","timestamp":%d,"objectIDs":[%q]}]}`,
		time.Now().UnixMilli(), objectID)
	r, err := http.NewRequest(http.MethodPost, base+"/1/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Algolia-Application-Id", app)
	r.Header.Set("X-Algolia-API-Key", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestFakeInsightsServesUntilItIsStopped(t *testing.T) {
	base, lines, stop := startFake(t, "--app", "APP", "--key", "KEY", "--refuse", "bad", "--keep")
	for want, status := range map[string]int{
		"accepted":     push(t, base, "APP", "KEY", "sku"),
		"refused key":  push(t, base, "APP", "other", "sku"),
		"refused item": push(t, base, "APP", "KEY", "bad"),
	} {
		if expected := map[string]int{"accepted": 200, "refused key": 401, "refused item": 422}[want]; status != expected {
			t.Errorf("%s: %d, want %d", want, status, expected)
		}
	}
	answer, err := http.Get(base + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d after a stop by signal", code)
	}
	if line := <-lines; line != "answered 3 requests; accepted 1 event, refused 1\n" {
		t.Errorf("%q", line)
	}
}

func TestFakeInsightsFaultsOfFlagsAndScript(t *testing.T) {
	base, _, stop := startFake(t, "--error-rate", "1", "--error-status", "429")
	if status := push(t, base, "A", "k", "sku"); status != 429 {
		t.Errorf("%d, want 429", status)
	}
	stop()
	inDir(t, map[string]string{"faults.json": `{"faults":[{"kind":"status","status":503,"count":1}]}`, "bad.json": `{"faults":[{"kind":"x"}]}`})
	base, _, stop = startFake(t, "--faults", "faults.json")
	if first, second := push(t, base, "A", "k", "sku"), push(t, base, "A", "k", "sku"); first != 503 || second != 200 {
		t.Errorf("%d, %d, want 503, 200", first, second)
	}
	stop()
	for want, args := range map[string][]string{
		"bad.json: faults[0]":          {"--faults", "bad.json"},
		"want a --key for each --app":  {"--app", "A"},
		"--error-rate wants a share":   {"--error-rate", "2"},
		"--faults and --latency":       {"--faults", "faults.json", "--latency", "1s"},
		"status must be between":       {"--error-rate", "0.5", "--error-status", "99"},
		"delay must be between 0 and ": {"--latency", "2h"},
	} {
		r := call(t, nil, append([]string{"fake-insights", "--listen", "127.0.0.1:0"}, args...)...)
		if r.code != exitUsage || !strings.Contains(r.err, want) {
			t.Errorf("%v: %+v, want %q", args, r, want)
		}
	}
	if faults, err := (&fake{lostRate: 0.5, resetRate: 0.1, latency: time.Second}).faults(); err != nil || len(faults.Faults) != 3 || faults.Faults[0].Kind != insightsfake.Latency {
		t.Errorf("%+v, %v", faults, err)
	}
}

func TestFakeInsightsOnATakenAddress(t *testing.T) {
	base, _, stop := startFake(t)
	defer stop()
	r := call(t, nil, "fake-insights", "--listen", strings.TrimPrefix(base, "http://"))
	if r.code != exitFailed || !strings.Contains(r.err, "address already in use") || !strings.Contains(r.err, "Try: ") {
		t.Errorf("%+v", r)
	}
}
