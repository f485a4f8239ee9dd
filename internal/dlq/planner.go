package dlq

import (
	"cmp"
	"context"
	"slices"
	"time"

	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// The verdicts of a plan, in the order in which it lists them.
const (
	Pass           = "pass"
	PassAfterEdit  = "pass-after-edit"
	StillInvalid   = "still-invalid"
	TooOld         = "too-old"
	ReplayedBefore = "replayed-before"
	OverTheCap     = "over-the-cap"
	Duplicate      = "duplicate"
	Discarded      = "discarded"
	Parked         = "parked"
	NotServed      = "not-served"
	OtherGroup     = "other-group"
	OtherTopic     = "other-topic"
	Unreadable     = "unreadable"
)

var verdictOrder = []string{Pass, PassAfterEdit, StillInvalid, TooOld, ReplayedBefore, OverTheCap, Duplicate, Discarded, Parked, NotServed,
	OtherGroup, OtherTopic, Unreadable}

// Verdict is what a plan says of the letters of one cause.
type Verdict struct {
	Verdict string `json:"verdict"`
	Count   int64  `json:"count"`
	// Cause, Reason, Field and What are those of the dead letter, or, of what is still invalid, of the
	// refusal that a replay would meet.
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
	Field  string `json:"field"`
	What   string `json:"what"`
	// Letter is one of them.
	Letter string `json:"letter"`
	// Soon is how many of them are too old within Plan.Soon hours.
	Soon int64 `json:"soon"`
}

// planner judges letters one by one.
type planner struct {
	d      *Desk
	plan   *Plan
	o      *PlanOptions
	judge  judge
	states *States
	inputs map[string]bool

	verdicts map[verdictKey]uint32 // indexes of list
	list     []*Verdict
	letters  pages[planned] // that are planned, parked or refused, in the order of the topic
	seen     spots[uint32]  // indexes of letters
	replays  textNumbers
	examples map[string]int // by cause
	planned  int64          // and parked
}

type verdictKey struct{ verdict, cause string }

// planned is a letter that was looked at. Its verdict is settled at the end, since a later letter of the
// same message may take its place.
type planned struct {
	offset    int64
	partition int32
	verdict   uint32
	replay    uint32 // that it came of
	soon      bool
}

func newPlanner(d *Desk, p *Plan, o *PlanOptions, states *States) *planner {
	w := &planner{
		d: d, plan: p, o: o, judge: judge{opts: o.Check, edit: o.Edit}, states: states, inputs: map[string]bool{},
		verdicts: map[verdictKey]uint32{}, examples: map[string]int{},
	}
	for _, topic := range d.Topics.Inputs {
		w.inputs[topic] = true
	}
	return w
}

// take judges a letter.
func (w *planner) take(ctx context.Context, l *Letter) error {
	if w.planned == w.o.Max {
		return &Stop{Why: "a plan has at most " + Thousands(w.o.Max) + " letters: the rest waits for the next one"}
	}
	w.plan.Matched++
	if verdict, refusal := w.foreign(l); verdict != "" {
		w.note(l, verdict, refusal, false)
		return nil
	}
	at, replay := l.Source(), w.replays.number(l.ReplayID())
	earlier, again := w.seen.get(at)
	if again && w.letters.at(int(earlier)).replay == replay {
		w.note(l, Duplicate, nil, false)
		return nil
	}
	verdict, refusal, soon, err := w.verdict(ctx, l)
	if err != nil {
		return err
	}
	if again { // a replay of it ended here
		w.replaced(w.letters.at(int(earlier)))
	}
	v := w.note(l, verdict, refusal, soon)
	if w.keeps(verdict, again) {
		w.seen.set(at, uint32(w.letters.n))
		w.letters.add(planned{l.Offset, l.Partition, v, replay, soon})
	}
	return nil
}

// foreign is the verdict of letters that this plan has nothing to do with; empty: it has.
func (w *planner) foreign(l *Letter) (verdict string, refusal *refused) {
	if _, err := l.Context(); err != nil {
		return Unreadable, &refused{what: err.Error()}
	}
	switch {
	case !w.o.AnyGroup && l.Group() != w.plan.Group:
		return OtherGroup, nil
	case w.o.ToOriginal && !w.inputs[l.Source().Topic]:
		return OtherTopic, nil
	}
	return "", nil
}

// keeps says whether a letter is kept in mind: each that is planned or parked, and of those that are refused
// as many as a plan may have. The others need no memory, and do not fill the plan.
func (w *planner) keeps(verdict string, again bool) bool {
	switch {
	case fills(verdict):
		w.planned++
		return true
	case verdict == StillInvalid || verdict == TooOld:
		return again || w.letters.n < MaxPlan
	}
	return again // the later letter of a message takes the place of the earlier one
}

// fills says whether a verdict is one of those that Max bounds.
func fills(verdict string) bool {
	return verdict == Pass || verdict == PassAfterEdit || verdict == OverTheCap
}

// replaced takes a letter of which there is a later one out of what is planned.
func (w *planner) replaced(one *planned) {
	old := w.list[one.verdict]
	if fills(old.Verdict) {
		w.planned--
	}
	old.Count--
	if one.soon {
		old.Soon--
	}
	one.soon = false
	one.verdict = w.of(ReplayedBefore, old.Cause, func(v *Verdict) {
		*v = *old
		v.Verdict, v.Count, v.Soon = ReplayedBefore, 0, 0
	})
	w.list[one.verdict].Count++
}

// verdict decides in the order of what cannot be mended first.
func (w *planner) verdict(ctx context.Context, l *Letter) (verdict string, refusal *refused, soon bool, err error) {
	state, current := StateOf(l, w.states)
	switch {
	case !current:
		return ReplayedBefore, nil, false, nil
	case state.Status == deadletter.StateDiscarded:
		return Discarded, nil, false, nil
	case state.Status == deadletter.StateParked:
		return Parked, nil, false, nil
	case l.ReplayCount() >= w.plan.MaxReplays:
		return OverTheCap, nil, false, nil
	}
	j, err := w.judge.letter(ctx, l)
	if err != nil {
		return "", nil, false, err
	}
	if w.o.Edit != nil {
		w.edited(l, &j)
	}
	switch {
	case j.absorbed == otherApplication:
		return NotServed, nil, false, nil
	case j.refusal != nil && j.refusal.Reason == event.TooOld:
		return TooOld, nil, false, nil
	case j.refusal != nil:
		what := j.refusal.Message
		if j.missed {
			what += " (the edit does not fit it)"
		}
		return StillInvalid, &refused{cause: j.cause, reason: j.refusal.Reason.String(), field: deadletter.BareField(j.refusal.Field), what: what}, false, nil
	}
	verdict = Pass
	if j.edited {
		verdict = PassAfterEdit
	}
	return verdict, nil, w.soon(j.eventTime), nil
}

// refused is what a replay would meet.
type refused struct{ cause, reason, field, what string }

// soon says whether an event is too old in a few hours.
func (w *planner) soon(eventTime int64) bool {
	most := w.o.Check.Rules.MaxEventAge
	return eventTime > 0 && most > 0 && time.UnixMilli(eventTime).Add(most).Before(w.o.Check.Now.Add(w.o.Soon))
}

// edited counts what the edit does, and keeps examples.
func (w *planner) edited(l *Letter, j *judged) {
	if !j.edited {
		w.plan.Unchanged++
		return
	}
	w.plan.Changed++
	const examples = 3
	if cause := l.Cause(); w.examples[cause] < examples {
		w.examples[cause]++
		w.plan.Diffs = append(w.plan.Diffs, Example{Cause: cause, Letter: l.Address().String(), Changes: Diff(l.Value, j.value, w.o.Mask)})
	}
}

// note counts a letter under its verdict.
func (w *planner) note(l *Letter, verdict string, r *refused, soon bool) uint32 {
	if r == nil {
		r = &refused{cause: l.Cause(), reason: l.ReasonText(), field: deadletter.BareField(l.Field()), what: l.Message()}
	}
	n := w.of(verdict, r.cause, func(v *Verdict) {
		v.Reason, v.Field, v.What, v.Letter = r.reason, r.field, w.o.Mask.Text(r.what, l.Tokens()...), l.Address().String()
	})
	w.list[n].Count++
	if soon {
		w.list[n].Soon++
	}
	return n
}

// of is the place of what is said of a cause's letters.
func (w *planner) of(verdict, cause string, begin func(*Verdict)) uint32 {
	key := verdictKey{verdict, cause}
	n, known := w.verdicts[key]
	if !known {
		v := &Verdict{}
		begin(v)
		v.Verdict, v.Cause = verdict, cause
		n = uint32(len(w.list))
		w.verdicts[key], w.list = n, append(w.list, v)
	}
	return n
}

// finish adds up.
func (w *planner) finish(ctx context.Context, s Snapshot, report *Report) error {
	p := w.plan
	p.Scanned, p.Total, p.Complete, p.Why = report.Scanned, report.Total, report.Complete, report.Why
	for _, r := range s.Ranges {
		p.partition(r.Partition, r)
	}
	var one *PlanPartition
	for l := range w.letters.all() {
		if one == nil || one.Partition != l.partition {
			one = p.partition(l.partition, Range{})
		}
		switch w.list[l.verdict].Verdict {
		case Pass, PassAfterEdit:
			one.Letters.add(l.offset)
			p.Planned++
		case OverTheCap:
			one.Parked.add(l.offset)
		}
	}
	slices.SortFunc(p.Partitions, func(a, b PlanPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	for _, v := range w.list {
		if v.Count > 0 {
			p.Verdicts = append(p.Verdicts, *v)
		}
	}
	slices.SortFunc(p.Verdicts, func(a, b Verdict) int {
		return cmp.Or(cmp.Compare(slices.Index(verdictOrder, a.Verdict), slices.Index(verdictOrder, b.Verdict)),
			cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	slices.SortStableFunc(p.Diffs, func(a, b Example) int { return cmp.Compare(a.Cause, b.Cause) })
	return w.firsts(ctx)
}

// firsts names the source of the first letter of each partition.
func (w *planner) firsts(ctx context.Context) (err error) {
	for i := range w.plan.Partitions {
		one := &w.plan.Partitions[i]
		from, to := one.Letters.bounds()
		if from == to {
			continue
		}
		if one.First, err = w.d.nameOf(ctx, w.plan.Topic, one.Partition, from); err != nil {
			return err
		}
	}
	return nil
}

// partition is the plan's entry of a partition, which a range widens.
func (p *Plan) partition(number int32, r Range) *PlanPartition {
	i := slices.IndexFunc(p.Partitions, func(one PlanPartition) bool { return one.Partition == number })
	if i < 0 {
		p.Partitions = append(p.Partitions, PlanPartition{Partition: number, From: r.From, To: r.To})
		return &p.Partitions[len(p.Partitions)-1]
	}
	one := &p.Partitions[i]
	if r.To > 0 {
		one.From, one.To = min(one.From, r.From), max(one.To, r.To)
	}
	return one
}
