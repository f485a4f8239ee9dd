package worker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/config"
)

// walk adds a chunk of records with these offsets; the progress is made of them.
func walk(t *trail, offsets ...int64) {
	l := newLeg(len(offsets))
	for _, o := range offsets {
		l.step(o, 10*o)
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
	for _, c := range [][2]int64{{100, 1000}, {101, 1010}, {102, 1050}, {105, 1050}, {106, 1060}, {107, 1070}, {108, 1080}, {200, 1080}} {
		if got := tr.at(c[0]); got != c[1] {
			t.Errorf("progress before %d is %d, want %d", c[0], got, c[1])
		}
	}
	if len(tr.legs) != 0 {
		t.Errorf("%d chunks are remembered that lie before the frontier", len(tr.legs))
	}
}

func TestAChunkMayBeAddedInParts(t *testing.T) {
	var tr trail
	l := newLeg(4)
	l.step(10, 1)
	l.step(11, 2)
	tr.add(l, 3)
	l = l.rest()
	l.step(12, 3)
	l.step(13, 4)
	tr.add(l, 5)
	for frontier := int64(10); frontier <= 14; frontier++ {
		if got := tr.at(frontier); got != frontier-9 {
			t.Errorf("progress before %d is %d, want %d", frontier, got, frontier-9)
		}
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

// TestEveryCommitCarriesTheProgressOfWhatLiesBeforeIt: whenever it falls, in the middle of a chunk too.
// What is absorbed settles soonest.
func TestEveryCommitCarriesTheProgressOfWhatLiesBeforeIt(t *testing.T) {
	const n = 100_000
	w := newWorld(t)
	base := time.Now().Add(-time.Hour).UnixMilli()
	var records []*kgo.Record
	for i := range int64(n) {
		at := time.UnixMilli(base + i)
		r := record("u", fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","objectIDs":["a"]}`, at.UnixMilli()))
		r.Timestamp = at
		records = append(records, r)
	}
	w.send(records...)

	var mu sync.Mutex
	wrong, commits := "", 0
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		for _, of := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range of.Partitions {
				if of.Topic != topic || p.Offset == 0 {
					continue
				}
				mu.Lock()
				commits++
				if c := ParseCommit(*p.Metadata, group, topic, 0, p.Offset); c.Progress != base+p.Offset-1 {
					wrong = fmt.Sprintf("the commit at %d says %d, want %d", p.Offset, c.Progress-base, p.Offset-1)
				}
				mu.Unlock()
			}
		}
		return nil, nil, false
	})
	run := w.start(w.config(func(c *config.Config) {
		c.Views.Send = false
		c.Kafka.CommitInterval = 10 * time.Millisecond
	}))
	run.settles(n)
	run.await("the last commit", func() bool { return w.committed(0) == n })
	run.stop()
	mu.Lock()
	defer mu.Unlock()
	if wrong != "" || commits == 0 {
		t.Errorf("%d commits; %s", commits, wrong)
	}
}

// TestTheNextOwnerStartsWithTheProgressOfTheCommit: an older message does not take it back.
func TestTheNextOwnerStartsWithTheProgressOfTheCommit(t *testing.T) {
	w := newWorld(t)
	w.send(clicks("u", "a", 10)...)
	said := func() int64 {
		c := w.cluster.GroupInfo(group).Commits[topic][0]
		return ParseCommit(c.Metadata, group, topic, 0, c.Offset).Progress
	}
	run := w.start(w.config())
	run.settles(10)
	run.await("the commit", func() bool { return w.committed(0) == 10 })
	run.stop()
	before := said()
	if before < time.Now().Add(-time.Minute).UnixMilli() {
		t.Errorf("the commit says %d", before)
	}

	old := record("u", shown("u", time.Now().Add(-time.Hour), "b"))
	old.Timestamp = time.Now().Add(-time.Hour)
	w.send(old)
	run = w.start(w.config())
	run.settles(1)
	run.await("the next commit", func() bool { return w.committed(0) == 11 })
	run.stop()
	if after := said(); after != before {
		t.Errorf("the commits say %d and then %d", before, after)
	}
}
