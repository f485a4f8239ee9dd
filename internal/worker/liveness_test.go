package worker

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/consume"
)

// stillPartition is one with something to do.
func stillPartition(topic string, id int32, at int64) consume.PartitionStatus {
	return consume.PartitionStatus{Topic: topic, Partition: id, Frontier: at, Next: at + 10, End: at + 10, Lag: 10, HeldBytes: 1000,
		Oldest: &consume.OldestStatus{Offset: at, Why: "its task works on it"}}
}

// onlooker calls look with a clock of its own.
type onlooker struct {
	liveness
	now       time.Time
	excuse    string
	restoring int64
}

func (o *onlooker) wait(d time.Duration, partitions ...consume.PartitionStatus) {
	for end := o.now.Add(d); o.now.Before(end); {
		o.now = o.now.Add(time.Second)
		o.look(o.now, watched{partitions: partitions, limit: 5 * time.Minute,
			excuse:    func(*consume.PartitionStatus) string { return o.excuse },
			restoring: func(*consume.PartitionStatus) int64 { return o.restoring }})
	}
}

func (o *onlooker) lives() bool {
	ok, _ := o.alive(o.now, 5*time.Minute)
	return ok
}

func newOnlooker() *onlooker { return &onlooker{now: time.Now()} }

func TestAPartitionThatStandsStillThoughItCouldMoveEndsLiveness(t *testing.T) {
	o := newOnlooker()
	o.wait(5*time.Minute, stillPartition("events", 3, 7))
	if !o.lives() || o.views()[0].State != partitionStall {
		t.Errorf("after 5 minutes: alive %t, state %s", o.lives(), o.views()[0].State)
	}
	o.wait(2*time.Second, stillPartition("events", 3, 7))
	ok, why := o.alive(o.now, 5*time.Minute)
	if ok || len(why) != 1 || !strings.Contains(why[0], "events/3") || !strings.Contains(why[0], "the message at 7") {
		t.Errorf("alive %t: %q", ok, why)
	}
	o.wait(time.Second, stillPartition("events", 3, 8))
	if !o.lives() || o.views()[0].State != partitionOK {
		t.Errorf("it moved: alive %t, state %s", o.lives(), o.views()[0].State)
	}
}

func TestLivenessForgivesWhatIsKnown(t *testing.T) {
	idle := consume.PartitionStatus{Topic: "events", Partition: 3, Frontier: 10, Next: 10, End: 10}
	unread := consume.PartitionStatus{Topic: "events", Partition: 3, Frontier: 10, Next: 10, End: 500, Lag: 490} // no room to fetch it
	for name, step := range map[string]func(o *onlooker, i int) []consume.PartitionStatus{
		"nothing to do":                     func(*onlooker, int) []consume.PartitionStatus { return []consume.PartitionStatus{idle} },
		"nothing fetched: the budget waits": func(*onlooker, int) []consume.PartitionStatus { return []consume.PartitionStatus{unread} },
		"a reason": func(o *onlooker, _ int) []consume.PartitionStatus {
			o.excuse = "the breaker is open"
			return []consume.PartitionStatus{stillPartition("events", 3, 7)}
		},
		"a reason that comes and goes": func(o *onlooker, i int) []consume.PartitionStatus {
			o.excuse = [...]string{"", "", "retrying"}[i%3]
			return []consume.PartitionStatus{stillPartition("events", 3, 7)}
		},
		"the store is made again": func(o *onlooker, i int) []consume.PartitionStatus {
			o.restoring = int64(1000 - i)
			return []consume.PartitionStatus{stillPartition("events", 3, 7)}
		},
		"it waits for another topic of its number": func(_ *onlooker, i int) []consume.PartitionStatus {
			return []consume.PartitionStatus{stillPartition("events", 3, 7), stillPartition("shown", 3, int64(i))}
		},
		"events are settled beyond the oldest": func(_ *onlooker, i int) []consume.PartitionStatus {
			p := stillPartition("events", 3, 7)
			p.HeldBytes -= int64(i)
			return []consume.PartitionStatus{p}
		},
	} {
		o := newOnlooker()
		for i := range 20 {
			o.wait(2*time.Minute, step(o, i)...)
			if !o.lives() {
				t.Errorf("%s: not alive", name)
				break
			}
		}
	}
	o := newOnlooker()
	o.wait(20*time.Minute, stillPartition("events", 3, 7), stillPartition("events", 4, 7))
	o.wait(time.Second, stillPartition("events", 4, 8)) // 3 went to another worker
	if !o.lives() {
		t.Error("what is not ours any more counts")
	}
}

func TestLivenessBeginsAnewAfterTheProcessSlept(t *testing.T) {
	o := newOnlooker()
	o.wait(4*time.Minute, stillPartition("events", 3, 7))
	o.now = o.now.Add(time.Hour)
	o.wait(2*time.Minute, stillPartition("events", 3, 7))
	if !o.lives() {
		t.Error("the time in which the process did not run counts")
	}
	o.now = o.now.Add(6 * time.Minute)
	if ok, why := o.alive(o.now, 5*time.Minute); ok || !strings.Contains(why[0], "has not looked") {
		t.Errorf("nobody looks, and it is alive: %q", why)
	}
}

func TestPartitionsHaveTheirStates(t *testing.T) {
	o := newOnlooker()
	state := func(p consume.PartitionStatus) partitionState {
		o.wait(16*time.Second, p)
		return o.views()[0].State
	}
	late := stillPartition("events", 0, 5)
	late.LagSeconds = 61
	for _, step := range []struct {
		what string
		p    consume.PartitionStatus
		set  func()
		want partitionState
	}{
		{"fresh", stillPartition("events", 0, 5), func() {}, partitionOK},
		{"behind", late, func() {}, partitionWarn},
		{"restoring", stillPartition("events", 0, 5), func() { o.restoring = 5 }, partitionWarn},
		{"a reason", stillPartition("events", 0, 5), func() { o.restoring, o.excuse = 0, "paused" }, partitionStop},
		{"a reason and nothing to do", consume.PartitionStatus{Topic: "events", Frontier: 15, Next: 15, End: 15}, func() {}, partitionOK},
		{"back", stillPartition("events", 0, 2), func() { o.excuse = "" }, partitionRewind},
	} {
		step.set()
		if got := state(step.p); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	o.wait(11*time.Minute, consume.PartitionStatus{Topic: "events", Frontier: 2, Next: 2, End: 2})
	if got := o.views()[0].State; got != partitionOK {
		t.Errorf("long after it went back: %s", got)
	}
}

func TestALongQueueUnderTheRateIsAReason(t *testing.T) {
	c := &config.Config{Admin: config.Admin{StallAfter: 5 * time.Minute}}
	for _, q := range []struct {
		rate, events int
		want         bool
	}{{0, 1 << 30, false}, {10, 3000, false}, {10, 3001, true}, {1000, 100_000, false}} {
		c.Delivery.MaxEventsPerSecond = q.rate
		if got := queuedByRate(q.events, c); got != q.want {
			t.Errorf("%d events at %d a second: %t", q.events, q.rate, got)
		}
	}
}

func TestLivezAnswersForTheWorker(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config())
	run.ready()
	if status, body := run.get("/livez"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	run.live.mu.Lock()
	run.live.at = time.Now().Add(-time.Hour)
	why := run.live.at
	run.live.mu.Unlock()
	if ok, _ := run.live.alive(why.Add(time.Hour), run.stallLimit()); ok {
		t.Error("nobody looked for an hour, and it is alive")
	}
	run.stop()
}
