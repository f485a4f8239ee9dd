package storefront

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"eventworker/internal/insightsfake"
)

var testEnd = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testConfig(messages uint64) Config {
	return Config{Seed: 11, Messages: messages, Partitions: 4, End: testEnd, Poison: 0.05}
}

// forEach makes a log and visits its messages.
func forEach(tb testing.TB, c Config, visit func(m *Message)) {
	tb.Helper()
	g, err := NewGenerator(c)
	if err != nil {
		tb.Fatal(err)
	}
	var m Message
	for g.Next(&m) {
		visit(&m)
	}
}

// truthOf makes a log and its truth.
func truthOf(tb testing.TB, c Config, onVerdict func(*Verdict)) *Truth {
	tb.Helper()
	t, err := NewTruthOf(c)
	if err != nil {
		tb.Fatal(err)
	}
	t.OnVerdict = onVerdict
	forEach(tb, c, t.Add)
	t.Seal()
	return t
}

func TestPartitionIsThatOfJavasDefaultPartitioner(t *testing.T) {
	// The values of Kafka's own UtilsTest.testMurmur2.
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
	// Where kafka-clients 4.1 puts it.
	if got := PartitionOf([]byte("u1"), 3); got != 1 {
		t.Errorf("u1 of 3 partitions is in %d, want 1", got)
	}
}

func TestSameSeedGivesTheSameBytes(t *testing.T) {
	write := func(seed uint64) []byte {
		c := testConfig(5000)
		c.Seed = seed
		var b []byte
		forEach(t, c, func(m *Message) { b = append(m.AppendJSON(b), '\n') })
		return b
	}
	first := write(11)
	if !bytes.Equal(first, write(11)) {
		t.Error("two logs of one seed differ")
	}
	if bytes.Equal(first, write(12)) {
		t.Error("two logs of different seeds are the same")
	}
	if n := bytes.Count(first, []byte("\n")); n != 5000 {
		t.Errorf("%d messages, want 5000", n)
	}
}

func TestJSONFormKeepsEveryByte(t *testing.T) {
	forEach(t, testConfig(5000), func(m *Message) {
		var line struct {
			Seq         uint64
			Topic       string
			Partition   int32
			Time        int64
			Key         string
			Value       *string
			ValueBase64 []byte
			Headers     map[string]string
		}
		text := m.AppendJSON(nil)
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		value := line.ValueBase64
		if line.Value != nil {
			value = []byte(*line.Value)
		}
		if !bytes.Equal(value, m.Value) || (line.Value == nil && line.ValueBase64 == nil) != (m.Value == nil) ||
			line.Key != string(m.Key) || line.Seq != m.Seq || line.Partition != m.Partition || line.Time != m.Time ||
			line.Headers[SeqHeader] != fmt.Sprint(m.Seq) || line.Topic != "recommendation-events" {
			t.Fatalf("%s does not say what the message is: %q", text, m.Value)
		}
	})
}

// What the generator means to say, and what a reading of its bytes by the contract finds, are the same.
func TestMessagesSayWhatTheGeneratorMeans(t *testing.T) {
	c := testConfig(8000)
	c.Poison = 0.15
	rules := c.withDefaults().Rules
	judge := NewTruth(rules)
	forEach(t, c, func(m *Message) {
		meant, found := *m.said, *read(m.Value)
		if meant.refusal == "invalid" && found.refusal == "" {
			// Tokens and indices are judged with the configuration at hand.
			if judge.judge(&pending{said: &found, timestamp: m.Time}) == invalid {
				return
			}
		}
		meant.style, meant.recordTime = style{}, 0
		if meant.refusal != "" || meant.tombstone {
			meant.userToken = ""
		}
		meant.form, found.form = 0, 0
		plain(&meant)
		plain(&found)
		if !reflect.DeepEqual(meant, found) {
			t.Fatalf("seed %d, message %d:\n%s\nmeant %+v\nfound %+v", c.Seed, m.Seq, m.Value, meant, found)
		}
	})
}

// plain removes what two sayings may differ in without a difference.
func plain(s *said) {
	s.lists, s.items = slices.Clone(s.lists), slices.Clone(s.items)
	for i := range s.lists {
		if len(s.lists[i].objectIDs) == 0 {
			s.lists[i].objectIDs = nil
		}
	}
	for i := range s.items {
		s.items[i].numbers = false
	}
}

func TestEveryReasonOccurs(t *testing.T) {
	seen := map[string]int{}
	c := testConfig(10_000)
	truthOf(t, c, func(v *Verdict) { seen[string(v.Outcome)+" "+v.Reason]++ })
	for _, want := range []string{"delivered ", "absorbed stored", "absorbed duplicate", "absorbed tombstone",
		"dead-lettered malformed", "dead-lettered unknown-type", "dead-lettered invalid", "dead-lettered unknown-application",
		"dead-lettered future", "dead-lettered too-old", "dead-lettered no-index", "dead-lettered rejected"} {
		if seen[want] == 0 {
			t.Errorf("seed %d: no message is %s; seen %v", c.Seed, want, seen)
		}
	}
	total := 0
	for _, n := range seen {
		total += n
	}
	if total != 10_000 {
		t.Errorf("%d verdicts, want one a message: %v", total, seen)
	}
	c.Messages = 3000
	for _, onMiss := range []string{OnMissDeadLetter, OnMissDrop} {
		seen = map[string]int{}
		c.Rules = DefaultRules()
		c.Rules.OnMiss = onMiss
		truthOf(t, c, func(v *Verdict) { seen[v.Reason]++ })
		if reason := map[string]string{OnMissDeadLetter: "unmatched", OnMissDrop: "dropped"}[onMiss]; seen[reason] == 0 {
			t.Errorf("seed %d, on_miss %s: no message is %s", c.Seed, onMiss, reason)
		}
	}
}

// Each shape of traffic that the join must get right is in the log.
func TestTrafficHasEveryShape(t *testing.T) {
	shapes := map[string]int{}
	c := testConfig(10_000)
	truthOf(t, c, func(v *Verdict) {
		for i := range v.Events {
			e := &v.Events[i]
			name := e.EventType + e.EventSubtype
			shapes[name]++
			if e.QueryID != "" {
				shapes[name+" with queryID"]++
			}
			if len(e.Filters) > 0 {
				shapes[name+" of filters"]++
			}
			with, without := 0, 0
			for _, d := range e.ObjectData {
				if d.QueryID != "" {
					with++
				} else {
					without++
				}
			}
			if with > 0 && without > 0 {
				shapes["purchase of both"]++
			}
			if e.Value != "" {
				shapes["value"]++
			}
		}
		if len(v.Events) > 1 && v.Events[0].EventSubtype == "purchase" {
			shapes["purchase split"]++
		}
	})
	for _, want := range []string{"view", "view of filters", "click", "click with queryID", "click of filters", "conversionaddToCart",
		"conversionaddToCart with queryID", "conversionpurchase", "purchase of both", "purchase split", "value"} {
		if shapes[want] < 5 {
			t.Errorf("seed %d: %d of %s: %v", c.Seed, shapes[want], want, shapes)
		}
	}
	if shapes["conversionpurchase with queryID"] > 0 {
		t.Error("a purchase has a queryID at event level")
	}
}

// An Insights event tells its message: no two messages have events of one user and time.
func TestEventsTellTheirMessage(t *testing.T) {
	c := testConfig(15_000)
	of := map[origin]uint64{}
	digests := map[insightsfake.Digest]uint64{}
	truthOf(t, c, func(v *Verdict) {
		for i := range v.Events {
			e := &v.Events[i]
			o := origin{e.UserToken, e.Timestamp}
			if other, taken := of[o]; taken && other != v.Seq {
				t.Fatalf("seed %d: messages %d and %d have events of one user and time", c.Seed, other, v.Seq)
			}
			of[o] = v.Seq
			if other, taken := digests[e.Digest()]; taken && other != v.Seq {
				t.Fatalf("seed %d: messages %d and %d have the same event", c.Seed, other, v.Seq)
			}
			digests[e.Digest()] = v.Seq
			if e.Timestamp > c.End.Add(10*time.Second).UnixMilli() {
				t.Fatalf("seed %d: message %d is %d ms after the end", c.Seed, v.Seq, e.Timestamp-c.End.UnixMilli())
			}
		}
	})
}

func TestLogIsOfTheAskedSizeTimeAndPlace(t *testing.T) {
	c := testConfig(5000)
	var last int64
	seen := map[int32]int{}
	forEach(t, c, func(m *Message) {
		if want := PartitionOf(m.Key, 4); m.Partition != want {
			t.Fatalf("key %s is in partition %d, want %d", m.Key, m.Partition, want)
		}
		seen[m.Partition]++
		last = max(last, m.Time)
		if m.Time < testEnd.Add(-11*time.Minute).UnixMilli() {
			t.Fatalf("message %d is of %v", m.Seq, time.UnixMilli(m.Time))
		}
	})
	if gap := testEnd.UnixMilli() - last; gap < -1000 || gap > 1000 {
		t.Errorf("the log ends %d ms before its end", gap)
	}
	if len(seen) != 4 {
		t.Errorf("partitions %v, want four", seen)
	}
}

func TestConfigurationThatCannotBeIsRefused(t *testing.T) {
	for _, c := range []Config{{Partitions: -1}, {Users: -1}, {UserSkew: 1}, {Poison: 2}, {Duration: time.Millisecond}, {Messages: 1_000_000, Duration: 10 * time.Minute}, {Messages: 1 << 32},
		{Mix: Mix{Clicked: 1}}} {
		if _, err := NewGenerator(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := NewTruthOf(Config{ShownTopic: "shown"}); err == nil {
		t.Error("a log of two topics has a truth")
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.ReportAllocs()
	c := testConfig(1 << 23)
	c.Users, c.Poison = 100_000, 0
	g, err := NewGenerator(c)
	if err != nil {
		b.Fatal(err)
	}
	var m Message
	for b.Loop() {
		g.Next(&m)
		b.SetBytes(int64(len(m.Value)))
	}
}

func BenchmarkGenerateWithTruth(b *testing.B) {
	b.ReportAllocs()
	c := testConfig(uint64(max(b.N, 1000)))
	c.Users, c.Poison = 100_000, 0
	b.ResetTimer()
	t := truthOf(b, c, nil)
	b.ReportMetric(float64(t.expected.len())/float64(c.Messages), "events/op")
}

func TestTwoSimulationsInOneTopicShareNoOrders(t *testing.T) {
	ids := map[string]int{}
	for n, c := range []Config{{Seed: 1, End: testEnd}, {Seed: 2, End: testEnd}, {Seed: 1, End: testEnd.Add(time.Second)}} {
		c.Messages = 2_000
		forEach(t, c, func(m *Message) {
			var order struct{ ID, OrderID string }
			if json.Unmarshal(m.Value, &order) != nil {
				return
			}
			for _, id := range []string{order.ID, order.OrderID} {
				if before, known := ids[id]; known && before != n {
					t.Errorf("%q is in simulations %d and %d", id, before, n)
				}
				if id != "" {
					ids[id] = n
				}
			}
		})
	}
	if len(ids) < 100 {
		t.Errorf("only %d ids", len(ids))
	}
}

func TestTrafficBeforeTheFirstTimestampThatIsAllowedIsRefused(t *testing.T) {
	c := testConfig(100)
	c.End, c.Duration = earliest.Add(time.Minute), time.Minute
	if _, err := NewGenerator(c); err != nil {
		t.Error(err)
	}
	c.Duration += time.Millisecond
	if _, err := NewGenerator(c); err == nil {
		t.Error("traffic that begins earlier is made")
	}
}
