package dlq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

const (
	deadTopic   = "events.dead-letter"
	sourceTopic = "events"
)

var morning = time.Date(2026, 8, 3, 10, 0, 0, 0, time.UTC)

// rig is a broker in this process, with a desk at it.
type rig struct {
	*testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
	desk    *Desk
}

func newRig(t *testing.T, partitions int32) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, deadTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	desk, err := New(Cluster{Brokers: cluster.ListenAddrs()}, Topics{DeadLetter: deadTopic, Inputs: []string{sourceTopic}}, "g", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(desk.Close)
	return &rig{t, cluster, client, desk}
}

// purchase is a letter of a purchase whose price is a text, number n of its partition.
func purchase(partition int32, n int) *deadletter.Letter {
	at := morning.Add(time.Duration(n) * time.Second)
	user := fmt.Sprintf("user-%d", n%7)
	return &deadletter.Letter{
		Topic: sourceTopic, Partition: partition, Offset: int64(1000 + n), Timestamp: at.Add(-time.Minute).UnixMilli(),
		Key:     []byte(user),
		Value:   fmt.Appendf(nil, `{"type":"recommendation.purchased","userToken":%q,"timestamp":%d,"items":[{"objectID":"sku-%d","price":"12,90"}]}`, user, at.Add(-time.Minute).UnixMilli(), n),
		Headers: []deadletter.Header{{Key: "origin", Value: []byte("shop")}},
		Refusal: event.Refusal{Reason: event.Invalid, Stage: event.StageValidate, Field: "items[0].price", Rule: "price.decimal", Message: `got "12,90", wanted a decimal`},
		Type:    "recommendation.purchased", FirstFailed: at, Failed: at,
	}
}

// malformed is a letter of something that is no JSON.
func malformed(partition int32, n int) *deadletter.Letter {
	l := purchase(partition, n)
	l.Value = []byte("\x00\x01heartbeat")
	l.Type = ""
	l.Refusal = event.Refusal{Reason: event.Malformed, Stage: event.StageDecode, Rule: "json.syntax", Message: "byte 0, 0x00: no JSON"}
	return l
}

// put writes letters as the worker does, their record times the times of their failures.
func (r *rig) put(letters ...*deadletter.Letter) {
	r.Helper()
	var records []*kgo.Record
	for _, l := range letters {
		records = append(records, recordOf(l))
	}
	if err := r.client.ProduceSync(r.Context(), records...).FirstErr(); err != nil {
		r.Fatal(err)
	}
}

func recordOf(l *deadletter.Letter) *kgo.Record {
	m := deadletter.Encode(l, "g")
	rec := &kgo.Record{Topic: deadTopic, Partition: l.Partition, Key: m.Key, Value: m.Value, Timestamp: l.Failed}
	for _, h := range m.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	return rec
}

func (r *rig) query(query string) *Filter {
	r.Helper()
	f := new(Filter)
	if err := f.AddQuery(query, morning.Add(time.Hour)); err != nil {
		r.Fatal(err)
	}
	return f
}

func (r *rig) snapshot(f *Filter) Snapshot {
	r.Helper()
	s, err := r.desk.Snapshot(r.Context(), f)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// scan gives the addresses of the letters that a query takes, by partition in order of offset.
func (r *rig) scan(query string) (addresses []string, report Report) {
	r.Helper()
	f := r.query(query)
	report, err := r.desk.Scan(r.Context(), r.snapshot(f), f, ScanOptions{Partitions: 1}, func(l *Letter) error {
		addresses = append(addresses, l.Address().String())
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return addresses, report
}

func TestAScanReadsTheSnapshotAndAddsUp(t *testing.T) {
	r := newRig(t, 3)
	for p := range int32(3) {
		for n := range 10 {
			r.put(purchase(p, n))
		}
	}
	if err := r.client.ProduceSync(t.Context(), &kgo.Record{Topic: deadTopic, Partition: 1, Value: []byte("stray")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f := new(Filter)
	s := r.snapshot(f)
	r.put(purchase(0, 10)) // later than the snapshot
	seen := map[string]int{}
	report, err := r.desk.Scan(t.Context(), s, f, ScanOptions{}, func(l *Letter) error {
		seen[l.Address().String()]++
		return nil
	})
	if err != nil || !report.Complete || report.Scanned != 31 || report.Total != 31 || report.Records != 31 || report.Matched != 30 || report.Foreign != 1 {
		t.Errorf("%v, %+v", err, report)
	}
	if len(seen) != 30 {
		t.Errorf("%d letters were seen: %v", len(seen), seen)
	}
	if want := "scanned 31 of 31 offsets (complete: yes)   matched 30   no dead letters 1"; report.String() != want {
		t.Errorf("the report is %q, want %q", report.String(), want)
	}
}

func TestAScanThatIsStoppedSaysWhatItRead(t *testing.T) {
	r := newRig(t, 1)
	for n := range 5 {
		r.put(purchase(0, n))
	}
	f := new(Filter)
	s := r.snapshot(f)
	count := 0
	report, err := r.desk.Scan(t.Context(), s, f, ScanOptions{}, func(*Letter) error {
		if count++; count == 3 {
			return &Stop{Why: "limit 2"}
		}
		return nil
	})
	if err != nil || report.Complete || report.Why != "limit 2" || report.Matched != 2 || report.Scanned != 3 || report.Total != 5 {
		t.Errorf("%v, %+v", err, report)
	}
	interrupt := errors.New("interrupted by interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	report, err = r.desk.Scan(ctx, s, f, ScanOptions{}, func(*Letter) error { cancel(interrupt); return nil })
	if !errors.Is(err, interrupt) || report.Complete || report.Scanned == 0 || !strings.Contains(report.Why, "interrupt") {
		t.Errorf("%v, %+v", err, report)
	}
}

// A filter's clauses are tried against letters through the broker, so that snapshot and match agree.
func TestFilters(t *testing.T) {
	r := newRig(t, 2)
	rejected := purchase(1, 3)
	rejected.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Message: "The API says NO"}
	rejected.HTTPStatus, rejected.Attempts, rejected.Parts = 422, 1, []deadletter.Part{{Index: 0, Reason: event.Rejected}}
	rejected.Value = bytes.Replace(rejected.Value, []byte(`"items"`), []byte(`"application":"outlet","items"`), 1)
	again := purchase(1, 4)
	again.Headers = append(again.Headers, deadletter.Header{Key: deadletter.HeaderReplayCount, Value: []byte("2")})
	again.Refusal.Field = "items[3].discount"
	r.put(purchase(0, 0), purchase(0, 1), malformed(0, 2)) // 0:0 0:1 0:2
	r.put(rejected, again)                                 // 1:0 1:1
	cause := deadletter.Cause(purchase(0, 0))
	for _, c := range []struct{ query, want string }{
		{"", "0:0 0:1 0:2 1:0 1:1"},
		{"reason:malformed", "0:2"},
		{"reason:malformed,rejected", "0:2 1:0"},
		{"-reason:malformed,rejected", "0:0 0:1 1:1"},
		{"stage:decode", "0:2"},
		{"cause:" + cause, "0:0 0:1"},
		{"field:items[].price", "0:0 0:1"},
		{"field:items[3].discount", "1:1"},
		{"field:items[4].discount", ""},
		{"field:items[].*", "0:0 0:1 1:1"},
		{"topic:events", "0:0 0:1 0:2 1:0 1:1"},
		{"topic:other", ""},
		{"partition:1", "1:0 1:1"},
		{"-partition:1", "0:0 0:1 0:2"},
		{"offsets:0:1-3", "0:1 0:2"},
		{"offsets:0:1", "0:1"},
		{"offsets:0:1-end,1:0", "0:1 0:2 1:0"},
		{"offsets:1:end", "0:1 0:2 1:1"},
		{"offsets:-1", "0:2 1:1"},
		{"-offsets:-1", "0:0 0:1 1:0"},
		{"offsets:0:0-2 -offsets:0:0", "0:1"},
		{"offsets:7:0-9", ""},
		{"type:purchased", "0:0 0:1 1:0 1:1"},
		{"type:recommendation.purchased reason:rejected", "1:0"},
		{"app:default", "0:0 0:1 0:2 1:1"},
		{"app:outlet", "1:0"},
		{"user:user-1", "0:1"},
		{"status:422", "1:0"},
		{"status:4xx", "1:0"},
		{"status:5xx", ""},
		{"parts:some", "1:0"},
		{"parts:rejected", "1:0"},
		{"parts:none -reason:invalid", "0:2"},
		{"replays:>0", "1:1"},
		{"replays:0 reason:invalid", "0:0 0:1"},
		{"replays:>=2", "1:1"},
		{"header:origin", "0:0 0:1 0:2 1:0 1:1"},
		{"header:origin=web", ""},
		{"text:HEARTBEAT", "0:2"},
		{`text:"api says no"`, "1:0"},
		{"since:2026-08-03T10:00:02Z", "0:2 1:0 1:1"},
		{"since:2026-08-03T10:00:01Z until:2026-08-03T10:00:03Z", "0:1 0:2"},
		{"event-since:2026-08-03T09:59:03Z", "1:0 1:1"},
		{"event-until:2026-08-03T09:59:01Z", "0:0"},
	} {
		got, report := r.scan(c.query)
		if strings.Join(got, " ") != c.want || !report.Complete {
			t.Errorf("%s takes %v, want %s", c.query, got, c.want)
		}
		canonical := r.query(c.query).String()
		if again, _ := r.scan(canonical); strings.Join(again, " ") != c.want || r.query(canonical).String() != canonical {
			t.Errorf("%s is in canonical form %q, which takes %v", c.query, canonical, again)
		}
	}
}

func TestAMaskFindsItsUser(t *testing.T) {
	r := newRig(t, 1)
	for n := range 7 {
		r.put(purchase(0, n))
	}
	m := NewMasker([]byte("k"))
	f := r.query("user:" + m.Token([]byte("user-5")))
	f.Mask = m.Token
	var got []string
	if _, err := r.desk.Scan(t.Context(), r.snapshot(f), f, ScanOptions{}, func(l *Letter) error { got = append(got, l.User()); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "user-5" {
		t.Errorf("found %v", got)
	}
}

func TestNewestComesInTheOrderOfTimeWhateverThePartition(t *testing.T) {
	r := newRig(t, 3)
	const each = 700 // more than the first windows
	for p := range int32(3) {
		var letters []*deadletter.Letter
		for n := range each {
			letters = append(letters, purchase(p, 3*n+int(p)))
		}
		letters[100] = malformed(p, 300+int(p))
		r.put(letters...)
	}
	for _, c := range []struct {
		query        string
		limit, want  int
		mayReadAtAll int64
	}{{"", 0, 3 * each, 3 * each}, {"", 5, 5, 3 * firstWindow}, {"reason:malformed", 0, 3, 3 * each}, {"reason:malformed", 3, 3, 3 * each}, {"reason:malformed", 2, 2, 3 * each}} {
		f := r.query(c.query)
		var last *Row
		got := 0
		report, err := r.desk.Newest(t.Context(), r.snapshot(f), f, ListOptions{Limit: c.limit}, func(row *Row) error {
			if last != nil && row.Time.After(last.Time) {
				t.Errorf("%q: %s comes after %s", c.query, row.Time, last.Time)
			}
			got++
			last = row
			return nil
		})
		if err != nil || got != c.want || report.Matched != int64(c.want) || report.Scanned > c.mayReadAtAll {
			t.Errorf("%q limit %d: %d rows, %v, %+v", c.query, c.limit, got, err, report)
		}
		if complete := c.limit == 0 || c.limit == 3; complete != report.Complete {
			t.Errorf("%q limit %d: complete %v, %s", c.query, c.limit, report.Complete, report.Why)
		}
	}
}

func TestStatsGroupByCauseAndKnowDeadlines(t *testing.T) {
	r := newRig(t, 2)
	for p := range int32(2) {
		for n := range 10 {
			r.put(purchase(p, n))
		}
	}
	returned := malformed(1, 3000)
	returned.Headers = append(returned.Headers, deadletter.Header{Key: deadletter.HeaderReplayCount, Value: []byte("1")})
	returned.Resolved = []deadletter.Resolved{{Index: 0}, {Index: 1}, {Index: 2, QueryID: "43b15df305339e827f0ac0bdc5ebcaa7"}}
	r.put(returned)
	f := new(Filter)
	// The events are a minute older than their failures, so this is 30 s after the third one is too old.
	now := morning.Add(time.Hour - time.Minute + 2*time.Second + 30*time.Second/1000)
	stats, report, err := r.desk.Stats(t.Context(), r.snapshot(f), f, StatsOptions{Limits: Limits{MaxAge: time.Hour}, Now: now})
	if err != nil || !report.Complete || stats.Count != 21 || len(stats.Causes) != 2 {
		t.Fatalf("%v, %+v, %+v", err, report, stats)
	}
	c := stats.Causes[0]
	if c.Count != 20 || c.Reason != "invalid" || c.Field != "items[].price" || !c.First.Equal(morning) || !c.Last.Equal(morning.Add(9*time.Second)) || c.Newest.Offset != 9 {
		t.Errorf("%+v", c)
	}
	if c.Past != 6 || c.Soon != 14 || !c.Deadline.Equal(morning.Add(3*time.Second-time.Minute+time.Hour)) {
		t.Errorf("past %d, soon %d, next %s", c.Past, c.Soon, c.Deadline)
	}
	if c.What != `items[].price: got "12,90", wanted a decimal` {
		t.Errorf("what: %s", c.What)
	}
	far, _, err := r.desk.Stats(t.Context(), r.snapshot(f), f, StatsOptions{Limits: Limits{MaxAge: 72 * time.Hour}, Now: now})
	if err != nil || far.Soon != 0 || far.Past != 0 || !far.Causes[0].Deadline.Equal(morning.Add(72*time.Hour-time.Minute)) {
		t.Errorf("%v; soon %d, past %d, next %s", err, far.Soon, far.Past, far.Causes[0].Deadline)
	}
	if c := stats.Causes[1]; !c.Returning() || c.New || stats.Objects != 3 || stats.Unmatched != 2 {
		t.Errorf("%+v, %d of %d", c, stats.Unmatched, stats.Objects)
	}
}

func TestANewCauseIsMarkedOnlyWhereOlderLettersAreKnown(t *testing.T) {
	r := newRig(t, 1)
	r.put(purchase(0, 0))
	r.put(malformed(0, 2*86400))
	for query, want := range map[string]bool{"": true, "since:2026-08-01": false} {
		f := r.query(query)
		stats, _, err := r.desk.Stats(t.Context(), r.snapshot(f), f, StatsOptions{Now: morning.Add(49 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range stats.Causes {
			if isNew := want && c.Reason == "malformed"; c.New != isNew {
				t.Errorf("%q: %s new %v", query, c.Reason, c.New)
			}
		}
	}
}

func TestFindTakesBothKindsOfAddresses(t *testing.T) {
	r := newRig(t, 2)
	r.put(purchase(1, 0), purchase(1, 1))
	twice := purchase(1, 1)
	twice.Failed = morning.Add(time.Hour)
	r.put(twice)
	for text, want := range map[string]string{"1:0": "1:0", "events/1/1000": "1:0", "events/1/1001": "1:1 1:2"} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		letters, report, err := r.desk.Find(t.Context(), a)
		var got []string
		for _, l := range letters {
			got = append(got, l.Address().String())
		}
		if err != nil || strings.Join(got, " ") != want || !report.Complete {
			t.Errorf("%s: %v, %v, %+v", text, got, err, report)
		}
	}
	for _, text := range []string{"1:3", "0:0", "7:1", "events/1/999", "other/1/1000"} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		var call *CallError
		if _, _, err := r.desk.Find(t.Context(), a); !errors.As(err, &call) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTailCollapsesWhatIsAlike(t *testing.T) {
	r := newRig(t, 2)
	r.put(purchase(0, 0))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := errors.New("seen")
	looks := make(chan struct{}, 1)
	go func() {
		<-looks // the ends are known
		var letters []*deadletter.Letter
		for n := range 9 {
			letters = append(letters, purchase(0, 1+n))
		}
		r.put(append(letters, malformed(0, 20))...)
	}()
	counts, total := map[string]int64{}, int64(0)
	report, err := r.desk.Tail(ctx, new(Filter), TailOptions{Every: 10 * time.Millisecond}, func(c *Collapsed) error {
		counts[c.Reason] += c.Count
		if total += c.Count; total == 10 {
			cancel(done)
		}
		return nil
	}, func() error {
		select {
		case looks <- struct{}{}:
		default:
		}
		return nil
	})
	if !errors.Is(err, done) || counts["invalid"] != 9 || counts["malformed"] != 1 || report.Matched != 10 {
		t.Errorf("%v, %v, %+v", err, counts, report)
	}
}

func TestATopicThatIsMissingIsExplained(t *testing.T) {
	r := newRig(t, 1)
	d, err := New(Cluster{Brokers: r.cluster.ListenAddrs()}, Topics{DeadLetter: "nowhere"}, "g", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Snapshot(t.Context(), new(Filter)); err == nil || !strings.Contains(err.Error(), "kafka.dead_letter_topic") {
		t.Error(err)
	}
	var call *CallError
	if _, err := New(Cluster{}, Topics{}, "g", nil); !errors.As(err, &call) {
		t.Error(err)
	}
}
