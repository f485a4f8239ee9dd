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
	if err := f.planned(ctx); err != nil {
		return nil, err
	}
	return f.await(ctx, o.Wait, o.Progress)
}

// followed is what is known of a letter of a replay.
type followed struct {
	cause   uint32 // of causes
	death   uint32 // of deaths; 0: none
	state   settledAs
	planned bool // it is one of those that are asked about
}

// settledAs is what the state topic says of a letter.
type settledAs uint8

const (
	notNoted settledAs = iota
	asReplayed
	asDelivered
	asDuplicate
	asAbsorbed
	asDead
)

// settledBy are the outcomes of states.
var settledBy = map[string]settledAs{"": asReplayed, deadletter.OutcomeDelivered: asDelivered, deadletter.OutcomeDuplicate: asDuplicate,
	deadletter.OutcomeAbsorbed: asAbsorbed, deadletter.OutcomeDead: asDead}

// follower reads on, again and again, what the topics say of a replay. It takes 64 bytes of memory for each of
// its letters.
type follower struct {
	d     *Desk
	p     *Plan
	mask  *Masker
	admin *consume.Admin
	held  *held
	at    map[PlanTarget]int64 // where to read on in the other topics; Offset 0

	letters   spots[followed]
	causes    textNumbers
	deaths    []Death // by old and new cause; the first is none
	deathOf   map[[2]string]uint32
	committed map[PlanTarget]int64 // by topic and partition; Offset 0
}

func (d *Desk) newFollower(p *Plan, mask *Masker) (*follower, error) {
	admin, err := d.groupAdmin()
	if err != nil {
		return nil, err
	}
	f := newFollower(d, p, mask)
	f.admin = admin
	return f, nil
}

func newFollower(d *Desk, p *Plan, mask *Masker) *follower {
	return &follower{d: d, p: p, mask: mask, held: newHeld(d, p), at: map[PlanTarget]int64{}, deaths: make([]Death, 1),
		deathOf: map[[2]string]uint32{}, committed: map[PlanTarget]int64{}}
}

func (f *follower) close() { f.admin.Close() }

// planned follows the letters of the plan, with the causes that they had. A letter that retention removed has
// no source any more: it is followed under its place, of which nothing will be known.
func (f *follower) planned(ctx context.Context) error {
	if f.p.Partitions == nil && f.p.Planned > 0 { // a very large plan is kept without its letters
		return f.written(ctx)
	}
	for i := range f.p.Partitions {
		c := &reading{partition: f.p.Partitions[i].Partition, letters: f.p.Partitions[i].Letters}
		there := int64(0)
		if err := f.d.each(ctx, f.p.Topic, c, func(l *Letter) { f.follow(l.Source(), l.Cause()); there++ }); err != nil {
			return err
		}
		for ; there < c.letters.count(); there++ {
			f.follow(Coordinates{Partition: c.partition, Offset: -1 - there}, "gone")
		}
	}
	return nil
}

// follow asks about a letter.
func (f *follower) follow(source Coordinates, cause string) {
	one, _ := f.letters.get(source)
	one.cause, one.planned = f.causes.number(cause), true
	f.letters.set(source, one)
}

func intern(names map[string]string, s string) string {
	if own, ok := names[s]; ok {
		return own
	}
	names[s] = s
	return s
}

// written follows the letters that the target topics and the states know of this replay.
func (f *follower) written(ctx context.Context) error {
	if err := f.poll(ctx); err != nil {
		return err
	}
	for c := range f.held.have.all() {
		f.follow(c, "")
	}
	for c, one := range f.letters.all() {
		if one.state != notNoted && !one.planned {
			f.follow(c, "") // which is there already: going on is safe
		}
	}
	return nil
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
	if string(l.raw[slotReplayID]) != f.p.ID {
		return
	}
	one, _ := f.letters.get(l.Source())
	old := ""
	if one.planned {
		old = f.causes.list[one.cause]
	}
	one.death = f.death(old, l)
	f.letters.set(l.Source(), one)
}

// death is the number of the deaths from an old cause to that of a letter, which is an example of them.
func (f *follower) death(old string, l *Letter) uint32 {
	key := [2]string{old, l.Cause()}
	n, known := f.deathOf[key]
	if !known {
		n = uint32(len(f.deaths))
		f.deathOf[key] = n
		f.deaths = append(f.deaths, Death{Old: old, New: key[1], Reason: l.ReasonText(), Field: deadletter.BareField(l.Field()),
			What: f.mask.Text(l.Message(), l.Tokens()...), Letter: l.Address().String()})
	}
	return n
}

func (f *follower) state(_ int32, r *consume.Record) {
	topic, partition, offset, err := deadletter.ParseStateKey(string(r.Key))
	if err != nil || r.Value == nil {
		return
	}
	if s, err := deadletter.ParseState(r.Value); err == nil && s.ReplayID == f.p.ID {
		c := Coordinates{topic, partition, offset}
		one, _ := f.letters.get(c)
		one.state = settledBy[s.Outcome]
		f.letters.set(c, one)
	}
}

// await looks until everything is known, or the time is over.
func (f *follower) await(ctx context.Context, wait time.Duration, progress func(*Verification)) (*Verification, error) {
	deadline := time.Now().Add(wait)
	var settled time.Time // since when only unknown ones are left
	for {
		if err := f.poll(ctx); err != nil {
			return nil, err
		}
		v := f.verdict()
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
func (f *follower) verdict() *Verification {
	v := &Verification{Schema: VerificationSchema, ID: f.p.ID, Deaths: []Death{}, Causes: []CauseOutcome{}}
	causes := make([]CauseOutcome, len(f.causes.list))
	deaths := slices.Clone(f.deaths)
	for c, one := range f.letters.all() {
		if !one.planned {
			continue
		}
		v.Planned++
		of := &causes[one.cause]
		switch f.outcome(c, one) {
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
			if one.death == 0 { // its letter is not there yet, or not any more
				one.death, deaths = unseen(deaths, f.causes.list[one.cause])
			}
			deaths[one.death].Count++
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
		if d.Count > 0 {
			v.Deaths = append(v.Deaths, d)
		}
	}
	for i := range causes {
		if causes[i].Cause = f.causes.list[i]; causes[i].Good+causes[i].Dead+causes[i].Open > 0 {
			v.Causes = append(v.Causes, causes[i])
		}
	}
	slices.SortFunc(v.Deaths, func(a, b Death) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	slices.SortFunc(v.Causes, func(a, b CauseOutcome) int { return cmp.Compare(a.Cause, b.Cause) })
	return v
}

// unseen is the place of the deaths of an old cause of which no letter was seen.
func unseen(deaths []Death, old string) (uint32, []Death) {
	n := slices.IndexFunc(deaths[1:], func(d Death) bool { return d.Old == old && d.New == "" && d.Letter == "" }) + 1
	if n == 0 {
		n = len(deaths)
		deaths = append(deaths, Death{Old: old})
	}
	return uint32(n), deaths
}

// Outcomes that no state has.
const (
	unsettled = "unsettled"
	unwritten = "not-written"
	unknown   = "unknown"
)

func (f *follower) outcome(c Coordinates, one followed) string {
	switch one.state {
	case asDelivered:
		return deadletter.OutcomeDelivered
	case asDuplicate:
		return deadletter.OutcomeDuplicate
	case asAbsorbed:
		return deadletter.OutcomeAbsorbed
	case asDead:
		return deadletter.OutcomeDead
	}
	if one.death > 0 {
		return deadletter.OutcomeDead
	}
	at, offset, there := f.held.where(c)
	switch {
	case c.Offset < 0 || !there && one.state != notNoted && f.held.lost:
		return unknown
	case !there:
		return unwritten
	case f.committed[PlanTarget{Topic: at.topic, Partition: int32(at.partition)}] > offset:
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
	states := d.newStates("")
	states.plan = func(id string, text []byte) {
		r := &Replay{ID: id}
		if p := new(Plan); json.Unmarshal(text, p) == nil {
			r.Created, r.By, r.Note, r.Filter, r.Edit, r.Planned = p.Created, p.By, p.Note, p.Filter, p.Digests.Edit, p.Planned
		}
		if delete(byID, id); text != nil {
			byID[id] = r
		}
	}
	if err := states.read(ctx, nil); err != nil {
		return nil, err
	}
	counts := make([]int64, len(states.kinds))
	for _, kind := range states.number.all() {
		counts[kind]++
	}
	for i, n := range counts {
		if s := &states.kinds[i]; s.ReplayID != "" && n > 0 {
			r := byID[s.ReplayID]
			if r == nil {
				r = &Replay{ID: s.ReplayID, By: s.By, Note: s.Note}
				byID[s.ReplayID] = r
			}
			r.add(s.Outcome, n, states.newest[i])
		}
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

// add counts n letters of an outcome, and when the newest of them got it.
func (r *Replay) add(outcome string, n int64, newest time.Time) {
	r.Replayed += n
	switch outcome {
	case deadletter.OutcomeDelivered:
		r.Delivered += n
	case deadletter.OutcomeDuplicate:
		r.Duplicate += n
	case deadletter.OutcomeAbsorbed:
		r.Absorbed += n
	case deadletter.OutcomeDead:
		r.Dead += n
	default:
		r.Open += n
	}
	if newest.After(r.Last) {
		r.Last = newest
	}
}

// KeptPlan is the plan of a replay that was begun, from the state topic. The error is a [*CallError] where
// there is none of this id.
func (d *Desk) KeptPlan(ctx context.Context, id string) (*Plan, error) {
	var found *Plan
	var unread error
	err := d.readOn(ctx, d.Topics.State, map[int32]int64{}, func() {}, func(r *consume.Record) {
		if string(r.Key) != planKey+id {
			return
		}
		if found, unread = nil, nil; r.Value != nil {
			found, unread = parseKept(id, r.Value)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case unread != nil:
		return nil, unread
	case found != nil:
		return found, nil
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
