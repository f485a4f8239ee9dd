package querystore

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"eventworker/internal/realtest"
)

// redisOptions are those of a store of its own on a server that tests share.
func redisOptions(address string) RedisOptions {
	return RedisOptions{Addresses: []string{address}, Mode: RedisSingle, KeyPrefix: "test-" + rand.Text()[:10] + ":", Group: "g"}
}

func newRedis(t testing.TB, opts RedisOptions) *RedisStore {
	t.Helper()
	s, err := OpenRedis(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openRemote(t fataler, s *RedisStore, task int32) Remote {
	t.Helper()
	section, err := s.Open(task)
	if err != nil {
		t.Fatal(err)
	}
	return section.(Remote)
}

// tighten bounds what a store reads so that it always meets the bounds: an exchange brings a few records, nothing may
// be held between walks, and answers are too large now and then.
func tighten(s *RedisStore) {
	s.mostRead, s.mostReply, s.leastAhead, s.opts.Memory = 1<<10, 3<<10, 1<<10, 1
}

// removeAll removes the keys of a model.
func removeAll(t testing.TB, address, prefix string) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	keys := []string{prefix + keyStore, prefix + keyTopics, beaconKey(prefix, "", 3)}
	for u := range modelUsers {
		keys = append(keys, fmt.Sprintf("%sshown:default:user-%d", prefix, u))
	}
	if err := c.Unlink(t.Context(), keys...).Err(); err != nil {
		t.Error(err)
	}
}

// remoteModel is the model of a section in Redis: what was flushed is there whatever happens to the
// section, and nothing of what was not is told as covered.
type remoteModel struct {
	*model
	redis   *RedisStore
	remote  Remote
	flushed int // effects
	covered int // coverages that were flushed
}

func (m *remoteModel) open(t fataler) {
	t.Helper()
	m.remote = openRemote(t, m.redis, 3)
	m.section = m.remote
	for i, topic := range topics {
		if n := m.section.Source(topic); int(n) != i {
			t.Fatalf("source %s has number %d after it had %d", topic, n, i)
		}
	}
}

func (m *remoteModel) flush(t fataler) {
	t.Helper()
	if err := m.remote.Flush(); err != nil {
		t.Fatal(err)
	}
	m.flushed, m.covered = len(m.effects), len(m.coverages)-1
}

// abandon goes on as after a crash of the process: with another section, that takes the task.
func (m *remoteModel) abandon(t fataler) {
	t.Helper()
	m.redis.release(3)
	m.redis.sections.Add(-1)
	m.open(t)
	m.effects = m.effects[:m.flushed]
	there := m.check(t, m.flushed)
	m.checkCoverage(t, there, m.said)
	var applied [2]int64
	for s := range topics {
		applied[s] = m.section.Coverage(uint16(s)).Applied
	}
	m.coverages, m.said, m.covered = []said{{there, applied}}, 0, 0
}

func (m *remoteModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			switch rapid.SampledFrom([]string{"", "walk", "read ahead", "read ahead"}).Draw(t, "look") {
			case "read ahead":
				var keys [][]byte
				for u := range modelUsers {
					keys = append(keys, fmt.Appendf(nil, "default\x00user-%d", u))
				}
				if err := m.remote.Prefetch(keys); err != nil {
					t.Fatal(err)
				}
				m.check(t, len(m.effects))
			case "walk":
				m.check(t, len(m.effects))
			}
		},
		"add": func(t *rapid.T) {
			for range rapid.SampledFrom([]int{1, 5, 40}).Draw(t, "effects") {
				e := m.drawEffect(t)
				if err := e.add(m.section); err != nil {
					t.Fatal(err)
				}
				m.effects = append(m.effects, e)
			}
		},
		"add again": func(t *rapid.T) {
			if len(m.effects) == 0 {
				return
			}
			e := m.effects[rapid.IntRange(0, len(m.effects)-1).Draw(t, "effect")]
			if err := e.add(m.section); err != nil {
				t.Fatal(err)
			}
		},
		"prefetch": func(t *rapid.T) {
			var keys [][]byte
			for _, u := range rapid.SliceOfN(rapid.IntRange(0, modelUsers-1), 1, 6).Draw(t, "users") {
				keys = append(keys, fmt.Appendf(nil, "default\x00user-%d", u))
			}
			if err := m.remote.Prefetch(keys); err != nil {
				t.Fatal(err)
			}
		},
		"cover": func(*rapid.T) { m.cover() },
		"flush": func(t *rapid.T) { m.flush(t) },
		"sync": func(t *rapid.T) {
			if err := m.section.Sync(); err != nil {
				t.Fatal(err)
			}
			m.said = m.covered
		},
		"expire": func(t *rapid.T) {
			before := m.clock - rapid.Int64Range(0, 3_000_000).Draw(t, "age")
			if err := m.section.Expire(before); err != nil {
				t.Fatal(err)
			}
			m.before = max(m.before, before)
		},
		"close and open": func(t *rapid.T) {
			if err := m.section.Close(); err != nil {
				t.Fatal(err)
			}
			m.flushed, m.covered = len(m.effects), len(m.coverages)-1
			m.said = m.covered
			m.open(t)
		},
		"crash": func(t *rapid.T) { m.abandon(t) },
	}
}

// A section in Redis keeps what was added and hands it out unchanged, newest first, read ahead or not,
// flushed or not, over restarts and crashes; coverage is never ahead of the effects; adding again adds
// nothing.
func TestRedisHoldsWhatWasAddedLikeTheModel(t *testing.T) {
	address := realtest.Redis(t)
	rapid.Check(t, func(rt *rapid.T) {
		opts := redisOptions(address)
		store := newRedis(t, opts)
		if rapid.Bool().Draw(rt, "tight") {
			tighten(store)
		}
		m := &remoteModel{model: &model{clock: 1_700_000_000_000, coverages: []said{{}}, before: minTime, byTime: true}, redis: store}
		m.open(rt)
		rt.Repeat(m.actions())
		if err := m.section.Close(); err != nil {
			rt.Fatal(err)
		}
		removeAll(t, address, opts.KeyPrefix)
	})
}
