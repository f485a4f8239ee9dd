package dlq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// VerificationSchema names the form of a verification.
const VerificationSchema = "eventworker.dlq.verify/v1"

// Verification says what became of each letter of a replay. Planned is the sum of the seven counts.
type Verification struct {
	Schema  string `json:"schema"`
	ID      string `json:"id"`
	Planned int64  `json:"planned"`
	// Delivered was taken by the API; Duplicate had been delivered before; Absorbed gave nothing to send.
	Delivered int64 `json:"delivered"`
	Duplicate int64 `json:"duplicate"`
	Absorbed  int64 `json:"absorbed"`
	// Dead became a dead letter again: Deaths says which.
	Dead int64 `json:"dead"`
	// Unsettled waits for the workers. Unknown was read by them, and nothing says what came of it.
	Unsettled int64 `json:"unsettled"`
	Unknown   int64 `json:"unknown"`
	// NotWritten is planned, and not on the target topic.
	NotWritten int64   `json:"not_written"`
	Deaths     []Death `json:"deaths"`
	// Causes are the letters by the cause that they had.
	Causes []CauseOutcome `json:"causes"`
}

// Death is a group of letters that are dead again: from an old cause to a new one.
type Death struct {
	Old   string `json:"old_cause"`
	New   string `json:"new_cause"`
	Count int64  `json:"count"`
	// Reason, Field and What are those of the new letters; Letter is one of them.
	Reason string `json:"reason"`
	Field  string `json:"field"`
	What   string `json:"what"`
	Letter string `json:"letter"`
}

// CauseOutcome is how the letters of a cause ended: Good were delivered, duplicate or absorbed, Dead are
// dead again, Open have no known end.
type CauseOutcome struct {
	Cause string `json:"cause"`
	Good  int64  `json:"good"`
	Dead  int64  `json:"dead"`
	Open  int64  `json:"open"`
}

// Good is the number of letters that ended well.
func (v *Verification) Good() int64 { return v.Delivered + v.Duplicate + v.Absorbed }

// AllGood says that every planned letter ended well.
func (v *Verification) AllGood() bool { return v.Good() == v.Planned }

// Share is the share of letters that ended well.
func (v *Verification) Share() float64 {
	if v.Planned == 0 {
		return 1
	}
	return float64(v.Good()) / float64(v.Planned)
}

const (
	// verifyEvery is the time between two looks while outcomes are waited for.
	verifyEvery = 500 * time.Millisecond
	// unknownGrace is how long outcomes are waited for after everything was read: the workers note them a
	// moment later.
	unknownGrace = 5 * time.Second
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	// Wait is how long letters that are not settled are waited for.
	Wait time.Duration
	// Mask masks users' tokens in sentences; nil masks nothing.
	Mask *Masker
	// Progress is told what is known so far; nil: nobody is.
	Progress func(*Verification)
}

// Verify says what became of the letters of a plan.
func (d *Desk) Verify(ctx context.Context, p *Plan, o VerifyOptions) (*Verification, error) {
	f, err := d.newFollower(p, o.Mask)
	if err != nil {
		return nil, err
	}
	defer f.close()
	set, err := f.planned(ctx)
	if err != nil {
		return nil, err
	}
	return f.await(ctx, set, o.Wait, o.Progress)
}

// followed is a letter of a replay.
type followed struct {
	source Coordinates
	cause  string
}

// follower reads on, again and again, what the topics say of a replay.
type follower struct {
	d     *Desk
	p     *Plan
	mask  *Masker
	admin *consume.Admin
	held  *held
	at    map[PlanTarget]int64 // where to read on in the other topics; Offset 0

	states    map[Coordinates]deadletter.State
	deaths    map[Coordinates]death
	committed map[PlanTarget]int64 // by topic and partition
	names     map[string]string    // texts that many letters share
}

type death struct{ cause, reason, field, what, letter string }

func (d *Desk) newFollower(p *Plan, mask *Masker) (*follower, error) {
	admin, err := d.groupAdmin()
	if err != nil {
		return nil, err
	}
	return &follower{d: d, p: p, mask: mask, admin: admin, held: newHeld(d, p), at: map[PlanTarget]int64{},
		states: map[Coordinates]deadletter.State{}, deaths: map[Coordinates]death{}, committed: map[PlanTarget]int64{}, names: map[string]string{}}, nil
}

func (f *follower) close() { f.admin.Close() }

// planned are the letters of the plan, with the causes that they had. A letter that retention removed has
// no source any more: it is followed under its place, of which nothing will be known.
func (f *follower) planned(ctx context.Context) (set []followed, err error) {
	if f.p.Partitions == nil && f.p.Planned > 0 { // a very large plan is kept without its letters
		return f.written(ctx)
	}
	for i := range f.p.Partitions {
		c := &reading{partition: f.p.Partitions[i].Partition, letters: f.p.Partitions[i].Letters}
		before := len(set)
		set, err = f.d.sources(ctx, f.p.Topic, c, set)
		if err != nil {
			return nil, err
		}
		for n := int64(len(set) - before); n < c.letters.count(); n++ {
			set = append(set, followed{Coordinates{Partition: c.partition, Offset: -1 - n}, "gone"})
		}
	}
	return set, nil
}

// sources appends where the letters of a partition come from.
func (d *Desk) sources(ctx context.Context, topic string, c *reading, set []followed) ([]followed, error) {
	names := map[string]string{}
	err := d.each(ctx, topic, c, func(l *Letter) {
		one := followed{l.Source(), l.Cause()}
		one.cause, one.source.Topic = intern(names, one.cause), intern(names, one.source.Topic)
		set = append(set, one)
	})
	return set, err
}

func intern(names map[string]string, s string) string {
	if own, ok := names[s]; ok {
		return own
	}
	names[s] = s
	return s
}

// written are the letters that the target topics and the states know of this replay.
func (f *follower) written(ctx context.Context) (set []followed, err error) {
	if err := f.poll(ctx); err != nil {
		return nil, err
	}
	for c := range f.held.have {
		set = append(set, followed{source: c})
	}
	for c := range f.states {
		if !f.held.has(c) {
			set = append(set, followed{source: c})
		}
	}
	return set, nil
}

// poll reads what is new.
func (f *follower) poll(ctx context.Context) error {
	// The order matters: what was settled before the offsets were read has its outcome in what is read
	// afterwards, but for the moment that the workers take to note it.
	g, err := f.admin.Group(ctx)
	if err != nil {
		return err
	}
	for _, p := range g.Partitions {
		f.committed[PlanTarget{Topic: p.Topic, Partition: p.Partition}] = p.Committed
	}
	if err := f.held.read(ctx); err != nil {
		return err
	}
	if err := f.tail(ctx, f.d.Topics.DeadLetter, f.letter); err != nil {
		return err
	}
	err = f.tail(ctx, f.d.Topics.State, f.state)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil
	}
	return err
}

// tail reads a topic from where the last call ended. Of the dead letters what lies before the plan's ends
// was there when it was made.
func (f *follower) tail(ctx context.Context, topic string, fn func(partition int32, r *consume.Record)) error {
	bounds, err := f.d.Bounds(ctx, topic)
	if err != nil {
		return err
	}
	for _, b := range bounds {
		key := PlanTarget{Topic: topic, Partition: b.Partition}
		from, known := f.at[key]
		if !known && topic == f.p.Topic {
			for i := range f.p.Partitions {
				if one := &f.p.Partitions[i]; one.Partition == b.Partition && one.To <= b.End {
					_, from = one.Letters.bounds()
				}
			}
		}
		from = max(from, b.Start)
		_, err := f.d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: b.Partition, From: from, To: b.End}, func(records []consume.Record, _ int64) error {
			for i := range records {
				fn(b.Partition, &records[i])
			}
			return nil
		})
		if err != nil {
			return err
		}
		f.at[key] = b.End
	}
	return nil
}

func (f *follower) letter(partition int32, r *consume.Record) {
	l := LetterOf(partition, r)
	if string(l.raw[slotReplayID]) == f.p.ID {
		f.deaths[l.Source()] = death{l.Cause(), l.ReasonText(), deadletter.BareField(l.Field()), f.mask.Text(l.Message(), l.Tokens()...), l.Address().String()}
	}
}

func (f *follower) state(_ int32, r *consume.Record) {
	topic, partition, offset, err := deadletter.ParseStateKey(string(r.Key))
	if err != nil || r.Value == nil {
		return
	}
	if s, err := deadletter.ParseState(r.Value); err == nil && s.ReplayID == f.p.ID {
		s.Note, s.By, s.Outcome, s.Status, s.ReplayID = intern(f.names, s.Note), intern(f.names, s.By), intern(f.names, s.Outcome), intern(f.names, s.Status), f.p.ID
		f.states[Coordinates{intern(f.names, topic), partition, offset}] = s
	}
}

// await looks until everything is known, or the time is over.
func (f *follower) await(ctx context.Context, set []followed, wait time.Duration, progress func(*Verification)) (*Verification, error) {
	deadline := time.Now().Add(wait)
	var settled time.Time // since when only unknown ones are left
	for {
		if err := f.poll(ctx); err != nil {
			return nil, err
		}
		v := f.verdict(set)
		if progress != nil {
			progress(v)
		}
		now := time.Now()
		if v.Unsettled > 0 {
			settled = time.Time{}
		} else if settled.IsZero() {
			settled = now
		}
		over := v.Unsettled == 0 && (v.Unknown == 0 || now.Sub(settled) >= unknownGrace)
		if over || !now.Before(deadline) {
			return v, nil
		}
		if err := pause(ctx, min(verifyEvery, deadline.Sub(now))); err != nil {
			return v, err
		}
	}
}

// verdict adds up what is known.
func (f *follower) verdict(set []followed) *Verification {
	v := &Verification{Schema: VerificationSchema, ID: f.p.ID, Planned: int64(len(set)), Deaths: []Death{}, Causes: []CauseOutcome{}}
	deaths, causes := map[[2]string]*Death{}, map[string]*CauseOutcome{}
	for i := range set {
		one := &set[i]
		of := causes[one.cause]
		if of == nil {
			of = &CauseOutcome{Cause: one.cause}
			causes[one.cause] = of
		}
		switch f.outcome(one.source) {
		case deadletter.OutcomeDelivered:
			v.Delivered++
			of.Good++
		case deadletter.OutcomeDuplicate:
			v.Duplicate++
			of.Good++
		case deadletter.OutcomeAbsorbed:
			v.Absorbed++
			of.Good++
		case deadletter.OutcomeDead:
			v.Dead++
			of.Dead++
			f.died(deaths, one)
		case unsettled:
			v.Unsettled++
			of.Open++
		case unwritten:
			v.NotWritten++
			of.Open++
		default:
			v.Unknown++
			of.Open++
		}
	}
	for _, d := range deaths {
		v.Deaths = append(v.Deaths, *d)
	}
	for _, c := range causes {
		v.Causes = append(v.Causes, *c)
	}
	slices.SortFunc(v.Deaths, func(a, b Death) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	slices.SortFunc(v.Causes, func(a, b CauseOutcome) int { return cmp.Compare(a.Cause, b.Cause) })
	return v
}

func (f *follower) died(deaths map[[2]string]*Death, one *followed) {
	now := f.deaths[one.source]
	key := [2]string{one.cause, now.cause}
	d := deaths[key]
	if d == nil {
		d = &Death{Old: one.cause, New: now.cause, Reason: now.reason, Field: now.field, What: now.what, Letter: now.letter}
		deaths[key] = d
	}
	d.Count++
}

// Outcomes that no state has.
const (
	unsettled = "unsettled"
	unwritten = "not-written"
	unknown   = "unknown"
)

func (f *follower) outcome(c Coordinates) string {
	s, noted := f.states[c]
	if noted && s.Outcome != "" {
		return s.Outcome
	}
	if _, dead := f.deaths[c]; dead {
		return deadletter.OutcomeDead
	}
	at, there := f.held.have[c]
	switch {
	case c.Offset < 0 || !there && noted && f.held.lost:
		return unknown
	case !there:
		return unwritten
	case f.committed[PlanTarget{Topic: at.Topic, Partition: at.Partition}] > at.Offset:
		return unknown
	}
	return unsettled
}

// Replay is what the state topic knows of a replay.
type Replay struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Note    string    `json:"note"`
	Filter  string    `json:"filter"`
	Edit    string    `json:"edit"`
	Planned int64     `json:"planned"`
	// Replayed letters were written; of them the others have this outcome. What a later replay, or a
	// decision, has overwritten is not among them.
	Replayed  int64 `json:"replayed"`
	Delivered int64 `json:"delivered"`
	Duplicate int64 `json:"duplicate"`
	Absorbed  int64 `json:"absorbed"`
	Dead      int64 `json:"dead"`
	Open      int64 `json:"open"`
	// Last is the time of the newest state.
	Last time.Time `json:"last"`
}

// Replays lists the replays that were begun, the newest first.
func (d *Desk) Replays(ctx context.Context) ([]Replay, error) {
	byID := map[string]*Replay{}
	states, _, err := d.readStates(ctx, func(id string, text []byte) *Plan {
		r := &Replay{ID: id}
		if p := new(Plan); json.Unmarshal(text, p) == nil {
			r.Created, r.By, r.Note, r.Filter, r.Edit, r.Planned = p.Created, p.By, p.Note, p.Filter, p.Digests.Edit, p.Planned
		}
		if delete(byID, id); text != nil {
			byID[id] = r
		}
		return nil // plans are large, and there may be many
	})
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.ReplayID == "" {
			continue
		}
		r := byID[s.ReplayID]
		if r == nil {
			r = &Replay{ID: s.ReplayID, By: s.By, Note: s.Note}
			byID[s.ReplayID] = r
		}
		r.add(&s)
	}
	list := make([]Replay, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		list = append(list, *byID[id])
	}
	slices.SortStableFunc(list, func(a, b Replay) int { return b.begun().Compare(a.begun()) })
	return list, nil
}

func (r *Replay) begun() time.Time {
	if r.Created.IsZero() {
		return r.Last
	}
	return r.Created
}

func (r *Replay) add(s *deadletter.State) {
	r.Replayed++
	switch s.Outcome {
	case deadletter.OutcomeDelivered:
		r.Delivered++
	case deadletter.OutcomeDuplicate:
		r.Duplicate++
	case deadletter.OutcomeAbsorbed:
		r.Absorbed++
	case deadletter.OutcomeDead:
		r.Dead++
	default:
		r.Open++
	}
	if s.At.After(r.Last) {
		r.Last = s.At
	}
}

// KeptPlan is the plan of a replay that was begun, from the state topic. The error is a [*CallError] where
// there is none of this id.
func (d *Desk) KeptPlan(ctx context.Context, id string) (*Plan, error) {
	var unread error
	_, plans, err := d.readStates(ctx, func(name string, text []byte) *Plan {
		if name != id || text == nil {
			return nil
		}
		var p *Plan
		p, unread = parseKept(id, text)
		return p
	})
	switch p, ok := plans[id]; {
	case err != nil:
		return nil, err
	case unread != nil:
		return nil, unread
	case ok:
		return p, nil
	}
	return nil, callf("eventworker dlq replays", "no replay %s was begun on topic %s", id, d.Topics.DeadLetter)
}

// parseKept reads a plan that was kept beside the states, a very large one without its letters.
func parseKept(id string, text []byte) (*Plan, error) {
	p, err := new(Plan), error(nil)
	if json.Unmarshal(text, p) != nil || p.Partitions != nil || p.Schema != PlanSchema {
		p, err = ParsePlan(text)
	}
	if err == nil && p.ID != id {
		err = callf("eventworker dlq replays", "what is kept of replay %s is the plan %.60q", id, p.ID)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}
