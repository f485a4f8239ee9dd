package reference_test

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"eventworker/internal/join/reference"
)

// steps are the reference's account of ops, of one life.
func steps(ops []op, records [][]reference.Record) (out []reference.Step) {
	left := make([]int, len(records))
	for s := range records {
		left[s] = len(records[s])
	}
	read := func(s, n int) {
		for ; n > 0 && left[s] > 0; n-- {
			out = append(out, reference.Step{Kind: reference.Read, Source: s})
			left[s]--
		}
	}
	for _, o := range ops {
		switch o.kind {
		case opRead:
			read(o.source, o.n)
		case opEnd:
			out = append(out, reference.Step{Kind: reference.End, Source: o.source})
		case opNotEnd:
			out = append(out, reference.Step{Kind: reference.NotEnd, Source: o.source})
		case opTick:
			out = append(out, reference.Step{Kind: reference.Tick})
		}
	}
	for s := range records {
		read(s, left[s])
	}
	return append(out, reference.Finish(len(records))...)
}

// partly says which deliveries fail: those of every third message.
func partly(id reference.ID) bool { return (id.Offset*7+id.Source*3)%3 != 2 }

// compare holds what a driver saw against the reference.
func compare(d *driver, want [][]reference.Outcome) (wrong []string) {
	for s := range want {
		for k := range want[s] {
			id := reference.ID{Source: s, Offset: k}
			if problem := d.compareOne(id, &want[s][k]); problem != "" {
				wrong = append(wrong, fmt.Sprintf("%s, offset %d: %s\n  %s", d.tr.sources[s].Topic, k, problem, d.tr.text(d.lineOf(id))))
			}
		}
	}
	return wrong
}

func (d *driver) lineOf(id reference.ID) *line {
	_, lineOf := d.tr.log()
	return &d.tr.lines[lineOf[id.Source][id.Offset]]
}

func (d *driver) compareOne(id reference.ID, want *reference.Outcome) string {
	all := d.outcome[id]
	told := 0
	for _, s := range all {
		if s.restored {
			continue
		}
		told++
		if s.absorbed == "duplicate" && d.sentBefore(id, s.life) {
			continue
		}
		if problem := s.differs(want, s.life > 0); problem != "" {
			return fmt.Sprintf("life %d: %s", s.life, problem)
		}
	}
	if told == 0 {
		return "no outcome at all"
	}
	return ""
}

func (l *line) eventTime() int64 {
	if l.own == none {
		return l.time
	}
	if l.time == none {
		return l.own
	}
	return min(l.time, l.own)
}

// sentBefore says whether the message, or a copy of it, was delivered in an earlier life, without a commit that said so.
func (d *driver) sentBefore(id reference.ID, life int) bool {
	l := d.lineOf(id)
	for other, in := range d.sent {
		if o := d.lineOf(other); in <= life && o.id == l.id && l.id != "" && o.kind == l.kind && o.user == l.user && o.app == l.app {
			return true
		}
	}
	return false
}

// differs says how what was seen is not what is wanted. After a crash a copy of a message that could be
// sent may count as a copy of one that was.
func (s *seen) differs(want *reference.Outcome, again bool) string {
	if again && want.Copied && s.absorbed == "duplicate" {
		return ""
	}
	switch {
	case s.refused != want.Refused || s.absorbed != want.Absorbed || !slices.Equal(sorted(s.events), sorted(want.Events)):
		return fmt.Sprintf("want %s\n   got %s", textOf(want.Events, want.Absorbed, want.Refused), textOf(s.events, s.absorbed, s.refused))
	case s.claimed != want.Claimed:
		return fmt.Sprintf("claimed %t, want %t", s.claimed, want.Claimed)
	}
	return ""
}

// sorted events: the contract does not order the events of one message.
func sorted(events []string) []string { return slices.Sorted(slices.Values(events)) }

func textOf(events []string, absorbed, refused string) string {
	switch {
	case refused != "":
		return "dead letter " + refused
	case absorbed != "":
		return "absorbed " + absorbed
	}
	return strings.Join(events, "\n       ")
}

// input is the reference's.
func (tr *traffic) input(records [][]reference.Record, steps []reference.Step) *reference.Input {
	return &reference.Input{Config: tr.set.config(), Now: now, Sources: tr.sources, Records: records, Steps: steps, Delivered: partly}
}

// want is the reference's answer for a reading. What is read again after a crash has no moments of its own: then
// the log alone counts.
func (tr *traffic) want(ops []op, records [][]reference.Record) [][]reference.Outcome {
	if slices.ContainsFunc(ops, func(o op) bool { return o.kind == opCrash }) {
		return reference.Join(tr.input(records, reference.Whole(records)))
	}
	return reference.Join(tr.input(records, steps(ops, records)))
}

// play reads the traffic once through the join and gives the differences to the reference.
func play(t rapid.TB, tr *traffic, ops []op, store keeper, want [][]reference.Outcome) []string {
	d := newDriver(t, tr, store, partly)
	d.run(ops)
	return compare(d, want)
}
