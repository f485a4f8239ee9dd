package querystore

import (
	"bytes"
	"context"
	"math"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"
)

// keyIndex finds the number of a key. It is emptied and used again.
type keyIndex map[uint64]int32

// find gives the number of a key, whose hash is given, or the place in the index where it belongs.
func (x keyIndex) find(key []byte, hash uint64, at func(i int32) []byte) (i int32, place uint64, ok bool) {
	for place = hash; ; place++ {
		i, ok = x[place]
		if !ok || bytes.Equal(at(i), key) {
			return i, place, ok
		}
	}
}

// hashOf is the hash of a key, for all of a section's indices.
func hashOf(key []byte) uint64 { return xxhash.Sum64(key) }

// outbox is what was added and not acknowledged yet, by set.
type outbox struct {
	index   keyIndex
	sets    []outSet
	members []outMember
	keys    []byte
	buf     []byte
	at      func(i int32) []byte
	// retired are buffers whose members may still be looked at as read ahead.
	retired, free [][]byte

	pieces  []outPiece
	cmds    []redis.Cmder
	args    []any // of cmds
	adds    commands[*addCmd]
	written int // touches
}

type outSet struct {
	key         []byte
	name        string // the same, while it is being written
	first, last int32
	n           int32
}

type outMember struct {
	time  int64
	bytes string // of the buffer
	next  int32  // -1: none
}

func (o *outbox) init() {
	o.index = make(keyIndex)
	o.at = func(i int32) []byte { return o.sets[i].key }
}

// add takes in the member at the end of buf, which is the outbox's buffer with it appended.
func (o *outbox) add(key []byte, hash uint64, time int64, buf []byte) (member []byte) {
	member = buf[len(o.buf):len(buf):len(buf)]
	o.buf = buf
	n := int32(len(o.members))
	o.members = append(o.members, outMember{time, textOf(member), -1})
	i, place, ok := o.index.find(key, hash, o.at)
	if !ok {
		i = int32(len(o.sets))
		k := len(o.keys)
		o.keys = append(o.keys, key...)
		o.sets = append(o.sets, outSet{key: o.keys[k:len(o.keys):len(o.keys)], first: n, last: n, n: 1})
		o.index[place] = i
		return member
	}
	set := &o.sets[i]
	if set.n == 0 {
		set.first = n
	} else {
		o.members[set.last].next = n
	}
	set.last, set.n = n, set.n+1
	return member
}

// of hands out the members of a set.
func (o *outbox) of(key []byte, hash uint64, visit func(time int64, member []byte)) {
	i, _, ok := o.index.find(key, hash, o.at)
	if !ok || o.sets[i].n == 0 {
		return
	}
	for n := o.sets[i].first; n >= 0; n = o.members[n].next {
		visit(o.members[n].time, bytesOf(o.members[n].bytes))
	}
}

// drop lets go of the members of a set.
func (o *outbox) drop(key []byte) {
	if i, _, ok := o.index.find(key, hashOf(key), o.at); ok {
		o.sets[i].n = 0
	}
}

// reset empties the outbox. What was in it stays readable until recycle.
func (o *outbox) reset() {
	clear(o.index)
	o.sets, o.members, o.keys = o.sets[:0], o.members[:0], o.keys[:0]
	if len(o.buf) == 0 {
		return
	}
	o.retired = append(o.retired, o.buf)
	o.buf = nil
	if n := len(o.free); n > 0 {
		o.buf, o.free = o.free[n-1][:0], o.free[:n-1]
	}
}

// mostKept bounds the buffers that are kept for another use.
const mostKept = 4 << 20

// recycle says that nobody looks at what left the outbox any more.
func (o *outbox) recycle() {
	for _, b := range o.retired {
		if cap(b) <= mostKept && len(o.free) < 2 {
			o.free = append(o.free, b)
		}
	}
	clear(o.retired)
	o.retired = o.retired[:0]
}

const (
	// mostMembers bounds the records that one command writes, and mostSets the sets that one touches: the server
	// does nothing else meanwhile.
	mostMembers, mostSets = 250, 32
	// mostWritten bounds the bytes of a pipeline that writes, and that of what it keeps in memory beside.
	mostWritten = 4 << 20
)

// Flush implements [Remote].
func (s *redisSection) Flush() error {
	if err := s.usable(); err != nil {
		return err
	}
	s.beacon.mu.Lock()
	defer s.beacon.mu.Unlock()
	err := s.flush()
	s.beacon.failed = err
	return err
}

// flush writes the outbox, then says so on every master.
func (s *redisSection) flush() error {
	if len(s.out.members) > 0 {
		ctx, cancel := s.store.context()
		defer cancel()
		if err := s.write(ctx); err != nil {
			return s.fails("write", err)
		}
		s.store.counts.records.Add(int64(len(s.out.members)))
		s.out.reset()
	}
	s.beacon.acked = append(s.beacon.acked[:0], s.covered...)
	return nil
}

// write sends all that is in the outbox, in pipelines of bounded size, the beacons at the end of each.
func (s *redisSection) write(ctx context.Context) error {
	nodes, err := s.refreshed(ctx)
	if err != nil {
		return err
	}
	o := &s.out
	o.cut()
	for rest := o.pieces; len(rest) > 0; {
		o.cmds, o.args = o.cmds[:0], o.args[:0]
		for size := 0; len(rest) > 0 && len(o.cmds) < mostCommands-len(nodes)-mostSets && size < mostWritten; {
			n := s.together(rest)
			size += s.writePieces(ctx, rest[:n])
			rest = rest[n:]
		}
		o.cmds = s.appendBumps(ctx, o.cmds, nodes)
		err := s.send(ctx, o.cmds)
		if wrongType(err) {
			err = s.sendAfterRemoval(ctx, o.cmds)
		}
		o.adds.free((*addCmd).empty)
		if err == nil {
			err = s.bumped(o.cmds[len(o.cmds)-len(nodes):])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// outPiece is a run of a set's members, at most mostMembers of them.
type outPiece struct {
	set   *outSet
	first int32
	n     int
}

// cut makes pieces of all sets.
func (o *outbox) cut() {
	o.pieces = o.pieces[:0]
	for i := range o.sets {
		set := &o.sets[i]
		if set.n == 0 {
			continue
		}
		set.name = textOf(set.key)
		at := set.first
		for left := int(set.n); left > 0; {
			piece := outPiece{set, at, min(left, mostMembers)}
			left -= piece.n
			for k := 0; left > 0 && k < piece.n; k++ {
				at = o.members[at].next
			}
			o.pieces = append(o.pieces, piece)
		}
	}
}

// together is how many of the next pieces are touched by one command: in a cluster one may touch only one set.
func (s *redisSection) together(pieces []outPiece) int {
	if s.clustered {
		return 1
	}
	return min(len(pieces), mostSets)
}

// writePieces appends the commands of some pieces and gives the bytes that they carry.
func (s *redisSection) writePieces(ctx context.Context, pieces []outPiece) (size int) {
	members := 0
	for _, p := range pieces {
		size += s.addPiece(ctx, p)
		members += p.n
	}
	s.out.written++
	trim := s.out.written%trimEvery == 0 || members > len(pieces)*trimFrom
	s.out.cmds = append(s.out.cmds, s.touch(ctx, pieces, trim))
	return size
}

// addPiece appends the command that adds a piece's members to its set.
func (s *redisSection) addPiece(ctx context.Context, p outPiece) (size int) {
	o := &s.out
	if p.n == 1 && !s.clustered {
		m, cmd := &o.members[p.first], o.adds.next(newAddCmd)
		cmd.key, cmd.time, cmd.member = p.set.name, m.time, m.bytes
		o.cmds = append(o.cmds, cmd)
		return len(m.bytes)
	}
	from := len(o.args)
	o.args = append(o.args, zadd, &p.set.name)
	at := p.first
	for range p.n {
		m := &o.members[at]
		o.args = append(o.args, &m.time, &m.bytes)
		size += len(m.bytes)
		at = m.next
	}
	o.cmds = append(o.cmds, redis.NewIntCmd(ctx, o.args[from:len(o.args):len(o.args)]...))
	return size
}

// touch is the command that lets the time to live of sets begin anew, and bounds them if it is to.
//
// It stands behind those that add. A worker that dies in between may leave sets that live for ever, until they are
// written to again: they are, since what was not acknowledged is read again from Kafka.
func (s *redisSection) touch(ctx context.Context, pieces []outPiece, trim bool) redis.Cmder {
	o := &s.out
	from := len(o.args)
	if !trim && len(pieces) == 1 {
		o.args = append(o.args, pexpire, &pieces[0].set.name, s.store.ttl)
		return redis.NewIntCmd(ctx, o.args[from:len(o.args):len(o.args)]...)
	}
	o.args = append(o.args, evalsha, scripts.touch.hash, len(pieces))
	for _, p := range pieces {
		o.args = append(o.args, &p.set.name)
	}
	o.args = append(o.args, s.store.ttl)
	if trim {
		before := any("-inf")
		if s.before > math.MinInt64 {
			before = &s.before
		}
		o.args = append(o.args, mostHistory, before)
	}
	return redis.NewIntCmd(ctx, o.args[from:len(o.args):len(o.args)]...)
}

// send runs commands; where a server does not know the scripts yet it is told them, and the commands are
// sent again, which changes nothing of those that succeeded.
func (s *redisSection) send(ctx context.Context, cmds []redis.Cmder) error {
	err := s.store.run(ctx, s.client, cmds)
	if err == nil || !anyNoScript(cmds) {
		return err
	}
	if err := s.teach(ctx); err != nil {
		return err
	}
	for _, cmd := range cmds {
		cmd.SetErr(nil)
	}
	return s.store.run(ctx, s.client, cmds)
}

// sendAfterRemoval sends commands again once those keys are removed that hold something else than a sorted set, which would
// hold up the task for good.
func (s *redisSection) sendAfterRemoval(ctx context.Context, cmds []redis.Cmder) error {
	var removals []redis.Cmder
	for _, cmd := range cmds {
		if args := cmd.Args(); wrongType(cmd.Err()) && args[0] == zadd {
			removals = append(removals, redis.NewIntCmd(ctx, "unlink", args[1]))
		}
	}
	if err := s.store.run(ctx, s.client, removals); err != nil {
		return err
	}
	s.store.warnStrange()
	for _, cmd := range cmds {
		cmd.SetErr(nil)
	}
	return s.send(ctx, cmds)
}

func anyNoScript(cmds []redis.Cmder) bool {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			return true
		}
	}
	return false
}

// teach makes every master know the scripts of the hot path. Without arguments they do nothing.
func (s *redisSection) teach(ctx context.Context) error {
	nodes, err := s.store.masters(ctx, s.client)
	if err != nil {
		return err
	}
	var cmds []redis.Cmder
	for _, node := range nodes {
		key := beaconKey(s.store.opts.KeyPrefix, node.tag, s.task)
		for _, script := range []*script{scripts.touch, scripts.bump, scripts.cover} {
			cmds = append(cmds, redis.NewIntCmd(ctx, "eval", script.source, "1", key))
		}
	}
	return s.store.run(ctx, s.client, cmds)
}
