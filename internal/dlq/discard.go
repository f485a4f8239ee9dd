package dlq

import (
	"cmp"
	"context"
	"slices"

	"eventworker/internal/deadletter"
)

// Discarding is what a person is about to give up: pinned, so that what was counted is what is discarded.
type Discarding struct {
	Schema string `json:"schema"`
	Filter string `json:"filter"`
	Count  int64  `json:"count"`
	// Already were discarded before, Replayed are on their way or ended well, OtherGroup were written by another
	// consumer group, Unreadable do not say which message they are of; none of them is discarded.
	Already    int64          `json:"already"`
	Replayed   int64          `json:"replayed"`
	OtherGroup int64          `json:"other_group"`
	Unreadable int64          `json:"unreadable"`
	Causes     []DiscardCause `json:"causes"`
	Scanned    int64          `json:"scanned"`
	Total      int64          `json:"total"`
	Complete   bool           `json:"complete"`
	Why        string         `json:"why,omitempty"`

	keys pages[discarded]
}

// DiscardSchema names the form of what a discard says.
const DiscardSchema = "eventworker.dlq.discard/v1"

// DiscardCause is the letters of one cause.
type DiscardCause struct {
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
	Field  string `json:"field"`
	What   string `json:"what"`
	Count  int64  `json:"count"`
	Letter string `json:"letter"`
}

// discarded is a message that is to be discarded.
type discarded struct {
	source Coordinates
	replay string
}

// DiscardOptions say what to discard.
type DiscardOptions struct {
	Filter *Filter
	// AnyGroup takes letters that another group wrote, too.
	AnyGroup bool
	// Mask masks users' tokens in sentences; nil masks nothing.
	Mask     *Masker
	Progress func(Report)
}

// PlanDiscard pins the letters that a filter takes, at most [MaxPlan].
func (d *Desk) PlanDiscard(ctx context.Context, o DiscardOptions) (*Discarding, error) {
	f := o.Filter
	states, err := d.States(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := d.Snapshot(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &Discarding{Schema: DiscardSchema, Filter: f.String(), Causes: []DiscardCause{}}
	causes, seen, names := map[string]*DiscardCause{}, spots[uint32]{}, map[string]string{}
	report, err := d.Scan(ctx, snapshot, f, ScanOptions{Partitions: 1, Progress: o.Progress}, func(l *Letter) error {
		s, current := StateOf(l, states)
		switch {
		case !l.hasSource():
			out.Unreadable++
			return nil
		case !o.AnyGroup && l.Group() != d.Group:
			out.OtherGroup++
			return nil
		case !current:
			out.Replayed++
			return nil
		case s.Status == deadletter.StateDiscarded:
			out.Already++
			return nil
		}
		source := l.Source()
		source.Topic = intern(names, source.Topic)
		if at, again := seen.get(source); again { // written twice, or dead again
			out.keys.at(int(at)).replay = intern(names, l.ReplayID())
			return nil
		}
		if out.keys.n == MaxPlan {
			return &Stop{Why: "at most " + Thousands(MaxPlan) + " letters are discarded at a time"}
		}
		seen.set(source, uint32(out.keys.n))
		out.keys.add(discarded{source, intern(names, l.ReplayID())})
		c := causes[l.Cause()]
		if c == nil {
			c = &DiscardCause{Cause: l.Cause(), Reason: l.ReasonText(), Field: deadletter.BareField(l.Field()), What: o.Mask.Text(l.Message(), l.Tokens()...), Letter: l.Address().String()}
			causes[c.Cause] = c
		}
		c.Count++
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Count = int64(out.keys.n)
	out.Scanned, out.Total, out.Complete, out.Why = report.Scanned, report.Total, report.Complete, report.Why
	for _, c := range causes {
		out.Causes = append(out.Causes, *c)
	}
	slices.SortFunc(out.Causes, func(a, b DiscardCause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return out, nil
}

// hasSource says whether the letter names the message that it is of, so that something can be decided about it.
func (l *Letter) hasSource() bool {
	key := string(l.raw[slotTopic]) + "/" + string(l.raw[slotPartition]) + "/" + string(l.raw[slotOffset])
	topic, partition, offset, err := deadletter.ParseStateKey(key)
	return err == nil && l.Source() == Coordinates{topic, partition, offset}
}

// Discard marks what was pinned, but for what was replayed or discarded since. The letters stay in their
// topic, and their marks can be taken back by nobody but a later state. done says how many are marked, also
// when an error ends it.
func (d *Desk) Discard(ctx context.Context, p *Discarding, by, note string) (done int64, err error) {
	if note == "" {
		return 0, callf("eventworker dlq discard --help", "discarding wants a note that says why")
	}
	w, err := d.stateWriter(ctx)
	if err != nil {
		return 0, err
	}
	defer w.Close(context.Background()) // nothing is queued
	states := d.newStates("")
	for _, page := range p.keys.list {
		for batch := range slices.Chunk(page, maxStateBatch) {
			n, err := d.discard(ctx, w, states, batch, by, note)
			done += n
			if err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// discard marks a batch, but for what was decided about before. What is begun is ended.
func (d *Desk) discard(ctx context.Context, w *deadletter.StateWriter, states *States, batch []discarded, by, note string) (done int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := states.read(ctx, nil); err != nil {
		return 0, err
	}
	var claims []claim
	for _, k := range batch {
		s, noted := states.Get(k.source)
		if noted && (s.ReplayID != k.replay || s.Status == deadletter.StateDiscarded) {
			continue
		}
		claims = append(claims, claim{source: k.source, replay: k.replay, state: decided(k.replay, deadletter.StateDiscarded, by, note)})
	}
	finish, cancel := outlive(ctx)
	defer cancel()
	if err := claimAll(finish, w, states, claims); err != nil {
		return 0, err
	}
	for i := range claims {
		if !claims[i].lost {
			done++
		}
	}
	return done, nil
}
