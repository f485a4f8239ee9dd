package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// held is what the target topics hold of a plan's letters.
type held struct {
	d    *Desk
	p    *Plan
	at   map[PlanTarget]int64 // by topic and partition: where to read on
	have spots[landed]
	to   []target // that landed numbers
	// lost says that a target topic no longer holds all that was written since the plan was made.
	lost bool
}

func newHeld(d *Desk, p *Plan) *held {
	h := &held{d: d, p: p, at: map[PlanTarget]int64{}}
	for _, t := range p.TargetFrom {
		h.at[PlanTarget{Topic: t.Topic, Partition: t.Partition}] = t.Offset
	}
	return h
}

func (h *held) has(c Coordinates) bool { return h.have.has(c) }

// landed is where a record was written: the number of the target in 16 bits, and the offset in 48.
type landed uint64

const offsetBits = 48

// land notes that the record of a message lies in a target.
func (h *held) land(c Coordinates, to target, offset int64) {
	n := slices.Index(h.to, to)
	if n < 0 {
		n = len(h.to)
		h.to = append(h.to, to)
	}
	h.have.set(c, landed(n)<<offsetBits|landed(offset)&(1<<offsetBits-1))
}

// where is the place of a message's record.
func (h *held) where(c Coordinates) (to target, offset int64, there bool) {
	at, there := h.have.get(c)
	if !there {
		return to, 0, false
	}
	return h.to[at>>offsetBits], int64(at & (1<<offsetBits - 1)), true
}

// partitions is how many partitions a target topic had when the plan was made; 0: it is none.
func (h *held) partitions(topic string) (n int) {
	for at := range h.at {
		if at.Topic == topic {
			n++
		}
	}
	return n
}

// read reads on to the ends of the target topics.
func (h *held) read(ctx context.Context) error {
	for _, topic := range targets(h.p) {
		bounds, err := h.d.Bounds(ctx, topic)
		if err != nil {
			return err
		}
		for _, b := range bounds {
			if err := h.partition(ctx, topic, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *held) partition(ctx context.Context, topic string, b consume.LogBounds) error {
	key := PlanTarget{Topic: topic, Partition: b.Partition}
	from := h.at[key]
	switch {
	case from > b.End:
		h.lost = true // the topic was made anew
		from = b.Start
	case from < b.Start:
		h.lost = true
		from = b.Start
	}
	names := map[string]string{} // a million letters share the names of their topics
	_, err := h.d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: b.Partition, From: from, To: b.End}, func(records []consume.Record, _ int64) error {
		for i := range records {
			l := LetterOf(b.Partition, &records[i])
			if string(l.raw[slotReplayID]) == h.p.ID {
				source := l.Source()
				source.Topic = intern(names, source.Topic)
				h.land(source, target{topic, int(b.Partition)}, records[i].Offset)
			}
		}
		return nil
	})
	if err == nil {
		h.at[key] = b.End
	}
	return err
}

// put writes a batch: states first, then the records of those letters that nobody else claimed first. It tries
// again until ctx ends; where an answer was lost, the topic says what it holds, so that nothing is written
// twice. It gives how many are there.
func (a *apply) put(ctx context.Context, batch []outgoing) (written int64, err error) {
	if batch, err = a.claim(ctx, batch); err != nil || len(batch) == 0 {
		return 0, err
	}
	first := true
	err = again(ctx, func() error {
		if !first {
			if err := a.held.read(ctx); err != nil {
				return err
			}
		}
		first = false
		return a.produce(ctx, batch)
	})
	if err != nil {
		return 0, err
	}
	return a.tooLarge(ctx, batch)
}

// claim writes the states of letters that are about to go, and gives those that still may: what somebody else
// decided about meanwhile is left alone.
func (a *apply) claim(ctx context.Context, batch []outgoing) ([]outgoing, error) {
	// Since the letters were judged the pace may have let a second pass.
	if err := again(ctx, func() error { return a.states.read(ctx, nil) }); err != nil {
		return nil, err
	}
	batch = slices.DeleteFunc(batch, func(one outgoing) bool {
		switch a.standing(one.source, one.replay) {
		case standsBefore:
			a.n.Before++
		case standsChanged:
			a.passed(one.source, one.replay)
		default:
			return false
		}
		return true
	})
	if err := a.restore(ctx); err != nil {
		return nil, err
	}
	claims := make([]claim, len(batch))
	for i := range batch {
		claims[i] = claim{source: batch[i].source, replay: batch[i].replay, alone: a.dead(batch[i].source), state: a.p.claimed(time.Now())}
	}
	if err := claimAll(ctx, a.writer, a.states, claims); err != nil {
		return nil, err
	}
	mine := batch[:0]
	for i := range batch {
		if claims[i].lost {
			a.n.Passed++
			continue
		}
		mine = append(mine, batch[i])
	}
	return mine, nil
}

// passed counts a letter that is left to somebody else. A claim of an earlier call may lie over what counts.
func (a *apply) passed(source Coordinates, replay string) {
	a.n.Passed++
	if before, ok := a.states.upon(source); ok && !a.o.DryRun && a.dead(source) {
		u := upheld{noted: noted{source, before.Encode(), before}, replay: replay}
		if before.Outcome == "" || before.Status != deadletter.StateReplayed { // it was a claim itself
			u.value = marked(u.value, claimStart, newMark())
		}
		a.back = append(a.back, u)
	}
}

// restore writes again what claims of earlier calls lie over that came second.
func (a *apply) restore(ctx context.Context) error {
	if len(a.back) == 0 {
		return nil
	}
	finish, cancel := outlive(ctx)
	defer cancel()
	if err := again(finish, func() error { return a.states.read(finish, nil) }); err != nil {
		return err
	}
	list := slices.DeleteFunc(a.back, func(u upheld) bool {
		s, _ := a.states.Get(u.at)
		return !isClaim(&s, a.p.ID) || !a.dead(u.at)
	})
	a.back = nil
	return giveBack(finish, a.writer, a.states, list)
}

// tooLarge takes the state of letters back that the target topic does not take, and counts them as refused.
func (a *apply) tooLarge(ctx context.Context, batch []outgoing) (written int64, err error) {
	var states []deadletter.StateRecord
	for i := range batch {
		if one := &batch[i]; !a.held.has(one.source) {
			s := decided(one.replay, deadletter.StateOpen, a.p.By, "too large for topic "+one.topic)
			states = append(states, deadletter.StateRecord{Key: stateKey(one.source), Value: s.Encode()})
		}
	}
	if len(states) == 0 {
		return int64(len(batch)), nil
	}
	a.n.Refused += int64(len(states))
	return int64(len(batch) - len(states)), again(ctx, func() error { return a.writer.Write(ctx, states) })
}

// again repeats what fails, with growing pauses, until ctx ends, unless trying again cannot help.
func again(ctx context.Context, do func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := do()
		var code kafka.Error
		if err == nil || errors.As(err, &code) && !code.Temporary() {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
}

// target is a partition that is written to.
type target struct {
	topic     string
	partition int
}

// produce writes what the targets do not hold yet.
func (a *apply) produce(ctx context.Context, batch []outgoing) error {
	var order []target
	records := map[target][]*outgoing{}
	for i := range batch {
		one := &batch[i]
		if a.held.has(one.source) {
			continue
		}
		at := target{one.topic, one.partition}
		if records[at] == nil {
			order = append(order, at)
		}
		records[at] = append(records[at], one)
	}
	for _, at := range order {
		if err := a.produceTo(ctx, at, records[at]); err != nil {
			return fmt.Errorf("write to topic %s: %w", at.topic, err)
		}
	}
	return nil
}

// produceTo writes to one partition; a record that is too large is left out.
func (a *apply) produceTo(ctx context.Context, at target, batch []*outgoing) error {
	list := make([]kafka.Record, len(batch))
	for i, one := range batch {
		list[i] = one.record
		list[i].Key, list[i].Value = kafka.NewBytes(one.key), kafka.NewBytes(one.value)
	}
	res, err := a.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: at.topic, Partition: at.partition, RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4,
		Records: kafka.NewRecordReader(list...),
	})
	if err == nil {
		err = res.Error
	}
	switch large := errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge); {
	case large && len(batch) > 1:
		half := len(batch) / 2
		if err := a.produceTo(ctx, at, batch[:half]); err != nil {
			return err
		}
		return a.produceTo(ctx, at, batch[half:])
	case large:
		headers, noted := withoutNote(batch[0].record.Headers)
		if !noted {
			return nil
		}
		batch[0].record.Headers = headers
		return a.produceTo(ctx, at, batch)
	case err != nil:
		return err
	}
	for i, one := range batch {
		a.held.land(one.source, at, res.BaseOffset+int64(i))
	}
	return nil
}

// park marks the letters that were replayed as often as they may be.
func (a *apply) park(ctx context.Context) error {
	if a.o.DryRun {
		a.n.Parked = a.p.ParkedCount()
		return nil
	}
	for i := range a.p.Partitions {
		c := &reading{partition: a.p.Partitions[i].Partition, letters: a.p.Partitions[i].Parked}
		for more := len(c.letters) > 0; more; {
			batch, next, _, err := a.d.next(ctx, a.p.Topic, c, maxStateBatch)
			if err != nil {
				return err
			}
			more = next
			if err := a.mark(ctx, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

const maxStateBatch = 1000

func (a *apply) mark(ctx context.Context, batch []*Letter) error {
	if err := a.states.read(ctx, nil); err != nil {
		return err
	}
	var claims []claim
	for _, l := range batch {
		if s, current := StateOf(l, a.states); !current || s.Status != deadletter.StateOpen {
			continue
		}
		note := fmt.Sprintf("replayed %d times; plan %s", l.ReplayCount(), a.p.ID)
		claims = append(claims, claim{source: l.Source(), replay: l.ReplayID(), state: decided(l.ReplayID(), deadletter.StateParked, a.p.By, note)})
	}
	finish, cancel := outlive(ctx)
	defer cancel()
	err := claimAll(finish, a.writer, a.states, claims)
	for i := range claims {
		if err == nil && !claims[i].lost {
			a.n.Parked++
		}
	}
	return err
}

// decided is the state after a decision. It keeps the letter's last replay, which ended with this letter.
func decided(replay, status, by, note string) deadletter.State {
	s := deadletter.State{Status: status, ReplayID: replay, Note: note, By: by, At: time.Now()}
	if replay != "" {
		s.Outcome = deadletter.OutcomeDead
	}
	return s
}
