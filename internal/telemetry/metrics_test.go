package telemetry

import (
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"

	"eventworker/internal/event"
)

// documented are the rows of docs/metrics.md: name, type, labels.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(eventworker_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*)\\|")
	var rows []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		labels := strings.NewReplacer("`", "", " ", "").Replace(m[3])
		rows = append(rows, m[1]+" "+m[2]+" "+labels)
	}
	return rows
}

func TestDocumentListsExactlyTheMetricsOfTheTableInItsOrder(t *testing.T) {
	var table []string
	for _, d := range Definitions {
		table = append(table, d.Name+" "+string(d.Kind)+" "+strings.Join(d.Labels, ","))
	}
	docs := documented(t)
	for _, row := range table {
		if !slices.Contains(docs, row) {
			t.Errorf("docs/metrics.md lacks %s", row)
		}
	}
	for _, row := range docs {
		if !slices.Contains(table, row) {
			t.Errorf("docs/metrics.md has %s, which is not in the table", row)
		}
	}
	if !t.Failed() && !slices.Equal(docs, table) {
		t.Error("docs/metrics.md and the table have different orders, or the document repeats a metric")
	}
}

func TestDefinitionsKeepPrometheusNaming(t *testing.T) {
	for _, d := range Definitions {
		if (d.Kind == CounterKind) != strings.HasSuffix(d.Name, "_total") {
			t.Errorf("%s: counters, and only they, end in _total", d.Name)
		}
		if !strings.HasPrefix(d.Name, "eventworker_") || !strings.HasSuffix(d.Help, ".") {
			t.Errorf("%s: want the prefix eventworker_ and a help text that is a sentence", d.Name)
		}
		if (d.Kind == HistogramKind) != (d.Buckets != nil) || !slices.IsSorted(d.Buckets) {
			t.Errorf("%s: histograms, and only they, have bounds, in order", d.Name)
		}
	}
}

// emitAll gives every metric that is read one value.
func emitAll(emit Emit) {
	for _, d := range Definitions {
		if d.Read && !slices.Contains(ledgerMetrics, d.Name) {
			emit(d.Name, 1, slices.Repeat([]string{"x"}, len(d.Labels))...)
		}
	}
}

// countAll gives every metric that is counted one value.
func countAll(m *Metrics) {
	m.EventsDelivered.WithLabelValues("x", "view").Inc()
	m.EventsRefused.WithLabelValues("x", "rejected").Inc()
	m.Batches.WithLabelValues("x", "count").Inc()
	m.BatchEvents.WithLabelValues("x").Observe(1)
	m.BatchBytes.WithLabelValues("x").Observe(1)
	m.Requests.WithLabelValues("x", RequestClass(200)).Inc()
	m.RequestDuration.WithLabelValues("x").Observe(1)
	m.Retries.WithLabelValues("x").Inc()
	m.DeliveryLatency.Observe(1)
	m.EventLatency.Observe(1)
	m.MatchAge.WithLabelValues("click").Observe(1)
	m.Commits.WithLabelValues("ok").Inc()
	m.CommitDuration.Observe(1)
	m.Generations.Inc()
	m.DeadLetterWrites.WithLabelValues("invalid").Inc()
	m.DeadLetterFailures.Inc()
	m.StoreSync.Observe(1)
	m.LogSuppressed.Inc()
}

func gather(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

func TestScrapeGivesEveryMetricOfTheTable(t *testing.T) {
	m := NewMetrics()
	countAll(m)
	m.Read(emitAll)
	families := gather(t, m)
	for _, d := range Definitions {
		f := families[d.Name]
		if f == nil {
			t.Errorf("%s is missing", d.Name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != string(d.Kind) {
			t.Errorf("%s is a %s, want %s", d.Name, got, d.Kind)
		}
		if f.GetHelp() != d.Help {
			t.Errorf("%s: help %q, want %q", d.Name, f.GetHelp(), d.Help)
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := slices.Sorted(slices.Values(d.Labels))
		if !slices.Equal(labels, want) {
			t.Errorf("%s has labels %v, want %v", d.Name, labels, want)
		}
	}
	for name := range families {
		if _, known := definition(name); !known && strings.HasPrefix(name, "eventworker_") {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func TestReadValuesOfSeveralTasksAddUp(t *testing.T) {
	m := NewMetrics()
	m.Read(func(emit Emit) { emit(Lookups, 2, "own"); emit(Lookups, 1, "plain") })
	m.Read(func(emit Emit) { emit(Lookups, 3, "own") })
	got := map[string]float64{}
	for _, metric := range gather(t, m)[Lookups].GetMetric() {
		got[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
	}
	if got["own"] != 5 || got["plain"] != 1 || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestReadValueOutsideTheTableFailsTheScrapeVisibly(t *testing.T) {
	for _, emitted := range []struct {
		name   string
		labels []string
	}{{"eventworker_unheard_of", nil}, {Lookups, nil}, {Requests, []string{"x", "2xx"}}} {
		m := NewMetrics()
		m.Read(func(emit Emit) { emit(emitted.name, 1, emitted.labels...) })
		if _, err := m.Registry.Gather(); err == nil {
			t.Errorf("%v was taken", emitted)
		}
	}
}

func TestHealthAndBuildAreMetrics(t *testing.T) {
	m, h := NewMetrics(), NewHealth("store")
	m.SetHealth(h)
	m.SetBuild("v1", "abc", "go1.26")
	if v := gather(t, m)[Ready].GetMetric()[0].GetGauge().GetValue(); v != 0 {
		t.Errorf("ready = %v before anything was said", v)
	}
	h.Set("store", true, "")
	families := gather(t, m)
	if v := families[Ready].GetMetric()[0].GetGauge().GetValue(); v != 1 {
		t.Errorf("ready = %v", v)
	}
	if families[BuildInfo] == nil {
		t.Error("no build info")
	}
}

func TestRequestClassNamesTheAnswersThatMeanSomething(t *testing.T) {
	for status, want := range map[int]string{0: "none", 200: "2xx", 202: "2xx", 302: "3xx", 400: "400", 401: "4xx", 413: "413", 422: "422", 429: "429", 503: "5xx", 999: "other"} {
		if got := RequestClass(status); got != want {
			t.Errorf("RequestClass(%d) = %q, want %q", status, got, want)
		}
	}
}

// Whatever happens in whatever order, the equation holds as long as each message is counted once.
func TestEquationHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Ledger
		open := int64(0)
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				n := rapid.IntRange(0, 1000).Draw(t, "received")
				l.Received(n)
				open += int64(n)
			case 1:
				d := &Delta{}
				for range min(open, rapid.Int64Range(0, 10).Draw(t, "settled")) {
					d.Messages++
					switch fate := rapid.IntRange(0, 2).Draw(t, "fate"); fate {
					case 0:
						d.Delivered++
					case 1:
						d.DeadLettered[rapid.IntRange(1, int(event.NumReasons)-1).Draw(t, "reason")]++
					default:
						d.Absorbed[rapid.IntRange(0, int(NumAbsorptions)-1).Draw(t, "reason")]++
					}
				}
				l.Settle(d)
				open -= d.Messages
			default:
				n := min(open, rapid.Int64Range(0, 10).Draw(t, "released"))
				l.Released(int(n))
				open -= n
			}
			s := l.Snapshot()
			if s.Gap() != 0 || s.InFlight != open {
				t.Fatalf("gap %d, in flight %d, want 0 and %d: %+v", s.Gap(), s.InFlight, open, s)
			}
		}
	})
}

func TestEquationFailsWhereAMessageIsCountedTwiceOrNotAtAll(t *testing.T) {
	for name, d := range map[string]Delta{
		"settled without a fate":  {Messages: 1},
		"a fate without a settle": {Delivered: 1},
		"two fates":               {Messages: 1, Delivered: 1, Absorbed: [NumAbsorptions]int64{1}},
	} {
		var l Ledger
		l.Received(1)
		l.Settle(&d)
		if s := l.Snapshot(); s.Gap() == 0 {
			t.Errorf("%s: the gap is 0", name)
		}
	}
}

func TestScrapeShowsTheLedgerAtOneInstant(t *testing.T) {
	m := NewMetrics()
	var settling sync.WaitGroup
	stop := make(chan struct{})
	settling.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				m.Ledger.Received(3)
				m.Ledger.Settle(&Delta{Messages: 1, Delivered: 1})
				m.Ledger.Released(1)
				m.Ledger.Settle(&Delta{Messages: 1, Absorbed: [NumAbsorptions]int64{Duplicate: 1}})
			}
		}
	})
	for range 50 {
		families := gather(t, m)
		total := func(name string) (sum float64) {
			for _, metric := range families[name].GetMetric() {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
			return sum
		}
		gap := total(MessagesReceived) - total(MessagesDelivered) - total(MessagesDeadLettered) - total(MessagesAbsorbed) -
			total(MessagesReleased) - total(MessagesInFlight)
		if gap != 0 || total(ConservationGap) != 0 {
			t.Fatalf("the scrape does not add up: %v", gap)
		}
	}
	close(stop)
	settling.Wait()
}

func TestLedgerNamesEveryReason(t *testing.T) {
	m := NewMetrics()
	families := gather(t, m)
	if n := len(families[MessagesDeadLettered].GetMetric()); n != int(event.NumReasons)-1 {
		t.Errorf("%d reasons of dead letters, want %d", n, event.NumReasons-1)
	}
	for a := range NumAbsorptions {
		if a.String() == "" {
			t.Errorf("absorption %d has no name", a)
		}
	}
}

func TestBucketsHoldWhatTheSettingsAllow(t *testing.T) {
	d, _ := definition(BatchEvents)
	if last := d.Buckets[len(d.Buckets)-1]; last != 1000 || math.IsInf(last, 1) {
		t.Errorf("a full batch of 1,000 is not the last bound but %v", last)
	}
}

func TestHistogramsAreNativeAndClassic(t *testing.T) {
	m := NewMetrics()
	countAll(m)
	families := gather(t, m)
	for _, d := range Definitions {
		if d.Kind != HistogramKind {
			continue
		}
		h := families[d.Name].GetMetric()[0].GetHistogram()
		if h.Schema == nil || len(h.GetPositiveSpan()) == 0 {
			t.Errorf("%s has no native histogram", d.Name)
		}
		if len(h.GetBucket()) != len(d.Buckets) {
			t.Errorf("%s has %d classic buckets, want %d", d.Name, len(h.GetBucket()), len(d.Buckets))
		}
	}
}

func BenchmarkLedgerSettle(b *testing.B) {
	var l Ledger
	d := &Delta{Messages: 1000, Delivered: 990, Absorbed: [NumAbsorptions]int64{Stored: 10}}
	b.ReportAllocs()
	for b.Loop() {
		l.Received(1000)
		l.Settle(d)
	}
}

var _ prometheus.Collector = (*Ledger)(nil)
