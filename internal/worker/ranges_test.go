package worker

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"eventworker/internal/consume"
)

// drawRanges makes ranges at or beyond a frontier, dense or sparse, short or long.
func drawRanges(t *rapid.T, frontier int64) (r ranges) {
	at := frontier
	gap := rapid.SampledFrom([]int64{2, 40, 1 << 20, 1 << 40}).Draw(t, "gaps")
	run := rapid.SampledFrom([]int64{2, 40, 1 << 20, 1 << 40}).Draw(t, "runs")
	for range rapid.SampledFrom([]int{0, 1, 5, 200, 3000}).Draw(t, "n") {
		from := at + rapid.Int64Range(1, gap).Draw(t, "gap")
		at = from + rapid.Int64Range(1, run).Draw(t, "run")
		r = append(r, consume.Range{From: from, To: at})
	}
	return r
}

func TestMetadataGivesBackTheNearestOfWhatIsSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frontier := rapid.Int64Range(0, 1<<50).Draw(t, "frontier")
		want := Commit{Progress: rapid.Int64Range(0, 1<<45).Draw(t, "progress"), Settled: drawRanges(t, frontier)}
		text := want.Text("g", "t", 3, frontier)
		if len(text) > maxMetadata || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%d characters, want at most %d of printable ASCII", len(text), maxMetadata)
		}
		got := ParseCommit(text, "g", "t", 3, frontier)
		if got.Progress != want.Progress {
			t.Fatalf("progress %d, want %d", got.Progress, want.Progress)
		}
		// What comes back is a beginning of what was given.
		n := len(got.Settled)
		if n == 0 {
			if len(want.Settled) > 0 && want.Settled[0].From-frontier < 6*3000 {
				t.Fatal("nothing of what is near came back")
			}
			return
		}
		cut := got.Settled[n-1].To
		expect := slices.Clone(want.Settled[:n])
		if expect[n-1].To > cut {
			expect[n-1].To = cut
		}
		if !slices.Equal(got.Settled, expect) {
			t.Fatalf("got %v, want %v", got.Settled, expect)
		}
		if len(text) < maxMetadata-30 && !slices.Equal(got.Settled, want.Settled) {
			t.Fatalf("cut although %d characters were left", maxMetadata-len(text))
		}
	})
}

func TestMetadataOfAnotherGroupTopicPartitionOrOffsetOrDamagedSaysNothing(t *testing.T) {
	s := Commit{Progress: 7, Settled: ranges{{From: 12, To: 20}}}
	text := s.Text("g", "t", 3, 10)
	if got := ParseCommit(text, "g", "t", 3, 10); got.Progress != 7 || !slices.Equal(got.Settled, s.Settled) {
		t.Fatalf("%q reads as %+v", text, got)
	}
	empty := func(what string, got Commit) {
		if got.Progress != 0 || got.Settled != nil {
			t.Errorf("%s: reads as %+v, want nothing", what, got)
		}
	}
	empty("another group", ParseCommit(text, "h", "t", 3, 10))
	empty("another topic", ParseCommit(text, "g", "u", 3, 10))
	empty("another partition", ParseCommit(text, "g", "t", 4, 10))
	empty("another offset", ParseCommit(text, "g", "t", 3, 11))
	empty("foreign", ParseCommit("consumer-1-of-java", "g", "t", 3, 10))
	empty("none", ParseCommit("", "g", "t", 3, 10))
	for i := range text {
		for _, c := range []byte{'A', '0', ' ', '=', 0xff} {
			if text[i] == c {
				continue
			}
			damaged := text[:i] + string([]byte{c}) + text[i+1:]
			empty(damaged, ParseCommit(damaged, "g", "t", 3, 10))
		}
		empty(text[:i], ParseCommit(text[:i], "g", "t", 3, 10))
	}
	for _, body := range []string{"ew2 p=7", "ew1 p=x", "ew1 p=7 r=z", "ew1 p=7 r=A!", "ew1 p=7 r=" + strings.Repeat("-", 40), "ew1 p=7 b=é"} {
		empty(body, ParseCommit(body+" "+checksum(body, "g", "t", 3, 10), "g", "t", 3, 10))
	}
	later := "ew1 p=7 x=of-a-later-version r=CI"
	if got := ParseCommit(later+" "+checksum(later, "g", "t", 3, 10), "g", "t", 3, 10); got.Progress != 7 || !slices.Equal(got.Settled, s.Settled) {
		t.Errorf("a field of a later version: reads as %+v", got)
	}
}

func TestTheShorterFormIsTaken(t *testing.T) {
	long := ranges{{From: 1000, To: 900_000}}
	if got := long.text(10, 3000); !strings.HasPrefix(got, "r=") || len(got) > 12 {
		t.Errorf("one long run is written as %.40q", got)
	}
	var every ranges
	for o := int64(1); o < 600; o += 2 {
		every = append(every, consume.Range{From: o, To: o + 1})
	}
	if got := every.text(0, 3000); !strings.HasPrefix(got, "b=") || len(got) != 102 {
		t.Errorf("every second offset of 600 takes %d characters as %.10q, want a bitmap of 102", len(got), got)
	}
}

func TestUnionAgreesWithANaiveSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := func(name string) (r ranges) {
			at := int64(0)
			for range rapid.IntRange(0, 6).Draw(t, name) {
				from := at + rapid.Int64Range(1, 6).Draw(t, "gap")
				at = from + rapid.Int64Range(1, 6).Draw(t, "run")
				r = append(r, consume.Range{From: from, To: at})
			}
			return r
		}
		a, b := small("a"), small("b")
		got := union(nil, a, b)
		for o := range int64(100) {
			if got.has(o) != (a.has(o) || b.has(o)) {
				t.Fatalf("%v ∪ %v = %v, wrong at %d", a, b, got, o)
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i].From <= got[i-1].To {
				t.Fatalf("%v ∪ %v = %v: ranges touch", a, b, got)
			}
		}
		cut := rapid.Int64Range(0, 100).Draw(t, "cut")
		for o := cut; o < 100; o++ {
			if got.from(cut).has(o) != got.has(o) {
				t.Fatalf("%v from %d = %v, wrong at %d", got, cut, got.from(cut), o)
			}
		}
	})
}
