package storefront

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Truth knows what must become of each message of a log. Add the messages in log order, then Seal
// it. It is used by one goroutine.
type Truth struct {
	rules Rules
	// Config made the log, if a Generator did: it can be made again to explain a difference.
	config *Config
	// OnVerdict, if set, is given each verdict when it falls; the events are the callee's to keep.
	OnVerdict func(*Verdict)
	// visit is OnVerdict with what tells the message by its events.
	visit func(o origin, v *Verdict)

	names      *names
	partitions map[int32]*partition
	apps       map[string]*Application // those of the rules

	// Room that is used again for each message.
	builder builder
	answers []answer
	key     []byte
	spare   []*pending

	codes    []verdictCode // by Seq
	expected expectations
	refused  map[uint64][]int // parts of the messages of which the API refuses some
	sealed   bool
}

// NewTruth is a truth of a log of one topic, read by a worker with these rules. Rules.Now must be set.
func NewTruth(rules Rules) *Truth {
	t := &Truth{rules: rules, names: newNames(), partitions: map[int32]*partition{}, refused: map[uint64][]int{}, apps: map[string]*Application{}}
	t.builder.rules = &t.rules
	for name, app := range rules.Applications {
		t.apps[name] = &app
	}
	return t
}

// NewTruthOf is the truth of the log that a configuration generates. It refuses one with several
// topics, whose order the log does not fix.
func NewTruthOf(c Config) (*Truth, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(c.topics()) > 1 {
		return nil, fmt.Errorf("truth of %d topics: what comes of messages spread over topics depends on how they are read; give all types one topic", len(c.topics()))
	}
	t := NewTruth(c.Rules)
	t.config = &c
	t.expected.expect(c.Messages)
	return t, nil
}

// partition is the state of one partition: its progress, its users, and what waits.
type partition struct {
	length   uint32 // messages read
	progress int64  // the highest event time that was read
	users    map[string]*history
	waiting  []*pending         // in order of (event time, place)
	ids      map[string]*result // of the last message of each id
	ended    bool
}

// result is what copies of a message have to know of it.
type result struct {
	t    int64
	code verdictCode // undecided until the verdict fell
}

// pending is a valid message on its way to its verdict.
type pending struct {
	said      *said
	seq       uint64
	app       *Application
	user      *history
	place     uint32
	t         int64 // event time
	timestamp int64 // the one to send, before it is held against now

	// after is the outcome of the message of the same id before this copy, which waits for it.
	after *result
	// result is this message's own, for the copies after it; nil if there can be none.
	result *result
	// missed: not all of its objects had an answer, so that it waits for what is late.
	missed bool
}

// Add reads the next message of its partition and decides whatever became final by it.
func (t *Truth) Add(m *Message) {
	p := t.partition(m.Partition)
	place := p.length
	p.length++
	s := m.said
	if s == nil {
		s = read(m.Value)
	}
	msg := t.pending()
	*msg = pending{said: s, seq: m.Seq, place: place, timestamp: timeOf(s, m)}
	msg.t = min(msg.timestamp, m.Time)

	refusal := t.judge(msg)
	s = msg.said
	if refusal == undecided || refusal >= unknownApplication && refusal != future {
		p.progress = max(p.progress, msg.t)
	}
	if s.kind == shown && (refusal == undecided || refusal == future || refusal == tooOld) {
		refusal = t.show(p, msg, refusal)
	}
	switch {
	case refusal == undecided && s.kind != shown:
		t.await(p, msg)
	case refusal != undecided:
		t.fall(msg, refusal)
		fallthrough
	default:
		t.spare = append(t.spare, msg)
	}
	t.decide(p)
}

// pending is room for a message, of one that has its verdict if there is.
func (t *Truth) pending() *pending {
	last := len(t.spare) - 1
	if last < 0 {
		return new(pending)
	}
	msg := t.spare[last]
	t.spare = t.spare[:last]
	return msg
}

// Seal ends the log: what still waits is decided with what was read. The truth takes no more messages.
func (t *Truth) Seal() {
	if t.sealed {
		return
	}
	for _, number := range slices.Sorted(maps.Keys(t.partitions)) {
		p := t.partitions[number]
		p.ended = true
		t.decide(p)
	}
	t.partitions, t.names, t.spare, t.sealed = nil, nil, nil, true
	t.expected.seal()
}

func (t *Truth) partition(number int32) *partition {
	p := t.partitions[number]
	if p == nil {
		p = &partition{users: map[string]*history{}, ids: map[string]*result{}, progress: math.MinInt64}
		t.partitions[number] = p
	}
	return p
}

// timeOf is the message's own timestamp, else that of its first life, else the record's.
func timeOf(s *said, m *Message) int64 {
	if s.timestamp != 0 {
		return s.timestamp
	}
	for _, h := range m.Headers {
		if h.Key == "eventworker.dlq.timestamp" {
			var ms int64
			if _, err := fmt.Sscan(string(h.Value), &ms); err == nil {
				return ms
			}
		}
	}
	return m.Time
}

// judge says why a message is refused before any look-up, in order of precedence; undecided if it
// is not. It finds the application and the user.
func (t *Truth) judge(p *pending) verdictCode {
	s := p.said
	switch {
	case s.tombstone:
		return tombstone
	case s.refusal != "":
		return codeOf(DeadLettered, s.refusal)
	}
	if t.rules.HashTokens {
		changed := *s // the generator may write s once more, as a copy
		changed.userToken, changed.authenticatedUserToken = hashed(s.userToken), hashed(s.authenticatedUserToken)
		s, p.said = &changed, &changed
	}
	if !validToken(s.userToken) || s.authenticatedUserToken != "" && !validToken(s.authenticatedUserToken) {
		return invalid
	}
	app, known := t.apps[s.applicationName()]
	if known && !allowsAll(app, s) {
		return invalid
	}
	if !known {
		return unknownApplication
	}
	p.app = app
	switch {
	case p.timestamp > t.rules.Now+maxAhead:
		return future
	case p.timestamp < t.rules.Now-t.rules.MaxEventAge.Milliseconds():
		return tooOld
	}
	return undecided
}

func (s *said) applicationName() string {
	if s.application == "" {
		return "default"
	}
	return s.application
}

func validToken(s string) bool {
	return s != "" && len(s) <= 128 && tokenCharacters.all(s)
}

func hashed(token string) string {
	if token == "" || validToken(token) {
		return token
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// allowsAll says whether every index that the message names is an allowed one.
func allowsAll(app *Application, s *said) bool {
	if len(app.Indices) == 0 {
		return true
	}
	allowed := func(index string) bool { return index == "" || slices.Contains(app.Indices, index) }
	for i := range s.lists {
		if !allowed(s.lists[i].index) {
			return false
		}
	}
	for i := range s.items {
		if !allowed(s.items[i].index) {
			return false
		}
	}
	return allowed(s.index)
}

// history is what the user of the message left in this partition.
func (t *Truth) history(p *partition, msg *pending) *history {
	t.key = append(append(append(t.key[:0], msg.said.applicationName()...), 0), msg.said.userToken...)
	h := p.users[string(t.key)]
	if h == nil {
		h = &history{}
		p.users[string(t.key)] = h
	}
	return h
}

// show leaves the impressions of a shown message and gives its verdict. One that is too old or of the
// future leaves them too; one without an index leaves none.
func (t *Truth) show(p *partition, msg *pending, refusal verdictCode) verdictCode {
	lists := msg.said.lists
	for i := range lists {
		if msg.indexOf(&lists[i]) == "" {
			if refusal == undecided {
				return noIndex
			}
			return refusal
		}
	}
	user := t.history(p, msg)
	for i := range lists {
		t.addImpression(user, msg, i, &lists[i])
	}
	user.forget(p.progress - t.horizon())
	if refusal != undecided {
		return refusal
	}
	if !t.rules.SendViews {
		return stored
	}
	t.builder.start(msg)
	for i := range lists {
		t.builder.views(&lists[i], msg.indexOf(&lists[i]))
	}
	if len(t.builder.events) == 0 {
		return stored
	}
	t.fall(msg, delivered)
	return undecided
}

// indexOf is the index of a shown list: its own, else the application's.
func (p *pending) indexOf(l *list) string {
	if l.index != "" {
		return l.index
	}
	return p.app.DefaultIndex
}

func (t *Truth) addImpression(user *history, msg *pending, place int, l *list) {
	queryID := cleanQueryID(l.queryID)
	if queryID == "" || len(l.objectIDs) == 0 {
		return
	}
	user.addImpression(impression{
		moment:  moment{msg.t, msg.place, uint16(place)},
		index:   t.names.of(msg.indexOf(l)),
		model:   t.names.of(l.model),
		offset:  l.offset,
		queryID: queryID,
		objects: t.names.all(l.objectIDs),
	})
}

// horizon is how far behind a partition's progress an impression can still matter: the longest
// window, for an event that is as late as the generator makes them.
func (t *Truth) horizon() int64 {
	if t.config == nil {
		return math.MaxInt64 / 2
	}
	return max(t.rules.Window, t.rules.ClickWindow).Milliseconds() + maxDelay.Milliseconds()
}

// await queues a click, add-to-cart or purchase in order of (event time, place).
func (t *Truth) await(p *partition, msg *pending) {
	msg.user = t.history(p, msg)
	if s := msg.said; s.id != "" && t.rules.deduplicates(s.kind) {
		key := s.applicationName() + "\x00" + settingName(s.kind) + "\x00" + s.id
		if first := p.ids[key]; first != nil && abs(first.t-msg.t) <= t.rules.DedupeWindow.Milliseconds() {
			msg.after = first
		}
		msg.result = &result{t: msg.t}
		p.ids[key] = msg.result
	}
	i := len(p.waiting)
	for i > 0 && p.waiting[i-1].t > msg.t {
		i--
	}
	p.waiting = slices.Insert(p.waiting, i, msg)
}

func abs(n int64) int64 { return max(n, -n) }

// decide gives their verdict to all that became final, the oldest first, until none is left.
func (t *Truth) decide(p *partition) {
	for i := 0; i < len(p.waiting); {
		msg := p.waiting[i]
		if !t.decided(p, msg) {
			i++
			continue
		}
		// It may have left a click that a message before it waits for: start again.
		p.waiting = slices.Delete(p.waiting, i, i+1)
		t.spare = append(t.spare, msg)
		i = 0
	}
}

// decided gives a message its verdict if that is final.
func (t *Truth) decided(p *partition, msg *pending) bool {
	if first := msg.after; first != nil {
		switch first.code {
		case undecided:
			return false
		case delivered, duplicate:
			t.fall(msg, duplicate)
			return true
		}
		msg.after = nil
	}
	if msg.missed && !p.ended && p.progress < msg.t+t.rules.patience() {
		return false
	}
	if t.rules.takesClicks(msg.said) && clickWaits(p, msg) {
		return false
	}
	r := resolver{rules: &t.rules, names: t.names, user: msg.user, app: msg.app, t: msg.t}
	if !msg.missed {
		r.below = msg.place + 1 // what it waited for changes nothing of what it sees
	}
	answers, final := r.answers(msg.said, t.answers[:0])
	if !final && !msg.missed {
		if msg.missed = true; !p.ended && p.progress < msg.t+t.rules.patience() {
			t.answers = answers
			return false
		}
		r.below = 0
		answers, _ = r.answers(msg.said, answers[:0])
	}
	t.answers = answers
	t.settle(msg, answers)
	return true
}

// clickWaits says whether an earlier click of the same user still waits.
func clickWaits(p *partition, msg *pending) bool {
	for _, other := range p.waiting {
		if other.t > msg.t {
			break
		}
		if other.user == msg.user && other.said.kind == clicked {
			return true
		}
	}
	return false
}

// settle gives a click, add-to-cart or purchase its verdict from its final answers.
func (t *Truth) settle(msg *pending, answers []answer) {
	matched := len(answers) == 0 // a click on facets looks nothing up
	missing := false
	for _, a := range answers {
		matched = matched || a.matched
		missing = missing || a.index == ""
	}
	facetIndex := msg.said.index
	if facetIndex == "" {
		facetIndex = msg.app.DefaultIndex
	}
	missing = missing || len(msg.said.facets) > 0 && facetIndex == ""
	switch {
	case !matched && t.rules.OnMiss == OnMissDrop:
		t.fall(msg, dropped)
		return
	case missing:
		t.fall(msg, noIndex)
		return
	case !matched && t.rules.OnMiss == OnMissDeadLetter:
		t.fall(msg, unmatched)
		return
	}
	t.builder.start(msg)
	switch {
	case len(msg.said.facets) > 0:
		t.builder.filters(msg.said.facets, facetIndex)
	case msg.said.kind == clicked:
		t.remember(msg, answers)
		t.builder.clicks(msg.said, answers)
	default:
		t.builder.conversions(msg.said, answers)
	}
	t.fall(msg, delivered)
}

// remember keeps the objects of a click that ended with a queryID.
func (t *Truth) remember(msg *pending, answers []answer) {
	for i, a := range answers {
		if a.queryID == "" {
			continue
		}
		msg.user.addClick(click{
			moment:  moment{msg.t, msg.place, uint16(i)},
			object:  t.names.of(msg.said.objects[i].id),
			index:   t.names.of(a.index),
			queryID: a.queryID,
		})
	}
}

// fall notes a verdict. With delivered, the builder's events arrive but for those with an object
// that the API refuses.
func (t *Truth) fall(msg *pending, code verdictCode) {
	var arriving []built
	var parts []int
	if code == delivered {
		if arriving, parts = t.arriving(); len(arriving) < len(t.builder.events) {
			code = rejected
		}
	}
	for i := range arriving {
		t.expected.add(arriving[i].Digest(), uint32(msg.seq))
	}
	if msg.result != nil {
		msg.result.code = code
	}
	if parts != nil {
		t.refused[msg.seq] = parts
	}
	for uint64(len(t.codes)) <= msg.seq {
		t.codes = append(t.codes, undecided)
	}
	t.codes[msg.seq] = code
	if t.OnVerdict != nil {
		t.OnVerdict(verdictOf(msg.seq, code, arriving, parts))
	}
	if t.visit != nil {
		t.visit(origin{msg.said.userToken, msg.timestamp}, verdictOf(msg.seq, code, arriving, parts))
	}
}

// arriving are the builder's events without those that the API refuses, and the parts of those.
func (t *Truth) arriving() (events []built, parts []int) {
	events = t.builder.events
	for i := range t.builder.events {
		e := &t.builder.events[i]
		switch refused := t.refuses(e.ObjectIDs); {
		case refused:
			if len(events) == len(t.builder.events) {
				events = slices.Clone(events[:i])
			}
			parts = append(parts, e.parts...)
		case len(events) < len(t.builder.events):
			events = append(events, *e)
		}
	}
	slices.Sort(parts)
	return events, parts
}

func (t *Truth) refuses(objectIDs []string) bool {
	for _, o := range objectIDs {
		if slices.Contains(t.rules.RefusedObjects, o) {
			return true
		}
	}
	return false
}

// verdictOf is a verdict of its own: nothing in it is used again.
func verdictOf(seq uint64, code verdictCode, events []built, parts []int) *Verdict {
	v := &Verdict{Seq: seq, Outcome: code.outcome(), Reason: reasonNames[code], Parts: slices.Clone(parts)}
	for i := range events {
		e := events[i].Event
		e.ObjectIDs, e.Filters = slices.Clone(e.ObjectIDs), slices.Clone(e.Filters)
		e.Positions, e.ObjectData = slices.Clone(e.Positions), slices.Clone(e.ObjectData)
		v.Events = append(v.Events, e)
	}
	return v
}
