package real

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
)

// trouble is what is wrong between the worker and the API, or with the API, for a while.
type trouble struct {
	name   string
	lasts  time.Duration
	toxics []string             // as toxiproxy takes them
	away   bool                 // connections are refused
	faults []insightsfake.Fault // of the API itself
	signal syscall.Signal       // to the worker, when it begins
}

// hour is an hour of faults: with delivery.timeout and the backoff at a twentieth and a thirtieth of
// their defaults, what takes an hour passes in two minutes.
var hour = []trouble{
	{name: "nothing", lasts: 3 * time.Second},
	{name: "latency", lasts: 8 * time.Second, toxics: []string{`{"type":"latency","attributes":{"latency":150,"jitter":100}}`}},
	{name: "resets", lasts: 8 * time.Second, toxics: []string{`{"type":"reset_peer","toxicity":0.5,"attributes":{"timeout":40}}`}},
	{name: "narrow line", lasts: 15 * time.Second, toxics: []string{`{"type":"bandwidth","stream":"upstream","attributes":{"rate":150}}`}},
	{name: "connections refused", lasts: 8 * time.Second, away: true},
	{name: "slow close", lasts: 5 * time.Second, toxics: []string{`{"type":"slow_close","attributes":{"delay":1500}}`}},
	{name: "nothing comes back", lasts: 10 * time.Second, toxics: []string{`{"type":"timeout","attributes":{"timeout":0}}`}},
	{name: "pieces", lasts: 5 * time.Second, toxics: []string{`{"type":"slicer","stream":"upstream","attributes":{"average_size":4096,"size_variation":2048,"delay":500}}`}},
	{name: "answers cut short", lasts: 8 * time.Second, toxics: []string{`{"type":"limit_data","toxicity":0.5,"attributes":{"bytes":60}}`}},
	{name: "limits", lasts: 8 * time.Second, faults: []insightsfake.Fault{{Kind: insightsfake.Status, Status: 429, Probability: 0.3, RetryAfter: insightsfake.Duration(time.Second), Count: 1 << 20}}},
	{name: "a server in trouble", lasts: 8 * time.Second, faults: []insightsfake.Fault{
		{Kind: insightsfake.Status, Status: 503, Probability: 0.3, Count: 1 << 20}, {Kind: insightsfake.LostAnswer, Probability: 0.1, Count: 1 << 20},
		{Kind: insightsfake.LateAnswer, Delay: insightsfake.Duration(time.Second), Probability: 0.1, Count: 1 << 20}}},
	{name: "a key that is refused", lasts: 5 * time.Second, faults: []insightsfake.Fault{{Kind: insightsfake.Revoked, Count: 1 << 20}}, signal: syscall.SIGHUP},
	{name: "small bodies only", lasts: 5 * time.Second, faults: []insightsfake.Fault{{Kind: insightsfake.SizeLimit, Bytes: 20_000, Count: 1 << 20}}},
	{name: "all at once", lasts: 10 * time.Second, toxics: []string{
		`{"type":"latency","attributes":{"latency":200,"jitter":150}}`, `{"type":"reset_peer","toxicity":0.2,"attributes":{"timeout":100}}`},
		faults: []insightsfake.Fault{{Kind: insightsfake.Status, Status: 503, Probability: 0.3, Count: 1 << 20}}},
}

// line is the way from the worker to the API, with a proxy on it that makes trouble.
type line struct {
	s     *shop
	proxy *toxiproxy.Proxy
}

func newLine(s *shop) *line {
	zerolog.SetGlobalLevel(zerolog.Disabled) // the proxy has a logger of its own
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "insights", "127.0.0.1:0", strings.TrimPrefix(s.apiURL, "http://"))
	if err := proxy.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(proxy.Stop)
	s.apiURL = "http://" + proxy.Listen
	return &line{s, proxy}
}

// begin makes trouble; the function ends it.
func (l *line) begin(x *trouble) (end func()) {
	t := l.s.t
	if x.away {
		l.proxy.Stop()
	}
	for i, toxic := range x.toxics {
		named := strings.Replace(toxic, "{", fmt.Sprintf(`{"name":"%d",`, i), 1)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(named)); err != nil {
			t.Fatal(err)
		}
	}
	l.s.refuse(x.faults...)
	return func() {
		l.s.refuse()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for i := range x.toxics {
			if err := l.proxy.Toxics.RemoveToxic(ctx, strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if x.away {
			if err := l.proxy.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// refuse sets the API's faults, beside the refusals that belong to the shop's rules.
func (s *shop) refuse(faults ...insightsfake.Fault) {
	s.t.Helper()
	faults = append(faults, insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: storefront.DefaultRules().RefusedObjects, For: insightsfake.Duration(24 * time.Hour)})
	if err := s.api.SetFaults(insightsfake.Faults{Seed: 5, Faults: faults}); err != nil {
		s.t.Fatal(err)
	}
}

func TestNothingIsLostInAnHourOfFaultsOnTheWayToTheAPI(t *testing.T) {
	n := messages(t)
	s := newShop(t)
	s.settings = []string{
		"delivery.timeout=500ms", "delivery.backoff.initial_interval=20ms", "delivery.backoff.max_interval=1s",
		"memory.budget=32MiB", "batch.linger=100ms", "join.wait=20s",
	}
	s.explain = func(uint64) bool { return true } // answers are lost: what they were about is sent again
	way := newLine(s)
	g, err := storefront.NewGenerator(storefront.Config{Seed: 12, Messages: n, Topic: s.topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	producing := make(chan error, 1)
	began, pace := time.Now(), lasting(hour)/time.Duration(n)
	go func() {
		sent := 0
		producing <- demo.Produce(t.Context(), []string{s.broker}, g, func(m *storefront.Message) {
			// Evenly, for a log that stands still makes the worker decide without what comes later.
			time.Sleep(time.Until(began.Add(time.Duration(sent) * pace)))
			sent++
			truth.Add(m)
			s.log[m.Partition] = append(s.log[m.Partition], uint32(m.Seq))
		}, func() {})
	}()

	worker := s.start()
	for i := range hour {
		x := &hour[i]
		end := way.begin(x)
		if x.signal != 0 {
			if err := worker.cmd.Process.Signal(x.signal); err != nil {
				t.Fatal(err)
			}
		}
		before := s.api.Stats()
		time.Sleep(x.lasts) // how long the trouble lasts is what is tested
		after := s.api.Stats()
		t.Logf("%-24s %4d requests, %6d events accepted", x.name, after.Requests-before.Requests, after.Events.Accepted-before.Events.Accepted)
		end()
	}
	if err := <-producing; err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	s.await(worker, "all messages committed", 5*time.Minute, func() bool {
		for p, offset := range s.committed() {
			if offset < int64(len(s.log[p])) {
				return false
			}
		}
		return true
	})
	t.Logf("caught up %v after the last trouble", time.Since(healed).Round(time.Millisecond))
	resident := peakMemory(t, worker)
	worker.stop()
	truth.Seal()
	s.compare(truth)
	s.addsUp(worker)
	if t.Logf("%d MiB resident at most", resident>>20); resident > 200<<20 {
		t.Errorf("%d MiB were resident; at most 200 should be", resident>>20)
	}
}

// lasting is how long troubles last together.
func lasting(all []trouble) (d time.Duration) {
	for i := range all {
		d += all[i].lasts
	}
	return d
}

// peakMemory is the largest resident size of a process so far, in bytes; 0 where the system does not say.
func peakMemory(t *testing.T, p *process) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Logf("the peak of memory is not known here: %v", err)
		return 0
	}
	for l := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// addsUp holds the account that a worker gave at its end against itself.
func (s *shop) addsUp(p *process) {
	s.t.Helper()
	var said struct {
		Msg                                                             string
		Received, Delivered, Absorbed, Released, DeadLettered, InFlight int64
	}
	for l := range bytes.Lines(p.log.Bytes()) {
		l = bytes.ReplaceAll(bytes.ReplaceAll(l, []byte(`"dead_lettered"`), []byte(`"DeadLettered"`)), []byte(`"in_flight"`), []byte(`"InFlight"`))
		if bytes.Contains(l, []byte(`"stopped"`)) {
			if err := json.Unmarshal(l, &said); err != nil {
				s.t.Errorf("%s: %v", l, err)
			}
		}
	}
	total := int64(0)
	for p := range s.log {
		total += int64(len(s.log[p]))
	}
	if said.Received != said.Delivered+said.DeadLettered+said.Absorbed+said.Released+said.InFlight || said.Received < total || said.InFlight != 0 {
		s.t.Errorf("the account does not add up over %d messages: %+v", total, said)
	}
	if !bytes.Contains(p.log.Bytes(), []byte("the configuration was reloaded")) {
		s.t.Error("SIGHUP did not reload")
	}
	if bytes.Contains(p.log.Bytes(), []byte("test-key")) {
		s.t.Error("the key is in the log")
	}
}
