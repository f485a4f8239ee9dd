//go:build unix

package querystore

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// mixture plays the traffic of the mix (docs/architecture.md) on a section, in chunks of 512 messages as a
// runner does: 70 % shown, 20 % clicked, 10 % bought with 1 to 5 items, 3/4 of it from a tenth of the users.
type mixture struct {
	shop    *shop
	rng     *rand.Rand
	users   int
	section Section
	remote  Remote // nil: the section is here
	chunk   [512]mixed
	keys    [][]byte
	arena   []byte
	click   Click
	mark    Mark
	offset  int64
	found   int
}

type mixed struct {
	kind, user int
	objects    [5][]byte
	n          int
}

func newMix(section Section, users int) *mixture {
	m := &mixture{shop: newShop(), rng: rand.New(rand.NewPCG(3, 4)), users: users, section: section}
	m.remote, _ = section.(Remote)
	m.click = Click{QueryID: []byte("0123456789abcdef0123456789abcdef"), Index: []byte("products_de")}
	return m
}

func (m *mixture) draw() {
	for i := range m.chunk {
		c := &m.chunk[i]
		switch n := m.rng.IntN(10); {
		case n < 7:
			c.kind, c.n = 0, 0
		case n < 9:
			c.kind, c.n = 1, 1
		default:
			c.kind, c.n = 2, 1+m.rng.IntN(5)
		}
		if c.user = m.rng.IntN(m.users); m.rng.IntN(4) > 0 {
			c.user = m.rng.IntN(m.users / 10)
		}
		for k := range c.n {
			c.objects[k] = m.shop.objects[m.rng.IntN(len(m.shop.objects))]
		}
	}
}

func (m *mixture) key(build func(dst []byte) []byte) []byte {
	n := len(m.arena)
	m.arena = build(m.arena)
	return m.arena[n:len(m.arena):len(m.arena)]
}

func (m *mixture) prefetch(b *testing.B) {
	if m.remote == nil {
		return
	}
	m.keys, m.arena = m.keys[:0], m.arena[:0]
	for i := range m.chunk {
		c := &m.chunk[i]
		if c.kind == 0 {
			continue
		}
		user := m.shop.userAt(c.user)
		m.keys = append(m.keys, m.key(func(dst []byte) []byte { return append(dst, user...) }))
		for k := 0; c.kind == 2 && k < c.n; k++ {
			m.keys = append(m.keys, m.key(func(dst []byte) []byte { return AppendClickKey(dst, user, c.objects[k]) }))
		}
	}
	if err := m.remote.Prefetch(m.keys); err != nil {
		b.Fatal(err)
	}
}

// play plays one chunk.
func (m *mixture) play(b *testing.B) {
	m.draw()
	m.prefetch(b)
	var err error
	for i := range m.chunk {
		c := &m.chunk[i]
		m.offset++
		switch c.kind {
		case 0:
			_, imp := m.shop.next(1)
			imp.Place.Offset = m.offset
			binary.LittleEndian.PutUint16(imp.QueryID[8:], 0x3030+uint16(m.offset&7))
			err = m.section.AddImpression(m.shop.userAt(c.user), imp)
		case 1:
			err = m.clicked(c)
		default:
			err = m.bought(c)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	m.section.SetCoverage(0, Coverage{Applied: m.offset, Written: m.offset})
	if m.remote != nil {
		if err := m.remote.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

func (m *mixture) look(user []byte, c *mixed) error {
	hash, left := HashObject(c.objects[0]), 5
	return m.section.Walk(user, func(r *Record) bool {
		if _, ok := r.Find(hash, c.objects[0]); ok {
			m.found++
		}
		left--
		return left > 0
	})
}

func (m *mixture) clicked(c *mixed) error {
	user := m.shop.userAt(c.user)
	if err := m.look(user, c); err != nil {
		return err
	}
	v := &m.click
	v.Time, v.Place.Offset, v.ObjectID = 1_700_000_000_000+m.offset, m.offset, c.objects[0]
	m.arena = AppendClickKey(m.arena, user, c.objects[0])
	return m.section.AddClick(m.arena[len(m.arena)-len(user)-2-len(c.objects[0]):], v)
}

func (m *mixture) bought(c *mixed) error {
	user := m.shop.userAt(c.user)
	n := len(m.arena)
	for k := range c.n {
		m.arena = AppendClickKey(m.arena[:n], user, c.objects[k])
		if err := m.section.Walk(m.arena[n:], func(*Record) bool { return true }); err != nil {
			return err
		}
	}
	if err := m.look(user, c); err != nil {
		return err
	}
	v := &m.mark
	v.Time, v.Place.Offset = 1_700_000_000_000+m.offset, m.offset
	binary.LittleEndian.PutUint64(v.Hash[:], uint64(m.offset))
	m.arena = AppendMarkKey(m.arena[:n], user, &v.Hash)
	return m.section.AddMark(m.arena[n:], v)
}

// BenchmarkMix is the cost of the store per message of the mix, look-ups and writes, without decoding and
// joining.
func BenchmarkMix(b *testing.B) {
	const users, history = 100_000, 300_000
	stores := []struct {
		name string
		open func(b *testing.B) Section
	}{
		{"memory", func(b *testing.B) Section { return mustOpen(b, NewMemory(Options{Memory: 512 << 20})) }},
		{"disk", func(b *testing.B) Section {
			store, err := OpenDisk(Options{Path: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			return mustOpen(b, store)
		}},
		{"redis", func(b *testing.B) Section {
			return mustOpen(b, newRedis(b, redisOptions(realtest.OwnRedis(b).Addr)))
		}},
		{"cluster", func(b *testing.B) Section {
			opts := redisOptions("")
			opts.Mode, opts.Addresses = RedisCluster, realtest.OwnRedisCluster(b, 3, false).Addrs()
			return mustOpen(b, newRedis(b, opts))
		}},
	}
	for _, store := range stores {
		b.Run(store.name, func(b *testing.B) {
			m := newMix(store.open(b), users)
			m.section.Source("t")
			for m.offset < history {
				m.play(b)
			}
			var before RedisStats
			r, remote := m.section.(*redisSection)
			if remote {
				before = r.store.RedisStats()
			}
			from, worked, theirs := m.offset, workedUntil(), serversWorked(b, m.section)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				m.play(b)
			}
			b.StopTimer()
			messages := float64(m.offset - from)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/messages, "ns/message")
			b.ReportMetric(float64(workedUntil()-worked)/messages, "cpu-ns/message")
			if remote {
				after := r.store.RedisStats()
				b.ReportMetric(float64(after.Commands-before.Commands)/messages, "commands/message")
				b.ReportMetric((serversWorked(b, m.section)-theirs)*1e9/messages, "servers-ns/message")
				b.ReportMetric(float64(after.Trips-before.Trips)/(messages/512), "trips/chunk")
			}
			if err := m.section.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// workedUntil is the CPU time of the process.
func workedUntil() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// serversWorked is the CPU time of the masters, in seconds.
func serversWorked(b *testing.B, section Section) (seconds float64) {
	s, ok := section.(*redisSection)
	if !ok {
		return 0
	}
	var mu sync.Mutex
	err := eachMaster(b.Context(), s.client, func(ctx context.Context, node *redis.Client) error {
		info, err := node.Info(ctx, "cpu").Result()
		mu.Lock()
		defer mu.Unlock()
		for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
			n, _ := strconv.ParseFloat(infoField(info, field), 64)
			seconds += n
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return seconds
}

func mustOpen(b *testing.B, s Store) Section {
	b.Helper()
	section, err := s.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return section
}
