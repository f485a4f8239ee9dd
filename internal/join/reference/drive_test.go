package reference_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/join/reference"
	"eventworker/internal/querystore"
)

// An op is one thing that the driver does with the task.
type op struct {
	kind   opKind
	source int
	n      int // records of the chunk; how many messages are settled
}

type opKind uint8

const (
	opRead   opKind = iota // a chunk of n records of the source
	opEnd                  // the source is at its end
	opNotEnd               // and is not any more
	opTick                 // join.wait passes
	opSettle               // the n oldest deliveries end
	opCommit               // what is settled is committed
	opCrash                // the task is thrown away; n says what is left of its section, see life
)

var opLetters = "rentsck"

func (o op) String() string {
	switch o.kind {
	case opRead:
		return fmt.Sprintf("r%d:%d", o.source, o.n)
	case opEnd, opNotEnd:
		return fmt.Sprintf("%c%d", opLetters[o.kind], o.source)
	case opSettle, opCrash:
		return fmt.Sprintf("%c%d", opLetters[o.kind], o.n)
	}
	return opLetters[o.kind : o.kind+1]
}

func parseOp(w string) (o op, err error) {
	for k := range opLetters {
		if opLetters[k] == w[0] {
			o.kind = opKind(k)
		}
	}
	switch o.kind {
	case opRead:
		_, err = fmt.Sscanf(w[1:], "%d:%d", &o.source, &o.n)
	case opEnd, opNotEnd:
		o.source, err = strconv.Atoi(w[1:])
	case opSettle, opCrash:
		o.n, err = strconv.Atoi(w[1:])
	}
	return o, err
}

// A seen is what the task made of one message, once.
type seen struct {
	events            []string
	absorbed, refused string
	claimed           bool
	restored          bool
	life              int
}

// A driver reads a log through tasks, one after the other, as the worker does, and notes what they say.
// It is the Output of its tasks; a message is (source, offset).
type driver struct {
	t         rapid.TB
	tr        *traffic
	config    *join.Config
	records   [][]reference.Record
	store     keeper
	section   querystore.Section
	task      *join.Task[reference.ID]
	delivered func(reference.ID) bool

	life    int
	ticks   int64          // the clock goes on by as little as join.wait is
	steps   [][]join.Step  // by source: how far it had come where, as the task knew that was thrown away; nil: not known
	next    []int          // by source: the offset that is read next
	deliver []int          // by source: where this life's deliveries begin
	settled []map[int]bool // by source: settled offsets, of this life or inherited
	marked  []map[int]bool // by source: what the last commit said is settled beyond the frontier
	commit  []int          // by source: the committed offset
	trail   [][]int64      // by source: the progress before each offset, in the life that read it last
	known   []int64        // by source: the progress at the committed offset

	kept    map[reference.ID]bool
	sending []reference.ID // encoded, without outcome yet
	claims  map[reference.ID]bool
	want    map[reference.ID]int // events to come of the encoded message
	outcome map[reference.ID][]seen
	sent    map[reference.ID]int // the first life in which it was delivered, from 1
	lent    []join.Message       // what the task was handed in this chunk
}

func newDriver(t rapid.TB, tr *traffic, store keeper, delivered func(reference.ID) bool) *driver {
	d := &driver{t: t, tr: tr, config: tr.set.config(), store: store, delivered: delivered, claims: map[reference.ID]bool{}, outcome: map[reference.ID][]seen{}, sent: map[reference.ID]int{}}
	d.records, _ = tr.log()
	n := len(tr.sources)
	d.deliver, d.commit, d.known = make([]int, n), make([]int, n), make([]int64, n)
	for s := range n {
		d.trail = append(d.trail, make([]int64, len(d.records[s])+1))
		d.marked = append(d.marked, map[int]bool{})
	}
	return d
}

// begin makes the task of a life from what was committed and what the section holds.
func (d *driver) begin() {
	d.section = d.store.open(d.t)
	d.next, d.settled = make([]int, len(d.tr.sources)), nil
	d.kept, d.sending, d.claims, d.want = map[reference.ID]bool{}, nil, map[reference.ID]bool{}, map[reference.ID]int{}
	var from []join.SourceConfig
	for s, source := range d.tr.sources {
		d.deliver[s] = d.commit[s]
		applied := int(d.section.Coverage(d.section.Source(source.Topic)).Applied)
		if d.next[s] = min(applied, d.deliver[s]); len(d.tr.sources) > 1 && d.steps == nil {
			d.next[s] = 0 // read again for its times
		}
		inherited := d.marked[s]
		d.settled = append(d.settled, map[int]bool{})
		for offset := range inherited {
			d.settled[s][offset] = true
		}
		var steps []join.Step
		if d.steps != nil {
			steps = d.steps[s]
		}
		from = append(from, join.SourceConfig{
			Steps: steps,
			Topic: source.Topic, Start: int64(d.next[s]), Deliver: int64(d.deliver[s]), Progress: d.known[s], Shown: source.Shown, Clicked: source.Clicked,
			Settled: func(offset int64) bool { return inherited[int(offset)] },
		})
	}
	d.task = join.NewTask(d.config, d.section, from, d)
	d.task.Clock(now + d.ticks)
}

// run does the ops and then reads on to the end of the log.
func (d *driver) run(ops []op) {
	d.begin()
	for _, o := range ops {
		d.do(o)
	}
	for s := range d.tr.sources {
		for d.next[s] < len(d.records[s]) {
			d.do(op{kind: opRead, source: s, n: 7})
		}
	}
	for s := range d.tr.sources {
		d.do(op{kind: opEnd, source: s})
	}
	d.do(op{kind: opSettle, n: len(d.tr.lines)})
	for range len(d.tr.lines) + 2 {
		d.do(op{kind: opTick})
		d.do(op{kind: opSettle, n: len(d.tr.lines)})
	}
	if n := d.task.Waiting(); n > 0 {
		d.t.Errorf("%d messages wait after the end of the log", n)
	}
	d.do(op{kind: opCommit})
	for s, offset := range d.commit {
		if offset != len(d.records[s]) {
			d.t.Errorf("source %d: the log is read, delivered and settled, but only %d of %d messages can be committed", s, offset, len(d.records[s]))
		}
	}
	d.check(d.section.Close())
}

func (d *driver) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) do(o op) {
	switch o.kind {
	case opRead:
		d.read(o.source, o.n)
	case opEnd, opNotEnd:
		d.check(d.task.AtEnd(o.source, o.kind == opEnd))
		d.check(d.task.EndChunk())
		d.harvest()
	case opTick:
		d.ticks++
		d.check(d.task.Tick(now + d.ticks))
		d.check(d.task.EndChunk())
		d.harvest()
	case opSettle:
		d.settle(o.n)
	case opCommit:
		d.committed()
	case opCrash:
		d.steps = nil
		if o.n/ways%2 == 1 && !d.store.moves() {
			for s := range d.tr.sources { // the same worker goes on
				d.steps = append(d.steps, d.task.Steps(s))
			}
		}
		d.store.crash(d.t, d.section, o.n)
		d.life++
		d.begin()
	}
}

func (d *driver) read(s, n int) {
	if n = min(n, len(d.records[s])-d.next[s]); n > 0 && d.task.Remote() {
		first := d.next[s]
		d.check(d.task.Prefetch(s, n, func(k int) join.Message { return d.message(reference.ID{Source: s, Offset: first + k}) }))
	}
	for ; n > 0 && d.next[s] < len(d.records[s]); n-- {
		id := reference.ID{Source: s, Offset: d.next[s]}
		d.next[s]++
		if id.Offset >= d.deliver[s] {
			d.trail[s][id.Offset] = d.task.Progress(s)
		}
		msg := d.message(id)
		d.lent = append(d.lent, msg)
		d.check(d.task.Handle(s, id, msg))
	}
	if d.next[s] >= d.deliver[s] {
		d.trail[s][d.next[s]] = d.task.Progress(s)
	}
	d.check(d.task.EndChunk())
	d.harvest()
}

// message lends the task a copy of the record, which harvest spoils.
func (d *driver) message(id reference.ID) join.Message {
	r := d.records[id.Source][id.Offset]
	return join.Message{Offset: int64(id.Offset), Time: r.Time, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
}

// harvest takes the events, and spoils what the chunk's messages were made of.
func (d *driver) harvest() {
	for app := range d.task.Runs {
		run := &d.task.Runs[app]
		for _, e := range run.Entries {
			m := e.Ref.Message
			all := d.outcome[m]
			all[len(all)-1].events = append(all[len(all)-1].events, d.canonical(run.Buf[e.Start:e.End]))
			d.want[m]--
		}
		run.Reset()
	}
	for m, n := range d.want {
		if n != 0 {
			d.t.Errorf("%v: %d events more were told of than stand in the runs", m, n)
		}
		delete(d.want, m)
	}
	for _, m := range d.lent {
		for k := range m.Value {
			m.Value[k] = '#'
		}
		for k := range m.Key {
			m.Key[k] = '#'
		}
	}
	d.lent = d.lent[:0]
}

// canonical is the event with the time of the clock as if that stood still.
func (d *driver) canonical(event []byte) string {
	s := reference.Canonical(event)
	for k := range d.ticks {
		s = strings.Replace(s, fmt.Sprintf(`"timestamp":%d,`, now+k+1), fmt.Sprintf(`"timestamp":%d,`, now), 1)
	}
	return s
}

// settle ends the n oldest deliveries.
func (d *driver) settle(n int) {
	for ; n > 0 && len(d.sending) > 0; n-- {
		m := d.sending[0]
		d.sending = d.sending[1:]
		if d.claims[m] {
			d.check(d.task.Outcome(m, d.delivered(m)))
			if d.delivered(m) && d.sent[m] == 0 {
				d.sent[m] = d.life + 1
			}
		}
		d.settled[m.Source][m.Offset] = true
	}
	d.check(d.task.EndChunk())
	d.harvest()
}

// committed commits the frontier of what is settled, and what is settled beyond it, after the section
// is durable.
func (d *driver) committed() {
	d.check(d.section.Sync())
	for s := range d.commit {
		at := d.deliver[s]
		for at < d.next[s] && d.settled[s][at] {
			at++
		}
		if d.next[s] >= d.deliver[s] {
			d.known[s] = d.trail[s][at]
		}
		d.commit[s] = at
		d.marked[s] = map[int]bool{}
		for offset := range d.settled[s] {
			if offset > at {
				d.marked[s][offset] = true
			}
		}
	}
	d.store.committed(d.t)
}

func (d *driver) note(m reference.ID, s seen) {
	delete(d.kept, m)
	s.life = d.life
	for _, before := range d.outcome[m] {
		if before.life == s.life {
			d.t.Errorf("%v: two outcomes of one message in one life: %+v and %+v", m, before, s)
		}
	}
	d.outcome[m] = append(d.outcome[m], s)
}

func (d *driver) Encoded(m reference.ID, n int, claimed bool) {
	d.note(m, seen{claimed: claimed})
	d.want[m] = n
	d.sending = append(d.sending, m)
	d.claims[m] = claimed
}

func (d *driver) Absorbed(m reference.ID, why join.Absorption) {
	d.note(m, seen{absorbed: why.String()})
	d.settled[m.Source][m.Offset] = true
}

func (d *driver) Refused(m reference.ID, r *event.Refusal, _ join.About) {
	d.note(m, seen{refused: r.Reason.String()})
	d.settled[m.Source][m.Offset] = true
}

func (d *driver) Restored(m reference.ID) {
	d.note(m, seen{restored: true})
	d.settled[m.Source][m.Offset] = true
}

func (d *driver) Keep(m reference.ID) { d.kept[m] = true }

func (d *driver) Kept(m reference.ID) join.Message {
	if !d.kept[m] {
		d.t.Errorf("%v is asked for but was not kept", m)
	}
	msg := d.message(m)
	d.lent = append(d.lent, msg)
	return msg
}

func (d *driver) Wide(reference.ID, uint16, []uint16) {}
