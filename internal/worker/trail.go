package worker

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// trail remembers, for each offset of a partition that is not committed yet, the greatest event
// time of the records before it. It goes into the commit's metadata, so that the next owner, or
// this worker after a crash, believes a miss neither earlier nor later than this life would have.
//
// It holds 16 bytes for each message in flight, whose number the byte budget bounds.
type trail struct {
	mu   sync.Mutex
	legs []leg
	last int64 // the progress after all records that were read
}

// leg is the trail through one chunk: before the record at offsets[i] the progress was progress[i].
type leg struct {
	offsets, progress []int64
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

// metadata is the text that is committed with a frontier: ASCII, versioned, checksummed, bound to
// group, topic, partition and offset (docs/contract.md, section 5).
func metadata(group, topic string, partition int32, offset, progress int64) string {
	body := metadataVersion + " p=" + strconv.FormatInt(progress, 10)
	return body + " " + checksum(body, group, topic, partition, offset)
}

// parseMetadata gives the progress back, 0 from metadata that is foreign, damaged, or another offset's.
func parseMetadata(text, group, topic string, partition int32, offset int64) int64 {
	end := strings.LastIndexByte(text, ' ')
	if end < 0 || text[end+1:] != checksum(text[:end], group, topic, partition, offset) {
		return 0
	}
	progress, ok := strings.CutPrefix(text[:end], metadataVersion+" p=")
	if !ok {
		return 0
	}
	ms, err := strconv.ParseInt(progress, 10, 64)
	if err != nil {
		return 0
	}
	return ms
}

func checksum(body, group, topic string, partition int32, offset int64) string {
	sum := crc32.Checksum(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%d", body, group, topic, partition, offset), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf("%08x", sum)
}
