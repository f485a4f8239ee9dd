package worker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/config"
	"eventworker/internal/deadletter"
	"eventworker/internal/insightsfake"
	"eventworker/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic   = "events"
	letters = topic + ".dead-letter"
	replays = topic + ".replay"
	group   = "workers"
	// query is a queryID; most tests name it, so that nothing waits for the join.
	query = "43b15df305339e827f0ac0bdc5ebcaa7"
	// patience bounds every wait of a test.
	patience = 40 * time.Second
)

// world is a broker and an API, and what arrived there.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	brokers []string
	client  *kgo.Client
	dir     string

	api    *insightsfake.Server
	server *httptest.Server
	apiURL string

	mu      sync.Mutex
	events  []insightsfake.Event // accepted, in order
	offsets map[int32]int64      // next of each partition of the input topic
}

type setting struct {
	partitions int32
	topics     []string
	api        insightsfake.Options
	brokerAway bool // startBroker is called later
}

// newWorld starts both. The topics have one partition unless a setting says otherwise.
func newWorld(t *testing.T, settings ...func(*setting)) *world {
	t.Helper()
	t.Parallel()
	s := setting{partitions: 1, topics: []string{topic, letters, replays}}
	for _, set := range settings {
		set(&s)
	}
	w := &world{t: t, dir: t.TempDir(), offsets: make(map[int32]int64)}
	w.startAPI(&s)
	if !s.brokerAway {
		w.startBroker(&s)
	}
	return w
}

func (w *world) startAPI(s *setting) {
	s.api.OnAccept = func(_ string, events []insightsfake.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, events...)
	}
	s.api.Keep = true
	w.api = insightsfake.New(s.api)
	w.server = httptest.NewServer(w.api)
	w.apiURL = w.server.URL
	w.t.Cleanup(w.server.Close)
}

func (w *world) startBroker(s *setting, opts ...kfake.Opt) {
	w.t.Helper()
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cluster.Close)
	w.cluster, w.brokers = cluster, cluster.ListenAddrs()
	for _, name := range s.topics {
		w.create(name, s.partitions)
	}
	w.client, err = kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(32<<20), kgo.BrokerMaxWriteBytes(64<<20))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
}

// create makes a topic that takes large messages.
func (w *world) create(name string, partitions int32) {
	w.t.Helper()
	if err := w.cluster.CreateTopic(name, partitions, map[string]string{"max.message.bytes": "33554432"}); err != nil {
		w.t.Fatal(err)
	}
}

// config is that of a worker with short waits.
func (w *world) config(changes ...func(*config.Config)) *config.Config {
	c := config.Default()
	c.Kafka.Brokers, c.Kafka.Group, c.Kafka.Topics = w.brokers, group, []string{topic}
	c.Kafka.DeadLetterTopic, c.Kafka.ReplayTopic = letters, replays
	c.Kafka.CommitInterval, c.Kafka.SessionTimeout, c.Kafka.RebalanceTimeout = 20*time.Millisecond, 6*time.Second, 6*time.Second
	c.DrainTimeout = 5 * time.Second
	c.Insights.Endpoint = w.apiURL
	c.Insights.Applications = map[string]config.Application{"default": {AppID: "APP1", APIKey: "key-1", DefaultIndex: "products"}}
	c.Store.Path = filepath.Join(w.dir, "queries")
	c.Join.Wait, c.Join.AllowedLateness, c.Join.ClockSkew = 50*time.Millisecond, 0, 0
	c.Batch.Linger = 5 * time.Millisecond
	c.Delivery.Backoff = config.Backoff{InitialInterval: 5 * time.Millisecond, Multiplier: 2, MaxInterval: 50 * time.Millisecond}
	c.Admin.Listen = "127.0.0.1:0"
	for _, change := range changes {
		change(c)
	}
	return c
}

// record is a message of partition 0, keyed by user, now.
func record(user, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(user), Value: []byte(value), Timestamp: time.UnixMilli(time.Now().UnixMilli())}
}

// send writes records and fills in their offsets.
func (w *world) send(records ...*kgo.Record) {
	w.t.Helper()
	if err := w.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// click is a click that has all it needs.
func click(user, object string) string {
	return fmt.Sprintf(`{"type":"recommendation.clicked","userToken":%q,"timestamp":%d,"objectID":%q,"position":1,"queryID":%q,"index":"products"}`,
		user, time.Now().UnixMilli(), object, query)
}

// clicks are n messages of a user, for objects that begin with a prefix.
func clicks(user, prefix string, n int) (records []*kgo.Record) {
	for i := range n {
		records = append(records, record(user, click(user, fmt.Sprintf("%s-%d", prefix, i))))
	}
	return records
}

// shown is a list of objects that a user saw.
func shown(user string, at time.Time, objects ...string) string {
	return fmt.Sprintf(`{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"index":"products","queryID":%q,"objectIDs":[%s]}`,
		user, at.UnixMilli(), query, `"`+strings.Join(objects, `","`)+`"`)
}

// cart is an add-to-cart with an id.
func cart(user, id, object string) string {
	return fmt.Sprintf(`{"type":"recommendation.addedToCart","id":%q,"userToken":%q,"timestamp":%d,"items":[{"objectID":%q,"queryID":%q,"index":"products"}]}`,
		id, user, time.Now().UnixMilli(), object, query)
}

// accepted counts the accepted events of each object.
func (w *world) accepted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := make(map[string]int)
	for _, e := range w.events {
		for _, o := range e.ObjectIDs {
			n[o]++
		}
	}
	return n
}

// onlyOnce fails unless exactly these objects arrived, once each.
func (w *world) onlyOnce(objects ...string) {
	w.t.Helper()
	n := w.accepted()
	for _, o := range objects {
		if n[o] != 1 {
			w.t.Errorf("object %s arrived %d times", o, n[o])
		}
		delete(n, o)
	}
	for o, times := range n {
		w.t.Errorf("object %s arrived %d times and should not have", o, times)
	}
}

// onceBut fails unless all these objects arrived, and no more than so many of them twice.
func (w *world) onceBut(twice int, objects ...string) {
	w.t.Helper()
	n, repeated := w.accepted(), 0
	for _, o := range objects {
		switch n[o] {
		case 1:
		case 2:
			repeated++
		default:
			w.t.Errorf("object %s arrived %d times", o, n[o])
		}
		delete(n, o)
	}
	if repeated > twice || len(n) > 0 {
		w.t.Errorf("%d objects arrived twice, at most %d may; %d should not have arrived", repeated, twice, len(n))
	}
}

// numbered gives the names prefix-0, prefix-1, …
func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
	}
	return names
}

// letter is a dead letter that was read back.
type letter struct {
	deadletter.Record
	*deadletter.Context
}

// letters reads all dead letters there are and fails where one lacks what the contract requires.
func (w *world) letters() (all []letter) {
	w.t.Helper()
	err := deadletter.Read(w.t.Context(), w.brokers, letters, func(r deadletter.Record) {
		c, err := deadletter.Decode(r.Headers)
		if err != nil {
			w.t.Errorf("the dead letter at offset %d: %v", r.Offset, err)
			return
		}
		all = append(all, letter{r, c})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// committed is the group's offset in a partition of the input topic, -1 if there is none.
func (w *world) committed(partition int32) int64 {
	if info := w.cluster.GroupInfo(group); info != nil {
		if c, ok := info.Commits[topic][partition]; ok {
			return c.Offset
		}
	}
	return -1
}

// awaitFor waits until a condition holds. It looks often, since what it waits for happens in other
// processes' places: brokers, servers.
func awaitFor(t *testing.T, what string, holds func() bool, state func() string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for: %s\n%s", patience, what, state())
		}
	}
}

// running is a worker that runs.
type running struct {
	*Worker
	t       *testing.T
	logs    *observer.ObservedLogs
	metrics *telemetry.Metrics
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
}

// start starts a worker; it is stopped at the test's end at the latest.
func (w *world) start(c *config.Config) *running {
	w.t.Helper()
	return startWorker(w.t, c, Options{})
}

// startWorker starts one, changed before it runs.
func startWorker(t *testing.T, c *config.Config, o Options, changes ...func(*Worker)) *running {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	o.Log, o.Metrics, o.Version = zap.New(core), telemetry.NewMetrics(), "test"
	worker, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(worker)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: worker, t: t, logs: logs, metrics: o.Metrics, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = worker.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// stop stops the worker in good order and checks its account.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("the worker does not stop")
	}
	if r.err != nil {
		r.t.Errorf("Run: %v", r.err)
	}
	s := r.Ledger().Snapshot()
	if s.Gap() != 0 || s.InFlight != 0 {
		r.t.Errorf("the account does not add up: gap %d, in flight %d: %+v", s.Gap(), s.InFlight, s)
	}
}

// await waits until a condition holds; the worker must not end before.
func (r *running) await(what string, holds func() bool) {
	r.t.Helper()
	awaitFor(r.t, what, func() bool {
		select {
		case <-r.done:
			if !holds() {
				r.t.Fatalf("the worker ended (%v) before: %s\n%s", r.err, what, r.lines())
			}
		default:
		}
		return holds()
	}, func() string { return fmt.Sprintf("%+v\n%s", r.Status(), r.lines()) })
}

// settles waits until so many messages are settled and no more are in flight.
func (r *running) settles(n int64) telemetry.Snapshot {
	r.t.Helper()
	r.await(fmt.Sprintf("%d messages settled", n), func() bool {
		s := r.Ledger().Snapshot()
		return s.Settled() >= n && s.InFlight == 0
	})
	s := r.Ledger().Snapshot()
	if s.Settled() != n {
		r.t.Errorf("%d messages are settled instead of %d", s.Settled(), n)
	}
	return s
}

// line is a log line with its fields in it.
func line(e *observer.LoggedEntry) string {
	text := e.Level.String() + " " + e.LoggerName + ": " + e.Message
	for k, v := range e.ContextMap() {
		text += fmt.Sprintf(" %s=%v", k, v)
	}
	return text
}

func (r *running) lines() string {
	var all []string
	for _, e := range r.logs.All() {
		all = append(all, line(&e))
	}
	return strings.Join(all, "\n")
}

// warnings are the lines at warn and above.
func (r *running) warnings() (list []string) {
	for _, e := range r.logs.All() {
		if e.Level >= zapcore.WarnLevel && !strings.Contains(e.Message, "unencrypted") {
			list = append(list, line(&e))
		}
	}
	return list
}

// saysOnce fails unless exactly one line at warn or above was written, and it contains the text.
func (r *running) saysOnce(text string) {
	r.t.Helper()
	list := slices.DeleteFunc(r.warnings(), func(l string) bool { return strings.Contains(l, "input topic does not exist") })
	if len(list) != 1 || !strings.Contains(list[0], text) {
		r.t.Errorf("want one warning with %q, got %d:\n%s", text, len(list), strings.Join(list, "\n"))
	}
}

// saysNothingTwice fails if a warning was repeated, or one with the text is not among them: each
// change of state is worth a line, each try is not.
func (r *running) saysNothingTwice(text string) {
	r.t.Helper()
	seen, found := make(map[string]bool), false
	for _, e := range r.logs.All() {
		if e.Level < zapcore.WarnLevel {
			continue
		}
		if seen[e.Message] {
			r.t.Errorf("said twice: %s", line(&e))
		}
		seen[e.Message] = true
		found = found || strings.Contains(line(&e), text)
	}
	if !found {
		r.t.Errorf("nobody said %q:\n%s", text, r.lines())
	}
}

// get asks the admin server.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.admin.Addr().String()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Close = true
	return do(r.t, req)
}

func do(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// unready waits until /readyz answers 503 and names something; /livez answers 200 meanwhile.
func (r *running) unready(names string) {
	r.t.Helper()
	r.await("/readyz names "+names, func() bool {
		status, body := r.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, names)
	})
	if status, body := r.get("/livez"); status != http.StatusOK {
		r.t.Errorf("/livez answers %d %s", status, body)
	}
}

func (r *running) ready() {
	r.t.Helper()
	r.await("/readyz says yes", func() bool { status, _ := r.get("/readyz"); return status == http.StatusOK })
}

// freeAddress is an address where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// faults replaces what goes wrong at the API.
func (w *world) faults(list ...insightsfake.Fault) {
	w.t.Helper()
	for i := range list {
		if list[i].Count == 0 {
			list[i].For = insightsfake.Duration(time.Hour)
		}
	}
	if err := w.api.SetFaults(insightsfake.Faults{Seed: 1, Faults: list}); err != nil {
		w.t.Fatal(err)
	}
}

// settlesSome waits until so many messages are settled, whatever else there is.
func (r *running) settlesSome(n int64) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d messages settled", n), func() bool { s := r.Ledger().Snapshot(); return s.Settled() >= n })
}

func absorption(i int) string { return telemetry.Absorption(i).String() }

func absorbedAs(name string) int {
	for i := range telemetry.NumAbsorptions {
		if i.String() == name {
			return int(i)
		}
	}
	panic("no reason " + name)
}
