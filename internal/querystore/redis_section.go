package querystore

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// redisSection is the part of a task in Redis. Records of a user stand in the user's sorted sets; what is
// the task's own are its beacons, one on every master (redis_beacon.go).
type redisSection struct {
	store  *RedisStore
	client redis.UniversalClient
	task   int32
	closed atomic.Bool
	// clustered: a command may touch one user only.
	clustered bool

	// Of the task's goroutine.
	numbers map[string]uint16
	dead    map[uint16]bool // numbers of topics that were made anew
	covered []Coverage      // by source
	// least is the least number that a topic without one may get. The hash of the topics may be lost while records
	// with its numbers are left on other masters: those must not pass for another topic's.
	least  int
	before int64 // records whose time is before it have expired
	out    outbox
	ahead  prefetched
	key    []byte
	rec    Record

	beacon beacon
	lost   atomic.Pointer[LostError]
}

// openSection reads what the section holds and takes it from whoever has it.
func (s *RedisStore) openSection(task int32) (*redisSection, error) {
	ctx, cancel := s.context()
	defer cancel()
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, client); err != nil {
		if evicts(err) {
			s.disbelieve(ctx, client, task)
		}
		return nil, err
	}
	section := &redisSection{store: s, client: client, task: task, before: math.MinInt64,
		numbers: make(map[string]uint16), dead: make(map[uint16]bool)}
	_, section.clustered = client.(*redis.ClusterClient)
	section.out.init()
	section.ahead.init()
	section.beacon.owner = rand.Text()[:8]
	if err := section.load(ctx); err != nil {
		return nil, &RedisError{Task: task, Op: "open", Err: err}
	}
	return section, nil
}

// load reads the numbers of the topics and the beacons.
func (s *redisSection) load(ctx context.Context) error {
	topics, err := s.client.HGetAll(ctx, s.store.opts.KeyPrefix+keyTopics).Result()
	if err != nil {
		return err
	}
	for field, value := range topics {
		if topic, ok := strings.CutPrefix(field, "t:"); ok {
			if n, err := strconv.ParseUint(value, 10, 16); err == nil && n < OutsideSource {
				s.learn(topic, uint16(n))
			}
		}
		if number, ok := strings.CutPrefix(field, "dead:"); ok {
			if n, err := strconv.ParseUint(number, 10, 16); err == nil {
				s.dead[uint16(n)] = true
			}
		}
	}
	if err := s.store.strike(ctx, s.client, s.task); err != nil {
		return err
	}
	return s.takeBeacons(ctx)
}

func (s *redisSection) learn(topic string, n uint16) {
	s.numbers[topic] = n
	for len(s.covered) <= int(n) {
		s.covered = append(s.covered, Coverage{})
	}
}

// usable says why the section can do nothing, if it cannot.
func (s *redisSection) usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	if lost := s.lost.Load(); lost != nil {
		return lost
	}
	return nil
}

// loses makes the section useless.
func (s *redisSection) loses(why string) error {
	s.lost.CompareAndSwap(nil, &LostError{Task: s.task, Why: why})
	return s.lost.Load()
}

// fails wraps what an exchange gave.
func (s *redisSection) fails(op string, err error) error {
	if err == nil || isLost(err) {
		return err
	}
	return &RedisError{Task: s.task, Op: op, Err: err}
}

// Source implements [Section]. All sections share the numbers. Where Redis cannot be asked for the number of
// a new topic the section is lost, and must be opened anew.
func (s *redisSection) Source(topic string) uint16 {
	if n, ok := s.numbers[topic]; ok {
		return n
	}
	n, err := s.number(scripts.topic, topic, s.least)
	if err != nil {
		_ = s.loses("the number of a topic could not be had: " + plain(err))
		return OutsideSource - 1
	}
	s.learn(topic, n)
	return n
}

// number asks for a topic's number.
func (s *redisSection) number(script *script, args ...any) (uint16, error) {
	ctx, cancel := s.store.context()
	defer cancel()
	n, err := s.client.Do(ctx, append([]any{"eval", script.source, "1", s.store.opts.KeyPrefix + keyTopics}, args...)...).Int64()
	if err != nil {
		return 0, err
	}
	if n < 0 || n >= OutsideSource-1 {
		return 0, errors.New("too many topics were numbered under this prefix")
	}
	return uint16(n), nil
}

// Coverage implements [Section].
func (s *redisSection) Coverage(source uint16) Coverage {
	if int(source) >= len(s.covered) {
		return Coverage{}
	}
	return s.covered[source]
}

// SetCoverage implements [Section].
func (s *redisSection) SetCoverage(source uint16, c Coverage) {
	if int(source) < len(s.covered) {
		s.covered[source] = c
	}
}

// AddImpression implements [Section]. What it takes stands on Redis after the next Flush.
func (s *redisSection) AddImpression(user []byte, v *Impression) error {
	if err := s.locate(user); err != nil {
		return err
	}
	buf, err := appendImpression(s.out.buf, v)
	if err == nil {
		s.added(buf, v.Time, v.Place)
	}
	return err
}

// AddClick implements [Section].
func (s *redisSection) AddClick(user []byte, v *Click) error {
	if err := s.locate(user); err != nil {
		return err
	}
	buf, err := appendClick(s.out.buf, v)
	if err == nil {
		s.added(buf, v.Time, v.Place)
	}
	return err
}

// AddMark implements [Section].
func (s *redisSection) AddMark(user []byte, v *Mark) error {
	if err := s.locate(user); err != nil {
		return err
	}
	buf, err := appendMark(s.out.buf, v)
	if err == nil {
		s.added(buf, v.Time, v.Place)
	}
	return err
}

// errKey says that a key is none of those of key.go.
var errKey = errors.New("querystore: a key names no application and token")

// locate finds the set of a key.
func (s *redisSection) locate(key []byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	user, kind, _ := SplitKey(key)
	if kind == 0 {
		return errKey
	}
	s.key = appendSetKey(s.key[:0], s.store.opts.KeyPrefix, user, kind)
	return nil
}

// added puts the member that was appended to the outbox's buffer where it belongs.
func (s *redisSection) added(buf []byte, time int64, place Place) {
	hash := hashOf(s.key)
	member := s.out.add(s.key, hash, time, buf)
	if int(place.Source) < len(s.covered) {
		c := &s.covered[place.Source]
		c.Written = max(c.Written, place.Offset+1)
	}
	s.ahead.added(s.key, hash, time, member)
}

// Expire implements [Section]: it is remembered for the next writes.
func (s *redisSection) Expire(before int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if !s.store.opts.Shared {
		s.before = max(s.before, before)
	}
	return nil
}

// Close implements [Section].
func (s *redisSection) Close() error {
	if s.closed.Load() {
		return nil
	}
	var err error
	if s.lost.Load() == nil {
		if err = s.Flush(); err == nil {
			err = s.Sync()
		}
	}
	s.closed.Store(true)
	s.store.sections.Add(-1)
	s.store.release(s.task)
	if isLost(err) {
		return nil // another worker has it, or it is read again from Kafka: nothing is to be done here
	}
	return err
}

// Forget implements [Forgetter]: the user's sets are removed at once, clicks and marks with them.
func (s *redisSection) Forget(key []byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	user, kind, _ := SplitKey(key)
	if kind == 0 {
		return errKey
	}
	ctx, cancel := s.store.context()
	defer cancel()
	var cmds []redis.Cmder
	for _, kind := range []Kind{KindImpression, KindClick} {
		set := appendSetKey(nil, s.store.opts.KeyPrefix, user, kind)
		cmds = append(cmds, redis.NewIntCmd(ctx, "unlink", string(set)))
		s.out.drop(set)
		s.ahead.drop(set)
	}
	return s.fails("forget", s.store.run(ctx, s.client, cmds))
}

// Reset implements [Resetter]. The topics get new numbers; records under the old ones are passed over from
// now on, here and in sections opened later. What a storefront wrote stays.
func (s *redisSection) Reset() error {
	if err := s.usable(); err != nil {
		return err
	}
	for topic, old := range s.numbers {
		n, err := s.number(scripts.retire, topic, s.least, strconv.Itoa(int(old)))
		if err != nil {
			return s.fails("reset", err)
		}
		s.dead[old] = true
		s.learn(topic, n)
	}
	clear(s.covered)
	s.out.reset()
	s.ahead.reset()
	s.beacon.mu.Lock()
	defer s.beacon.mu.Unlock()
	s.beacon.acked = slices.Clone(s.covered)
	return nil
}
