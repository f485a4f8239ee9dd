package consume

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWhatIsSettledBeyondTheFrontierAgreesWithANaiveList settles messages in any order over chunks with
// gaps and asks for the ranges from any offset at or below the frontier.
func TestWhatIsSettledBeyondTheFrontierAgreesWithANaiveList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPartition(1 << 30)
		position := rapid.Int64Range(0, 1000).Draw(t, "start")
		start := position
		p.tracker.start(position)
		const none, open, settled = 0, 1, 2
		var model []int // by offset from start
		fill := func(to int64, state int) {
			for int64(len(model)) < to-start {
				model = append(model, state)
			}
		}
		type place struct {
			c *Chunk
			i int
		}
		var unsettled []place
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"chunk", "empty", "settle", "settle"}).Draw(t, "step") {
			case "chunk":
				var offsets []int64
				dense := rapid.Bool().Draw(t, "dense")
				for range rapid.IntRange(1, 150).Draw(t, "n") {
					if !dense {
						position += rapid.Int64Range(0, 3).Draw(t, "gap")
					}
					fill(position, none)
					fill(position+1, open)
					offsets = append(offsets, position)
					position++
				}
				position += rapid.Int64Range(0, 2).Draw(t, "tail")
				fill(position, none)
				c := testChunk(p, position, offsets...)
				p.tracker.add(c, position)
				for i := range offsets {
					unsettled = append(unsettled, place{c, i})
				}
			case "empty":
				position += rapid.Int64Range(1, 5).Draw(t, "control")
				fill(position, none)
				p.tracker.add(nil, position)
			case "settle":
				for range rapid.IntRange(0, 100).Draw(t, "count") {
					if len(unsettled) == 0 {
						break
					}
					k := rapid.IntRange(0, len(unsettled)-1).Draw(t, "which")
					at := unsettled[k]
					unsettled = slices.Delete(unsettled, k, k+1)
					model[at.c.offset(at.i)-start] = settled
					at.c.Settle(at.i)
				}
			}
			if !rapid.Bool().Draw(t, "look") {
				continue
			}
			frontier := p.Frontier()
			from := rapid.Int64Range(start, frontier).Draw(t, "from")
			most := rapid.SampledFrom([]int{1, 2, 1 << 20}).Draw(t, "most")
			got := p.Settled(nil, from, most)
			if len(got) > most {
				t.Fatalf("%d ranges, at most %d were wanted", len(got), most)
			}
			last := from - 1
			told := make([]bool, len(model))
			for _, r := range got {
				if r.From <= last || r.To <= r.From || r.To > position {
					t.Fatalf("ranges %v from %d to %d: not apart, in order and within", got, from, position)
				}
				last = r.To
				for o := r.From; o < r.To; o++ {
					told[o-start] = true
				}
			}
			for i, state := range model {
				offset := start + int64(i)
				cut := len(got) == most && offset >= last
				switch {
				case state == open && told[i]:
					t.Fatalf("offset %d is told settled and is not; ranges %v", offset, got)
				case state == settled && offset >= from && !told[i] && !cut:
					t.Fatalf("offset %d is settled and not told; ranges %v", offset, got)
				}
			}
		}
		for _, at := range unsettled {
			at.c.Settle(at.i)
		}
	})
}

func TestARunOfSettledMessagesIsOneRangeAcrossChunksAndControlRecords(t *testing.T) {
	p := testPartition(1 << 30)
	first := testChunk(p, 3, 0, 1, 2)
	p.tracker.add(first, 3)
	first.Settle(2)
	for i := int64(3); i < 1000; i += 3 { // a control record after each two messages
		c := testChunk(p, i+3, i, i+1)
		p.tracker.add(c, i+3)
		c.SettleAll()
	}
	if got := p.Settled(nil, p.Frontier(), 10); len(got) != 1 || got[0] != (Range{2, 1002}) {
		t.Errorf("ranges %v, want one from 2 to 1002", got)
	}
	first.SettleAll()
}
