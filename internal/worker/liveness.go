package worker

import (
	"fmt"
	"sync"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
)

// partitionState says how a partition does, in the words of Burrow.
type partitionState string

// The states of a partition.
const (
	partitionOK   partitionState = "ok"
	partitionWarn partitionState = "warn" // behind by more than behindWarn, or what the store lacks is read again
	// partitionStop: there is something to do, a known reason not to do it, and nothing moved for stopShown.
	partitionStop partitionState = "stop"
	// partitionStall: there is something to do, nothing is known to keep the worker from it, and nothing moves.
	partitionStall partitionState = "stall"
	// partitionRewind: its frontier went back in the last rewindShown: somebody reset the group, or made
	// the topic anew.
	partitionRewind partitionState = "rewind"
)

var partitionStates = []partitionState{partitionOK, partitionWarn, partitionStop, partitionStall, partitionRewind}

const (
	behindWarn  = time.Minute
	stopShown   = 15 * time.Second
	stallShown  = time.Minute
	rewindShown = 10 * time.Minute
	// looksApart is the longest time between two looks that is believed: after a longer one the process
	// itself did not run, and every clock begins anew.
	looksApart = 10 * time.Second
)

// motion is what changes while a partition gets anywhere: it is fetched, messages of it are settled (the
// bytes that it holds change, too), what it lacks is read again.
type motion struct{ frontier, next, held, restoring int64 }

// seenPartition is what a look remembers of a partition.
type seenPartition struct {
	motion  motion
	moved   time.Time
	rewound time.Time // zero: never
	look    uint64
}

type partitionKey struct {
	topic string
	id    int32
}

// seenTask is what a look remembers of the partitions of one number: a message of one may have to wait
// for another one of them, so they stand still together or not at all.
type seenTask struct {
	moved time.Time
	look  uint64
}

// liveness watches whether the partitions get anywhere. It is safe for concurrent use.
type liveness struct {
	mu         sync.Mutex
	looks      uint64
	at         time.Time // of the last look
	partitions map[partitionKey]*seenPartition
	tasks      map[int32]*seenTask
	stalled    []string // for people; empty: alive
	states     []partitionView
}

// partitionView is a partition with what the looks tell of it.
type partitionView struct {
	consume.PartitionStatus
	State partitionState
	// Why says more where the state is not ok.
	Why string
	// Restoring is how many messages of it are still to be read again.
	Restoring int64
}

// watched is what one look sees.
type watched struct {
	partitions []consume.PartitionStatus
	restoring  func(p *consume.PartitionStatus) int64
	// excuse says why a partition cannot move now; empty: it could.
	excuse func(p *consume.PartitionStatus) string
	// limit is how long a task may stand still while it could move.
	limit time.Duration
}

// look compares the partitions with the last look.
func (l *liveness) look(now time.Time, w watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.partitions == nil {
		l.partitions, l.tasks = make(map[partitionKey]*seenPartition), make(map[int32]*seenTask)
	}
	asleep := !l.at.IsZero() && now.Sub(l.at) > looksApart
	l.looks++
	l.at = now
	stuck := make(map[int32]*consume.PartitionStatus) // tasks with something to do; the partition that has it
	l.states = make([]partitionView, 0, len(w.partitions))
	for i := range w.partitions {
		p := &w.partitions[i]
		view := partitionView{PartitionStatus: *p, Restoring: w.restoring(p)}
		seen := l.see(now, &view, asleep)
		excuse := w.excuse(p)
		busy := p.Oldest != nil || p.QueuedBytes > 0
		task := l.task(now, p.Partition)
		if excuse != "" || seen.moved.Equal(now) {
			task.moved = now
		}
		if busy && stuck[p.Partition] == nil {
			stuck[p.Partition] = p
		}
		view.judge(now, seen, excuse, busy)
		l.states = append(l.states, view)
	}
	l.forget()
	l.stalled = nil
	for number, task := range l.tasks {
		p := stuck[number]
		if p == nil {
			task.moved = now
			continue
		}
		if still := now.Sub(task.moved); still > w.limit {
			l.stalled = append(l.stalled, fmt.Sprintf("%s/%d has not moved for %v, and nothing is known to keep it: %s",
				p.Topic, p.Partition, still.Round(time.Second), oldestWhy(p)))
		}
	}
}

func oldestWhy(p *consume.PartitionStatus) string {
	if p.Oldest == nil {
		return "what was fetched is not read"
	}
	return fmt.Sprintf("the message at %d waits for: %s", p.Oldest.Offset, p.Oldest.Why)
}

// see notes where a partition is.
func (l *liveness) see(now time.Time, p *partitionView, asleep bool) *seenPartition {
	key := partitionKey{p.Topic, p.Partition}
	is := motion{p.Frontier, p.Next, p.HeldBytes, p.Restoring}
	s := l.partitions[key]
	if s == nil {
		s = &seenPartition{motion: is, moved: now}
		l.partitions[key] = s
	}
	if is.frontier < s.motion.frontier {
		s.rewound = now
	}
	if is != s.motion || asleep {
		s.motion, s.moved = is, now
	}
	s.look = l.looks
	return s
}

func (l *liveness) task(now time.Time, number int32) *seenTask {
	t := l.tasks[number]
	if t == nil {
		t = &seenTask{moved: now}
		l.tasks[number] = t
	}
	t.look = l.looks
	return t
}

// forget lets partitions go that are not ours any more. What is remembered is bounded by the topics'
// partitions.
func (l *liveness) forget() {
	for key, s := range l.partitions {
		if s.look != l.looks {
			delete(l.partitions, key)
		}
	}
	for number, t := range l.tasks {
		if t.look != l.looks {
			delete(l.tasks, number)
		}
	}
}

// judge gives the partition its state.
func (p *partitionView) judge(now time.Time, s *seenPartition, excuse string, busy bool) {
	behind := time.Duration(p.LagSeconds * float64(time.Second))
	switch {
	case !s.rewound.IsZero() && now.Sub(s.rewound) < rewindShown:
		p.State, p.Why = partitionRewind, "its offset went back at "+s.rewound.UTC().Format(time.TimeOnly)+" UTC: the group was reset, or the topic made anew"
	case excuse != "" && (busy || p.Lag > 0) && now.Sub(s.moved) >= stopShown:
		p.State, p.Why = partitionStop, excuse
	case busy && now.Sub(s.moved) > stallShown:
		p.State, p.Why = partitionStall, oldestWhy(&p.PartitionStatus)
	case p.Restoring > 0:
		p.State, p.Why = partitionWarn, fmt.Sprintf("%d messages are read again for what they leave in the store", p.Restoring)
	case behind > behindWarn:
		p.State, p.Why = partitionWarn, "behind by "+telemetry.ShortDuration(behind)
		if p.Waiting {
			p.Why += "; " + stoppedWhy
		}
	default:
		p.State = partitionOK
	}
}

// alive says whether all is well, and what is not. A worker that has not looked for long is not alive:
// the goroutine that looks stands still itself.
func (l *liveness) alive(now time.Time, limit time.Duration) (ok bool, why []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && now.Sub(l.at) > limit {
		return false, []string{fmt.Sprintf("the worker has not looked after its partitions for %v", now.Sub(l.at).Round(time.Second))}
	}
	return len(l.stalled) == 0, l.stalled
}

// views are the partitions as of the last look.
func (l *liveness) views() []partitionView {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states
}

// counts is how many partitions are in each state.
func (l *liveness) counts() map[partitionState]int {
	n := make(map[partitionState]int)
	for _, v := range l.views() {
		n[v.State]++
	}
	return n
}

// stallLimit is how long a task may stand still while it could move: admin.stall_after, and what the
// settings themselves let pass without any sign: a miss waits for join.wait, an event for its batch, a
// request for its answer, and a batch for its share of the rate.
func (w *Worker) stallLimit() time.Duration {
	c := w.config()
	limit := c.Admin.StallAfter + c.Join.Wait + c.Batch.Linger + c.Delivery.Timeout
	if rate := c.Delivery.MaxEventsPerSecond; rate > 0 {
		limit += time.Duration(c.Batch.MaxEvents) * time.Second / time.Duration(rate)
	}
	return limit
}

// lookAfter is the look of the goroutine that watches.
func (w *Worker) lookAfter(now time.Time, k *consume.Status) {
	w.live.look(now, watched{partitions: k.Partitions, restoring: w.restoringOf(), excuse: w.excuses(k), limit: w.stallLimit()})
}

// restoringOf tells how many messages of a partition are still to be read again.
func (w *Worker) restoringOf() func(p *consume.PartitionStatus) int64 {
	left := make(map[partitionKey]int64)
	if g := w.current.Load(); g != nil && !g.ended() {
		for _, r := range g.runners {
			for i, rr := range r.restores {
				if rr != nil {
					left[partitionKey{r.source.Partitions[i].Topic, r.source.Partitions[i].ID}] = max(0, rr.to-rr.next.Load())
				}
			}
		}
	}
	return func(p *consume.PartitionStatus) int64 { return left[partitionKey{p.Topic, p.Partition}] }
}

// excuses tells why a partition cannot move now. All of these are seen elsewhere, too: in readiness, on
// /statusz, in metrics. None of them would be better after a restart of the process.
func (w *Worker) excuses(k *consume.Status) func(p *consume.PartitionStatus) string {
	general := w.generalExcuse(k)
	troubled := make(map[int32]string)
	for i := range k.Partitions {
		if p := &k.Partitions[i]; p.Error != "" {
			troubled[p.Partition] = p.Topic + ": " + p.Error
		}
	}
	return func(p *consume.PartitionStatus) string {
		switch {
		case general != "":
			return general
		case troubled[p.Partition] != "":
			return troubled[p.Partition]
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := w.failing[p.Partition]; err != nil {
			return "the store refuses effects: " + err.Error()
		}
		return ""
	}
}

func (w *Worker) generalExcuse(k *consume.Status) string {
	switch {
	case k.State != consume.StateConsuming:
		return "the consumer is " + string(k.State)
	case k.Error != "":
		return k.Failing + ": " + k.Error
	case len(k.Paused) > 0:
		return "fetching is paused: " + k.Paused[0]
	}
	if ok, why := w.letters.Healthy(); !ok {
		return why
	}
	g := w.current.Load()
	if g == nil || g.ended() {
		return "no generation runs"
	}
	for i, d := range g.deliverers {
		if d == nil {
			continue
		}
		load := d.Load()
		if load.Events == 0 {
			continue
		}
		s := w.apps[i].Status()
		switch {
		case s.Paused:
			return "delivery to " + w.apps[i].Name() + " is paused by hand"
		case s.State != insights.StateOK:
			return "application " + w.apps[i].Name() + " is " + string(s.State) + ": " + s.Why
		case time.Since(s.Last.At) < w.stallLimit() && queuedByRate(load.Events, w.config()):
			return fmt.Sprintf("%d events of application %s go out at delivery.max_events_per_second", load.Events, w.apps[i].Name())
		}
	}
	return ""
}

// queuedByRate says whether more events wait than the rate lets through in admin.stall_after: those of one
// task may stand behind all those of the others.
func queuedByRate(events int, c *config.Config) bool {
	rate := c.Delivery.MaxEventsPerSecond
	return rate > 0 && float64(events) > float64(rate)*c.Admin.StallAfter.Seconds()
}
