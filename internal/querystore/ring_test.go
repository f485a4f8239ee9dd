package querystore

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRingHoldsTheNewestBytesWhateverItsSizeWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tail := rapid.Uint64Range(0, 10_000).Draw(t, "start") * unit
		r := ring{low: tail}
		at := func(addr uint64) byte { return byte(mix(addr)) }
		size := rapid.SampledFrom([]int{unit, pieceBytes / 4}).Draw(t, "sizes") // rings of one piece, and of several
		r.resize(size, tail)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "resize") {
				held := r.oldest(tail)
				size := rapid.IntRange(1, 20).Draw(t, "size") * size
				r.resize(size, tail)
				if want := max(held, tail-min(tail, uint64(size))); r.oldest(tail) != want {
					t.Fatalf("it holds from %d on, not %d", r.oldest(tail), want)
				}
			} else {
				p := make([]byte, rapid.IntRange(1, int(r.size)/unit).Draw(t, "put")*unit)
				for i := range p {
					p[i] = at(tail + uint64(i))
				}
				r.put(tail, p)
				tail += uint64(len(p))
			}
			got := make([]byte, tail-r.oldest(tail))
			r.copyTo(got, r.oldest(tail))
			for i, b := range got {
				if b != at(r.oldest(tail)+uint64(i)) {
					t.Fatalf("wrong byte at %d of %d to %d", r.oldest(tail)+uint64(i), r.oldest(tail), tail)
				}
			}
		}
	})
}
