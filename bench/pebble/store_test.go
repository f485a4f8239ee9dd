package pebble

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"eventworker/internal/querystore"
)

// A filler makes impressions of 20 objects, one a millisecond, for users at random.
type filler struct {
	rng     *rand.Rand
	objects [][]byte
	v       querystore.Impression
}

func newFiller(seed uint64) *filler {
	f := &filler{rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range 10_000 {
		f.objects = append(f.objects, fmt.Appendf(nil, "sku-%06d", i))
	}
	f.v = querystore.Impression{Time: 1_700_000_000_000, QueryID: []byte("0123456789abcdef0123456789abcdef"), Index: []byte("products_de"), Model: []byte("related-products")}
	return f
}

func (f *filler) next() *querystore.Impression {
	f.v.Time++
	f.v.Place.Offset++
	at := f.rng.IntN(len(f.objects) - 20)
	f.v.ObjectIDs = f.objects[at : at+20]
	return &f.v
}

func user(i int) []byte { return fmt.Appendf(nil, "default\x00anonymous-%016d", i) }

// open gives a section of each store there is.
func open(tb testing.TB, kind string) querystore.Section {
	const memory = 32 << 20
	var store querystore.Store
	var err error
	switch kind {
	case "log":
		store, err = querystore.OpenDisk(querystore.Options{Path: tb.TempDir(), Memory: memory})
	case "log in memory":
		store = querystore.NewMemory(querystore.Options{Memory: 4 << 30})
	case "pebble":
		store, err = Open(tb.TempDir(), 2*memory)
	}
	if err != nil {
		tb.Fatal(err)
	}
	section, err := store.Open(0)
	if err != nil {
		tb.Fatal(err)
	}
	section.Source("events")
	tb.Cleanup(func() {
		if err := section.Close(); err != nil {
			tb.Error(err)
		}
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return section
}

func TestItAnswersAsTheLogDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	logged, kept := open(t, "log"), open(t, "pebble")
	f := newFiller(seed)
	for range 5000 {
		u, v := user(f.rng.IntN(100)), f.next()
		for _, s := range []querystore.Section{logged, kept} {
			if err := s.AddImpression(u, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 101 {
		want, got := walk(t, logged, user(i)), walk(t, kept, user(i))
		if !slices.Equal(want, got) {
			t.Fatalf("user %d: the log has the offsets %v, pebble %v", i, want, got)
		}
	}
}

func walk(t *testing.T, s querystore.Section, user []byte) (offsets []int64) {
	if err := s.Walk(user, func(r *querystore.Record) bool {
		offsets = append(offsets, r.Place.Offset)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return offsets
}

var kinds = []string{"log", "log in memory", "pebble"}

func BenchmarkAdd(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			s, f := open(b, kind), newFiller(1)
			for b.Loop() {
				if err := s.AddImpression(user(f.rng.IntN(200_000)), f.next()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookUp walks through the records of users who have five each, of a million.
func BenchmarkLookUp(b *testing.B) {
	object := []byte("sku-none")
	hash := querystore.HashObject(object)
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			s, f := open(b, kind), newFiller(1)
			for range 1_000_000 {
				if err := s.AddImpression(user(f.rng.IntN(200_000)), f.next()); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Sync(); err != nil {
				b.Fatal(err)
			}
			if s, ok := s.(*section); ok {
				if err := s.Settle(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			visit := func(r *querystore.Record) bool {
				r.Find(hash, object)
				return true
			}
			for b.Loop() {
				if err := s.Walk(user(f.rng.IntN(200_000)), visit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
