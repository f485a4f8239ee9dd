package querystore

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A shop is a source of impressions of the mix of docs/architecture.md: 20 objects, ids of 8 to 12 bytes.
type shop struct {
	rng     *rand.Rand
	objects [][]byte
	imp     Impression
	user    []byte
	n       int64
}

func newShop() *shop {
	s := &shop{rng: rand.New(rand.NewPCG(1, 2)), user: []byte("default\x00anonymous-0000000000000000")}
	for i := range 100_000 {
		s.objects = append(s.objects, fmt.Appendf(nil, "sku-%06d", i))
	}
	s.imp = Impression{QueryID: []byte("0123456789abcdef0123456789abcdef"), Index: []byte("products_de"),
		Model: []byte("related-products"), ObjectIDs: make([][]byte, 20)}
	return s
}

func (s *shop) userAt(i int) []byte {
	const digits = "0123456789abcdef"
	for k := range 16 {
		s.user[18+k] = digits[i>>(4*(k&7))&15]
	}
	return s.user
}

func (s *shop) next(users int) ([]byte, *Impression) {
	s.n++
	s.imp.Time = 1_700_000_000_000 + s.n
	s.imp.Place = Place{Offset: s.n}
	binary.LittleEndian.PutUint16(s.imp.QueryID, 0x3030+uint16(s.n&7))
	at := s.rng.IntN(len(s.objects) - 20)
	copy(s.imp.ObjectIDs, s.objects[at:at+20])
	return s.userAt(s.rng.IntN(users)), &s.imp
}

func benchSection(b *testing.B, memory int64) (*LogStore, Section) {
	store, err := OpenDisk(Options{Path: b.TempDir(), Memory: memory})
	if err != nil {
		b.Fatal(err)
	}
	section, err := store.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	section.Source("t")
	b.Cleanup(func() { section.Close(); store.Close() })
	return store, section
}

func BenchmarkAddImpression(b *testing.B) {
	for _, kind := range []string{"memory", "disk"} {
		for _, users := range []int{1000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/users=%d", kind, users), func(b *testing.B) {
				b.ReportAllocs()
				store, section := benchSection(b, 0)
				if kind == "memory" {
					store = NewMemory(Options{})
					section, _ = store.Open(0)
					section.Source("t")
				}
				shop := newShop()
				for range 200_000 {
					_ = section.AddImpression(shop.next(users))
				}
				b.ResetTimer()
				for b.Loop() {
					user, imp := shop.next(users)
					if err := section.AddImpression(user, imp); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				l := section.(interface{ publish() })
				l.publish()
				st := store.Stats()
				b.ReportMetric(float64(st.Bytes)/float64(st.Records), "B/impression")
				b.ReportMetric(float64(st.Memory-32<<20)/float64(st.Users), "index-B/user")
			})
		}
	}
}

// BenchmarkShop is what the benchmarks spend on making impressions.
func BenchmarkShop(b *testing.B) {
	shop := newShop()
	for b.Loop() {
		shop.next(1_000_000)
	}
}

func benchWalk(b *testing.B, memory int64, users, records int) {
	b.ReportAllocs()
	store, section := benchSection(b, memory)
	shop := newShop()
	for range records {
		user, imp := shop.next(users)
		_ = section.AddImpression(user, imp)
	}
	if err := section.Sync(); err != nil {
		b.Fatal(err)
	}
	object := []byte("sku-none")
	hash := HashObject(object)
	seen := 0
	visit := func(r *Record) bool {
		r.Find(hash, object)
		seen++
		return false
	}
	b.ResetTimer()
	for b.Loop() {
		_ = section.Walk(shop.userAt(shop.rng.IntN(users)), visit)
	}
	b.StopTimer()
	section.(interface{ publish() }).publish()
	st := store.Stats()
	b.ReportMetric(float64(st.RingHits)/float64(st.RingHits+st.Reads), "ring-share")
	b.ReportMetric(float64(seen)/float64(b.N), "records/op")
}

func BenchmarkWalkRing(b *testing.B) { benchWalk(b, 32<<20, 20_000, 60_000) }
func BenchmarkWalkDisk(b *testing.B) { benchWalk(b, 1, 1_000_000, 1_500_000) }

func BenchmarkUnknownUser(b *testing.B) {
	b.ReportAllocs()
	_, section := benchSection(b, 0)
	shop := newShop()
	for range 1_000_000 {
		user, imp := shop.next(1_000_000)
		imp.ObjectIDs = imp.ObjectIDs[:1]
		_ = section.AddImpression(user, imp)
		imp.ObjectIDs = imp.ObjectIDs[:20]
	}
	visit := func(r *Record) bool { return true }
	i := 0
	b.ResetTimer()
	for b.Loop() {
		i += 7919
		_ = section.Walk(shop.userAt(2_000_000+i&0xfffff), visit)
	}
}

func BenchmarkMissOverFive(b *testing.B) {
	b.ReportAllocs()
	_, section := benchSection(b, 0)
	shop := newShop()
	for range 50_000 {
		user, imp := shop.next(10_000)
		_ = section.AddImpression(user, imp)
	}
	object := []byte("sku-none")
	hash := HashObject(object)
	left := 0
	visit := func(r *Record) bool {
		r.Find(hash, object)
		left--
		return left > 0
	}
	b.ResetTimer()
	for b.Loop() {
		left = 5
		_ = section.Walk(shop.userAt(shop.rng.IntN(10_000)), visit)
	}
}

func BenchmarkOpen(b *testing.B) {
	store, section := benchSection(b, 0)
	shop := newShop()
	const records = 1_000_000
	for range records {
		user, imp := shop.next(500_000)
		_ = section.AddImpression(user, imp)
	}
	if err := section.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		store.mu.Lock()
		store.letGo(0)
		store.mu.Unlock()
		begin := time.Now()
		section, err := store.Open(0)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms/million")
		section.Close()
	}
}
