package batch

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run makes a run of events; each event's Ref is its place in the run plus base.
func run(base int, events ...string) *Run[int] {
	r := &Run[int]{}
	for i, e := range events {
		r.Buf = append(r.Buf, "gap"...) // nothing is expected between events
		start := len(r.Buf)
		r.Buf = append(r.Buf, e...)
		r.Entries = append(r.Entries, Entry[int]{Start: uint32(start), End: uint32(len(r.Buf)), Time: 1000, Ref: base + i})
	}
	return r
}

// collect returns a builder and the batches it emits.
func collect(l Limits) (*Builder[int], *[]*Batch[int]) {
	var got []*Batch[int]
	return NewBuilder(l, func(b *Batch[int]) { got = append(got, b) }), &got
}

func bodyOf(t testing.TB, p Part) string {
	t.Helper()
	r := p.Open()
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBatchIsSealedAtTheCount(t *testing.T) {
	b, got := collect(Limits{MaxEvents: 2, Linger: time.Hour})
	defer b.Close()
	b.Add(run(0, `{"a":1}`))
	if len(*got) != 0 {
		t.Fatal("sealed too early")
	}
	b.Add(run(1, `{"a":2}`, `{"a":3}`))
	if len(*got) != 1 {
		t.Fatalf("%d batches, want 1", len(*got))
	}
	sealed := (*got)[0]
	if sealed.Trigger != ByCount {
		t.Errorf("trigger %q", sealed.Trigger)
	}
	if body := bodyOf(t, sealed.Part(0, 2)); body != `{"events":[{"a":1},{"a":2}]}` {
		t.Errorf("body %s", body)
	}
}

func TestBatchHoldsExactlyMaxBytesAndNotOneMore(t *testing.T) {
	events := []string{`{"a":1}`, `{"a":22}`}
	full := len(`{"events":[{"a":1},{"a":22}]}`)
	for _, c := range []struct{ limit, batches int }{{full, 1}, {full - 1, 2}, {full + 1, 1}} {
		b, got := collect(Limits{MaxBytes: c.limit, Linger: time.Hour})
		b.Add(run(0, events...))
		b.Close()
		if len(*got) != c.batches {
			t.Errorf("limit %d for %d bytes: %d batches, want %d", c.limit, full, len(*got), c.batches)
		}
		if want := ByBytes; c.limit <= full && (*got)[0].Trigger != want {
			t.Errorf("limit %d: trigger %q, want %q", c.limit, (*got)[0].Trigger, want)
		}
	}
}

func TestEventBeyondMaxBytesIsEmittedAlone(t *testing.T) {
	b, got := collect(Limits{MaxBytes: 40, Linger: time.Hour})
	big := `{"big":"` + strings.Repeat("x", 100) + `"}`
	b.Add(run(0, `{"a":1}`, big, `{"a":2}`))
	b.Close()
	var sizes []int
	var triggers []Trigger
	for _, s := range *got {
		sizes = append(sizes, len(s.Entries))
		triggers = append(triggers, s.Trigger)
	}
	if !slices.Equal(sizes, []int{1, 1, 1}) || !slices.Equal(triggers, []Trigger{ByBytes, ByBytes, ByDrain}) {
		t.Fatalf("sizes %v, triggers %v", sizes, triggers)
	}
	if body := bodyOf(t, (*got)[1].Part(0, 1)); body != `{"events":[`+big+`]}` {
		t.Errorf("body %s", body)
	}
}

func TestLingerCountsFromTheFirstEventOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type sealing struct {
			at      time.Duration
			events  int
			trigger Trigger
		}
		start := time.Now()
		var got []sealing
		b := NewBuilder(Limits{MaxEvents: 3, Linger: time.Second}, func(b *Batch[int]) {
			got = append(got, sealing{time.Since(start), len(b.Entries), b.Trigger})
		})
		defer b.Close()
		add := func(at time.Duration, n int) {
			time.Sleep(at - time.Since(start))
			b.Add(run(0, slices.Repeat([]string{"{}"}, n)...))
		}
		add(0, 1)
		add(900*time.Millisecond, 1)  // does not put the sealing off
		add(1500*time.Millisecond, 1) // a new batch
		add(1600*time.Millisecond, 3) // seals it by count; one event opens the next
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []sealing{
			{time.Second, 2, ByLinger},
			{1600 * time.Millisecond, 3, ByCount},
			{2600 * time.Millisecond, 1, ByLinger},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestTimerOfASealedBatchDoesNotSealTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, got := collect(Limits{Linger: time.Second})
		defer b.Close()
		b.Add(run(0, "{}"))
		// Hold the lock over the moment the timer fires, exchange the batch meanwhile.
		b.mu.Lock()
		time.Sleep(time.Second)
		b.seal(ByCount)
		b.add([]byte("{}"), &Entry[int]{})
		b.mu.Unlock()
		sealed := func() int {
			synctest.Wait() // for the timer that fired
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(*got)
		}
		if n := sealed(); n != 1 {
			t.Fatalf("%d batches, want 1: the young one was sealed by the old one's timer", n)
		}
		time.Sleep(time.Second)
		if n := sealed(); n != 2 {
			t.Fatalf("%d batches, want 2: the young one was not sealed in its turn", n)
		}
	})
}

func TestWithoutLingerEachAddSeals(t *testing.T) {
	b, got := collect(Limits{})
	b.Add(run(0, "{}", "{}"))
	b.Add(run(0))
	b.Add(run(0, "{}"))
	if len(*got) != 2 || len((*got)[0].Entries) != 2 || (*got)[0].Trigger != ByLinger {
		t.Fatalf("got %d batches", len(*got))
	}
}

func TestFlushSealsAndCloseEnds(t *testing.T) {
	b, got := collect(Limits{Linger: time.Hour})
	b.Flush()
	if len(*got) != 0 {
		t.Fatal("an empty batch was emitted")
	}
	b.Add(run(0, "{}"))
	b.Flush()
	if len(*got) != 1 || (*got)[0].Trigger != ByDrain {
		t.Fatal("Flush did not seal by drain")
	}
	if !b.Add(run(1, "{}")) {
		t.Fatal("Add after Flush took nothing")
	}
	b.Close()
	b.Close()
	if len(*got) != 2 {
		t.Fatal("Close did not seal")
	}
	if b.Add(run(2, "{}")) {
		t.Fatal("Add after Close claims to have taken events")
	}
	b.Flush()
	if len(*got) != 2 {
		t.Fatal("something was emitted after Close")
	}
}

func TestBodyReadsInPiecesOfAnySize(t *testing.T) {
	b, got := collect(Limits{})
	b.Add(run(0, `{"a":1}`, `{"b":2}`, `{"c":3}`))
	p := (*got)[0].Part(1, 3)
	want := `{"events":[{"b":2},{"c":3}]}`
	if p.Size() != len(want) || p.Len() != 2 {
		t.Fatalf("Size %d, Len %d", p.Size(), p.Len())
	}
	if err := iotest.TestReader(p.Open(), []byte(want)); err != nil {
		t.Error(err)
	}
	for n := 1; n < len(want)+2; n++ {
		r := p.Open()
		var read []byte
		piece := make([]byte, n)
		for {
			m, err := r.Read(piece)
			read = append(read, piece[:m]...)
			if err == io.EOF {
				break
			}
			if err != nil || m == 0 {
				t.Fatalf("piece of %d: n %d, %v", n, m, err)
			}
		}
		if string(read) != want {
			t.Fatalf("in pieces of %d: %s", n, read)
		}
	}
}

func TestMemoryIsNotUsedAgainWhileABodyIsOpen(t *testing.T) {
	b, got := collect(Limits{})
	b.Add(run(0, `{"first":1}`))
	first := (*got)[0]
	open := first.Part(0, 1).Open()
	first.Done(1)
	b.Add(run(0, `{"other":2}`))
	if data, _ := io.ReadAll(open); string(data) != `{"events":[{"first":1}]}` {
		t.Fatalf("the body changed under its reader: %s", data)
	}
	open.Close()
	open.Close() // gives back only once
	if _, err := open.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("read after Close: %v", err)
	}
	b.Add(run(0, `{"third":3}`))
	if third := (*got)[2]; third != first {
		t.Error("the memory of a batch that is done was not used again")
	}
	b.Add(run(0, `{"fourth":4}`))
	if (*got)[3] == first {
		t.Error("the memory of a batch was given out twice")
	}
}

func TestMemoryKeptForLaterRefersToNothing(t *testing.T) {
	b := NewBuilder(Limits{}, func(s *Batch[*int]) { s.Done(len(s.Entries)) })
	b.Add(&Run[*int]{Buf: []byte("{}"), Entries: []Entry[*int]{{End: 2, Ref: new(int)}}})
	if kept := b.pool.free[0].Entries[:1]; kept[0].Ref != nil {
		t.Error("a batch that is done still refers to its message")
	}
}

func TestTimesFarApartAreOrderedStably(t *testing.T) {
	entries := make([]Entry[int], 1000)
	for i := range entries {
		entries[i].Time = []int64{math.MaxInt64, 5, math.MinInt64}[i%3]
	}
	keys := sortedPlaces(entries, nil)
	for i := 1; i < len(keys); i++ {
		x, y := keys[i-1], keys[i]
		if tx, ty := entries[x].Time, entries[y].Time; tx > ty || tx == ty && x > y {
			t.Fatalf("place %d before %d", x, y)
		}
	}
}

func TestPoolIsBounded(t *testing.T) {
	b, got := collect(Limits{})
	big := `"` + strings.Repeat("x", 1<<20) + `"`
	for range 40 {
		b.Add(run(0, big))
	}
	for _, s := range *got {
		s.Done(1)
	}
	if b.pool.bytes > poolBytes || len(b.pool.free) == 0 {
		t.Errorf("%d bytes in %d batches kept, at most %d allowed", b.pool.bytes, len(b.pool.free), poolBytes)
	}
}

func TestSelectKeepsBytesAndOrder(t *testing.T) {
	b, got := collect(Limits{})
	b.Add(run(0, `{"a":0}`, `{"a":1}`, `{"a":2}`, `{"a":3}`))
	odd := (*got)[0].Select(0, 4, func(e *Entry[int]) bool { return e.Ref%2 == 1 })
	if body := bodyOf(t, odd.Part(0, 2)); body != `{"events":[{"a":1},{"a":3}]}` {
		t.Errorf("body %s", body)
	}
	if odd.Entries[1].Ref != 3 || odd.Trigger != ByLinger {
		t.Errorf("entries %v", odd.Entries)
	}
	if none := (*got)[0].Select(0, 4, func(*Entry[int]) bool { return false }); none != nil {
		t.Error("an empty batch")
	}
}

// Whatever is added in whatever portions: every event comes out once, in a body that is JSON, of
// exactly the size it claims, within the limits, in stable time order; so is every part of it. The
// events of a message stand in one batch, if one can hold them.
func TestBatchesAccountForEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			MaxEvents: rapid.IntRange(1, 12).Draw(t, "maxEvents"),
			MaxBytes:  rapid.IntRange(Envelope, 200).Draw(t, "maxBytes"),
			Linger:    time.Hour,
		}
		var got []*Batch[int]
		b := NewBuilder(l, func(b *Batch[int]) { got = append(got, b) })
		var events []string
		var messages []int // of each event
		b.Together(func(x, y int) bool { return messages[x] == messages[y] })
		for range rapid.IntRange(0, 12).Draw(t, "runs") {
			r := &Run[int]{}
			for range rapid.IntRange(0, 9).Draw(t, "events") {
				event, _ := json.Marshal(rapid.StringN(0, 30, -1).Draw(t, "event"))
				start := len(r.Buf)
				r.Buf = append(r.Buf, event...)
				at := rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64()).Draw(t, "time")
				r.Entries = append(r.Entries, Entry[int]{Start: uint32(start), End: uint32(len(r.Buf)), Time: at, Ref: len(events)})
				events = append(events, string(event))
				if n := len(messages); len(r.Entries) > 1 && rapid.Bool().Draw(t, "together") {
					messages = append(messages, messages[n-1])
				} else {
					messages = append(messages, n)
				}
			}
			b.Add(r)
			clear(r.Buf) // the builder must not look at it any more
			if len(got) > 0 && rapid.Bool().Draw(t, "recycle") {
				checkBatch(t, got[len(got)-1], l, events)
			}
		}
		b.Close()
		checkTogether(t, got, l, events, messages)
		seen := 0
		for _, s := range got {
			checkBatch(t, s, l, events)
			refs := make([]int, 0, len(s.Entries))
			for _, e := range s.Entries {
				refs = append(refs, e.Ref)
			}
			slices.Sort(refs)
			for _, ref := range refs {
				if ref != seen {
					t.Fatalf("event %d came out where %d was due", ref, seen)
				}
				seen++
			}
			s.Done(len(s.Entries))
		}
		if seen != len(events) {
			t.Fatalf("%d of %d events came out", seen, len(events))
		}
	})
}

func checkTogether(t *rapid.T, got []*Batch[int], l Limits, events []string, messages []int) {
	batches, count, size := map[int]map[*Batch[int]]bool{}, map[int]int{}, map[int]int{}
	for _, s := range got {
		for _, e := range s.Entries {
			m := messages[e.Ref]
			if batches[m] == nil {
				batches[m], size[m] = map[*Batch[int]]bool{}, Envelope-1
			}
			batches[m][s] = true
			count[m]++
			size[m] += len(events[e.Ref]) + 1
		}
	}
	for m, in := range batches {
		if len(in) > 1 && count[m] <= l.MaxEvents && size[m] <= l.MaxBytes {
			t.Fatalf("message %d of %d events and %d bytes lies in %d batches; limits %+v", m, count[m], size[m], len(in), l)
		}
	}
}

func checkBatch(t *rapid.T, s *Batch[int], l Limits, events []string) {
	n := len(s.Entries)
	if n == 0 || n > l.MaxEvents || n > 1 && s.Bytes(0, n) > l.MaxBytes {
		t.Fatalf("%d events, %d bytes beyond the limits %+v", n, s.Bytes(0, n), l)
	}
	for k := 1; k < n; k++ {
		if x, y := s.Entries[k-1], s.Entries[k]; x.Time > y.Time || x.Time == y.Time && x.Ref > y.Ref {
			t.Fatalf("not in stable time order: %v before %v", x, y)
		}
	}
	i := rapid.IntRange(0, n-1).Draw(t, "i")
	j := rapid.IntRange(i+1, n).Draw(t, "j")
	for _, part := range [][2]int{{0, n}, {i, j}} {
		p := s.Part(part[0], part[1])
		r := p.Open()
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || len(data) != p.Size() || p.Size() != s.Bytes(part[0], part[1]) {
			t.Fatalf("%d bytes, claimed %d, %v", len(data), p.Size(), err)
		}
		var body struct {
			Events []json.RawMessage `json:"events"`
		}
		if err := json.Unmarshal(data, &body); err != nil || len(body.Events) != p.Len() {
			t.Fatalf("body %s: %v", data, err)
		}
		for k, e := range body.Events {
			if want := events[s.Entries[part[0]+k].Ref]; string(e) != want {
				t.Fatalf("event %s, want %s", e, want)
			}
		}
	}
}

func TestAddFromManyGoroutines(t *testing.T) {
	const tasks, adds = 8, 200
	seen := map[int]bool{}
	b := NewBuilder(Limits{MaxEvents: 7, Linger: time.Microsecond}, func(b *Batch[int]) {
		for _, e := range b.Entries {
			seen[e.Ref] = true // emit is called by one goroutine at a time
		}
		b.Done(len(b.Entries))
	})
	done := make(chan struct{})
	for task := range tasks {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range adds {
				b.Add(run((task*adds+i)*3, "{}", "{}", "{}"))
			}
		}()
	}
	for range tasks {
		<-done
	}
	b.Close()
	if len(seen) != tasks*adds*3 {
		t.Errorf("%d events, want %d", len(seen), tasks*adds*3)
	}
}

func BenchmarkBuilderAdd(b *testing.B) {
	event := []byte(`{"eventType":"click","eventName":"Recommended Product Clicked","index":"products","userToken":"user-1234567","timestamp":1764000004000,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7","objectIDs":["sku-1234567"],"positions":[12]}`)
	for _, ordered := range []bool{true, false} {
		b.Run(fmt.Sprintf("ordered=%t", ordered), func(b *testing.B) {
			r := &Run[*int]{}
			for i := range 250 {
				start := len(r.Buf)
				r.Buf = append(r.Buf, event...)
				e := Entry[*int]{Start: uint32(start), End: uint32(len(r.Buf)), Time: int64(i)}
				if !ordered {
					e.Time = int64(i / 50)
				}
				r.Entries = append(r.Entries, e)
			}
			builder := NewBuilder(Limits{Linger: time.Hour}, func(s *Batch[*int]) { s.Done(len(s.Entries)) })
			defer builder.Close()
			b.ReportAllocs()
			b.SetBytes(int64(len(event)))
			for n := 0; n < b.N; n += len(r.Entries) {
				if ordered {
					for i := range r.Entries {
						r.Entries[i].Time += 250
					}
				}
				builder.Add(r)
			}
		})
	}
}

func TestAMessagesEventsMoveToTheNextBatchTogether(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		want   string
	}{
		"by count": {Limits{MaxEvents: 3, Linger: time.Hour}, "[[0 1] [2 3 4] [5 6 7] [8]]"},
		"by bytes": {Limits{MaxBytes: Envelope + 3*7 + 2, Linger: time.Hour}, "[[0 1] [2 3 4] [5 6 7] [8]]"},
	} {
		b, got := collect(c.limits)
		b.Together(func(x, y int) bool { return x/2 == 1 && y/2 == 1 || x >= 5 && y >= 5 }) // 2 and 3; 5 to 8, which no batch holds
		b.Add(run(0, `{"a":0}`, `{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`, `{"a":5}`, `{"a":6}`, `{"a":7}`, `{"a":8}`))
		b.Close()
		var refs [][]int
		for _, s := range *got {
			var in []int
			for _, e := range s.Entries {
				in = append(in, e.Ref)
			}
			refs = append(refs, in)
		}
		if fmt.Sprint(refs) != c.want {
			t.Errorf("%s: batches %v, want %s", name, refs, c.want)
		}
	}
}
