package dlq

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// WatchOptions say how to watch.
type WatchOptions struct {
	// MaxAge is delivery.max_event_age; 0: events do not grow too old.
	MaxAge time.Duration
	// MaxLetters is how many offsets of the dead-letter topic are looked at; 0: a million. Where the topic
	// holds more, the oldest of each partition are left out.
	MaxLetters int64
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

const (
	defaultWatched = 1_000_000
	// watchWhole is how long what was read is built on. Then everything is read anew, so that nothing that
	// went wrong unnoticed, such as a topic that was made anew, lasts.
	watchWhole = 24 * time.Hour
)

// Watch counts the letters of a dead-letter topic by what became of them. Its first look reads the topic and
// its states whole, each later one only what is new. It keeps 56 bytes for each letter, of at most
// [WatchOptions].MaxLetters, and about as much for each message in the state topic; no text but the ids of
// causes. It belongs to one goroutine.
type Watch struct {
	d *Desk
	o WatchOptions

	seed    maphash.Seed
	whole   time.Time // when it was begun anew
	letters map[int32]*watchedPartition
	causes  []watchedCause    // the first stands for all beyond maxCauses
	causeOf map[string]uint32 // indexes of causes
	states  map[uint64]watchedState
	plans   map[uint64]LastReplay
	stateAt map[int32]int64 // where to read the state topic on
}

// watchedPartition are the letters of a partition from floor on, up to next. The topic began at start when it was
// looked at last.
type watchedPartition struct {
	start, floor, next int64
	letters            []watchedLetter
}

// watchedLetter is what is kept of a letter. Times are milliseconds. Messages and replays are known by their
// hashes: that two of a million messages have the same one is less likely than one in ten million.
type watchedLetter struct {
	offset                 int64
	message, replay        uint64
	event, written, failed int64
	cause                  uint32
	reason                 uint8
	again                  bool // it had been replayed before
}

type watchedCause struct {
	id     string
	reason uint8
	first  int64 // when a message of it failed first
}

// watchedState is what is kept of a state.
type watchedState struct {
	replay          uint64
	at              int64
	status, outcome uint8 // indexes of LetterStates and replayOutcomes
}

// replayOutcomes are the ends of replayed messages; the last one is that there is none yet.
var replayOutcomes = []string{deadletter.OutcomeDelivered, deadletter.OutcomeDuplicate, deadletter.OutcomeAbsorbed, deadletter.OutcomeDead, ""}

// The indexes of LetterStates.
const (
	stateOpen = iota
	stateReplayed
	stateDiscarded
	stateParked
)

// NewWatch makes a watch of the desk's topic. It does not connect yet.
func NewWatch(d *Desk, o WatchOptions) *Watch {
	if o.MaxLetters <= 0 {
		o.MaxLetters = defaultWatched
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watch{d: d, o: o, seed: maphash.MakeSeed()}
	w.forget()
	return w
}

// forget begins anew.
func (w *Watch) forget() {
	w.whole = w.o.Now()
	w.letters, w.stateAt = map[int32]*watchedPartition{}, map[int32]int64{}
	w.causes, w.causeOf = []watchedCause{{first: math.MinInt64}}, map[string]uint32{}
	w.states, w.plans = map[uint64]watchedState{}, map[uint64]LastReplay{}
}

// Look reads what is new and counts. Where it fails, what was read is kept, and the next look goes on there.
func (w *Watch) Look(ctx context.Context) (*Watched, error) {
	began := time.Now()
	keeps, _, err := w.d.Retention(ctx)
	if err != nil {
		return nil, err
	}
	bounds, err := w.d.Bounds(ctx, w.d.Topics.DeadLetter)
	if err != nil {
		return nil, err
	}
	if w.o.Now().Sub(w.whole) >= watchWhole || w.madeAnew(bounds) {
		w.forget()
	}
	s, leftOut := w.ahead(bounds)
	if _, err := w.d.Scan(ctx, s, new(Filter), ScanOptions{}, w.take); err != nil {
		return nil, err
	}
	for _, b := range bounds {
		w.letters[b.Partition].next = max(b.End, w.letters[b.Partition].next)
	}
	// The states after the letters: what a letter of the scan came of is noted by then, but for the moment
	// that the worker takes to note it.
	if err := w.readStates(ctx); err != nil {
		return nil, err
	}
	found := w.count(keeps)
	found.LeftOut, found.Took = leftOut, time.Since(began)
	return found, nil
}

// madeAnew says whether the topic cannot be the one that was read: it ends before what was read of it, begins earlier
// than it did, or lacks a partition.
func (w *Watch) madeAnew(bounds []consume.LogBounds) bool {
	known := 0
	for _, b := range bounds {
		p := w.letters[b.Partition]
		switch {
		case p == nil:
			continue
		case p.next > b.End || p.start > b.Start:
			return true
		}
		known++
	}
	return known < len(w.letters)
}

// ahead drops the letters that the topic has dropped, or that are too many, and gives what is to be read, and
// how many offsets are left out.
func (w *Watch) ahead(bounds []consume.LogBounds) (s Snapshot, leftOut int64) {
	total := int64(0)
	for _, b := range bounds {
		total += b.End - b.Start
	}
	s = Snapshot{Topic: w.d.Topics.DeadLetter, Partitions: len(bounds), At: w.o.Now()}
	for _, b := range bounds {
		floor := b.Start
		if total > w.o.MaxLetters {
			floor = b.End - int64(float64(b.End-b.Start)*float64(w.o.MaxLetters)/float64(total))
		}
		p := w.letters[b.Partition]
		if p == nil {
			p = new(watchedPartition)
			w.letters[b.Partition] = p
		}
		p.start, p.floor = b.Start, max(floor, p.floor)
		leftOut += p.floor - b.Start
		p.next = max(p.next, p.floor)
		n, _ := slices.BinarySearchFunc(p.letters, p.floor, func(l watchedLetter, floor int64) int { return int(l.offset - floor) })
		p.letters = slices.Delete(p.letters, 0, n)
		if p.next < b.End {
			p.letters = slices.Grow(p.letters, int(b.End-p.next))
			s.Ranges = append(s.Ranges, Range{b.Partition, p.next, b.End})
		}
	}
	return s, leftOut
}

// take keeps a letter in mind.
func (w *Watch) take(l *Letter) error {
	p := w.letters[l.Partition]
	reason := reasonIndex(l)
	one := watchedLetter{
		offset: l.Offset, message: w.message(l.Source()), replay: w.replay(l.ReplayID()), event: l.EventTime(), written: withinYears(l.Time.UnixMilli()),
		failed: withinYears(l.failedMillis()), reason: reason, again: l.ReplayCount() > 0,
	}
	one.cause = w.cause(l.raw[slotCause], reason, one.failed)
	p.letters = append(p.letters, one)
	p.next = l.Offset + 1
	return nil
}

// withinYears holds a time, in milliseconds, to the years 0 to 9999, which JSON has. A record may have any other.
func withinYears(ms int64) int64 { return min(max(ms, firstYear), lastYear) }

var (
	firstYear = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastYear  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
)

func (w *Watch) message(c Coordinates) uint64 {
	return maphash.String(w.seed, deadletter.StateKey(c.Topic, c.Partition, c.Offset))
}

// replay is the hash of a replay's id; 0 is that of none.
func (w *Watch) replay(id string) uint64 {
	if id == "" {
		return 0
	}
	return maphash.String(w.seed, id) | 1
}

// reasonIndex is the place of the letter's reason in [Reasons]; behind them: a reason that is not known.
func reasonIndex(l *Letter) uint8 { return uint8((int(l.Reason()) + numReasons - 1) % numReasons) }

var numReasons = len(Reasons()) + 1

// cause is the index of a cause. A letter of it failed at a time.
func (w *Watch) cause(id []byte, reason uint8, failed int64) uint32 {
	i, known := w.causeOf[string(id)]
	switch {
	case known:
		w.causes[i].first = min(w.causes[i].first, failed)
		return i
	case len(w.causes) > maxCauses:
		return 0
	}
	i = uint32(len(w.causes))
	w.causeOf[string(id)] = i
	w.causes = append(w.causes, watchedCause{string(id), reason, failed})
	return i
}

// readStates reads on what became of messages. A topic that does not exist holds nothing.
func (w *Watch) readStates(ctx context.Context) error {
	bounds, err := w.d.Bounds(ctx, w.d.Topics.State)
	if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return err
	}
	known := 0
	anew := slices.ContainsFunc(bounds, func(b consume.LogBounds) bool {
		at, read := w.stateAt[b.Partition]
		if read {
			known++
		}
		return b.End < at
	})
	if anew || known < len(w.stateAt) { // or it is gone, or lacks a partition
		w.states, w.plans, w.stateAt = map[uint64]watchedState{}, map[uint64]LastReplay{}, map[int32]int64{}
	}
	return w.d.readTo(ctx, w.d.Topics.State, bounds, w.stateAt, w.note)
}

// note takes a record of the state topic. What cannot be read is passed over, as by [Desk.States].
func (w *Watch) note(r *consume.Record) {
	if id, ok := strings.CutPrefix(string(r.Key), planKey); ok {
		w.notePlan(id, r.Value)
		return
	}
	topic, partition, offset, err := deadletter.ParseStateKey(string(r.Key))
	if err != nil {
		return
	}
	message := w.message(Coordinates{topic, partition, offset})
	if r.Value == nil {
		delete(w.states, message)
		return
	}
	s, err := deadletter.ParseState(r.Value)
	if err != nil {
		return
	}
	w.states[message] = watchedState{replay: w.replay(s.ReplayID), at: s.At.UnixMilli(),
		status: uint8(slices.Index(LetterStates, s.Status)), outcome: uint8(slices.Index(replayOutcomes, s.Outcome))}
}

// state is what became of a letter, an index of LetterStates, by the rules of [StateOf] and [Desk.ByState].
func (w *Watch) state(l *watchedLetter) uint8 {
	s, noted := w.states[l.message]
	switch {
	case !noted:
		return stateOpen
	case s.replay != l.replay && s.status != stateDiscarded:
		return stateReplayed // there is a later letter of the message, or it was delivered
	case s.status == stateReplayed && l.replay != 0 && s.replay == l.replay:
		return stateOpen // this letter is what came of the replay
	}
	return s.status
}
