package querystore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A beacon is a hash of the task's own on every master. Its field seq holds the number of the newest write
// of the task; it is written behind the records, on the same connection. Servers, their files and their
// replicas lose the end of what was written or nothing, so a beacon that is there in its newest state says
// that everything before it is. The fields c<source> hold the coverage as of some write.
//
// A section looks at the beacons with every exchange. One that is missing or old is a loss: see [LostError].

// beacon is what a section knows of its beacons.
type beacon struct {
	owner string

	mu      sync.Mutex // held over an exchange: Sync runs beside the task's goroutine
	nodes   []redisNode
	seq     uint64
	inDoubt bool       // the write after seq may have reached some nodes
	acked   []Coverage // as of the newest acknowledged write
	stored  []Coverage // as the beacons hold it
	failed  error      // of the last Flush
	renewed time.Time  // when its time to live began anew last
}

func (b *beacon) number(seq uint64) string { return b.owner + ":" + strconv.FormatUint(seq, 10) }

// coverage as a beacon holds it.
func formatCoverage(c Coverage) string {
	return strconv.FormatInt(c.Applied, 10) + " " + strconv.FormatInt(c.Written, 10)
}

func parseCoverage(text string) (c Coverage, ok bool) {
	applied, written, _ := strings.Cut(text, " ")
	var err1, err2 error
	c.Applied, err1 = strconv.ParseInt(applied, 10, 64)
	c.Written, err2 = strconv.ParseInt(written, 10, 64)
	return c, err1 == nil && err2 == nil && c.Applied >= 0
}

// takeBeacons reads the beacons of all masters, takes the least of what they say for the coverage, and
// makes them this section's.
func (s *redisSection) takeBeacons(ctx context.Context) error {
	nodes, err := s.store.masters(ctx, s.client)
	if err != nil {
		return err
	}
	var cmds []redis.Cmder
	for _, node := range nodes {
		cmds = append(cmds, redis.NewMapStringStringCmd(ctx, "hgetall", s.beaconKey(node)))
	}
	if err := s.store.run(ctx, s.client, cmds); err != nil {
		return err
	}
	for i, cmd := range cmds {
		s.merge(cmd.(*redis.MapStringStringCmd).Val(), i == 0)
	}
	s.beacon.nodes = nodes
	s.beacon.acked, s.beacon.stored = slices.Clone(s.covered), slices.Clone(s.covered)
	s.beacon.renewed = time.Now()
	return s.plant(ctx, nodes)
}

// merge takes in what one beacon says: effects are there only where all say so.
func (s *redisSection) merge(fields map[string]string, first bool) {
	said := make([]Coverage, len(s.covered))
	for field, value := range fields {
		number, ok := strings.CutPrefix(field, "c")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 16)
		c, ok := parseCoverage(value)
		if err == nil && n < OutsideSource-1 {
			s.least = max(s.least, int(n)+1)
		}
		if err == nil && ok && int(n) < len(said) {
			said[n] = c
		}
	}
	for n := range said {
		if !first {
			said[n].Applied = min(said[n].Applied, s.covered[n].Applied)
			said[n].Written = max(said[n].Written, s.covered[n].Written)
		}
		s.covered[n] = said[n]
	}
}

func (s *redisSection) beaconKey(node redisNode) string {
	return beaconKey(s.store.opts.KeyPrefix, node.tag, s.task)
}

// plant writes beacons with all that this section knows.
func (s *redisSection) plant(ctx context.Context, nodes []redisNode) error {
	if len(nodes) == 0 {
		return nil
	}
	b := &s.beacon
	var cmds []redis.Cmder
	for _, node := range nodes {
		args := []any{"hset", s.beaconKey(node), "seq", b.number(b.seq)}
		for n, c := range b.stored {
			args = append(args, "c"+strconv.Itoa(n), formatCoverage(c))
		}
		cmds = append(cmds, redis.NewIntCmd(ctx, args...), redis.NewIntCmd(ctx, "pexpire", s.beaconKey(node), s.store.opts.Standstill.Milliseconds()))
	}
	return s.store.run(ctx, s.client, cmds)
}

// refreshed gives the masters. One that has come to the cluster, and holds no beacon yet, gets one: what it
// holds came from masters whose beacons were seen.
func (s *redisSection) refreshed(ctx context.Context) ([]redisNode, error) {
	b := &s.beacon
	nodes, err := s.store.masters(ctx, s.client)
	if err != nil || slices.Equal(nodes, b.nodes) {
		return b.nodes, err
	}
	var added []redisNode
	for _, node := range nodes {
		has := func(n redisNode) bool { return n.first >= node.first && n.first <= node.last }
		if !slices.ContainsFunc(b.nodes, has) && !b.inDoubt {
			added = append(added, node)
		}
	}
	if err := s.plant(ctx, added); err != nil {
		return nil, err
	}
	b.nodes = append(slices.Clone(b.nodes), added...)
	return b.nodes, nil
}

// appendBumps appends the commands that mark a write on every master.
func (s *redisSection) appendBumps(ctx context.Context, cmds []redis.Cmder, nodes []redisNode) []redis.Cmder {
	b := &s.beacon
	b.inDoubt = true
	before, next := b.number(b.seq), b.number(b.seq+1)
	for _, node := range nodes {
		cmds = append(cmds, redis.NewIntCmd(ctx, evalsha, scripts.bump.hash, "1", s.beaconKey(node), before, next, s.store.opts.Standstill.Milliseconds()))
	}
	return cmds
}

// bumped looks at the answers to them.
func (s *redisSection) bumped(cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if cmd.(*redis.IntCmd).Val() != 1 {
			return s.lostBeacon()
		}
	}
	s.beacon.seq++
	s.beacon.inDoubt, s.beacon.renewed = false, time.Now()
	return nil
}

// appendLooks appends the commands that read every beacon's newest write.
func (s *redisSection) appendLooks(ctx context.Context, cmds []redis.Cmder) (_ []redis.Cmder, n int) {
	for _, node := range s.beacon.nodes {
		cmds = append(cmds, redis.NewStringCmd(ctx, "hget", s.beaconKey(node), "seq"))
	}
	return cmds, len(s.beacon.nodes)
}

// looked compares what they gave. A beacon that is not there is an error of its command.
func (s *redisSection) looked(cmds []redis.Cmder) error {
	b := &s.beacon
	for _, cmd := range cmds {
		seq := cmd.(*redis.StringCmd).Val()
		if seq != b.number(b.seq) && !(b.inDoubt && seq == b.number(b.seq+1)) {
			return s.lostBeacon()
		}
	}
	return nil
}

func (s *redisSection) lostBeacon() error {
	return s.loses("a server does not know the newest write of this worker: it restarted, another one took over from it, this worker stood still for store.redis.standstill, or another worker has the task")
}

// Sync implements [Section]. It stores the coverage as of the last Flush; nothing else is to be written.
func (s *redisSection) Sync() error {
	if err := s.usable(); err != nil {
		return err
	}
	b := &s.beacon
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return fmt.Errorf("the last write is not acknowledged: %w", b.failed)
	}
	if slices.Equal(b.acked, b.stored) {
		return nil
	}
	return s.covers()
}

// covers stores the coverage, which lets the beacons' time to live begin anew; beacon.mu is held.
func (s *redisSection) covers() error {
	ctx, cancel := s.store.context()
	defer cancel()
	if err := s.keeps(ctx); err != nil {
		return err
	}
	if err := s.cover(ctx); err != nil {
		return s.fails("cover", err)
	}
	b := &s.beacon
	b.stored, b.renewed = append(b.stored[:0], b.acked...), time.Now()
	return nil
}

// renewals is how often a beacon is renewed within the time that it lives without.
const renewals = 4

// Renew implements [Renewer]. It costs one small command on each master per quarter of the standstill. A master
// renews only a beacon that holds the newest write: one that expired or is old is a [LostError] instead.
func (s *redisSection) Renew() (again time.Duration, err error) {
	every := s.store.opts.Standstill / renewals
	if err := s.usable(); err != nil {
		return every, err
	}
	b := &s.beacon
	b.mu.Lock()
	defer b.mu.Unlock()
	if again = every - time.Since(b.renewed); again > 0 {
		return again, nil
	}
	if b.inDoubt || b.failed != nil { // that write is made again first: what is there may be it, or the one before
		return every / renewals, nil
	}
	return every, s.covers()
}

// cover writes what changed of the coverage on every master.
func (s *redisSection) cover(ctx context.Context) error {
	b := &s.beacon
	changed := make([]any, 0, 2*len(b.acked))
	for n, c := range b.acked {
		if n >= len(b.stored) || b.stored[n] != c {
			changed = append(changed, "c"+strconv.Itoa(n), formatCoverage(c))
		}
	}
	var cmds []redis.Cmder
	for _, node := range b.nodes {
		args := []any{evalsha, scripts.cover.hash, "1", s.beaconKey(node), b.number(b.seq), s.store.opts.Standstill.Milliseconds()}
		cmds = append(cmds, redis.NewIntCmd(ctx, append(args, changed...)...))
	}
	if err := s.send(ctx, cmds); err != nil {
		return err
	}
	for _, cmd := range cmds {
		if cmd.(*redis.IntCmd).Val() != 1 {
			return s.lostBeacon()
		}
	}
	return nil
}
