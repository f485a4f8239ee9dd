package querystore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func sealHeader(b []byte) { binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli)) }

// written gives a model of effects that were synced in blocks, with the bytes of its segments.
func written(t *testing.T, n, perBlock, objects int) (m *model, files map[string][]byte) {
	m = &model{disk: true, dir: t.TempDir(), before: minTime, objects: objects}
	m.opts = Options{Path: m.dir, Memory: 1, SegmentBytes: 64 << 10, files: notedFiles{}}
	m.start(t)
	for len(m.effects) < n {
		m.add(t, min(perBlock, n-len(m.effects)))
		m.section.SetCoverage(0, Coverage{Applied: int64(len(m.effects)), Written: int64(len(m.effects))})
		m.sync(t)
	}
	m.stop(t)
	files = map[string][]byte{}
	for path := range m.sizes(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = b
	}
	return m, files
}

func restore(t *testing.T, files map[string][]byte) {
	t.Helper()
	for path, b := range files {
		_ = os.Remove(path) // to write over a file makes some systems wait for the disk
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reopened checks that what is there is whole, and that the section can go on.
func (m *model) reopened(t *testing.T, what string) (there int) {
	t.Helper()
	m.start(t)
	there = m.check(t, 0)
	if c := m.section.Coverage(0); c.Applied > int64(there) || c.Written < int64(there) {
		t.Fatalf("%s: coverage is %+v with %d effects", what, c, there)
	}
	all := m.effects
	m.effects = all[:there:there]
	m.add(t, 1)
	m.sync(t)
	m.stop(t)
	m.start(t)
	if st := m.store.Stats(); st.Cut != 0 {
		t.Fatalf("%s: the second time %d bytes were cut off", what, st.Cut)
	}
	m.check(t, there+1)
	m.stop(t)
	m.effects = all
	return there
}

func TestTornTailLosesTheLastBlockOnlyWhereverItTears(t *testing.T) {
	m, files := written(t, 6, 2, 3)
	path := segmentPath(filepath.Join(m.dir, "task-00003"), 0)
	whole := files[path]
	last := 0
	for at := segmentHeader; at < len(whole); at += int(binary.LittleEndian.Uint32(whole[at+4:])) {
		last = at
	}
	for size := last; size < len(whole); size++ {
		restore(t, map[string][]byte{path: whole[:size]})
		if there := m.reopened(t, fmt.Sprint(size, " bytes")); there != 4 {
			t.Fatalf("of a file cut at %d of %d, whose last block is at %d, %d effects are there", size, len(whole), last, there)
		}
	}
	restore(t, files)
	if there := m.reopened(t, "whole"); there != 6 {
		t.Fatalf("%d effects are there", there)
	}
}

func TestDamageAnywhereCutsOffWhatFollowsAndInventsNothing(t *testing.T) {
	m, files := written(t, 600, 10, 20)
	if len(files) < 3 {
		t.Fatalf("%d segments", len(files))
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range 60 {
		restore(t, files)
		for path, b := range files {
			at := rng.IntN(len(b))
			damaged := append([]byte(nil), b...)
			damaged[at] ^= 1 << rng.IntN(8)
			restore(t, map[string][]byte{path: damaged})
			m.start(t)
			if cut := m.store.Stats().Cut; cut == 0 {
				t.Fatalf("byte %d of %s was flipped, and nothing was cut off", at, path)
			}
			m.stop(t)
			there := m.reopened(t, fmt.Sprintf("byte %d of %s flipped", at, path))
			if there == 600 {
				t.Fatal("nothing was lost")
			}
			break // one of them, at random
		}
		for path := range m.sizes(t) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMissingSegmentCutsOffWhatFollows(t *testing.T) {
	m, files := written(t, 600, 10, 20)
	base := uint64(0)
	path := segmentPath(filepath.Join(m.dir, "task-00003"), 0)
	base += uint64(len(files[path]))
	second := segmentPath(filepath.Join(m.dir, "task-00003"), base)
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	there := m.reopened(t, "second segment missing")
	if there == 0 || there > 300 {
		t.Fatalf("%d effects are there", there)
	}
}

func TestDamagedChainLinksEndTheWalk(t *testing.T) {
	for _, distance := range []uint32{1, 2, 5, 1000, 1 << 20, 1<<32 - 1} {
		m := &model{disk: true, dir: t.TempDir(), before: minTime, objects: 20}
		m.opts = Options{Path: m.dir, Memory: 1, SegmentBytes: 1 << 20, files: notedFiles{}}
		m.start(t)
		m.add(t, 2000)
		m.sync(t)
		path := segmentPath(filepath.Join(m.dir, "task-00003"), 0)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		// Every link in the file, though walks begin in the ring.
		b := make([]byte, size.Size())
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		eachRecord(b, func(at int) { binary.LittleEndian.PutUint32(b[at+4:], distance) })
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		for u := range modelUsers {
			user := fmt.Appendf(nil, "default\x00user-%d", u)
			n := 0
			err := m.section.Walk(user, func(r *Record) bool {
				if d := m.effects[r.Place.Offset].differs(r); d != "" {
					t.Fatalf("differs: %s", d)
				}
				n++
				return true
			})
			if err != nil || n == 0 || n > 400 {
				t.Fatalf("distance %d: %d records, %v", distance, n, err)
			}
		}
		m.stop(t)
	}
}

func eachRecord(segment []byte, do func(at int)) {
	for block := segmentHeader; block < len(segment); {
		end := block + int(binary.LittleEndian.Uint32(segment[block+4:]))
		at := block + blockHeader + 16*int(binary.LittleEndian.Uint16(segment[block+12:]))
		for at < end {
			size := int(recordSize(binary.LittleEndian.Uint32(segment[at:])))
			do(at)
			at += size
		}
		block = end
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{}, uint16(0), true)
	f.Add([]byte("EWQSTORE"), uint16(0), false)
	v := Impression{Time: 5, Place: Place{}, QueryID: []byte("00112233445566778899aabbccddeeff"), ObjectIDs: [][]byte{[]byte("a"), []byte("bc")}, Tags: [][]byte{[]byte("t")}}
	y, _ := impressionLayout([]byte("u"), &v)
	source := make([]byte, 64)
	(&layout{kind: kindSource, user: 5, size: 64}).put(source, 0, Place{}, 0)
	copy(source[headerSize:], "topic")
	rec := make([]byte, y.size)
	y.putImpression(rec, []byte("u"), &v)
	c := Click{ObjectID: []byte("a"), QueryID: []byte("q")}
	y, _ = clickLayout([]byte("u"), &c)
	click := make([]byte, y.size)
	y.putClick(click, []byte("u"), &c)
	f.Add(slices.Concat(source, rec, click), uint16(0), true)
	f.Add(slices.Concat(make([]byte, 3*16), source, rec), uint16(3), true) // coverage of sources that nobody named
	f.Add(rec, uint16(0), true)                                            // a record of a source that nobody named
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, sources uint16, wrap bool) {
		sub, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(sub)
		if wrap { // a whole block, so that the content is looked at
			b = append(make([]byte, segmentHeader+blockHeader), b...)
			for len(b)%unit != 0 {
				b = append(b, 0)
			}
			putSegmentHeader(b, 1, 0)
			block := b[segmentHeader:]
			binary.LittleEndian.PutUint32(block, blockMagic)
			binary.LittleEndian.PutUint32(block[4:], uint32(len(block)))
			binary.LittleEndian.PutUint16(block[12:], sources)
			binary.LittleEndian.PutUint64(block[16:], segmentHeader)
			binary.LittleEndian.PutUint32(block[8:], crc32.Checksum(block[12:], castagnoli))
		}
		task := filepath.Join(sub, "task-00001")
		if err := os.Mkdir(task, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(task, 0), b, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := OpenDisk(Options{Path: sub, files: notedFiles{}})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		section, err := store.Open(1)
		if err != nil {
			if _, other := err.(*VersionError); other {
				return
			}
			t.Fatal(err)
		}
		defer section.Close()
		section.Coverage(sources)
		l := section.(interface{ everyUser() [][]byte })
		for _, user := range append(l.everyUser(), []byte("u")) {
			steps := 0
			err := section.Walk(user, func(r *Record) bool {
				if int(r.Place.Source) >= len(section.(interface{ names() []string }).names()) {
					t.Fatalf("a record of source %d, which has no name", r.Place.Source)
				}
				steps++
				r.Find(HashObject([]byte("a")), []byte("a"))
				r.ObjectIDAt(r.Len() - 1)
				r.Tags(nil)
				_, _, _, _, _ = r.QueryID(), r.Index(), r.Model(), r.ObjectID(), r.Hash()
				return steps < 1000
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		section.Source("another")
		if err := section.AddMark([]byte("u"), &Mark{}); err != nil {
			t.Fatal(err)
		}
	})
}

func (l *impressionLog) names() []string { return l.sources }

// everyUser gives the users of all records.
func (l *impressionLog) everyUser() (users [][]byte) {
	for _, s := range l.files.segments {
		b, err := os.ReadFile(s.path)
		if err != nil || len(b) < segmentHeader {
			continue
		}
		eachRecord(b, func(at int) {
			var r Record
			if r.load(b[at:]) {
				users = append(users, r.key())
			}
		})
	}
	return users
}
