package querystore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const (
	// firstPage is how many of a set's newest records are read ahead, nextPage how many more at a time when
	// a walk goes on.
	firstPage, nextPage = 32, 256
	// leastAhead is what a section may hold read ahead, however many there are, in bytes.
	leastAhead = 256 << 10
	// mostRead is what an exchange is to bring, in bytes. How much it will be is reckoned from what came before.
	mostRead = 4 << 20
	// recordCost is what a record that is held costs beside its bytes.
	recordCost = 64
)

// prefetched holds sets of records between one Prefetch and the next.
type prefetched struct {
	index keyIndex
	sets  []aheadSet
	keys  []byte
	at    func(i int32) []byte
	bytes int // of records held, those of alone included
	// perSet is how many bytes the first page of a set is reckoned to bring.
	perSet int

	slots     []aheadRecord // where sets have their records
	slotsUsed int           // that were asked for since the last Prefetch

	cmds    []redis.Cmder
	args    []any // of cmds
	pages   commands[*pageCmd]
	newPage func() *pageCmd
	answers answers  // to pages
	members [][]byte // of one answer
	alone   aheadSet // one that was not read ahead
}

// aheadSet is what is known of a sorted set: its newest records, newest first, with what was added.
type aheadSet struct {
	key     []byte
	hash    uint64 // of key
	name    string // the same, while it is being read
	records []aheadRecord
	fetched int   // members that were read
	read    int   // bytes of them
	bytes   int   // those that are held
	shared  int   // those of them that lie with others', and go with them
	partial bool  // newest records are no longer held
	merged  bool  // with what is still to be written
	floor   int64 // the time of the oldest of them
	whole   bool  // there are no further ones
	known   bool  // it was read at all
}

type aheadRecord struct {
	time int64
	// bytes begin with the member's first byte, behind which the record stands.
	bytes []byte
}

func (a *prefetched) init() {
	a.index = make(keyIndex)
	a.at = func(i int32) []byte { return a.sets[i].key }
	a.alone.records = make([]aheadRecord, 0, firstPage) // never those of the sets read ahead
	a.perSet = mostRead / 64                            // nothing is known yet
	a.newPage = func() *pageCmd { return newPageCmd(&a.answers) }
}

// mostSlots bounds the records' places that are kept for another use, 256 KiB.
const mostSlots = 8 << 10

func (a *prefetched) reset() {
	clear(a.index)
	clear(a.sets)
	clear(a.slots[:cap(a.slots)])
	a.sets, a.keys, a.slots, a.bytes = a.sets[:0], a.keys[:0], a.slots[:0], 0
	if want := min(a.slotsUsed, mostSlots); cap(a.slots) < want {
		a.slots = make([]aheadRecord, 0, want)
	}
	a.slotsUsed = 0
}

// places gives room for the records of a set, and a few that may be added.
func (a *prefetched) places(n int) []aheadRecord {
	n += 2
	a.slotsUsed += n
	from := len(a.slots)
	if cap(a.slots)-from < n {
		return make([]aheadRecord, 0, n)
	}
	a.slots = a.slots[:from+n]
	return a.slots[from : from : from+n]
}

// take makes room for a set that is to be read.
func (a *prefetched) take(key []byte) {
	hash := hashOf(key)
	_, place, ok := a.index.find(key, hash, a.at)
	if ok {
		return
	}
	k := len(a.keys)
	a.keys = append(a.keys, key...)
	a.index[place] = int32(len(a.sets))
	a.sets = append(a.sets, aheadSet{key: a.keys[k:len(a.keys):len(a.keys)], hash: hash})
}

// get gives a set that was read ahead.
func (a *prefetched) get(key []byte, hash uint64) *aheadSet {
	if i, _, ok := a.index.find(key, hash, a.at); ok && a.sets[i].known {
		return &a.sets[i]
	}
	return nil
}

// added takes in a record that was added to the store.
func (a *prefetched) added(key []byte, hash uint64, time int64, member []byte) {
	if set := a.get(key, hash); set != nil {
		set.put(time, member)
	}
}

// drop empties a set.
func (a *prefetched) drop(key []byte) {
	if set := a.get(key, hashOf(key)); set != nil {
		set.records, set.fetched, set.whole = set.records[:0], 0, true
	}
}

// put puts a record in its place, unless it is there.
func (set *aheadSet) put(time int64, member []byte) {
	i := len(set.records)
	for i > 0 && set.records[i-1].time < time {
		i--
	}
	for j := i; j > 0 && set.records[j-1].time == time; j-- {
		if bytes.Equal(set.records[j-1].bytes, member) {
			return
		}
	}
	set.records = slices.Insert(set.records, i, aheadRecord{time, member})
}

// Prefetch implements [Remote].
func (s *redisSection) Prefetch(keys [][]byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	a := &s.ahead
	budget := s.store.budget()
	a.reset()
	a.answers.reset(min(budget, mostKept))
	s.out.recycle()
	for _, key := range keys {
		user, kind, _ := SplitKey(key)
		if kind == 0 {
			return errKey
		}
		s.key = appendSetKey(s.key[:0], s.store.opts.KeyPrefix, user, kind)
		a.take(s.key)
	}
	ctx, cancel := s.store.context()
	defer cancel()
	for i := 0; i < len(a.sets) && a.bytes < budget; {
		n := min(len(a.sets)-i, a.atOnce(min(s.store.mostRead, budget-a.bytes)))
		before := a.bytes
		err := s.read(ctx, a.sets[i:i+n], firstPage, true)
		if errors.Is(err, errReplyTooLarge) {
			a.perSet = max(2*a.perSet, s.store.mostReply/n)
			if n > 1 {
				continue
			}
			err = nil // it is read by itself, in smaller pages, if it is walked
		}
		if err != nil {
			a.reset()
			return s.fails("read", err)
		}
		a.reckon((a.bytes - before) / n)
		i += n
	}
	return nil
}

// atOnce is how many sets are read so that they bring about so many bytes.
func (a *prefetched) atOnce(bytes int) int {
	return max(1, min(bytes/max(1, a.perSet), setsAtOnce))
}

// reckon takes in what the first pages of sets brought each. The reckoning rises at once and falls by half at most:
// the next users may be those whose lists are long.
func (a *prefetched) reckon(bytes int) { a.perSet = max(bytes, a.perSet/2) }

// setsAtOnce bounds a pipeline that reads.
const setsAtOnce = mostCommands / 2

// read reads the next page of sets in one exchange, and looks at the beacons. ahead says that it is the first one, and
// that what it brings is held until the next Prefetch.
func (s *redisSection) read(ctx context.Context, sets []aheadSet, page int, ahead bool) error {
	a := &s.ahead
	defer a.replied()
	scored := s.store.outside.Load()
	a.args = a.args[:0]
	cmds, looks := s.appendLooks(ctx, a.cmds[:0])
	for i := range sets {
		cmds = append(cmds, s.pageOf(ctx, &sets[i], page, scored, ahead && !scored && !s.clustered))
	}
	a.cmds = cmds
	if err := s.ask(ctx, cmds); err != nil {
		return err
	}
	if err := s.looked(cmds[:looks]); err != nil {
		return err
	}
	at := 0
	for i := range sets {
		set := &sets[i]
		var err error
		if at, err = a.membersOf(cmds[looks+i], at); wrongType(err) {
			s.store.warnStrange() // it counts as empty, until the worker writes to it
		} else if err != nil {
			return err
		}
		if _, buffered := cmds[looks+i].(*pageCmd); !s.take(set, page, scored, buffered) {
			s.store.outside.Store(true)
			return s.read(ctx, sets[i:], page, ahead)
		}
		if !set.merged { // later ones are put where they belong when they are added
			s.out.of(set.key, set.hash, set.put)
			set.merged = true
		}
	}
	return nil
}

// ask sends commands that read, once more where a connection failed: the client library does not repeat those that
// write into a buffer.
func (s *redisSection) ask(ctx context.Context, cmds []redis.Cmder) error {
	a := &s.ahead
	a.answers.begin()
	err := worst(cmds, s.store.run(ctx, s.client, cmds))
	if err != nil && a.pages.used > 0 && disconnected(err) && ctx.Err() == nil {
		a.answers.undo()
		for _, cmd := range cmds {
			cmd.SetErr(nil)
		}
		err = worst(cmds, s.store.run(ctx, s.client, cmds))
	}
	if err != nil {
		a.answers.undo()
	}
	return err
}

// disconnected says whether an exchange came to nothing for another reason than that a server, or this side, refused it.
func disconnected(err error) bool {
	var refused redis.Error
	return !errors.Is(err, errReplyTooLarge) && !errors.As(err, &refused)
}

// replied lets go of answers that were looked at.
func (a *prefetched) replied() {
	a.pages.free((*pageCmd).empty)
	a.cmds = a.cmds[:0]
	clear(a.cmds[:cap(a.cmds)])
}

// worst is what makes an exchange worthless, of which run gave err: neither a beacon that is missing nor a key of
// another type does.
func worst(cmds []redis.Cmder, err error) error {
	passes := func(err error) bool { return err == nil || errors.Is(err, redis.Nil) || wrongType(err) }
	if !passes(err) {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); !passes(err) {
			return err
		}
	}
	return nil
}

// pageOf is the command that reads the next page of a set.
func (s *redisSection) pageOf(ctx context.Context, set *aheadSet, page int, scored, buffered bool) redis.Cmder {
	a := &s.ahead
	set.name = textOf(set.key)
	if buffered {
		cmd := a.pages.next(a.newPage)
		cmd.key = set.name
		return cmd
	}
	from := len(a.args)
	if a.args = append(a.args, zrevrange, &set.name); set.fetched == 0 && page == firstPage {
		a.args = append(a.args, firstFrom, firstTo)
	} else {
		a.args = append(a.args, set.fetched, set.fetched+page-1)
	}
	if scored {
		a.args = append(a.args, withScores)
	}
	return redis.NewStringSliceCmd(ctx, a.args[from:len(a.args):len(a.args)]...)
}

// membersOf makes members those that such a command brought. at is where its answer begins in the buffer, and next is
// where the next one's does.
func (a *prefetched) membersOf(cmd redis.Cmder, at int) (next int, err error) {
	clear(a.members)
	a.members = a.members[:0]
	page, ok := cmd.(*pageCmd)
	if !ok {
		for _, member := range cmd.(*redis.StringSliceCmd).Val() {
			a.members = append(a.members, bytesOf(member))
		}
		return at, cmd.Err()
	}
	answer, next := a.answers.answer(at, page.Val())
	a.members, err = split(answer, a.members)
	return next, err
}

// take takes in the members that a page brought; shared says that they lie with those of other sets. It reports false
// where scores are needed and were not asked for.
func (s *redisSection) take(set *aheadSet, size int, scored, shared bool) bool {
	page := s.ahead.members
	step := 1
	if scored {
		step = 2
	}
	if !scored {
		for _, member := range page {
			if len(member) > 0 && member[0] == memberJSON {
				return false
			}
		}
	}
	if set.records == nil {
		set.records = s.ahead.places(len(page) / step)
	}
	kind := KindClick
	if bytes.HasPrefix(set.key[len(s.store.opts.KeyPrefix):], []byte(keyShown)) {
		kind = KindImpression
	}
	for i := 0; i+step <= len(page); i += step {
		member := page[i]
		if len(member) > 0 && member[0] == memberJSON {
			score, err := strconv.ParseFloat(textOf(page[i+1]), 64)
			made, ok := appendOutside(nil, kind, member, int64(score))
			if err != nil || !ok {
				s.store.warnStrange()
				continue
			}
			member = made
		}
		if r := &s.rec; len(member) == 0 || member[0] != memberRecord || !r.load(member[1:]) || !r.sound() {
			s.store.warnStrange()
			continue
		} else if s.dead[r.Place.Source] {
			continue
		}
		set.put(s.rec.Time, member)
		set.floor = s.rec.Time
		cost := len(member) + recordCost
		set.read, set.bytes, s.ahead.bytes = set.read+cost, set.bytes+cost, s.ahead.bytes+cost
	}
	if shared {
		set.shared = set.bytes
	}
	n := len(page) / step
	set.fetched += n
	set.whole = n < size
	set.known = true
	s.store.counts.reads.Add(int64(n))
	return true
}

// Walk implements [Section]. Records come newest first.
func (s *redisSection) Walk(key []byte, visit func(r *Record) bool) error {
	if err := s.usable(); err != nil {
		return err
	}
	user, kind, rest := SplitKey(key)
	if kind == 0 {
		return errKey
	}
	s.key = appendSetKey(s.key[:0], s.store.opts.KeyPrefix, user, kind)
	a := &s.ahead
	hash := hashOf(s.key)
	set := a.get(s.key, hash)
	if set != nil {
		s.store.counts.ahead.Add(1)
		err := s.walk(set, kind, rest, visit)
		if set.partial || set.fetched > firstPage && a.bytes > s.store.budget() {
			a.release(set)
		}
		return err
	}
	s.store.counts.alone.Add(1)
	set = &a.alone
	set.key, set.hash = append(set.key[:0], s.key...), hash
	err := s.readMore(set, firstPage)
	if err == nil {
		err = s.walk(set, kind, rest, visit)
	}
	a.release(set)
	return err
}

// release lets go of what is known of a set. Its next walk reads it again.
func (a *prefetched) release(set *aheadSet) {
	clear(set.records)
	a.free(set, set.bytes)
	*set = aheadSet{key: set.key, hash: set.hash, records: set.records[:0]}
}

// free takes bytes of a set off what is held, but for those that go with others'.
func (a *prefetched) free(set *aheadSet, bytes int) {
	bytes = min(bytes, set.bytes-set.shared)
	set.bytes, a.bytes = set.bytes-bytes, a.bytes-bytes
}

// walk goes through the records of a set, and reads on where that is needed.
func (s *redisSection) walk(set *aheadSet, kind Kind, rest []byte, visit func(r *Record) bool) error {
	for i := 0; ; i++ {
		if set.whole && i == len(set.records) {
			return nil
		}
		// Older records that were added may stand below some that were not read.
		if !set.whole && (i == len(set.records) || set.records[i].time < set.floor) {
			if set.bytes > s.store.mostRead {
				i -= s.ahead.pass(set, i)
			}
			if err := s.readMore(set, s.pageAfter(set)); err != nil {
				return err
			}
			i--
			continue
		}
		r := &s.rec
		if !r.load(set.records[i].bytes[1:]) {
			continue
		}
		r.NewestBelow = r.Time
		if r.of(kind, rest) && !visit(r) {
			return nil
		}
	}
}

// keptBehind is how many records behind it a walk keeps: what others add meanwhile makes the next page begin with
// some that were seen.
const keptBehind = 8

// pass lets go of records that a walk has passed, which stands before record i, and gives their number. It keeps those
// that the next page may bring again: records of one time may stand on both pages.
func (a *prefetched) pass(set *aheadSet, i int) (n int) {
	for n = max(0, i-keptBehind); n > 0 && set.records[n-1].time == set.records[i-1].time; {
		n--
	}
	for _, r := range set.records[:n] {
		a.free(set, len(r.bytes)+recordCost) // at most what was counted: not those that were added
	}
	set.records = slices.Delete(set.records, 0, n)
	set.partial = true
	return n
}

// pageAfter is how many members are read next: so many as make mostRead bytes, if they are like those before.
func (s *redisSection) pageAfter(set *aheadSet) int {
	mean := set.read / max(1, set.fetched)
	return max(1, min(s.store.mostRead/max(1, mean), nextPage))
}

// of says whether a record belongs to a key of the given kind.
func (r *Record) of(kind Kind, rest []byte) bool {
	switch kind {
	case KindClick:
		return r.Kind == KindClick && bytes.Equal(r.ObjectID(), rest)
	case KindMark:
		h := r.Hash()
		return r.Kind == KindMark && bytes.Equal(h[:], rest)
	}
	return true
}

// readMore reads the next page of one set, a smaller one where the answer would be too large.
func (s *redisSection) readMore(set *aheadSet, page int) error {
	ctx, cancel := s.store.context()
	defer cancel()
	one := [1]aheadSet{*set}
	err := s.read(ctx, one[:], page, false)
	for errors.Is(err, errReplyTooLarge) && page > 1 {
		page /= 2
		err = s.read(ctx, one[:], page, false)
	}
	if errors.Is(err, errReplyTooLarge) { // one member, which is none of ours
		s.store.warnStrange()
		one[0].fetched++
		err = nil
	}
	*set = one[0]
	return s.fails("read", err)
}
