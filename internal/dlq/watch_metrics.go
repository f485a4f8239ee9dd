package dlq

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"eventworker/internal/telemetry"
)

// The names of the metrics of a [Watch]. Labels have only the values that [WatchMetrics.Collect] writes out.
const (
	metricLetters        = "eventworker_dead_letters"
	metricOpen           = "eventworker_dead_letters_open"
	metricExpiring       = "eventworker_dead_letters_expiring"
	metricUnreplayable   = "eventworker_dead_letters_unreplayable"
	metricReturned       = "eventworker_dead_letters_returned"
	metricParkedLately   = "eventworker_dead_letters_parked_last_hour"
	metricCauses         = "eventworker_dead_letter_causes"
	metricNewCauses      = "eventworker_dead_letter_new_causes"
	metricNewLargest     = "eventworker_dead_letter_new_cause_letters"
	metricReturnedCauses = "eventworker_dead_letter_returned_causes"
	metricReplays        = "eventworker_replayed_messages"
	metricLastPlanned    = "eventworker_last_replay_planned_messages"
	metricLast           = "eventworker_last_replay_messages"
	metricSuccessful     = "eventworker_dead_letter_scan_successful"
	metricTime           = "eventworker_dead_letter_scan_timestamp_seconds"
	metricDuration       = "eventworker_dead_letter_scan_duration_seconds"
	metricLeftOut        = "eventworker_dead_letter_scan_left_out_letters"
)

// WatchDefinitions is the table of the metrics of a [Watch], in the order of docs/metrics.md. All are gauges,
// as all are read from topics that others write, and forget.
var WatchDefinitions = []telemetry.Definition{
	watched(metricLetters, "Dead letters in the topic, by what became of them.", "state"),
	watched(metricOpen, "Open dead letters by reason.", "reason"),
	watched(metricExpiring, "Open dead letters that can be replayed for less than this time.", "within"),
	watched(metricUnreplayable, "Open dead letters that can no longer be replayed."),
	watched(metricReturned, "Open dead letters of messages that were replayed: they are dead again."),
	watched(metricParkedLately, "Messages that were parked in the last hour, as they had been replayed as often as they may be."),
	watched(metricCauses, "Causes of open dead letters."),
	watched(metricNewCauses, "Causes without a dead letter that is older than an hour."),
	watched(metricNewLargest, "Dead letters of the last 15 minutes of the new cause that has most of them."),
	watched(metricReturnedCauses, "Causes for which messages that were replayed have become open dead letters in the last hour."),
	watched(metricReplays, "Messages that were replayed, by their last outcome.", "outcome"),
	watched(metricLastPlanned, "Messages of the newest replay's plan."),
	watched(metricLast, "Messages of the newest replay that were written, by outcome.", "outcome"),
	watched(metricSuccessful, "1 if the last scan of the dead letters worked."),
	watched(metricTime, "Up to when dead letters have been read, as a Unix time."),
	watched(metricDuration, "Time of the last scan that worked."),
	watched(metricLeftOut, "Oldest offsets of the dead-letter topic that are left out, since there are too many."),
}

func watched(name, help string, labels ...string) telemetry.Definition {
	return telemetry.Definition{Name: name, Kind: telemetry.GaugeKind, Help: help, Labels: labels, Read: true}
}

// WatchMetrics shows Prometheus what a watch found last. Before anything was found it shows only that the
// scan has not worked. It is safe for concurrent use.
type WatchMetrics struct {
	descs map[string]*prometheus.Desc

	mu    sync.Mutex
	found *Watched
	ok    bool
}

// NewWatchMetrics makes a collector that has found nothing yet.
func NewWatchMetrics() *WatchMetrics {
	m := &WatchMetrics{descs: map[string]*prometheus.Desc{}}
	for _, d := range WatchDefinitions {
		m.descs[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	return m
}

// Found takes what a look found; nil: it failed, and what was found before stays.
func (m *WatchMetrics) Found(n *Watched) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ok = n != nil; m.ok {
		m.found = n
	}
}

// Last is what was found last; nil: nothing yet.
func (m *WatchMetrics) Last() *Watched {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found
}

// Describe implements prometheus.Collector.
func (m *WatchMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *WatchMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	n, ok := m.found, m.ok
	m.mu.Unlock()
	emit := func(name string, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.descs[name], prometheus.GaugeValue, value, labels...)
	}
	count := func(name string, value int64, labels ...string) { emit(name, float64(value), labels...) }
	if !ok {
		count(metricSuccessful, 0)
	} else {
		count(metricSuccessful, 1)
	}
	if n == nil {
		return
	}
	for i, value := range []int64{n.Open, n.Replayed, n.Discarded, n.Parked} {
		count(metricLetters, value, LetterStates[i])
	}
	for reason, value := range n.OpenByReason {
		count(metricOpen, value, reason)
	}
	count(metricExpiring, n.Within4h, "4h")
	count(metricExpiring, n.Within24h, "24h")
	count(metricUnreplayable, n.Unreplayable)
	count(metricReturned, n.Returned)
	count(metricParkedLately, n.ParkedLately)
	count(metricCauses, n.Causes)
	count(metricNewCauses, n.NewCauses)
	count(metricNewLargest, n.NewLargest)
	count(metricReturnedCauses, n.ReturnedCauses)
	count(metricLastPlanned, n.Last.Planned)
	for name, o := range map[string]ReplayOutcomes{metricReplays: n.Replays, metricLast: n.Last.ReplayOutcomes} {
		for outcome, value := range map[string]int64{"delivered": o.Delivered, "duplicate": o.Duplicate, "absorbed": o.Absorbed, "dead": o.Dead, "open": o.Open} {
			count(name, value, outcome)
		}
	}
	emit(metricTime, float64(n.At.UnixMilli())/1000)
	emit(metricDuration, n.Took.Seconds())
	count(metricLeftOut, n.LeftOut)
}
