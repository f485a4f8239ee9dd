package consume

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// testPartition is a partition outside any generation.
func testPartition(budget int64) *Partition {
	p := &Partition{Topic: "t", task: &Task{wake: make(chan struct{}, 1)}, wake: func() {}, budget: newBudget(budget, 0, nil), poison: true}
	p.fetch.unfold = 1
	return p
}

// testChunk is a chunk of records at these offsets; next is what the fetch covered.
func testChunk(p *Partition, next int64, offsets ...int64) *Chunk {
	c := &Chunk{Partition: p, base: offsets[0], next: next}
	c.memory.records = recordPool.get(len(offsets))
	c.memory.buffers = []*buffer{getBuffer(100)}
	c.Records = c.memory.records.s
	for i, o := range offsets {
		c.Records[i] = Record{Offset: o, Value: []byte("v")}
		if o != c.base+int64(i) {
			c.offsets = offsets
		}
	}
	c.bufBytes, c.recBytes = c.memory.bufferBytes(), c.memory.recordBytes()
	p.hold(c.bufBytes + c.recBytes)
	p.pinned.Add(1)
	c.init()
	return c
}

// TestFrontierAgreesWithANaiveList settles messages in any order, one at a time and in ranges, over
// chunks with gaps, and compares the frontier with a list that is walked from its start.
func TestFrontierAgreesWithANaiveList(t *testing.T) {
	type message struct {
		offset  int64
		settled bool
	}
	rapid.Check(t, func(t *rapid.T) {
		p := testPartition(1 << 30)
		position := rapid.Int64Range(0, 1000).Draw(t, "start")
		p.tracker.start(position)
		var model []message
		covered := position
		type place struct {
			c *Chunk
			i int
			m int // in model
		}
		var open []place
		expect := func() int64 {
			for _, m := range model {
				if !m.settled {
					return m.offset
				}
			}
			return covered
		}
		frontier := position
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"chunk", "empty", "settle", "settle", "settle", "range", "detach"}).Draw(t, "step") {
			case "chunk":
				var offsets []int64
				dense := rapid.Bool().Draw(t, "dense")
				for range rapid.IntRange(1, 150).Draw(t, "n") {
					if !dense {
						position += rapid.Int64Range(0, 3).Draw(t, "gap")
					}
					offsets = append(offsets, position)
					position++
				}
				position += rapid.Int64Range(0, 2).Draw(t, "tail")
				c := testChunk(p, position, offsets...)
				p.tracker.add(c, position)
				for i, o := range offsets {
					open = append(open, place{c, i, len(model)})
					model = append(model, message{offset: o})
				}
				covered = position
			case "empty":
				position += rapid.Int64Range(1, 5).Draw(t, "control")
				p.tracker.add(nil, position)
				covered = position
			case "settle":
				for range rapid.IntRange(0, 40).Draw(t, "count") {
					if len(open) == 0 {
						break
					}
					k := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					at := open[k]
					open[k] = open[len(open)-1]
					open = open[:len(open)-1]
					at.c.Settle(at.i)
					at.c.Settle(at.i) // a second call does nothing
					model[at.m].settled = true
				}
			case "range":
				if len(open) == 0 {
					break
				}
				at := open[rapid.IntRange(0, len(open)-1).Draw(t, "which")]
				to := rapid.IntRange(at.i, at.c.count()).Draw(t, "to")
				at.c.SettleRange(at.i, to)
				kept := open[:0]
				for _, o := range open {
					if o.c == at.c && o.i >= at.i && o.i < to {
						model[o.m].settled = true
						continue
					}
					kept = append(kept, o)
				}
				open = kept
			case "detach":
				if len(open) > 0 {
					at := open[rapid.IntRange(0, len(open)-1).Draw(t, "which")]
					at.c.Detach(at.i)
				}
			}
			if rapid.Bool().Draw(t, "look") {
				got := p.tracker.sweep()
				if want := expect(); got != want {
					t.Fatalf("frontier %d, want %d", got, want)
				}
				if got < frontier {
					t.Fatalf("frontier went back from %d to %d", frontier, got)
				}
				frontier = got
				if n := p.tracker.unsettled(); n != int64(len(open)) {
					t.Fatalf("%d unsettled, want %d", n, len(open))
				}
			}
		}
		for _, at := range open {
			at.c.Settle(at.i)
		}
		if got := p.tracker.sweep(); got != covered {
			t.Fatalf("frontier %d at the end, want %d", got, covered)
		}
		if used := p.budget.Used(); used != 0 {
			t.Fatalf("%d bytes still held after everything was settled", used)
		}
		if other := p.budget.other.Load(); other != 0 {
			t.Fatalf("%d bytes of others still held", other)
		}
		if p.pinned.Load() != 0 {
			t.Fatalf("%d buffers still pinned", p.pinned.Load())
		}
	})
}

// TestOneWaitingMessageDoesNotGrowTheTracker: what is settled behind it becomes one span.
func TestOneWaitingMessageDoesNotGrowTheTracker(t *testing.T) {
	p := testPartition(1 << 30)
	first := testChunk(p, 2, 0, 1)
	p.tracker.add(first, 2)
	first.Settle(1)
	for i := int64(2); i < 1000; i += 2 {
		c := testChunk(p, i+2, i, i+1)
		p.tracker.add(c, i+2)
		c.SettleAll()
		if got := p.tracker.sweep(); got != 0 {
			t.Fatalf("frontier %d, want 0", got)
		}
		if n := len(p.tracker.open); n > 2 {
			t.Fatalf("%d spans are kept", n)
		}
	}
	first.Settle(0)
	if got := p.tracker.sweep(); got != 1000 {
		t.Errorf("frontier %d, want 1000", got)
	}
}

func TestSettlingFromManyGoroutinesReachesTheEnd(t *testing.T) {
	p := testPartition(1 << 30)
	var offsets []int64
	for i := range int64(1000) {
		offsets = append(offsets, i)
	}
	for range 20 {
		p.tracker = tracker{}
		c := testChunk(p, 1000, offsets...)
		p.tracker.add(c, 1000)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := g; i < 1000; i += 8 {
					c.Settle(i)
				}
			})
		}
		last := int64(0)
		for last < 1000 {
			got := p.tracker.sweep()
			if got < last {
				t.Fatalf("frontier went back from %d to %d", last, got)
			}
			last = got
		}
		wg.Wait()
		if used, kept := p.budget.Used(), p.Kept(); used != 0 || kept != 0 {
			t.Fatalf("%d bytes still held, %d of them kept", used, kept)
		}
	}
}

// TestDetachLetsTheBufferGo: when all records but the detached ones are settled, the raw buffer goes
// back, and the copy keeps what it was, nil and empty told apart.
func TestDetachLetsTheBufferGo(t *testing.T) {
	p := testPartition(1 << 30)
	c := testChunk(p, 3, 0, 1, 2)
	raw := c.memory.buffers[0].b
	copy(raw, "keyvalueheader")
	c.Records[1] = Record{Offset: 1, Key: raw[:3:3], Value: raw[3:8:8], Headers: []Header{{Key: "h", Value: raw[8:14:14]}, {Key: "nil"}, {Key: "empty", Value: raw[:0:0]}}}
	c.Records[2] = Record{Offset: 2, Key: nil, Value: raw[:0:0]}
	c.Detach(1)
	c.Detach(2)
	if c.Records[2].Key != nil || c.Records[2].Value == nil || len(c.Records[2].Value) != 0 {
		t.Errorf("the copy has key %v and value %v, want nil and empty", c.Records[2].Key, c.Records[2].Value)
	}
	held := p.budget.Used()
	c.Settle(0)
	if p.pinned.Load() != 0 {
		t.Fatal("the buffer is still pinned")
	}
	if got, want := held-p.budget.Used(), c.bufBytes; got != want {
		t.Errorf("%d bytes came back with the buffer, want %d", got, want)
	}
	if raw[0] != 0xDB {
		t.Error("the buffer was not given back")
	}
	r := c.Records[1]
	if got := fmt.Sprintf("%s %s %s", r.Key, r.Value, r.Headers[0].Value); got != "key value header" {
		t.Errorf("the copy reads %q", got)
	}
	if r.Headers[1].Value != nil || r.Headers[2].Value == nil {
		t.Error("the copy's headers do not tell nil from empty")
	}
	c.SettleRange(0, 3)
	if used := p.budget.Used(); used != 0 {
		t.Errorf("%d bytes still held", used)
	}
}

// TestWhoWaitsForDetachedRecordsIsWoken: they count as kept, with the records of their chunk, until they are
// settled, and the task is woken when they are, if it asked for it.
func TestWhoWaitsForDetachedRecordsIsWoken(t *testing.T) {
	p := testPartition(1 << 30)
	task := &Task{Partitions: []*Partition{p}, wake: p.task.wake}
	p.task = task
	c := testChunk(p, 3, 0, 1, 2)
	woken := func() bool {
		select {
		case <-task.Wake():
			return true
		default:
			return false
		}
	}
	c.Settle(0)
	if task.Kept() != 0 {
		t.Errorf("%d bytes are kept when nothing was detached", task.Kept())
	}
	c.Detach(1)
	c.Detach(2)
	if got, want := task.Kept(), c.RecordBytes()+c.CopyBytes(1)+c.CopyBytes(2); got != want || c.CopyBytes(1) <= 1 {
		t.Errorf("%d bytes are kept, want %d", got, want)
	}
	c.Settle(1)
	if woken() {
		t.Error("woken without having asked")
	}
	task.AwaitRoom(true)
	c.Settle(2)
	if !woken() {
		t.Error("not woken when room was made")
	}
	if task.Kept() != 0 {
		t.Errorf("%d bytes are kept when all is settled", task.Kept())
	}
}

func TestAQuarterOfTheBudgetIsKeptForShownPartitions(t *testing.T) {
	freed := 0
	b := newBudget(1000, 250, func() { freed++ })
	if got := b.reserve(false, 1, 2000); got != 750 {
		t.Errorf("others got %d of 1000, want 750", got)
	}
	if got := b.reserve(false, 1, 1); got != 0 {
		t.Errorf("others got %d more", got)
	}
	if got := b.reserve(true, 1, 2000); got != 250 {
		t.Errorf("shown got %d, want 250", got)
	}
	if got := b.reserve(true, 1, 10); got != 0 || freed != 0 {
		t.Errorf("shown got %d of nothing, %d wake-ups", got, freed)
	}
	b.release(false, 100)
	if freed != 1 {
		t.Errorf("%d wake-ups after bytes came back, want 1", freed)
	}
	if got := b.reserve(true, 200, 200); got != 0 {
		t.Errorf("got %d, less than is worth it", got)
	}
	if got := b.reserve(true, 1, 200); got != 100 {
		t.Errorf("shown got %d of what others gave back, want 100", got)
	}
}

func BenchmarkSettle(b *testing.B) {
	p := testPartition(1 << 40)
	offsets := make([]int64, 3000)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	b.ReportAllocs()
	for done := 0; done < b.N; {
		b.StopTimer()
		c := testChunk(p, 3000, offsets...)
		n := min(len(offsets), b.N-done)
		b.StartTimer()
		for i := range n {
			c.Settle(i)
		}
		done += n
	}
}

func BenchmarkSettleRange(b *testing.B) {
	p := testPartition(1 << 40)
	offsets := make([]int64, 3000)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	b.ReportAllocs()
	for done := 0; done < b.N; done += len(offsets) {
		b.StopTimer()
		c := testChunk(p, 3000, offsets...)
		b.StartTimer()
		c.SettleAll()
	}
}
