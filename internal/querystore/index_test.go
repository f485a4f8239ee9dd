package querystore

import (
	"testing"

	"pgregory.net/rapid"
)

// Positions go round the 32 bits more than once; an entry is right while its position is alive,
// and is never taken for a living one afterwards if the index is cleaned in time.
func TestIndexFindsTheNewestPositionOfEveryLivingTagAndNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newUserIndex()
		want := map[uint32]uint64{}
		at := rapid.Uint64Range(0, 1<<33).Draw(t, "start")
		base, cleaned := at, at
		tags := rapid.SampledFrom([]int{10, 1500, 100_000}).Draw(t, "tags")
		seed := rapid.Uint64().Draw(t, "seed")
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			for i := range rapid.SampledFrom([]int{1, 100, 1000}).Draw(t, "adds") {
				h := mix(seed + uint64(step*1000+i)%uint64(tags))
				tag := max(uint32(h), 1)
				at += 1 + h>>60
				before, ok := x.swap(tag, uint32(at), span{end: uint32(at + 1), size: uint32(at + 1 - base)})
				old, known := want[tag]
				low := uint32(old) // all that the index keeps of a position
				if alive := known && old >= base; alive && (!ok || before != low) {
					t.Fatalf("tag %d: was at %d, not at %d (%v)", tag, old, before, ok)
				}
				want[tag] = at
			}
			switch rapid.IntRange(0, 4).Draw(t, "then") {
			case 0:
				base = rapid.Uint64Range(base, at).Draw(t, "base")
			case 1:
				at += 1 << 28
			}
			if at-base > 3<<30 {
				base = at - 3<<30
			}
			if at-cleaned >= 1<<29 {
				cleaned = at
				x.replace(span{end: uint32(at + 1), size: uint32(at + 1 - base)})
			}
			living := 0
			for tag, position := range want {
				got, ok := x.get(tag)
				low := uint32(position)
				if position >= base {
					living++
					if !ok || got != low {
						t.Fatalf("tag %d: %d, %v instead of %d", tag, got, ok, position)
					}
				} else if ok && got != low {
					t.Fatalf("tag %d: %d instead of the expired %d", tag, got, position)
				}
			}
			if _, ok := x.get(0xdead0001); ok && want[0xdead0001] == 0 {
				t.Fatal("a tag that was never put is found")
			}
			if n := x.users(); x.old == nil && n < living {
				t.Fatalf("%d users, %d are alive", n, living)
			}
		}
	})
}

func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

func TestIndexShrinksToTheUsersThatAreLeft(t *testing.T) {
	x := newUserIndex()
	alive := span{size: 1 << 30}
	for i := range uint32(100_000) {
		alive.end = i + 1
		x.swap(uint32(mix(uint64(i)))|1, i, alive)
	}
	full := x.bytes()
	alive.size = 100
	for range 3 {
		x.replace(alive)
	}
	x.move(len(x.old), alive)
	if x.users() != 100 || x.bytes() > full/16 {
		t.Fatalf("%d users in %d bytes, after 100,000 in %d", x.users(), x.bytes(), full)
	}
}
