package join

import (
	"math"

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
	// Progress is the greatest event time of the records below the larger of Start and Deliver, 0 if it
	// is not known.
	Progress int64
	// Shown and Clicked say whether the topic may carry such messages.
	Shown, Clicked bool
	// Replay marks the replay topic. Nothing live comes through it, so no message waits for it, and
	// its times do not let history go.
	Replay bool
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
	// waiting are the clicks that wait, in the order they were read: they will leave an effect. The
	// decided ones leave from the front.
	waiting []*mark
}

// reached says whether the source was read to a record at or after t, or has nothing more to say.
func (s *source) reached(t int64) bool { return s.progress >= t || s.atEnd }

// passed says whether a miss at t can be believed as far as this source goes; expired says that
// the message has waited as long as it may.
func (s *source) passed(t int64, expired bool) bool {
	return s.progress >= t || s.atEnd && expired
}

// restores says whether the message at an offset is read for its effects only.
func (s *source) restores(offset int64) bool {
	return offset < s.Deliver || s.Settled != nil && s.Settled(offset)
}

// covered is the offset below which every effect of the source is in the section.
func (s *source) covered() int64 {
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
}

func (s *sources) add(src *source) {
	for len(s.bySection) <= int(src.id) {
		s.bySection = append(s.bySection, math.MaxInt64)
		s.names = append(s.names, "")
	}
	s.list = append(s.list, src)
	s.bySection[src.id] = src.Start
	s.names[src.id] = src.Topic
}

// advance notes that a record was read.
func (s *sources) advance(src *source, next int64) {
	src.next = next
	s.bySection[src.id] = next
}

// read says whether the record at a place was read in this life of the task: what an earlier life
// stored from further on in the log must not be seen yet.
func (s *sources) read(p querystore.Place) bool {
	return int(p.Source) >= len(s.bySection) || p.Offset < s.bySection[p.Source]
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
