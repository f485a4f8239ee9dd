package consume

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// State says what a Consumer does now.
type State string

// The states of a Consumer.
const (
	StateStarting   State = "starting"
	StateConnecting State = "connecting" // no broker answers
	StateNoTopics   State = "no-topics"  // none of the input topics exists
	StateJoining    State = "joining"
	StateConsuming  State = "consuming"
	StateDraining   State = "draining"
	StateStopped    State = "stopped"
)

// Status is a snapshot for /statusz and readiness.
type Status struct {
	State State
	Since time.Time
	// Ready: the group assigned partitions to this member, or it is a spare one, and nothing keeps it
	// from reading.
	Ready bool

	Generation int32
	Member     string
	ValidUntil time.Time
	Partitions []PartitionStatus

	BudgetUsed, BudgetTotal, BudgetPeak int64
	// Paused are the reasons given to [Consumer.Pause].
	Paused []string
	// MissingTopics are input topics that do not exist.
	MissingTopics []string

	// What fails, as what kind, since when; empty when nothing does.
	Failing     string
	FailingKind Kind
	Error       string
	ErrorSince  time.Time
}

// PartitionStatus is the state of one assigned partition.
type PartitionStatus struct {
	Topic     string
	Partition int32
	Leader    int32 // broker id, -1: none
	Start     int64 // where the generation started
	Committed int64 // -1: nothing yet
	Frontier  int64 // everything below is settled
	Next      int64 // the next offset to fetch
	End       int64 // the last known end
	// Lag is End − Frontier: what is not settled.
	Lag int64
	// LagSeconds is how far the oldest unsettled message lies before the partition's last one, by the
	// records' timestamps; 0 where nothing is unsettled, -1 where it is not known yet.
	LagSeconds float64
	// OldestTime is the timestamp of the oldest unsettled message; zero: none, or not known.
	OldestTime time.Time
	// Oldest is the oldest message that was fetched and is not settled, nil: there is none.
	Oldest      *OldestStatus `json:",omitempty"`
	QueuedBytes int64         // fetched and not yet popped
	HeldBytes   int64         // counted in the budget
	KeptBytes   int64         // of HeldBytes: of messages that waited, until they are settled
	// Waiting: it is not fetched, see [Partition.SetWaiting].
	Waiting bool
	AtEnd   bool
	Error   string
}

// OldestStatus is what holds up a partition's frontier.
type OldestStatus struct {
	Offset  int64
	Since   time.Time // it is the oldest since then
	Fetched time.Time
	// Why says what it waits for, as far as Config.Why knows.
	Why string `json:",omitempty"`
}

// Status gives a snapshot.
func (c *Consumer) Status() Status {
	c.mu.Lock()
	g := c.generation
	s := Status{State: c.state, Since: c.stateSince, Paused: slices.Clone(c.pauses), MissingTopics: slices.Clone(c.missing), BudgetTotal: c.cfg.Budget}
	c.mu.Unlock()
	what, t := c.condition.oldest()
	if t.err != nil {
		s.Failing, s.FailingKind, s.Error, s.ErrorSince = what, t.kind, t.err.Error(), t.since
	}
	s.Ready = s.State == StateConsuming && t.err == nil
	if g == nil {
		return s
	}
	s.Generation, s.Member, s.ValidUntil = g.ID, g.Member, g.ValidUntil()
	s.BudgetUsed, s.BudgetPeak = g.budget.Used(), g.budget.peak.Load()
	for _, p := range g.partitions {
		oldest, held := p.Oldest()
		ps := PartitionStatus{
			Topic: p.Topic, Partition: p.ID, Leader: p.leader.Load(), Start: p.start, Committed: p.committed.Load(),
			Frontier: p.Frontier(), Next: p.position.Load(), End: p.End(), QueuedBytes: p.queued.Load(), HeldBytes: p.held.Load(),
			KeptBytes: p.kept.Load(), Waiting: p.Waiting(), AtEnd: p.AtEnd(),
		}
		ps.Lag = max(0, ps.End-ps.Frontier)
		ps.setLagTimes(p.lagTimes(ps.Frontier, oldest, held))
		if held {
			ps.Oldest = &OldestStatus{Offset: oldest.Offset, Since: oldest.Since, Fetched: oldest.Fetched}
			if c.cfg.Why != nil {
				ps.Oldest.Why = c.cfg.Why(p, &oldest)
			}
		}
		if err := g.trouble(p); err != nil {
			ps.Error = err.Error()
		}
		s.Partitions = append(s.Partitions, ps)
	}
	failing := func(p PartitionStatus) bool { return p.Error != "" }
	if len(s.Partitions) > 0 && !slices.ContainsFunc(s.Partitions, func(p PartitionStatus) bool { return !failing(p) }) {
		s.Ready = false
	}
	return s
}

// setLagTimes takes the timestamps of the oldest unsettled message and of the last one.
func (s *PartitionStatus) setLagTimes(from, to int64) {
	if from > 0 {
		s.OldestTime = time.UnixMilli(from)
	}
	switch {
	case s.Lag == 0:
		s.LagSeconds = 0
	case from < 0 || to < 0:
		s.LagSeconds = -1
	default:
		s.LagSeconds = max(0, float64(to-from)/1000)
	}
}

func (g *Generation) trouble(p *Partition) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.troubles[p]
}

func (c *Consumer) setState(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != s {
		c.state, c.stateSince = s, time.Now()
	}
}

// Pause stops fetching for a reason; Resume takes the reason back. Fetching goes on when no reason is
// left. What was fetched stays queued.
func (c *Consumer) Pause(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.pauses, why) {
		c.pauses = append(c.pauses, why)
		c.log.Info("fetching paused", zap.String("why", why))
	}
	c.paused.Store(true)
}

// Resume takes back what [Consumer.Pause] said for the same reason.
func (c *Consumer) Resume(why string) {
	c.mu.Lock()
	g := c.generation
	if i := slices.Index(c.pauses, why); i >= 0 {
		c.pauses = slices.Delete(c.pauses, i, i+1)
		if len(c.pauses) == 0 {
			c.log.Info("fetching resumed", zap.String("was paused because", why))
		} else {
			c.log.Info("fetching stays paused", zap.String("no longer because", why), zap.Strings("why", c.pauses))
		}
	}
	c.paused.Store(len(c.pauses) > 0)
	c.mu.Unlock()
	if g != nil {
		g.leaders.pokeAll()
	}
}

// counters are the counts behind Stats.
type counters struct {
	fetches, fetchErrors, fetchedBytes, heldBytes    atomic.Int64
	messages, chunks, controlBatches, abortedRecords atomic.Int64
	resets, corruptBatches                           atomic.Int64
	commits, commitErrors, generations, budgetWaits  atomic.Int64

	mu   sync.Mutex
	lost map[string]int64 // messages by topic
}

// lose counts messages of a topic that retention removed.
func (n *counters) lose(topic string, messages int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost == nil {
		n.lost = make(map[string]int64)
	}
	n.lost[topic] += messages
}

func (n *counters) allLost() (sum int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, messages := range n.lost {
		sum += messages
	}
	return sum
}

// Lost is the number of offsets of each topic that retention removed before they were read.
func (c *Consumer) Lost() map[string]int64 {
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
	return maps.Clone(c.counters.lost)
}

// Stats are counts since the start, for metrics.
type Stats struct {
	Fetches, FetchErrors int64
	// FetchedBytes are record sets as they came; HeldBytes the buffers they became, decompressed.
	FetchedBytes, HeldBytes int64
	Messages, Chunks        int64
	// ControlBatches and AbortedRecords were dropped, as read_committed wants.
	ControlBatches, AbortedRecords int64
	// LostMessages is the number of offsets that retention removed before they were read.
	LostMessages int64
	// Resets counts offsets that lay beyond the end of their partition.
	Resets         int64
	CorruptBatches int64
	Commits        int64
	CommitErrors   int64
	Generations    int64
	// BudgetWaits counts partitions left out of a fetch because the budget had no room, or none for more
	// that waits.
	BudgetWaits int64
}

// Stats gives the counts.
func (c *Consumer) Stats() Stats {
	n := &c.counters
	return Stats{
		Fetches: n.fetches.Load(), FetchErrors: n.fetchErrors.Load(), FetchedBytes: n.fetchedBytes.Load(), HeldBytes: n.heldBytes.Load(),
		Messages: n.messages.Load(), Chunks: n.chunks.Load(), ControlBatches: n.controlBatches.Load(), AbortedRecords: n.abortedRecords.Load(),
		LostMessages: n.allLost(), Resets: n.resets.Load(), CorruptBatches: n.corruptBatches.Load(),
		Commits: n.commits.Load(), CommitErrors: n.commitErrors.Load(), Generations: n.generations.Load(), BudgetWaits: n.budgetWaits.Load(),
	}
}
