package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/dlq"
)

func TestWatchOncePrintsTheMetricsOfOneScan(t *testing.T) {
	d := newReplayDesk(t)
	out := d.call(exitOK, "watch", "--once").out
	for _, line := range []string{
		`eventworker_dead_letters{state="open"} 11`, `eventworker_dead_letters_open{reason="invalid"} 8`, `eventworker_dead_letters_open{reason="rejected"} 3`,
		`eventworker_dead_letters_open{reason="expired"} 0`, `eventworker_dead_letter_causes 3`, `eventworker_dead_letter_scan_successful 1`, `eventworker_last_replay_planned_messages 0`,
	} {
		if !strings.Contains(out, "\n"+line+"\n") {
			t.Errorf("%s is missing in\n%s", line, out)
		}
	}

	file := filepath.Join(t.TempDir(), "plan.json")
	d.call(exitOK, "replay", "--edit", d.file("fix.json", commaPrices), "--dry-run", "--plan-out", file)
	d.call(exitRemainder, "replay", "--plan", file, "--yes")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var plan dlq.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		t.Fatal(err)
	}
	d.settle(plan.ID)
	out = d.call(exitOK, "watch", "--once").out
	for _, line := range []string{
		`eventworker_dead_letters{state="open"} 5`, `eventworker_dead_letters{state="replayed"} 9`, `eventworker_dead_letters_returned 3`,
		`eventworker_last_replay_planned_messages 9`, `eventworker_last_replay_messages{outcome="delivered"} 6`, `eventworker_replayed_messages{outcome="dead"} 3`,
	} {
		if !strings.Contains(out, "\n"+line+"\n") {
			t.Errorf("after the replay: %s is missing in\n%s", line, out)
		}
	}
	if strings.Contains(out, "go_goroutines") || strings.Contains(out, "user-") {
		t.Errorf("it prints what a textfile must not have:\n%s", out)
	}
	if r := d.call(exitUsage, "watch", "--every", "1ms"); !strings.Contains(r.err, "--every") {
		t.Errorf("%+v", r)
	}
}

// Labels have few values, all known beforehand: those of docs/metrics.md.
func TestWatchHasTheMetricsAndLabelsOfThePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Dead letters, read back\n")
	if !found {
		t.Fatal("docs/metrics.md has no section of them")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `(eventworker_[a-z_]+)(?:\\{([a-z]+)\\})?` \\|")
	var page, table []string
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		page = append(page, m[1]+" "+m[2])
	}
	for _, d := range dlq.WatchDefinitions {
		table = append(table, d.Name+" "+strings.Join(d.Labels, ","))
	}
	if !slices.Equal(page, table) {
		t.Errorf("docs/metrics.md has\n%s\nthe table has\n%s", strings.Join(page, "\n"), strings.Join(table, "\n"))
	}
	values := map[string][]string{
		"state": {"open", "replayed", "discarded", "parked"}, "reason": append(dlq.Reasons(), "other"), "within": {"4h", "24h"},
		"outcome": {"delivered", "duplicate", "absorbed", "dead", "open"},
	}
	want := map[string]int{}
	for _, d := range dlq.WatchDefinitions {
		want[d.Name] = 1
		for _, l := range d.Labels {
			want[d.Name] = len(values[l])
		}
	}
	got := map[string]int{}
	for line := range strings.Lines(newReplayDesk(t).call(exitOK, "watch", "--once").out) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line, " ")
		name, label, has := strings.Cut(strings.TrimSuffix(name, "\"}"), "{")
		got[name]++
		if key, value, _ := strings.Cut(label, `="`); has && !slices.Contains(values[key], value) {
			t.Errorf("%s is not bounded: %s", key, value)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("series\n%v\nwant\n%v", got, want)
	}
}

// watching is a dlq watch that runs.
type watching struct {
	*testing.T
	lines chan string
	base  string
	stop  func() int
}

func startWatch(t *testing.T, flags ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	stderr := &told{lines: make(chan string, 100)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"dlq", "watch", "--listen", "127.0.0.1:0", "--every", "1s", "--set", "log.format=json"}, flags...), streams{out: io.Discard, err: stderr})
	}()
	w := &watching{T: t, lines: stderr.lines, stop: func() int {
		cancel(&interrupted{syscall.SIGTERM})
		return <-code
	}}
	w.base = "http://" + w.said("watching dead letters")["address"].(string)
	return w
}

// said waits for a line of the log.
func (w *watching) said(message string) map[string]any {
	w.Helper()
	for {
		select {
		case line := <-w.lines:
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) == nil && strings.HasPrefix(fmt.Sprint(fields["message"]), message) {
				return fields
			}
		case <-time.After(30 * time.Second):
			w.Fatalf("the log does not say %q", message)
		}
	}
}

func (w *watching) get(path string) (status int, body string) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.base+path, http.NoBody)
	if err != nil {
		w.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// until scrapes until a series has a value.
func (w *watching) until(series string, value int) string {
	w.Helper()
	for ended := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, text := w.get("/metrics")
		if strings.Contains(text, fmt.Sprintf("\n%s %d\n", series, value)) {
			return text
		}
		if time.Now().After(ended) {
			w.Fatalf("%s does not become %d:\n%s", series, value, text)
		}
	}
}

func TestWatchFollowsTheTopicEndsWithSIGTERMAndKeepsNoSecrets(t *testing.T) {
	client, _, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	w := startWatch(t, flags...)
	w.until(`eventworker_dead_letters{state="open"}`, 8)
	putLetters(t, client, badPrice(9))
	text := w.until(`eventworker_dead_letters{state="open"}`, 9)
	if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\neventworker_dead_letters_returned 1\n") {
		t.Error(text)
	}
	if status, text := w.get("/readyz"); status != http.StatusOK {
		t.Error(status, text)
	}
	status, text := w.get("/statusz?format=json")
	if status != http.StatusOK || !strings.Contains(text, `"top_causes"`) || !strings.Contains(text, `"topic":"events.dead-letter"`) && !strings.Contains(text, `"topic": "events.dead-letter"`) {
		t.Error(status, text)
	}
	for _, secret := range []string{"user-0", "shopper@", "12,90"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown: %s", secret, text)
		}
	}
	if code := w.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	w.said("stopped")
}

func TestWatchOutlivesABrokerThatIsAway(t *testing.T) {
	port := freePort(t)
	cluster := brokerAt(t, port)
	flags := []string{"--set", "kafka.brokers=127.0.0.1:" + strconv.Itoa(port), "--set", "kafka.dead_letter_topic=events.dead-letter"}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	putLetters(t, client, badPrice(0), badPrice(1))
	client.Close()
	w := startWatch(t, flags...)
	w.until(`eventworker_dead_letters{state="open"}`, 2)
	cluster.Close()
	w.said("the dead letters cannot be read")
	if text := w.until("eventworker_dead_letter_scan_successful", 0); !strings.Contains(text, `eventworker_dead_letters{state="open"} 2`) {
		t.Errorf("what was known is forgotten:\n%s", text)
	}
	if status, text := w.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "dead letters") {
		t.Error(status, text)
	}
	cluster = brokerAt(t, port)
	defer cluster.Close()
	w.said("the dead letters are read again")
	w.until("eventworker_dead_letter_scan_successful", 1)
	w.until(`eventworker_dead_letters{state="open"}`, 0) // the topic was made anew
	if code := w.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// freePort is a port below those that the system hands out by itself: nobody gets it while its broker is away.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(10000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

// brokerAt starts a broker at a port. Whoever else tries that very port for a moment is waited for.
func brokerAt(t *testing.T, port int) *kfake.Cluster {
	t.Helper()
	for ended := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(3, "events.dead-letter"))
		switch {
		case err == nil:
			return cluster
		case !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(ended):
			t.Fatal(err)
		}
	}
}

// Go takes nothing for any port of all interfaces.
func TestWatchWantsAnAddressToListenOn(t *testing.T) {
	for _, listen := range []string{"", " ", "127.0.0.1", "127.0.0.1:", ":", "9405"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var errs bytes.Buffer
		code := run(ctx, []string{"dlq", "watch", "--set", "kafka.topics=events", "--set", "kafka.brokers=127.0.0.1:1", "--listen", listen}, streams{out: io.Discard, err: &errs})
		cancel()
		if code != exitUsage || !strings.Contains(errs.String(), "--listen wants HOST:PORT") {
			t.Errorf("%q: exit code %d, %s", listen, code, errs.String())
		}
	}
}

func TestWatchOnATakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := call(t, nil, "dlq", "watch", "--listen", l.Addr().String())
	if r.code != exitFailed || !strings.Contains(r.err, "cannot listen on "+l.Addr().String()) || strings.Contains(r.err, "admin.listen") {
		t.Errorf("%+v", r)
	}
}
