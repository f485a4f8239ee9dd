package worker

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
	"eventworker/internal/telemetry"
)

// fact is a line of the status page.
func (r *running) fact(name string) telemetry.Fact {
	r.t.Helper()
	for _, f := range r.Page().Facts {
		if f.Name == name {
			return f
		}
	}
	r.t.Fatalf("the page has no %q", name)
	return telemetry.Fact{}
}

func TestBrokersThatAreAwayAtTheStartAreWaitedFor(t *testing.T) {
	away := setting{partitions: 1, topics: []string{topic, letters, replays}}
	w := newWorld(t, func(s *setting) { s.brokerAway = true })
	address := freeAddress(t)
	w.brokers = []string{address}
	run := w.start(w.config())
	run.unready("kafka: metadata: ")
	run.saysOnce("what=metadata")
	if f := run.fact("Fetching"); f.Value != "not running: connecting" || f.Level != "warn" {
		t.Errorf("fetching: %+v", f)
	}

	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	w.startBroker(&away, kfake.Ports(n))
	w.send(clicks("u", "a", 3)...)
	run.settles(3)
	run.ready()
	run.stop()
	w.onlyOnce(numbered("a", 3)...)
}

func TestAnAPIThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	address := freeAddress(t)
	w.apiURL = "http://" + address
	w.send(clicks("u", "a", 3)...)
	run := w.start(w.config())
	run.unready("insights default: application default has taken nothing since the start")
	run.await("many tries", func() bool { return run.scrape().sum(telemetry.Requests) > 20 })
	run.saysNothingTwice("delivery waits and tries again")
	if s := run.Ledger().Snapshot(); s.Settled() != 0 {
		t.Errorf("settled without an API: %+v", s)
	}

	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(w.api)
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	run.settles(3)
	run.ready()
	run.saysNothingTwice("delivery waits and tries again")
	run.stop()
	w.onlyOnce(numbered("a", 3)...)
}

func TestAnAPIThatHasWorkedAndFailsForAWhileLeavesTheWorkerReady(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config())
	w.send(clicks("u", "a", 1)...)
	run.settles(1)
	run.ready()
	w.faults(insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Count: 1000})
	w.send(clicks("u", "b", 1)...)
	run.await("retries", func() bool { return w.api.Stats().ByStatus["503"] > 2 })
	run.checkHealth()
	if status, body := run.get("/readyz"); status != 200 {
		t.Errorf("/readyz answers %d %s", status, body)
	}
	w.faults()
	run.settles(2)
	run.stop()
}

func TestAMissingDeadLetterTopicIsWaitedForByThoseWhoNeedIt(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{topic, replays} })
	run := w.start(w.config())
	run.unready("dead-letter topic: dead-letter topic " + letters + " does not exist")
	run.saysOnce("the dead-letter topic cannot be used")

	good := clicks("u", "good", 10)
	w.send(good...)
	run.settlesSome(10)
	w.send(record("u", "bad"))
	w.send(clicks("u", "later", 5)...)
	run.await("what needs no dead letter goes on", func() bool { return run.Ledger().Snapshot().Delivered == 15 })
	run.await("the letter waits", func() bool { return run.Status().DeadLetters.Pending == 1 })
	if c := w.committed(0); c > 10 {
		t.Errorf("committed %d: beyond the message that waits for its dead letter", c)
	}

	w.create(letters, 1)
	run.settles(16)
	run.ready()
	run.await("the commit", func() bool { return w.committed(0) == 16 })
	run.stop()
	if n := len(w.letters()); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

func TestTheDeadLetterTopicIsCreatedWhereTheConfigurationSaysSo(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{topic, replays} })
	run := w.start(w.config(func(c *config.Config) { c.Kafka.CreateTopics = true }))
	run.ready()
	if w.cluster.TopicInfo(letters) == nil {
		t.Error("ready without a dead-letter topic")
	}
	run.stop()
}

func TestWithoutAReplayTopicTheWorkerRunsAndIsReady(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{topic, letters} })
	w.send(clicks("u", "a", 3)...)
	run := w.start(w.config())
	run.settles(3)
	run.ready()
	run.stop()
	if list := run.warnings(); len(list) != 1 {
		t.Errorf("want one line about the topic: %v", list)
	}
	w.onlyOnce(numbered("a", 3)...)
}

func TestARefusedKeyPausesUntilItsFileHasAGoodOne(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.api.Credentials = map[string][]string{"APP1": {"key-2"}} })
	file := filepath.Join(w.dir, "key")
	write := func(key string) {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("key-1")
	w.send(clicks("u", "a", 30)...)
	run := w.start(w.config(func(c *config.Config) {
		c.Insights.Applications["default"] = config.Application{AppID: "APP1", APIKeyFile: file, DefaultIndex: "products"}
	}))
	run.unready("insights default: application default is misconfigured")
	run.await("some probes", func() bool { return w.api.Stats().ByStatus["401"] > 2 })
	run.saysOnce("delivery is paused")
	if s := run.Ledger().Snapshot(); s.Settled() != 0 {
		t.Errorf("settled with a refused key: %+v", s)
	}

	write("key-2")
	s := run.settles(30)
	if s.Delivered != 30 {
		t.Errorf("%+v", s)
	}
	run.ready()
	run.stop()
	w.onlyOnce(numbered("a", 30)...)
}
