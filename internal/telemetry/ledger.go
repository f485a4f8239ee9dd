package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"eventworker/internal/event"
)

// Absorption says why a message was settled without an event of its own being sent.
type Absorption uint8

// The reasons of docs/contract.md, section 8.
const (
	Stored           Absorption = iota // its effects are in the store, and nothing was to be sent
	Duplicate                          // an equal message was delivered before
	Tombstone                          // it has no value
	Dropped                            // join.on_miss: drop
	SettledBefore                      // the last owner's commit says so
	OtherApplication                   // insights.only leaves it to another group
	NumAbsorptions                     // the number of reasons, not a reason
)

var absorptionNames = [NumAbsorptions]string{"stored", "duplicate", "tombstone", "dropped", "settled-before", "other-application"}

// String is the reason as metrics write it.
func (a Absorption) String() string { return absorptionNames[a] }

// Delta is what became of some messages. Whoever settles gathers one for each chunk or batch and
// hands it over at once.
//
// Messages is counted where a message is settled, the other fields where its fate is known: two
// places, so that the equation of [Ledger] can fail and show it when they disagree.
type Delta struct {
	Messages     int64
	Delivered    int64
	DeadLettered [event.NumReasons]int64
	Absorbed     [NumAbsorptions]int64
}

// Ledger holds the message equation (docs/contract.md, section 8):
//
//	received = delivered + dead-lettered + absorbed + released + in flight
//
// In flight is a counter of its own: up where messages are received, down where they are settled or
// released. One lock makes a snapshot one instant. A Ledger is safe for concurrent use.
type Ledger struct {
	mu sync.Mutex
	s  Snapshot
}

// Snapshot is the ledger at one instant.
type Snapshot struct {
	Received     int64
	Delivered    int64
	DeadLettered [event.NumReasons]int64
	Absorbed     [NumAbsorptions]int64
	// Released were given back unsettled at a generation's end; their next owner reads them again.
	Released int64
	InFlight int64
}

// Received counts messages that were fetched.
func (l *Ledger) Received(n int) {
	l.mu.Lock()
	l.s.Received += int64(n)
	l.s.InFlight += int64(n)
	l.mu.Unlock()
}

// Settle counts messages that were settled. It does not keep d.
func (l *Ledger) Settle(d *Delta) {
	l.mu.Lock()
	l.s.InFlight -= d.Messages
	l.s.Delivered += d.Delivered
	for i, n := range d.DeadLettered {
		l.s.DeadLettered[i] += n
	}
	for i, n := range d.Absorbed {
		l.s.Absorbed[i] += n
	}
	l.mu.Unlock()
}

// Released counts messages that a generation's end gave back unsettled.
func (l *Ledger) Released(n int) {
	l.mu.Lock()
	l.s.Released += int64(n)
	l.s.InFlight -= int64(n)
	l.mu.Unlock()
}

// Snapshot is all counters at one instant.
func (l *Ledger) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}

// TotalDeadLettered is the sum over the reasons.
func (s *Snapshot) TotalDeadLettered() int64 { return sum(s.DeadLettered[:]) }

// TotalAbsorbed is the sum over the reasons.
func (s *Snapshot) TotalAbsorbed() int64 { return sum(s.Absorbed[:]) }

// Settled is how many messages were settled, whatever became of them.
func (s *Snapshot) Settled() int64 { return s.Delivered + s.TotalDeadLettered() + s.TotalAbsorbed() }

// Gap is received less everything it should be: 0, or the worker lost or invented a message.
func (s *Snapshot) Gap() int64 { return s.Received - s.Settled() - s.Released - s.InFlight }

func sum(counts []int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// Describe implements prometheus.Collector.
func (l *Ledger) Describe(ch chan<- *prometheus.Desc) {
	for _, name := range ledgerMetrics {
		ch <- descs[name]
	}
}

// Collect implements prometheus.Collector: all from one snapshot.
func (l *Ledger) Collect(ch chan<- prometheus.Metric) {
	s := l.Snapshot()
	counter := func(name string, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(descs[name], prometheus.CounterValue, float64(n), labels...)
	}
	counter(MessagesReceived, s.Received)
	counter(MessagesDelivered, s.Delivered)
	for r := event.NoReason + 1; r < event.NumReasons; r++ {
		counter(MessagesDeadLettered, s.DeadLettered[r], r.String())
	}
	for a := range NumAbsorptions {
		counter(MessagesAbsorbed, s.Absorbed[a], a.String())
	}
	counter(MessagesReleased, s.Released)
	gauge := func(name string, n int64) {
		ch <- prometheus.MustNewConstMetric(descs[name], prometheus.GaugeValue, float64(n))
	}
	gauge(MessagesInFlight, s.InFlight)
	gauge(ConservationGap, s.Gap())
}
