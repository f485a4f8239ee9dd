package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/check"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// ApplyOptions say how to carry a plan out.
type ApplyOptions struct {
	// Check are the worker's rules.
	Check check.Options
	// Rate replaces the plan's; 0: that of the plan.
	Rate float64
	// Canary puts so many letters, spread over causes and partitions, before the others; 0: none. Its share
	// of success must be MinSuccess. It is waited for as long as Wait.
	Canary     int
	MinSuccess float64
	Wait       time.Duration
	// GoOn is asked after a canary that was good; nil: it goes on.
	GoOn func(*Verification) bool
	// Mask masks users' tokens in what is said of the canary; nil masks nothing.
	Mask *Masker
	// Progress is told now and then how far it is; nil: nobody is.
	Progress func(Applied)
	// Clock is what ages are judged by; nil: time.Now.
	Clock func() time.Time
	// DryRun walks the same way and writes nothing.
	DryRun bool
}

// Applied says what was done of a plan. Planned = Written + Before + Passed + TooOld + Refused + Gone + Left.
type Applied struct {
	Schema  string `json:"schema"`
	ID      string `json:"id"`
	Planned int64  `json:"planned"`
	// Written went to the target topic now, Before had gone before.
	Written int64 `json:"written"`
	Before  int64 `json:"before"`
	// Passed were replayed otherwise, or discarded, since the plan was made.
	Passed int64 `json:"passed"`
	// TooOld got too old since the plan was made; Refused are refused for another reason by now.
	TooOld  int64 `json:"too_old"`
	Refused int64 `json:"refused"`
	// Gone was removed by retention.
	Gone int64 `json:"gone"`
	// Left waits for the next call.
	Left int64 `json:"left"`
	// Parked are letters of the plan's cap that were marked.
	Parked int64 `json:"parked"`
	DryRun bool  `json:"dry_run"`
	// Rate is how many letters go in a second at the moment, Yields says to what it yields; empty: nothing.
	Rate   float64 `json:"-"`
	Yields string  `json:"-"`
	// Canary is what came of the canary, nil without one.
	Canary *Verification `json:"canary,omitempty"`
}

// AppliedSchema names the form of what a replay says.
const AppliedSchema = "eventworker.dlq.replay/v1"

// CanaryError says that too few letters of a canary were delivered: nothing more was written.
type CanaryError struct {
	Share, Least float64
	// Unsettled and Unknown letters do not count as delivered.
	Unsettled, Unknown int64
}

func (e *CanaryError) Error() string {
	text := fmt.Sprintf("the canary failed: %.1f %% of its letters ended well, %.1f %% must", 100*e.Share, 100*e.Least)
	if e.Unsettled > 0 {
		text += fmt.Sprintf("; %s not settled in time", Thousands(e.Unsettled))
	}
	if e.Unknown > 0 {
		text += fmt.Sprintf("; of %s nobody knows what became", Thousands(e.Unknown))
	}
	return text
}

// ErrDeclined says that nobody wanted to go on after the canary.
var ErrDeclined = errors.New("stopped after the canary")

// Apply puts the letters of a plan on their topic: those that are not there yet, so a plan may be applied
// again after any interruption, and applied twice does nothing. When ctx ends, what is on its way is
// finished (a few seconds), and the error is ctx's. The plan must not be stale.
//
// Before a letter is written its state is: a call that ends in between is found out by the next one,
// which reads what the topic already holds of this plan.
func (d *Desk) Apply(ctx context.Context, p *Plan, o ApplyOptions) (Applied, error) {
	a, err := d.newApply(ctx, p, o)
	if err != nil {
		return Applied{Schema: AppliedSchema, ID: p.ID, Planned: p.Planned, Left: p.Planned, DryRun: o.DryRun}, err
	}
	defer a.close()
	first := map[int32]offsets{}
	if o.Canary > 0 {
		if first, err = a.canary(ctx); err != nil {
			return a.sum(), err
		}
	}
	for i := range p.Partitions {
		one := &p.Partitions[i]
		a.cursors = append(a.cursors, &reading{partition: one.Partition, letters: one.Letters.without(first[one.Partition])})
	}
	if err := a.all(ctx); err != nil {
		return a.sum(), err
	}
	err = a.park(ctx)
	return a.sum(), err
}

// apply carries a plan out.
type apply struct {
	d      *Desk
	p      *Plan
	o      ApplyOptions
	judge  judge
	states *States
	left   spots[struct{}] // claimed by an earlier call, and not written
	back   []upheld        // what dead claims that came second lie over
	held   *held
	writer *deadletter.StateWriter
	client *kafka.Client
	done   func()
	admin  *consume.Admin
	pacer  *pacer
	looked time.Time
	told   time.Time
	n      Applied

	cursors []*reading
}

// reading is how far the letters of a partition are.
type reading struct {
	partition int32
	letters   offsets
	at        int64 // of the next offset
}

func (d *Desk) newApply(ctx context.Context, p *Plan, o ApplyOptions) (_ *apply, err error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	a := &apply{d: d, p: p, o: o, judge: judge{opts: o.Check}}
	a.n = Applied{Schema: AppliedSchema, ID: p.ID, Planned: p.Planned, DryRun: o.DryRun}
	if p.Edit != nil {
		if a.judge.edit, err = ParseEdit(p.Edit); err != nil {
			return nil, err
		}
	}
	rate := o.Rate
	if rate <= 0 {
		rate = max(p.Rate, 1)
	}
	a.pacer = newPacer(rate, p.Live)
	if a.writer, err = d.stateWriter(ctx); err != nil {
		return nil, err
	}
	a.client, a.done = d.Cluster.Client(targets(p)...)
	if a.admin, err = d.groupAdmin(); err != nil {
		a.close()
		return nil, err
	}
	if err := a.begin(ctx); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// begin keeps the plan beside the states, and reads what was done of it before.
func (a *apply) begin(ctx context.Context) (err error) {
	if !a.o.DryRun {
		// A topic that is just made has no leader for a moment.
		keep, cancel := outlive(ctx)
		defer cancel()
		err := again(keep, func() error {
			return a.writer.Write(keep, []deadletter.StateRecord{{Key: planKey + a.p.ID, Value: kept(a.p)}})
		})
		if err != nil {
			return fmt.Errorf("keep the plan: %w", err)
		}
	}
	a.states, a.held = a.d.newStates(a.p.ID), newHeld(a.d, a.p)
	return a.known(ctx)
}

// known reads what was done of the plan before.
func (a *apply) known(ctx context.Context) error {
	if err := a.states.read(ctx, nil); err != nil {
		return err
	}
	if err := a.held.read(ctx); err != nil {
		return err
	}
	return a.leftovers(ctx)
}

// twinTime is how long a call that finds letters claimed and not written looks whether another call is about
// to write them.
const twinTime = time.Second

// TwinError says that another call carries the plan out at this moment.
type TwinError struct{ ID string }

func (e *TwinError) Error() string {
	return fmt.Sprintf("plan %s is being carried out by another call at this moment", e.ID)
}

// leftovers finds the letters that a call which was interrupted had claimed and did not write.
func (a *apply) leftovers(ctx context.Context) error {
	find := func() {
		a.left = spots[struct{}]{}
		for c := range a.states.claims.all() {
			if !a.held.has(c) {
				a.left.set(c, struct{}{})
			}
		}
	}
	if find(); a.left.len() == 0 || a.o.DryRun || a.held.lost {
		return nil
	}
	if err := pause(ctx, twinTime); err != nil {
		return err
	}
	twin := false
	if err := a.states.read(ctx, func(one *noted) { twin = twin || isClaim(&one.state, a.p.ID) }); err != nil {
		return err
	}
	if twin {
		return &TwinError{a.p.ID}
	}
	if err := a.held.read(ctx); err != nil {
		return err
	}
	find()
	return nil
}

func (a *apply) close() {
	if a.admin != nil {
		a.admin.Close()
	}
	a.writer.Close(context.Background()) // nothing is queued
	a.done()
}

// maxKept is how large a plan that is kept beside the states may be, in bytes.
const maxKept = 768 << 10

// kept is the plan as it is kept beside the states; a very large one without its letters.
func kept(p *Plan) []byte {
	text, err := json.Marshal(p)
	if err == nil && len(text) <= maxKept {
		return text
	}
	short := *p
	short.Partitions, short.Diffs, short.Planned = nil, nil, p.Planned
	text, _ = json.Marshal(&short) // what was read from JSON always marshals
	return text
}

func targets(p *Plan) (topics []string) {
	seen := map[string]bool{}
	for _, t := range p.TargetFrom {
		if !seen[t.Topic] {
			seen[t.Topic] = true
			topics = append(topics, t.Topic)
		}
	}
	return topics
}

// sum is what was done so far.
func (a *apply) sum() Applied {
	n := a.n
	n.Left = n.Planned - n.Written - n.Before - n.Passed - n.TooOld - n.Refused - n.Gone
	n.Rate, n.Yields = a.pacer.rate, a.pacer.why
	return n
}

// all goes round the partitions until their letters are written.
func (a *apply) all(ctx context.Context) error {
	for len(a.cursors) > 0 {
		left := a.cursors[:0]
		for _, c := range a.cursors {
			if err := a.look(ctx); err != nil {
				return err
			}
			more, err := a.some(ctx, c)
			if err != nil {
				return err
			}
			if more {
				left = append(left, c)
			}
		}
		a.cursors = left
	}
	a.tell(true)
	return nil
}

// look asks now and then how far behind the workers are, and waits while they are too far.
func (a *apply) look(ctx context.Context) error {
	for !a.o.DryRun {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(a.looked) < lagEvery && !a.pacer.hold {
			return nil
		}
		g, err := a.group(ctx)
		if err != nil {
			return err
		}
		a.looked = time.Now()
		a.pacer.look(a.d.lagOf(g))
		if !a.pacer.hold {
			return nil
		}
		a.tell(false)
		if err := pause(ctx, lagEvery/4); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// group asks about the group; a coordinator that moves is waited for.
func (a *apply) group(ctx context.Context) (g *consume.Group, err error) {
	limited, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	err = again(limited, func() error {
		g, err = a.admin.Group(limited)
		return err
	})
	return g, err
}

func (a *apply) tell(last bool) {
	if a.o.Progress != nil && (last || time.Since(a.told) >= progressEvery) {
		a.told = time.Now()
		a.o.Progress(a.sum())
	}
}

// maxBatchBytes bounds what one round holds, but for one letter.
const maxBatchBytes = 512 << 10

// some writes the next letters of a partition, and says whether there are more.
func (a *apply) some(ctx context.Context, c *reading) (more bool, err error) {
	batch, more, gone, err := a.d.next(ctx, a.p.Topic, c, a.pacer.batch())
	if err != nil {
		return false, err
	}
	a.n.Gone += gone
	return more, a.write(ctx, batch)
}

// next reads the next letters of a partition; gone are planned ones that are not there any more.
func (d *Desk) next(ctx context.Context, topic string, c *reading, n int) (batch []*Letter, more bool, gone int64, err error) {
	from, ok := c.letters.next(c.at)
	if !ok {
		return nil, false, 0, nil
	}
	_, to := c.letters.bounds()
	size, at := 0, from
	_, err = d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: c.partition, From: from, To: to, FetchBytes: maxBatchBytes}, func(records []consume.Record, next int64) error {
		for i := range records {
			if !c.letters.has(records[i].Offset) {
				continue
			}
			l := LetterOf(c.partition, &records[i]).Clone()
			batch, size, at = append(batch, l), size+len(l.Value), l.Offset+1
			if len(batch) == n || size >= maxBatchBytes {
				return errStop
			}
		}
		at = next
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, false, 0, err
	}
	gone = between(c.letters, from, at) - int64(len(batch))
	c.at = at
	_, more = c.letters.next(at)
	return batch, more, gone, nil
}

// each calls fn for the letters of a partition, which are valid only during the call.
func (d *Desk) each(ctx context.Context, topic string, c *reading, fn func(*Letter)) error {
	from, to := c.letters.bounds()
	if from == to {
		return nil
	}
	_, err := d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: c.partition, From: from, To: to}, func(records []consume.Record, _ int64) error {
		for i := range records {
			if c.letters.has(records[i].Offset) {
				fn(LetterOf(c.partition, &records[i]))
			}
		}
		return nil
	})
	return err
}

// between is how many offsets of a set lie from ≤ o < to.
func between(o offsets, from, to int64) (n int64) {
	for _, r := range o {
		n += max(min(r.To, to)-max(r.From, from), 0)
	}
	return n
}

// write writes what of a batch is to be written, at the plan's pace.
func (a *apply) write(ctx context.Context, batch []*Letter) error {
	var out []outgoing
	a.judge.opts.Now = a.o.Clock()
	for _, l := range batch {
		one, err := a.decide(ctx, l)
		if err != nil {
			return err
		}
		if one != nil {
			out = append(out, *one)
		}
	}
	if err := a.restore(ctx); err != nil {
		return err
	}
	if len(out) == 0 {
		a.tell(false)
		return ctx.Err()
	}
	if !a.o.DryRun {
		if err := a.pacer.wait(ctx, len(out)); err != nil {
			return err
		}
		finish, cancel := outlive(ctx)
		defer cancel()
		written, err := a.put(finish, out)
		a.n.Written += written
		if err != nil {
			return err
		}
	} else {
		a.n.Written += int64(len(out))
	}
	a.tell(false)
	return ctx.Err()
}

const (
	// putTime bounds the tries to write a batch, finishTime what is left of it when the caller wants to stop.
	putTime    = time.Minute
	finishTime = 5 * time.Second
)

// outlive is a context for what has begun: it is finished also after ctx, within seconds.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(finishTime, cancel)
		context.AfterFunc(own, func() { timer.Stop() })
	})
	return own, func() { stop(); cancel() }
}

// outgoing is a letter on its way.
type outgoing struct {
	source    Coordinates
	replay    string // the letter's last replay
	topic     string
	partition int
	record    kafka.Record
	key       []byte
	value     []byte
}

// decide makes the record of a letter, nil if it is not to be written; then it is counted.
func (a *apply) decide(ctx context.Context, l *Letter) (*outgoing, error) {
	source := l.Source()
	switch a.standing(source, l.ReplayID()) {
	case standsBefore:
		a.n.Before++
		return nil, nil
	case standsChanged:
		a.passed(source, l.ReplayID())
		return nil, nil
	}
	j, err := a.judge.letter(ctx, l)
	if err != nil {
		return nil, err
	}
	if j.refusal != nil {
		if j.refusal.Reason == event.TooOld {
			a.n.TooOld++
		} else {
			a.n.Refused++
		}
		return nil, nil
	}
	return a.outgoing(l, source, &j)
}

// standing is where a letter of the plan stands.
type standing int

const (
	stands        standing = iota // as the plan found it
	standsBefore                  // written by this plan before
	standsChanged                 // something else became of it
)

// standing is where the letter of a message stands that came of a replay.
func (a *apply) standing(source Coordinates, replay string) standing {
	s, noted := a.states.Get(source)
	switch {
	case a.held.has(source):
		return standsBefore
	case !noted:
		return stands
	case a.dead(source):
		if before, ok := a.states.upon(source); ok {
			return standsUpon(replay, before) // an earlier call came second, and did not live to see it
		}
		return stands // its record was not written any more
	case s.ReplayID != a.p.ID:
		return standsUpon(replay, s)
	}
	return standsBefore // if not by this call, by another one that runs now
}

// dead says that an earlier call claimed a letter and ended before it wrote it. Who claimed it later may not
// have lived to see that it came second.
func (a *apply) dead(source Coordinates) bool {
	return !a.held.lost && a.left.has(source) && a.states.claims.has(source)
}

// standsUpon says whether what was noted of a message leaves its letter open.
func standsUpon(replay string, s deadletter.State) standing {
	s, current := stateUpon(replay, s)
	if !current || s.Status != deadletter.StateOpen {
		return standsChanged
	}
	return stands
}

// outgoing is a letter's record: the original key, value and headers, and what the worker needs to know.
func (a *apply) outgoing(l *Letter, source Coordinates, j *judged) (*outgoing, error) {
	c, err := l.Context()
	if err != nil {
		return nil, fmt.Errorf("dead letter %s: %w", l.Address(), err)
	}
	edited := c.Edited
	if j.edited {
		edited = a.p.Digests.Edit
	}
	if j.dropResolved {
		c.Resolved = nil
	}
	one := &outgoing{source: source, replay: l.ReplayID(), topic: a.p.Target, key: l.Key, value: j.value}
	at := time.Now() // retention of the replay topic goes by it; the worker goes by the header
	if one.topic == "" {
		one.topic = source.Topic
		if ms := l.Timestamp(); ms > 0 {
			at = time.UnixMilli(ms)
		}
	}
	count := a.held.partitions(one.topic)
	if count == 0 {
		return nil, fmt.Errorf("topic %s is not one that the plan writes to", one.topic)
	}
	one.partition = int(source.Partition) % count
	one.record = kafka.Record{Time: at}
	for _, h := range c.ReplayHeaders(deadletter.Originals(l.Headers), a.p.ID, c.ReplayCount+1, edited) {
		one.record.Headers = append(one.record.Headers, kafka.Header(h))
	}
	if note := a.p.noteHeader(); len(note) > 0 {
		one.record.Headers = append(one.record.Headers, kafka.Header{Key: HeaderNote, Value: note})
	}
	return one, nil
}
