// Package real tests the worker's binary against real servers. scripts/real-servers starts them.
package real

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/deadletter"
	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/storefront"
)

const partitions = 12

// messages is how many the test simulates: 100,000, or what EVENTWORKER_KILL_MESSAGES says.
func messages(t *testing.T) uint64 {
	text := os.Getenv("EVENTWORKER_KILL_MESSAGES")
	if text == "" {
		return 100_000
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("EVENTWORKER_KILL_MESSAGES: %v", err)
	}
	return n
}

// shop is a simulated shop on a real broker, with the fake API and the worker's binary.
type shop struct {
	t                      *testing.T
	broker                 string
	topic, letters, replay string
	group                  string
	client                 *kgo.Client
	api                    *insightsfake.Server
	apiURL                 string
	binary, dir, key       string
	rules                  storefront.Rules
	kind                   string   // of the store
	wipe                   bool     // remove the store at each kill
	settings               []string // of the worker, beside those of every test

	// log says which message stands at each offset of each partition.
	log [partitions][]uint32
	// accepted is called when events arrive; it is set before a worker starts.
	accepted func()
	// explain says which messages were in flight, where a test knows better than kills.
	explain func(seq uint64) bool
	// brokersFail: an acknowledgement may be lost with its broker. What was written is then written once more,
	// the same to the byte (docs/guarantees.md).
	brokersFail bool
	// kills hold, for each kill, the committed offset of each partition.
	kills [][partitions]int64
}

func newShop(t *testing.T) *shop { return newShopAt(t, realtest.Kafka(t)) }

// newShopAt opens a shop at a broker; link are flags of the linker for the worker's binary.
func newShopAt(t *testing.T, broker string, link ...string) *shop {
	s := &shop{t: t, broker: broker, dir: t.TempDir(), kind: "disk",
		topic:   realtest.Topic(t, broker, partitions),
		letters: realtest.Topic(t, broker, partitions),
		replay:  realtest.Topic(t, broker, partitions),
	}
	s.group = "group-of-" + s.topic
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.client = client
	s.binary = filepath.Join(s.dir, "eventworker")
	if out, err := exec.Command("go", "build", "-ldflags", strings.Join(link, " "), "-o", s.binary, "eventworker/cmd/eventworker").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s.key = filepath.Join(s.dir, "api-key") // written once: workers start and read it at any time
	if err := os.WriteFile(s.key, []byte("test-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.startAPI()
	return s
}

func (s *shop) startAPI() {
	s.api = insightsfake.New(insightsfake.Options{Credentials: map[string][]string{"TESTAPP001": {"test-key"}}, Keep: true,
		OnAccept: func(string, []insightsfake.Event) {
			if s.accepted != nil {
				s.accepted()
			}
		}})
	faults := insightsfake.Faults{Faults: []insightsfake.Fault{{Kind: insightsfake.Refuse,
		ObjectIDs: storefront.DefaultRules().RefusedObjects, For: insightsfake.Duration(24 * time.Hour)}}}
	if err := s.api.SetFaults(faults); err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: s.api}
	go func() { _ = server.Serve(l) }()
	s.t.Cleanup(func() { _ = server.Close() })
	s.apiURL = "http://" + l.Addr().String()
}

// start starts the worker's binary.
func (s *shop) start() *process { return s.startIn("queries") }

// startIn starts the worker's binary with a folder of its own for the store.
func (s *shop) startIn(folder string) *process {
	args := []string{"run"}
	for _, setting := range append([]string{
		"kafka.brokers=" + s.broker, "kafka.group=" + s.group, "kafka.topics=" + s.topic,
		"kafka.dead_letter_topic=" + s.letters, "kafka.replay_topic=" + s.replay, "kafka.session_timeout=6s",
		"insights.endpoint=" + s.apiURL, "store.path=" + filepath.Join(s.dir, folder), "join.wait=5s",
		"store.kind=" + s.kind,
		"admin.listen=127.0.0.1:0", "log.format=json",
	}, s.settings...) {
		args = append(args, "--set", setting)
	}
	for name, a := range s.rules.Applications {
		prefix := "insights.applications." + name + "."
		args = append(args, "--set", prefix+"app_id=TESTAPP001", "--set", prefix+"api_key_file="+s.key, "--set", prefix+"default_index="+a.DefaultIndex,
			"--set", prefix+"indices="+strings.Join(a.Indices, ","))
	}
	p := &process{t: s.t, exited: make(chan error, 1)}
	p.cmd = exec.Command(s.binary, args...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "EVENTWORKER_") })
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// process is a running worker.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    bytes.Buffer // read only once it exited
	exited chan error
}

func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// stop ends the worker in good order.
func (p *process) stop() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			p.t.Errorf("the worker did not stop in good order: %v\n%s", err, p.log.Bytes())
		}
	case <-time.After(time.Minute):
		p.t.Fatal("the worker does not stop")
	}
}

// committed are the offsets that the group has committed, -1 where it has none.
func (s *shop) committed() (offsets [partitions]int64) {
	s.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = s.group
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic = s.topic
	for p := range int32(partitions) {
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(s.t.Context(), s.client)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		s.t.Fatalf("committed offsets of group %s: %v", s.group, err)
	}
	for _, p := range res.Topics[0].Partitions {
		offsets[p.Partition] = p.Offset
	}
	return offsets
}

// inFlight gives the messages that were not covered by a commit at one of the kills.
func (s *shop) inFlight() func(seq uint64) bool {
	flying := make(map[uint32]bool)
	for _, offsets := range s.kills {
		for p, offset := range offsets {
			for _, seq := range s.log[p][max(offset, 0):] {
				flying[seq] = true
			}
		}
	}
	return func(seq uint64) bool { return flying[uint32(seq)] }
}

// await polls until the condition holds; it gives up when the process ends or after a time.
func (s *shop) await(p *process, what string, most time.Duration, holds func() bool) {
	s.t.Helper()
	deadline := time.After(most)
	for !holds() {
		select {
		case err := <-p.exited:
			s.t.Fatalf("the worker ended before %s: %v\n%s", what, err, p.log.Bytes())
		case <-deadline:
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			<-p.exited
			s.t.Fatalf("waited %v for %s\n%s", most, what, p.log.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestNothingIsLostWhenTheWorkerIsKilled(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		wipe       bool
		share      uint64 // of the messages
	}{
		{"disk", "disk", false, 1},
		{"disk that is lost with the worker", "disk", true, 4},
		{"memory", "memory", false, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t)
			s.kind, s.wipe = c.kind, c.wipe
			s.killThreeTimes(messages(t) / c.share)
		})
	}
}

// killThreeTimes lets the worker work through n messages, kills it on the way, and proves that
// every message came to what it had to.
func (s *shop) killThreeTimes(n uint64) {
	t := s.t
	g, err := storefront.NewGenerator(storefront.Config{Seed: 11, Messages: n, Topic: s.topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	var produced atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	producing := make(chan error, 1)
	began := time.Now()
	go func() {
		producing <- demo.Produce(ctx, []string{s.broker}, g, func(m *storefront.Message) {
			truth.Add(m)
			s.log[m.Partition] = append(s.log[m.Partition], uint32(m.Seq))
		}, func() { produced.Add(1) })
	}()

	worker := s.start()
	for kill := range int64(3) {
		// An event and a third come of a message: the kills fall after the first, second and third quarter.
		mark := int64(n) * (kill + 1) / 3
		s.await(worker, fmt.Sprintf("%d different events", mark), 10*time.Minute, func() bool { return s.api.Stats().Events.Distinct >= mark })
		worker.kill()
		s.kills = append(s.kills, s.committed())
		if s.wipe {
			if err := os.RemoveAll(filepath.Join(s.dir, "queries")); err != nil {
				t.Fatal(err)
			}
		}
		worker = s.start()
	}
	if err := <-producing; err != nil {
		t.Fatal(err)
	}
	s.await(worker, "all messages committed", 10*time.Minute, func() bool {
		for p, offset := range s.committed() {
			if offset < int64(len(s.log[p])) {
				return false
			}
		}
		return true
	})
	took := time.Since(began)
	worker.stop()
	truth.Seal()
	s.compare(truth)
	t.Logf("%d messages in %v with %d kills", n, took.Round(time.Millisecond), len(s.kills))
}

// compare holds what arrived against the truth.
func (s *shop) compare(truth *storefront.Truth) {
	s.t.Helper()
	arrived := storefront.Arrived{Accepted: s.api.Accepted(), InFlight: s.inFlight()}
	written, copies := map[string]bool{}, 0
	err := deadletter.Read(s.t.Context(), []string{s.broker}, s.letters, func(r deadletter.Record) {
		same := fmt.Sprintf("%q %q %q", r.Key, r.Value, r.Headers)
		if s.brokersFail && written[same] {
			copies++
			return
		}
		written[same] = true
		arrived.DeadLetters = append(arrived.DeadLetters, demo.Letter(r.Headers))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.explain != nil {
		arrived.InFlight = s.explain
	}
	report := truth.Compare(arrived, 5)
	var text bytes.Buffer
	_ = report.WriteText(&text)
	if !report.Matches() || !report.AddsUp() {
		s.t.Errorf("what arrived is not what had to arrive:\n%s", text.Bytes())
		return
	}
	s.t.Logf("\n%s", text.Bytes())
	if copies > 0 {
		s.t.Logf("%d dead letters were written again since a broker's answer was lost", copies)
	}
}
