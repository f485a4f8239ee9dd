package worker

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"

	"eventworker/internal/consume"
)

// trail remembers, for each offset of a partition that is not committed yet, the greatest event
// time of the records before it. It goes into the commit's metadata, so that the next owner, or
// this worker after a crash, believes a miss neither earlier nor later than this life would have.
//
// It holds 16 bytes for each message in flight, whose number the byte budget bounds.
type trail struct {
	// inherited is what owners before this one settled beyond the start: those messages are read for
	// their effects only.
	inherited ranges
	own, all  ranges // the committer's scratch

	mu   sync.Mutex
	legs []leg
	last int64 // the progress after all records that were read
}

// leg is the trail through one chunk, or a part of it: before the record at offsets[i] the progress was progress[i].
type leg struct {
	offsets, progress []int64
}

func newLeg(n int) leg {
	all := make([]int64, 2*n)
	return leg{all[:0:n], all[n:n]}
}

// step adds a record that is about to be read.
func (l *leg) step(offset, progress int64) {
	l.offsets, l.progress = append(l.offsets, offset), append(l.progress, progress)
}

// rest is what is left of the leg's memory after the records it has.
func (l *leg) rest() leg {
	n := len(l.offsets)
	return leg{l.offsets[n:], l.progress[n:]}
}

// add appends the trail of a chunk that was read, and the progress after it.
func (t *trail) add(l leg, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.legs = append(t.legs, l)
	t.last = last
}

// at is the progress before an offset that is about to be committed, and forgets what lies before it.
func (t *trail) at(frontier int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.legs) > 0 {
		l := &t.legs[0]
		if n := len(l.offsets); n > 0 && l.offsets[n-1] >= frontier {
			i, _ := slices.BinarySearch(l.offsets, frontier)
			return l.progress[i]
		}
		t.legs[0] = leg{}
		t.legs = t.legs[1:]
	}
	return t.last
}

// metadataVersion begins the metadata of a commit.
const metadataVersion = "ew1"

// Commit is what a commit's metadata says of a partition beside the offset.
type Commit struct {
	// Known is false for metadata that is none of ours, damaged, or of another offset.
	Known bool
	// Progress is the greatest event time of the records below the offset, 0: not known.
	Progress int64
	// Settled is what is settled at or beyond the offset.
	Settled []consume.Range
}

// Text is what is committed with a frontier: ASCII, versioned, checksummed, bound to
// group, topic, partition and offset, and at most maxMetadata characters long (docs/contract.md, section
// 5). Its fields stand between spaces; readers pass over those they do not know.
func (s *Commit) Text(group, topic string, partition int32, offset int64) string {
	body := metadataVersion + " p=" + strconv.FormatInt(s.Progress, 10)
	if settled := ranges(s.Settled).text(offset, maxMetadata-len(body)-len(" ")-len(" 01234567")); settled != "" {
		body += " " + settled
	}
	return body + " " + checksum(body, group, topic, partition, offset)
}

// ParseCommit reads the metadata of a commit; what is foreign, damaged, or another offset's says nothing.
func ParseCommit(text, group, topic string, partition int32, offset int64) (s Commit) {
	end := strings.LastIndexByte(text, ' ')
	if end < 0 || text[end+1:] != checksum(text[:end], group, topic, partition, offset) {
		return Commit{}
	}
	fields := strings.Split(text[:end], " ")
	if fields[0] != metadataVersion {
		return Commit{}
	}
	s.Known = true
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		ok := true
		switch name {
		case "p":
			var err error
			s.Progress, err = strconv.ParseInt(value, 10, 64)
			ok = err == nil
		case "r", "b":
			s.Settled, ok = parseRanges(name[0], value, offset)
		}
		if !ok {
			return Commit{}
		}
	}
	return s
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(body, group, topic string, partition int32, offset int64) string {
	sum := crc32.Checksum(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%d", body, group, topic, partition, offset), castagnoli)
	return fmt.Sprintf("%08x", sum)
}

// settledBeyond is what the metadata of the commit that a generation started from says is settled
// beyond the start, as far as it fits the partition's offsets: nothing beyond its end can be settled.
func settledBeyond(p *consume.Partition, s Commit) ranges {
	if n := len(s.Settled); n > 0 && p.EndKnown() && s.Settled[n-1].To > p.End() {
		return nil
	}
	return s.Settled
}

// commitMetadata is the text committed with a frontier: the progress there, and what is settled beyond
// it, by this worker or, as far as it was not read again, by an owner before it. It gives false while
// the generation is being set up.
func (w *Worker) commitMetadata(p *consume.Partition, frontier int64) (text string, ok bool) {
	g := w.current.Load()
	if g == nil || g.trails[p] == nil {
		return "", false
	}
	t := g.trails[p]
	now := Commit{Progress: t.at(frontier)}
	if withoutRanges == "" {
		t.own = p.Settled(t.own[:0], frontier, maxRanges)
		t.all = union(t.all[:0], t.own, t.inherited.from(frontier))
		now.Settled = t.all
	}
	return now.Text(w.cfg.Kafka.Group, p.Topic, p.ID, frontier), true
}

// withoutRanges leaves out what is settled beyond the frontier. Only tests that measure what that is
// worth set it, when they link the binary.
var withoutRanges string
