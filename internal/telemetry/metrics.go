package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are all metrics of a worker in a registry of their own. Those that things count up are
// fields; those that are read at a scrape come from the functions given to Read. Resolve labels once
// (WithLabelValues), not per event.
type Metrics struct {
	Registry *prometheus.Registry
	Ledger   *Ledger

	// EventsDelivered has application and type: view, click, addToCart, purchase.
	EventsDelivered *prometheus.CounterVec
	// EventsRefused has application and outcome: rejected, too-large, expired, ambiguous.
	EventsRefused *prometheus.CounterVec
	// Batches has application and trigger: count, bytes, linger, drain.
	Batches     *prometheus.CounterVec
	BatchEvents *prometheus.HistogramVec
	BatchBytes  *prometheus.HistogramVec
	// Requests has application and the class of RequestClass.
	Requests        *prometheus.CounterVec
	RequestDuration *prometheus.HistogramVec
	Retries         *prometheus.CounterVec
	DeliveryLatency prometheus.Histogram
	EventLatency    prometheus.Histogram

	// MatchAge has by: impression, click.
	MatchAge *prometheus.HistogramVec

	// Commits has result: ok, failed, fenced (a later generation has the partitions).
	Commits        *prometheus.CounterVec
	CommitDuration prometheus.Histogram
	Generations    prometheus.Counter

	// DeadLetterWrites has reason.
	DeadLetterWrites   *prometheus.CounterVec
	DeadLetterFailures prometheus.Counter
	StoreSync          prometheus.Histogram
	LogSuppressed      prometheus.Counter

	readings *readings
}

// RequestClass is the class label of an answer's HTTP status; 0 means that there was none.
func RequestClass(status int) string {
	switch {
	case status == 0:
		return "none"
	case status == 400 || status == 413 || status == 422 || status == 429:
		return fmt.Sprint(status) // each means something of its own (docs/contract.md, section 4)
	case status >= 200 && status < 600:
		return fmt.Sprint(status/100) + "xx"
	}
	return "other"
}

// NewMetrics makes the metrics and registers them, with those of the process and of Go.
func NewMetrics() *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), Ledger: &Ledger{}, readings: &readings{}}
	m.EventsDelivered = counterVec(m, EventsDelivered)
	m.EventsRefused = counterVec(m, EventsRefused)
	m.Batches = counterVec(m, Batches)
	m.BatchEvents = histogramVec(m, BatchEvents)
	m.BatchBytes = histogramVec(m, BatchBytes)
	m.Requests = counterVec(m, Requests)
	m.RequestDuration = histogramVec(m, RequestDuration)
	m.Retries = counterVec(m, Retries)
	m.DeliveryLatency = histogram(m, DeliveryLatency)
	m.EventLatency = histogram(m, EventLatency)
	m.MatchAge = histogramVec(m, MatchAge)
	m.Commits = counterVec(m, Commits)
	m.CommitDuration = histogram(m, CommitDuration)
	m.Generations = counter(m, Generations)
	m.DeadLetterWrites = counterVec(m, DeadLetterWrites)
	m.DeadLetterFailures = counter(m, DeadLetterFailures)
	m.StoreSync = histogram(m, StoreSync)
	m.LogSuppressed = counter(m, LogSuppressed)
	m.Registry.MustRegister(m.Ledger, m.readings,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Emit gives one value of a metric that is read, with its labels in the order of the table. Values
// of one metric with the same labels add up, so that several tasks may emit the same one.
type Emit func(name string, value float64, labels ...string)

// Read adds a function that a scrape calls for values of metrics marked Read. It must be quick and
// safe for concurrent use. What it emits of a counter must never go down: the totals of tasks that
// ended belong to it.
func (m *Metrics) Read(read func(Emit)) { m.readings.add(read) }

// SetBuild emits the build's metric.
func (m *Metrics) SetBuild(version, commit, goVersion string) {
	m.Read(func(emit Emit) { emit(BuildInfo, 1, version, commit, goVersion) })
}

// SetHealth emits the metric of readiness.
func (m *Metrics) SetHealth(h *Health) {
	m.Read(func(emit Emit) {
		value := 0.0
		if ready, _ := h.Ready(); ready {
			value = 1
		}
		emit(Ready, value)
	})
}

// definition is that of a name in the table.
func definition(name string) (Definition, bool) {
	i := slices.IndexFunc(Definitions, func(d Definition) bool { return d.Name == name })
	if i < 0 {
		return Definition{}, false
	}
	return Definitions[i], true
}

func counterVec(m *Metrics, name string) *prometheus.CounterVec {
	d, _ := definition(name)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: d.Help}, d.Labels)
	m.Registry.MustRegister(v)
	return v
}

func counter(m *Metrics, name string) prometheus.Counter {
	d, _ := definition(name)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: d.Help})
	m.Registry.MustRegister(c)
	return c
}

// histogramOpts are those of the table, with a native histogram beside the classic one: buckets a tenth
// apart, at most 160 of them. Scrapers that ask for protobuf get both, the others the classic one.
func histogramOpts(name string) prometheus.HistogramOpts {
	d, _ := definition(name)
	return prometheus.HistogramOpts{
		Name: name, Help: d.Help, Buckets: d.Buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}
}

func histogramVec(m *Metrics, name string) *prometheus.HistogramVec {
	d, _ := definition(name)
	v := prometheus.NewHistogramVec(histogramOpts(name), d.Labels)
	m.Registry.MustRegister(v)
	return v
}

func histogram(m *Metrics, name string) prometheus.Histogram {
	h := prometheus.NewHistogram(histogramOpts(name))
	m.Registry.MustRegister(h)
	return h
}

// readings is the collector of the metrics that are read.
type readings struct {
	mu    sync.Mutex
	reads []func(Emit)
}

func (r *readings) add(read func(Emit)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, read)
}

// Describe implements prometheus.Collector.
func (r *readings) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range Definitions {
		if d.Read && !slices.Contains(ledgerMetrics, d.Name) {
			ch <- descs[d.Name]
		}
	}
}

// reading is one value with its labels.
type reading struct {
	definition Definition
	labels     []string
	value      float64
}

// Collect implements prometheus.Collector.
func (r *readings) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	reads := slices.Clone(r.reads)
	r.mu.Unlock()
	sums := map[string]*reading{}
	emit := func(name string, value float64, labels ...string) {
		d, known := definition(name)
		if !known || !d.Read || len(labels) != len(d.Labels) {
			err := fmt.Errorf("%s with %d labels is not in the table of metrics", name, len(labels))
			ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
			return
		}
		key := name + "\x00" + strings.Join(labels, "\x00")
		if s := sums[key]; s != nil {
			s.value += value
			return
		}
		sums[key] = &reading{d, slices.Clone(labels), value}
	}
	for _, read := range reads {
		read(emit)
	}
	for _, s := range sums {
		kind := prometheus.GaugeValue
		if s.definition.Kind == CounterKind {
			kind = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(descs[s.definition.Name], kind, s.value, s.labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(descs[s.definition.Name], err)
		}
		ch <- m
	}
}
