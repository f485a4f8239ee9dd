package worker

import (
	"strings"
	"testing"

	"eventworker/internal/consume"
)

// walk adds a chunk of records with these offsets; their times and the progress are made of them.
func walk(t *trail, offsets ...int64) {
	l := newLeg(len(offsets))
	for _, o := range offsets {
		l.step(&consume.Record{Offset: o, Time: 1000 + o}, 10*o)
	}
	t.add(l, 10*(offsets[len(offsets)-1]+1))
}

func TestTheTrailTellsTheProgressBeforeEachOffset(t *testing.T) {
	tr := trail{last: 7}
	if tr.at(100) != 7 {
		t.Error("before anything was read the trail knows more than the commit")
	}
	walk(&tr, 100, 101, 105) // offsets have gaps
	walk(&tr, 106, 107)
	for _, c := range []struct{ frontier, progress int64 }{
		{100, 1000}, {101, 1010}, {102, 1050}, {105, 1050}, {106, 1060}, {107, 1070}, {108, 1080}, {200, 1080},
	} {
		if got := tr.at(c.frontier); got != c.progress {
			t.Errorf("progress before %d is %d, want %d", c.frontier, got, c.progress)
		}
	}
	if len(tr.legs) != 0 {
		t.Errorf("%d chunks are remembered that lie before the frontier", len(tr.legs))
	}
}

func TestForeignMetadataSaysNothing(t *testing.T) {
	seal := func(body string) string { return body + " " + checksum(body, "g", "t", 0, 9) }
	for _, text := range []string{"", " ", "x", "ew1", "ew1 p=5", "ew1 p=5 00000000", "consumer-1 2026-01-01", strings.Repeat("a ", 2000),
		seal("ew2 p=5"), seal("ew1 p=x"), seal("ew1 p="), seal("ew1 p=99999999999999999999"), seal("ew1 p=5 r=!"), seal("ew1 p=5 r=______________"), seal("")} {
		if s := ParseCommit(text, "g", "t", 0, 9); s.Progress != 0 || len(s.Settled) != 0 {
			t.Errorf("%q says %+v", text, s)
		}
	}
	if s := ParseCommit(seal("ew1 new=1 p=5"), "g", "t", 0, 9); s.Progress != 5 {
		t.Errorf("a field of a later version hides the others: %+v", s)
	}
}
