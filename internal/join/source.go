package join

import (
	"cmp"
	"math"
	"slices"

	"eventworker/internal/querystore"
)

// SourceConfig describes one partition of a task.
type SourceConfig struct {
	Topic string
	// Start is the offset that is read first in this generation.
	Start int64
	// Deliver is the offset from which messages are delivered; those below it are read for what they
	// leave in the store, which lacks it. At most Start where the store lacks nothing.
	Deliver int64
	// Settled says which messages at or beyond Deliver were settled by an owner before this one: they
	// too are read for what they leave only; nil: none.
	Settled func(offset int64) bool
	// Steps are what an earlier task knew of how far the source had come, see [Task.Steps].
	Steps []Step
	// Progress is the greatest event time of the records below the larger of Start and Deliver, 0 if it
	// is not known.
	Progress int64
	// Shown and Clicked say whether the topic may carry such messages.
	Shown, Clicked bool
	// Replay marks the replay topic. Nothing live comes through it, so no message waits for it, and
	// its times do not let history go.
	Replay bool
	// Expects says whether the partition is the one that the contract's partitioner gives a key; nil:
	// nobody asks.
	Expects func(key []byte) bool
}

// A source is one partition of the task.
type source struct {
	SourceConfig
	id       uint16
	next     int64 // what lies below was read
	progress int64 // greatest event time of the records read
	atEnd    bool
	applied  int64 // the section held the effects of all messages below this when the task began
	written  int64 // and none of a message at or beyond this
	noted    querystore.Coverage
	// steps are where the progress grew, for tasks of several live sources.
	steps []Step
	// waiting are the clicks that wait, in the order they were read: they will leave an effect. The
	// decided ones leave from the front.
	waiting []*mark
	// slots are the messages with ids that have no outcome yet, in the order they were read; the number
	// of the first is firstSlot.
	slots     []slot
	firstSlot int
}

// restores says whether the message at an offset is read for its effects only.
func (s *source) restores(offset int64) bool {
	return offset < s.Deliver || s.Settled != nil && s.Settled(offset)
}

// A slot is a message with an id that has no outcome yet: delivered, it leaves a mark.
type slot struct {
	offset int64
	done   bool
}

// open takes a slot for a message that was just read, and gives its number.
func (s *source) open(offset int64) int {
	s.slots = append(s.slots, slot{offset: offset})
	return s.firstSlot + len(s.slots) - 1
}

// shut says that the message of a slot has its outcome, and left its mark if it leaves one.
func (s *source) shut(number int) {
	s.slots[number-s.firstSlot].done = true
	for len(s.slots) > 0 && s.slots[0].done {
		s.slots = s.slots[1:]
		s.firstSlot++
	}
}

// covered is the offset below which every effect of the source is in the section.
func (s *source) covered() int64 {
	covered := s.stored()
	if len(s.slots) > 0 {
		covered = min(covered, s.slots[0].offset)
	}
	return covered
}

// stored is the offset below which impressions and remembered clicks are in the section.
func (s *source) stored() int64 {
	for len(s.waiting) > 0 && s.waiting[0].decided {
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
	if len(s.waiting) > 0 {
		return s.waiting[0].offset
	}
	return s.next
}

// sources are the partitions of a task, and what of the store's records they have read.
type sources struct {
	list []*source
	// bySection maps a section's source number to how far it was read; a source that the task does
	// not read any more is read to its end.
	bySection []int64
	names     []string
	// live counts the sources that messages wait for: all but the replay topic.
	live int
	// late: messages wait for something else than the log, and look back when they are decided.
	late bool
	// all: look-ups see whatever is in the store.
	all bool
}

func (s *sources) add(src *source) {
	for len(s.bySection) <= int(src.id) {
		s.bySection = append(s.bySection, math.MaxInt64)
		s.names = append(s.names, "")
	}
	s.list = append(s.list, src)
	if !src.Replay {
		s.live++
	}
	s.bySection[src.id] = src.Start
	s.names[src.id] = src.Topic
}

// advance notes that a record was read.
func (s *sources) advance(src *source, next int64) {
	src.next = next
	s.bySection[src.id] = next
}

// Step says that with the record before offset Next the progress of a source reached a time, in milliseconds.
type Step struct{ Progress, Next int64 }

// maxSteps bounds the steps of a source, 1 MiB. Of a message so late that they do not reach back to
// it a look-up sees what was read until the oldest of them.
const maxSteps = 1 << 16

// climb notes the progress of a source after a record. With one live source a look-up is made when
// the log is just there, and nothing is kept, unless copies wait for the outcome of their first: they are looked
// up when that comes.
func (s *sources) climb(src *source) {
	if src.Replay || s.all {
		return
	}
	if s.live == 1 && !s.late {
		src.steps = src.steps[:0]
		return
	}
	if n := len(src.steps); n > 0 && src.steps[n-1].Progress >= src.progress {
		return
	}
	if len(src.steps) == maxSteps {
		src.steps = append(src.steps[:0], src.steps[maxSteps/2:]...)
	}
	src.steps = append(src.steps, Step{src.progress, src.next})
}

// knows gives the source the steps that an earlier task knew, as far as they lie before its start.
func (s *source) knows(steps []Step) {
	for _, st := range steps {
		if st.Next <= s.Start {
			s.steps = append(s.steps, st)
			s.progress = max(s.progress, st.Progress)
		}
	}
}

// cut is the offset after the record with which the source reached a time; what was read if it has
// not.
func (s *source) cut(due int64) int64 {
	i, _ := slices.BinarySearchFunc(s.steps, due, func(st Step, due int64) int { return cmp.Compare(st.Progress, due) })
	if i == len(s.steps) {
		return s.next
	}
	return s.steps[i].Next
}

// limits says what of each source a look-up sees, for a message of own that had the progress seen
// when it was read: of its own source what was read when that had reached both the message and the
// due time, of others what was read when they had reached it. What came later in the log changes
// nothing, so neither the order in which partitions are read nor the moment of the look-up does.
func (s *sources) limits(into []int64, own *source, offset, seen, due int64) []int64 {
	if s.all {
		return into[:0] // what has no limit is seen
	}
	into = append(into[:0], s.bySection...)
	for _, src := range s.list {
		switch {
		case src.Replay && src != own:
		case src == own && seen >= due:
			into[src.id] = offset + 1
		case src == own:
			into[src.id] = max(src.cut(due), offset+1)
		default:
			into[src.id] = src.cut(due)
		}
	}
	return into
}

// after orders places of different records by (topic, offset); the partition is the task's.
func (s *sources) after(a, b querystore.Place) bool {
	if a.Source == b.Source {
		return a.Offset > b.Offset
	}
	return s.name(a.Source) > s.name(b.Source)
}

func (s *sources) name(id uint16) string {
	if int(id) < len(s.names) {
		return s.names[id]
	}
	return ""
}
