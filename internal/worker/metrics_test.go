package worker

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/insights"
	"eventworker/internal/insightsfake"
	"eventworker/internal/telemetry"
)

// samples are the lines of a scrape: name with labels, and value.
type samples map[string]float64

func (r *running) scrape() samples {
	r.t.Helper()
	status, body := r.get("/metrics")
	if status != http.StatusOK {
		r.t.Fatalf("/metrics answers %d:\n%s", status, body)
	}
	all := make(samples)
	for text := range strings.Lines(body) {
		if text = strings.TrimSpace(text); text == "" || text[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(text, ' ')
		v, err := strconv.ParseFloat(text[at+1:], 64)
		if err != nil {
			r.t.Fatalf("a line of the scrape: %q", text)
		}
		all[text[:at]] = v
	}
	return all
}

// has says whether any line is of a metric.
func (s samples) has(name string) bool {
	for key := range s {
		if key == name || strings.HasPrefix(key, name+"{") {
			return true
		}
	}
	return false
}

// sum adds the lines of a metric up.
func (s samples) sum(name string) (total float64) {
	for key, v := range s {
		if key == name || strings.HasPrefix(key, name+"{") {
			total += v
		}
	}
	return total
}

func TestEveryDeclaredMetricAppearsInAScrapeAndSaysWhatHappened(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Count: 1},
		insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"refused"}})
	now := time.Now()
	w.send(record("u", shown("u", now, "a", "b")),
		record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a"}`, now.UnixMilli())),
		record("u", cart("u", "id-1", "b")),
		record("u", strings.Replace(cart("u", "id-2", "b"), "addedToCart", "purchased", 1)),
		record("u", click("u", "refused")),
		record("u", "bad"), &kgo.Record{Topic: topic})
	const more = 300 // the store tells its levels every 256 records
	w.send(clicks("v", "more", more)...)
	run := w.start(w.config())
	run.metrics.SetBuild("v1", "abc", "go")
	run.settles(7 + more)
	run.await("the commit", func() bool { return w.committed(0) == 7+more })
	run.ready()
	run.sampled()
	run.await("the topics' retention", func() bool { return run.scrape().has(telemetry.TopicRetention) })
	s := run.scrape()
	for _, d := range telemetry.Definitions {
		name := d.Name
		if d.Kind == telemetry.HistogramKind {
			name += "_count"
		}
		if !s.has(name) {
			t.Errorf("%s is declared and not in the scrape", d.Name)
		}
	}
	for key, want := range map[string]float64{
		`eventworker_events_delivered_total{application="default",type="view"}`:      1,
		`eventworker_events_delivered_total{application="default",type="click"}`:     1 + more,
		`eventworker_events_delivered_total{application="default",type="addToCart"}`: 1,
		`eventworker_events_delivered_total{application="default",type="purchase"}`:  1,
		`eventworker_events_refused_total{application="default",outcome="rejected"}`: 1,
		`eventworker_dead_letter_writes_total{reason="malformed"}`:                   1,
		`eventworker_dead_letter_writes_total{reason="rejected"}`:                    1,
		`eventworker_store_records_total{kind="impression"}`:                         1,
		`eventworker_store_records_total{kind="click"}`:                              2 + more,
		`eventworker_store_records_total{kind="mark"}`:                               2,
		`eventworker_breaker_open{application="default"}`:                            0,
		`eventworker_misconfigured{application="default"}`:                           0,
		`eventworker_partition_lag_seconds{partition="0",topic="events"}`:            0,
		`eventworker_topic_retention_seconds{topic="events"}`:                        7 * 24 * 3600,
		`eventworker_partition_lag_messages{partition="0",topic="events"}`:           0,
		`eventworker_oldest_unsettled_age_seconds`:                                   0,
		`eventworker_messages_conservation_gap`:                                      0,
		`eventworker_messages_lost_total{topic="events"}`:                            0,
		`eventworker_commits_total{result="failed"}`:                                 0,
		`eventworker_generations_total`:                                              1,
		`eventworker_ready`:                                                          1,
		`eventworker_hints_total{hint="views_only"}`:                                 0,
		`eventworker_store_restored_messages_total`:                                  0,
		`eventworker_max_event_age_seconds`:                                          95 * 3600,
		`eventworker_requests_total{application="default",class="5xx"}`:              1,
		`eventworker_dead_letter_pending`:                                            0,
		`eventworker_fetch_paused`:                                                   0,
		`eventworker_partition_waiting{partition="0",topic="events"}`:                0,
		`eventworker_partition_frontier_lag_messages{partition="0",topic="events"}`:  0,
		`eventworker_lookups_total{result="shown"}`:                                  1,
	} {
		if got, there := s[key]; !there || got != want {
			t.Errorf("%s is %v (there: %t), want %v", key, got, there, want)
		}
	}
	for _, name := range []string{telemetry.Commits, telemetry.Batches, telemetry.Retries, telemetry.FetchedBytes, telemetry.StoreBytes, telemetry.StoreUsers,
		telemetry.StoreSync + "_count", telemetry.RequestDuration + "_count", telemetry.BatchEvents + "_count", telemetry.DeliveryLatency + "_count",
		telemetry.BudgetBytes, telemetry.RequestLimit} {
		if s.sum(name) <= 0 {
			t.Errorf("%s is %v after a run", name, s.sum(name))
		}
	}
	run.stop()
}

// sampled waits until what is looked at now and then was looked at since.
func (r *running) sampled() {
	r.t.Helper()
	before := r.pauses.last()
	r.await("the next look at the counts", func() bool { return r.pauses.last().After(before) })
}

func (p *pauses) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func TestTheMessageEquationHoldsAtEveryScrape(t *testing.T) {
	const n = 3000
	w := newWorld(t, func(s *setting) { s.partitions = 2 })
	w.faults(insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Count: 5},
		insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(3 * time.Millisecond)},
		insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"a-7", "a-77", "a-777"}})
	records := clicks("u", "a", n)
	for i, r := range records {
		r.Partition = int32(i % 2)
		if i%50 == 0 {
			r.Value = []byte("bad")
		}
	}
	run := w.start(w.config(func(c *config.Config) { c.Batch.MaxEvents = 20; c.Delivery.MaxInFlight = 4 }))
	go func() { _ = w.client.ProduceSync(t.Context(), records...) }()
	scrapes, received := 0, 0.0
	for settled := 0.0; settled < n; scrapes++ {
		s := run.scrape()
		settled = s.sum(telemetry.MessagesDelivered) + s.sum(telemetry.MessagesDeadLettered) + s.sum(telemetry.MessagesAbsorbed)
		gap := s.sum(telemetry.MessagesReceived) - settled - s.sum(telemetry.MessagesReleased) - s.sum(telemetry.MessagesInFlight)
		if gap != 0 || s.sum(telemetry.ConservationGap) != 0 {
			t.Fatalf("scrape %d: the gap is %v, told as %v", scrapes, gap, s.sum(telemetry.ConservationGap))
		}
		if now := s.sum(telemetry.MessagesReceived); now < received {
			t.Fatalf("scrape %d: received went from %v down to %v", scrapes, received, now)
		} else {
			received = now
		}
		if scrapes > 100_000 {
			t.Fatal("no end")
		}
	}
	if scrapes < 5 {
		t.Errorf("only %d scrapes", scrapes)
	}
	run.stop()
	s := run.Ledger().Snapshot()
	if s.TotalDeadLettered() != n/50+3 || s.Delivered != n-n/50-3 {
		t.Errorf("%+v", s)
	}
}

func TestTheAgeOfWhatIsUnsettledCountsFromItsTimestamps(t *testing.T) {
	w := newWorld(t)
	w.faults(slow(time.Hour))
	recorded, said := time.Now().Add(-time.Hour), time.Now().Add(-2*time.Hour)
	old := record("u", shown("u", said, "a"))
	old.Timestamp = recorded
	w.send(old)
	cfg := w.config(func(c *config.Config) { c.DrainTimeout = 100 * time.Millisecond })
	run := w.start(cfg)
	run.await("the request on the wire", func() bool { return run.Status().Applications[0].InFlight == 1 })
	const lag = `eventworker_partition_lag_seconds{partition="0",topic="events"}`
	s := run.scrape()
	if s[lag] < 3600 || s[lag] > 3660 || s[telemetry.EventAgeOldest] < 7200 || s[telemetry.EventAgeOldest] > 7260 {
		t.Errorf("lag %v s, oldest %v s", s[lag], s[telemetry.EventAgeOldest])
	}
	run.stop()
	w.faults()
	run = w.start(cfg)
	run.settles(1)
	run.await("no age", func() bool {
		s := run.scrape()
		age, there := s[lag]
		return there && age == 0 && s[telemetry.EventAgeOldest] == 0
	})
	run.stop()
}

func TestAFullBudgetShowsAsPausedFetching(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Count: 1 << 20})
	pad := strings.Repeat("x", 1<<20)
	for i := range 12 {
		w.send(record("u", strings.Replace(click("u", fmt.Sprintf("a-%d", i)), "{", `{"unknown":"`+pad+`",`, 1)))
	}
	run := w.start(w.config(func(c *config.Config) { c.Memory.Budget = 4 << 20; c.Kafka.MaxFetchBytes = 1 << 20 }))
	run.await("paused, and for how long", func() bool {
		s := run.scrape()
		return s[telemetry.FetchPaused] == 1 && s[telemetry.FetchPausedSeconds] > 0.3
	})
	w.faults()
	run.settles(12)
	run.await("not paused", func() bool { return run.scrape()[telemetry.FetchPaused] == 0 })
	run.stop()
}

func TestPausesAreTimeWithAReasonOrWithoutRoom(t *testing.T) {
	var p pauses
	at := time.Now()
	step := func(asked bool, waits, fetches, bytes int64, paused bool, total time.Duration) {
		t.Helper()
		at = at.Add(time.Second)
		p.look(at, asked, &consume.Stats{BudgetWaits: waits, Fetches: fetches, FetchedBytes: bytes})
		if is, sum := p.state(); is != paused || sum != total {
			t.Errorf("paused %t for %v, want %t for %v", is, sum, paused, total)
		}
	}
	step(false, 0, 10, 100, false, 0)
	step(false, 0, 11, 100, false, 0)             // an idle topic
	step(false, 3, 12, 200, false, 0)             // a partition waits, others are fetched
	step(false, 4, 12, 200, true, 0)              // none is
	step(false, 4, 12, 200, true, time.Second)    // still none
	step(false, 9, 15, 200, true, 2*time.Second)  // empty ones are asked, the full one waits on
	step(false, 9, 16, 200, false, 3*time.Second) // asked, and nothing more is there
	step(false, 9, 17, 300, false, 3*time.Second) // fetched again
	step(true, 9, 18, 400, true, 3*time.Second)   // somebody wants a pause
	step(true, 9, 18, 400, true, 4*time.Second)
	step(false, 9, 19, 400, false, 5*time.Second)
}

func TestTheTypeOfAnEncodedEventIsRead(t *testing.T) {
	for kind := insights.View; kind <= insights.Purchase; kind++ {
		e := insights.Event{Type: kind, EventName: []byte("n"), Index: []byte("i"), UserToken: []byte("u"), Timestamp: 1, ObjectIDs: [][]byte{[]byte("o")}}
		if got := insights.TypeOf(insights.AppendEvent(nil, &e)); got != kind || kinds[got] == "" {
			t.Errorf("type %d reads as %d", kind, got)
		}
	}
	if insights.TypeOf(nil) != 0 || insights.TypeOf([]byte(`{"eventType":"nothing the worker knows"}`)) != 0 {
		t.Error("something else has a type")
	}
}
