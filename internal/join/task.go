package join

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"eventworker/internal/batch"
	"eventworker/internal/event"
	"eventworker/internal/querystore"
)

// Message is one record as the join sees it.
type Message struct {
	Offset int64
	// Time is the record's timestamp in milliseconds (for a replayed record that of its first
	// life); negative: it has none.
	Time int64
	Key  []byte
	// Value is nil for a tombstone.
	Value []byte
	// Replay is nil for a message that is read for the first time.
	Replay *Replayed
}

// Part says which message, and which of its objects, an encoded event belongs to.
type Part[M any] struct {
	Message M
	// Event is the event's place among those of its message.
	Event uint16
	// Purchase marks events whose repetition costs money.
	Purchase bool
	// Objects has bit i set if the event carries object or item i of the message, for i < 64.
	// An event that carries a later one is told to [Output.Wide].
	Objects uint64
}

// Absorption says why a message needed no event.
type Absorption uint8

// The reasons of absorbed messages (docs/contract.md, section 8).
const (
	Stored Absorption = iota
	Duplicate
	Tombstone
	Dropped
	SettledBefore
	OtherApplication
	NumAbsorptions // the number of reasons, not a reason
)

var absorptionNames = [NumAbsorptions]string{"stored", "duplicate", "tombstone", "dropped", "settled-before", "other-application"}

// String is the reason as metrics write it.
func (a Absorption) String() string { return absorptionNames[a] }

// Output takes what becomes of the messages. All calls come from the task's goroutine, within a
// call of the Task; every message gets exactly one of Encoded, Absorbed, Refused and
// Restored.
type Output[M any] interface {
	// Encoded says that n ≥ 1 events of the message stand in the runs. With claimed, the caller
	// must tell the outcome to [Task.Outcome].
	Encoded(m M, n int, claimed bool)
	Absorbed(m M, why Absorption)
	// Restored: the message was read again for what it leaves in the store, see [SourceConfig.Deliver]
	// and [SourceConfig.Settled].
	Restored(m M)
	// Refused: nothing of the message is sent. The refusal is valid during the call.
	Refused(m M, r *event.Refusal, about About)
	// Keep: the message waits, and Kept will ask for it again after its chunk is gone.
	Keep(m M)
	Kept(m M) Message
	// Wide gives the objects of an event that carries one beyond the 64th.
	Wide(m M, event uint16, objects []uint16)
}

// About says what is known of a refused message; empty where it is not.
type About struct {
	Type, Application string
	Resolved          []Resolved
}

// Resolved is what the join found for one object; an empty QueryID is an explicit none.
type Resolved struct {
	Object         int
	QueryID, Index string
	Position       int32
}

// Task joins the messages of the partitions of one number. It is used by one goroutine.
type Task[M comparable] struct {
	rules   *rules
	section querystore.Section
	out     Output[M]
	sources sources

	// Runs are the encoded events by application, for the caller to take and reset.
	Runs []batch.Run[Part[M]]
	// Counters count since the task began.
	Counters Counters
	// Health counts how attribution goes, until it is taken.
	Health Health

	unfinished  bool      // the last AtEnd met an error of the store
	at          handling  // how far the live message has come
	f           *frame[M] // the message being worked on: one of the next two
	live, again *frame[M]
	lookup      *lookup
	build       builder
	waiting     waiting[M]
	liveBlocks  *userWaits[M] // whose items wait for the live message to be decided
	claims      claims[M]
	effects     effects
	ahead       ahead[M]
	indexes     indexMemo
	now         int64 // the clock as of the last Clock, milliseconds
}

// effects is where a record for the store is put together: what is handed to an interface would
// else be allocated each time.
type effects struct {
	impression querystore.Impression
	click      querystore.Click
	mark       querystore.Mark
}

// frame is a decoded message and what is known of it. There are two, so that a message that
// waited can be decided in the middle of another.
type frame[M any] struct {
	decoder  *event.Decoder
	ev       event.Event
	m        M
	msg      Message
	src      *source
	app      int
	at       int64 // event time (docs/contract.md, section 2)
	stamp    int64 // the message's own timestamp
	seen     int64 // the progress of its source when it was read
	user     []byte
	waited   *held[M] // the message's earlier waiting, nil at first
	waits    bool     // it was made to wait
	expired  bool     // it has waited as long as a miss may
	claimed  bool     // the message holds the claim on its id
	kept     bool
	slot     int // in src, of a message with an id; -1: it has none yet
	resolved []resolved
	refusal  event.Refusal
	verdict  *event.Refusal // why the message is refused; nil: it is not
}

// NewTask makes the task of a section. The sources are numbered in Handle as they stand here.
func NewTask[M comparable](c *Config, section querystore.Section, from []SourceConfig, out Output[M]) *Task[M] {
	opts := event.Options{HashTokens: c.HashTokens}
	t := &Task[M]{rules: compile(c), section: section, out: out,
		live: &frame[M]{decoder: event.NewDecoder(opts)}, again: &frame[M]{decoder: event.NewDecoder(opts)},
		Runs: make([]batch.Run[Part[M]], len(c.Applications))}
	t.f = t.live
	t.sources.all, t.indexes = t.rules.bestEffort, newIndexMemo(c.Indexes, c.Applications)
	for _, sc := range from {
		id := section.Source(sc.Topic)
		cov := section.Coverage(id)
		src := &source{SourceConfig: sc, id: id, next: sc.Start, applied: cov.Applied, written: cov.Written}
		if sc.Deliver <= sc.Start {
			src.progress = sc.Progress
		}
		t.sources.add(src)
	}
	for _, src := range t.sources.list {
		if t.sources.live > 1 {
			src.knows(src.Steps)
		}
		t.sources.climb(src) // what lies before the start was read with the progress of then
	}
	t.lookup = newLookup(t.rules, &t.sources)
	if remote, ok := section.(querystore.Remote); ok {
		t.ahead.remote, t.ahead.frame = remote, &frame[M]{decoder: event.NewDecoder(opts)}
	}
	t.waiting.users = make(map[string]*userWaits[M])
	t.claims.first = make(map[claimKey]*claim[M])
	t.claims.holder = make(map[M]*claim[M])
	t.now = time.Now().UnixMilli()
	return t
}

// Progress is the greatest event time that source i was read to.
func (t *Task[M]) Progress(i int) int64 { return t.sources.list[i].progress }

// Steps says at which offsets the progress of source i grew, as far back as the task knows it. With one
// source that is read live there is nothing to know. A later task of the same partition that starts at an
// earlier offset, or at the same one, can be given them.
func (t *Task[M]) Steps(i int) []Step { return slices.Clone(t.sources.list[i].steps) }

// Waiting is how many messages wait for the log to say more, or for the outcome of a copy.
func (t *Task[M]) Waiting() int { return t.waiting.n + t.claims.waiting }

// Clock tells the task what time it is, in milliseconds, at least once before each chunk.
func (t *Task[M]) Clock(now int64) { t.now = now }

// handling says how far the live message has come. After an error of the store it is gone on with from
// there: what was done for it, or sent, is not done again.
type handling uint8

const (
	idle      handling = iota
	storing            // its effects are being stored
	releasing          // what it made final is being decided
	deciding           // it is being decided itself
	following          // what its decision set free is being decided
)

// Handle takes the next record of source i. After an error of the store the caller calls it again with
// the same record until it succeeds; nothing happens twice.
func (t *Task[M]) Handle(i int, m M, msg Message) error {
	f, src := t.live, t.sources.list[i]
	t.f = f
	if t.at == idle {
		f.m, f.msg, f.src, f.app, f.waited, f.waits, f.expired, f.claimed, f.kept, f.slot = m, msg, src, -1, nil, false, false, false, false, -1
		f.verdict = nil
		if msg.Value == nil {
			t.sources.advance(src, msg.Offset+1)
			t.absorb(Tombstone)
			return nil
		}
		if f.verdict = f.decoder.Decode(msg.Value, &f.ev); f.verdict == nil {
			f.verdict = t.place()
		}
		t.at = storing
	}
	if t.at == storing {
		if r := f.verdict; r == nil || r.Reason == event.TooOld || r.Reason == event.Future {
			if err := t.impressions(); err != nil {
				return err
			}
		}
		t.progress()
		t.at = releasing
	}
	return t.goOn()
}

// progress notes that the live message was read.
func (t *Task[M]) progress() {
	f, src := t.live, t.live.src
	if t.moves(f) {
		src.progress = max(src.progress, f.at)
	}
	if f.msg.Offset+1 >= src.Deliver {
		src.progress = max(src.progress, src.Progress)
	}
	t.sources.advance(src, f.msg.Offset+1)
	t.sources.late = t.claims.waiting > 0
	t.sources.climb(src)
	f.seen = src.progress
}

// moves says whether a decoded message moves the progress of its source (docs/contract.md, section 9).
// It counts with its event time, whatever its own timestamp says of a clock ahead: that is no later than the
// record's. If that is far ahead of this clock, too, it does not: all that waits would be believed at once.
func (t *Task[M]) moves(f *frame[M]) bool {
	r := f.verdict
	return (r == nil || r.Reason >= event.Future || r.Reason == event.UnknownApplication) && f.at <= t.now+futureTolerance
}

// goOn does what is left to do for the live message once it is read.
func (t *Task[M]) goOn() error {
	if t.at == releasing {
		if err := t.release(); err != nil {
			return err
		}
		if err := t.copies(); err != nil { // before the live message, which may be one more copy
			return err
		}
		t.at = deciding
	}
	if t.at == deciding {
		if f := t.live; f.restores() && f.msg.Offset < f.src.applied {
			t.out.Restored(f.m) // the section has all it leaves: it was read for its time only
		} else if r := f.verdict; r != nil {
			t.refuse(r)
		} else if err := t.first(); err != nil {
			return err
		}
		t.liveDecided()
		t.at = following
	}
	if err := t.unblock(); err != nil {
		return err
	}
	if err := t.copies(); err != nil {
		return err
	}
	t.at = idle
	return nil
}

// first decides a message that was just read, or lets it wait.
func (t *Task[M]) first() error {
	f := t.f
	switch {
	case !t.rules.apps[f.app].served:
		t.absorb(OtherApplication)
		return nil
	case f.ev.Type == event.Shown && t.dedupes():
		return t.shownOnce()
	case f.ev.Type == event.Shown:
		t.shown()
		return nil
	case t.claim():
		return nil
	}
	return t.decide()
}

// place finds the application and the times of the decoded message, and what they forbid.
func (t *Task[M]) place() *event.Refusal {
	f := t.f
	f.times()
	f.app = t.application()
	if f.app < 0 {
		return f.refuse(event.UnknownApplication, event.StageValidate, "application", "application.known",
			"no application of this name is configured: add it under insights.applications, or correct the message")
	}
	a := &t.rules.apps[f.app]
	f.user = append(append(append(f.user[:0], a.name...), 0), f.ev.UserToken...)
	t.misplaced()
	if !a.served {
		return nil // its own group judges it
	}
	if field, index := a.strangeIndex(&f.ev); field != "" {
		return f.refuse(event.Invalid, event.StageValidate, field, "index.allowed",
			"index "+shorten(index)+" is not among the indices of application "+a.name)
	}
	switch {
	case f.stamp > t.now+futureTolerance:
		return f.refuse(event.Future, event.StageValidate, "timestamp", "timestamp.future",
			fmt.Sprintf("the timestamp lies %d s ahead of the worker's clock, at most 300 s are taken", (f.stamp-t.now)/1000))
	case f.stamp < t.now-t.rules.maxAge:
		return f.refuse(event.TooOld, event.StageValidate, "timestamp", "timestamp.age",
			fmt.Sprintf("the timestamp is %d h old, delivery.max_event_age allows %d h", (t.now-f.stamp)/3600_000, t.rules.maxAge/3600_000))
	}
	return nil
}

// misplaced counts messages that a producer's settings put out of their user's way: with another
// key, or where another partitioner puts it. With hashed tokens the key is what was hashed.
func (t *Task[M]) misplaced() {
	f := t.f
	if f.kept || f.src.Replay || t.rules.bestEffort {
		return
	}
	switch {
	case !t.rules.hashTokens && !bytes.Equal(f.msg.Key, f.ev.UserToken):
		t.Counters.NotKeyed++
	case f.src.Expects != nil && !f.src.Expects(f.msg.Key):
		t.Counters.WrongPartition++
	}
}

func (f *frame[M]) times() {
	f.stamp = f.ev.Timestamp
	if f.stamp == 0 {
		f.stamp = max(f.msg.Time, 0)
	}
	f.at = f.stamp
	if f.msg.Time >= 0 {
		f.at = min(f.stamp, f.msg.Time)
	}
}

func (t *Task[M]) application() int {
	name := t.f.ev.Application
	if name == nil {
		name = defaultApplication
	}
	if i, ok := t.rules.byName[string(name)]; ok {
		return i
	}
	return -1
}

var defaultApplication = []byte("default")

// strangeIndex is the first index of the message that the application does not allow.
func (a *app) strangeIndex(ev *event.Event) (field string, index []byte) {
	if a.allowed == nil {
		return "", nil
	}
	strange := func(index []byte) bool { return index != nil && !a.allows(index) }
	for i := range ev.Lists {
		if strange(ev.Lists[i].Index) {
			return fmt.Sprintf("lists[%d].index", i), ev.Lists[i].Index
		}
	}
	for i := range ev.Facets {
		if strange(ev.Facets[i].Index) {
			return fmt.Sprintf("facets[%d].index", i), ev.Facets[i].Index
		}
	}
	if strange(ev.Index) {
		return "index", ev.Index
	}
	for i := range ev.Items {
		if strange(ev.Items[i].Index) {
			return fmt.Sprintf("items[%d].index", i), ev.Items[i].Index
		}
	}
	return "", nil
}

func shorten(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%q…", b[:64])
	}
	return fmt.Sprintf("%q", b)
}

func (f *frame[M]) refuse(reason event.Reason, stage event.Stage, field, rule, message string) *event.Refusal {
	f.refusal = event.Refusal{Reason: reason, Stage: stage, Field: field, Rule: rule, Message: message}
	return &f.refusal
}

// restores says whether the message is read for its effects only.
func (f *frame[M]) restores() bool { return f.src.restores(f.msg.Offset) }

// absorb says that nothing is sent for the message.
func (t *Task[M]) absorb(why Absorption) {
	if t.f.restores() {
		t.out.Restored(t.f.m)
		return
	}
	t.out.Absorbed(t.f.m, why)
}

// refuse hands the message on as a dead letter, and lets copies of it go their own way.
func (t *Task[M]) refuse(r *event.Refusal) {
	f := t.f
	if f.restores() {
		t.unclaim()
		t.out.Restored(f.m)
		return
	}
	about := About{}
	if r.Reason > event.UnknownType {
		about.Type = f.ev.Type.Name()
	}
	if f.app >= 0 {
		about.Application = t.rules.apps[f.app].name
	}
	if r.Stage == event.StageJoin {
		about.Resolved = f.found()
	}
	t.unclaim()
	t.out.Refused(f.m, r, about)
}

// impressions stores what a shown message leaves. One that is too old or ahead leaves it
// nevertheless; a message without an index for each of its parts leaves nothing.
func (t *Task[M]) impressions() error {
	f := t.f
	a := &t.rules.apps[f.app]
	if f.ev.Type != event.Shown || f.msg.Offset < f.src.applied || !a.served || a.lacksIndex(&f.ev) {
		return nil
	}
	for i := range f.ev.Lists {
		list := &f.ev.Lists[i]
		if list.QueryID == nil || len(list.ObjectIDs) == 0 {
			continue
		}
		v := &t.effects.impression
		*v = querystore.Impression{Time: f.at, Place: f.place(), List: uint16(i), QueryID: list.QueryID, Index: or(list.Index, a.defaultIndex),
			Model: list.Model, PositionOffset: list.PositionOffset, ObjectIDs: list.ObjectIDs, Tags: list.Tags}
		there, err := t.present(f.user, querystore.KindImpression, v.Place, v.List)
		if err == nil && !there {
			err = t.section.AddImpression(f.user, v)
			t.ahead.unsaved = true
		}
		if err != nil {
			f.src.written = max(f.src.written, f.msg.Offset+1)
			return fmt.Errorf("store the impression of %s, offset %d: %w", f.src.Topic, f.msg.Offset, err)
		}
		t.Counters.Impressions++
	}
	return nil
}

func (f *frame[M]) place() querystore.Place {
	return querystore.Place{Source: f.src.id, Offset: f.msg.Offset}
}

// present looks for an effect that an earlier life of the task, or a failed try, may have left.
func (t *Task[M]) present(key []byte, kind querystore.Kind, place querystore.Place, ordinal uint16) (there bool, err error) {
	if place.Offset >= t.f.src.written || t.Remote() {
		return false, nil // nearly always
	}
	return t.stored(key, kind, place, ordinal)
}

func (t *Task[M]) stored(key []byte, kind querystore.Kind, place querystore.Place, ordinal uint16) (there bool, err error) {
	err = t.section.Walk(key, func(r *querystore.Record) bool {
		there = r.Kind == kind && r.Place == place && r.Ordinal == ordinal
		return !there
	})
	return there, err
}

func or(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}

// lacksIndex says whether a part of a shown message has no index.
func (a *app) lacksIndex(ev *event.Event) bool {
	return a.facetWithoutIndex(ev) >= 0 ||
		a.defaultIndex == nil && slices.ContainsFunc(ev.Lists, func(l event.List) bool { return l.Index == nil })
}

func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// LateAllowance is how much longer than the windows history is kept, behind the progress of the source that is
// furthest behind: a message that is later than that may miss the oldest impressions of its window.
const LateAllowance = time.Hour

// EndChunk notes in the section what its effects cover, makes them acknowledged where the section is remote,
// and lets expired records go. The caller calls it after each chunk, and where the section is remote also
// after whatever else may have left an effect. After an error it is called again.
func (t *Task[M]) EndChunk() error {
	t.ahead.left = 0
	behind := int64(0)
	for _, s := range t.sources.list {
		c := querystore.Coverage{Applied: max(s.covered(), s.applied), Written: max(s.written, s.next)}
		if c != s.noted {
			t.section.SetCoverage(s.id, c)
			s.noted, t.ahead.unsaved = c, true
		}
		if !s.Replay && (behind == 0 || s.progress < behind) {
			behind = s.progress
		}
	}
	if err := t.save(); err != nil {
		return err
	}
	return t.section.Expire(behind - max(t.rules.longest, t.rules.dedupeWindow) - LateAllowance.Milliseconds())
}
