package querystore

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notedFiles are the operating system's without the wait for the disk: a sync only notes how much
// of a file it made durable.
type notedFiles struct {
	osFiles
	synced map[string]int64
}

func (notedFiles) syncDir(string) error { return nil }

func (n notedFiles) create(path string) (file, error) {
	f, err := n.osFiles.create(path)
	return n.noted(path, f, err)
}

func (n notedFiles) open(path string) (file, error) {
	f, err := n.osFiles.open(path)
	return n.noted(path, f, err)
}

func (n notedFiles) noted(path string, f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &notedFile{f, path, n.synced}, nil
}

type notedFile struct {
	file
	path   string
	synced map[string]int64
}

func (f *notedFile) Sync() error {
	info, err := f.Stat()
	if err == nil && f.synced != nil {
		f.synced[f.path] = info.Size()
	}
	return err
}

// An effect is what a test added, kept by its own means.
type effect struct {
	user     string
	kind     Kind
	time     int64
	place    Place
	ordinal  uint16
	query    string
	index    string
	model    string
	offset   int64
	objects  []string
	tags     []string
	hash     [16]byte
	objectID string
}

func (e effect) add(s Section) error {
	user := []byte(e.user)
	switch e.kind {
	case KindImpression:
		return s.AddImpression(user, &Impression{Time: e.time, Place: e.place, List: e.ordinal, QueryID: []byte(e.query),
			Index: []byte(e.index), Model: []byte(e.model), PositionOffset: e.offset, ObjectIDs: byteSlices(e.objects), Tags: byteSlices(e.tags)})
	case KindClick:
		return s.AddClick(user, &Click{Time: e.time, Place: e.place, Object: e.ordinal, ObjectID: []byte(e.objectID), QueryID: []byte(e.query), Index: []byte(e.index)})
	default:
		return s.AddMark(user, &Mark{Time: e.time, Place: e.place, Hash: e.hash})
	}
}

func byteSlices(in []string) (out [][]byte) {
	for _, s := range in {
		out = append(out, []byte(s))
	}
	return out
}

// differs says in what a stored record differs from what was added.
func (e effect) differs(r *Record) string {
	switch {
	case r.Kind != e.kind:
		return "kind"
	case r.Time != e.time || r.Place != e.place || r.Ordinal != e.ordinal:
		return "time, place or ordinal"
	case e.kind != KindMark && string(r.QueryID()) != e.query:
		return fmt.Sprintf("queryID %q instead of %q", r.QueryID(), e.query)
	case string(r.Index()) != e.index || string(r.Model()) != e.model:
		return "index or model"
	case r.Hash() != e.hash:
		return "hash"
	case string(r.ObjectID()) != e.objectID:
		return "objectID"
	case r.Len() != len(e.objects):
		return "number of objects"
	case r.PositionOffset() != e.offset:
		return "position offset"
	}
	for i, id := range e.objects {
		if string(r.ObjectIDAt(i)) != id {
			return fmt.Sprintf("object %d", i)
		}
		if i%17 != 0 {
			continue
		}
		first := int64(slices.Index(e.objects, id)) + 1 + e.offset
		if at, ok := r.Find(HashObject([]byte(id)), []byte(id)); !ok || at != first {
			return fmt.Sprintf("position of object %d: %d, %v instead of %d", i, at, ok, first)
		}
	}
	if _, ok := r.Find(HashObject([]byte("none")), []byte("none")); ok {
		return "finds what is not listed"
	}
	if tags := r.Tags(nil); !slices.EqualFunc(tags, e.tags, func(b []byte, s string) bool { return string(b) == s }) {
		return "tags"
	}
	return ""
}

// A model is what a section must hold.
type model struct {
	parent  string // where folders are made
	dir     string
	opts    Options
	disk    bool
	byTime  bool // records are handed out newest first, not the last added first
	store   *LogStore
	section Section

	effects []effect // in the order they were added
	objects int      // of each impression that impression makes
	clock   int64
	offsets [2]int64

	coverages []said // every SetCoverage, and what came before any
	durable   int    // effects that were synced
	said      int    // coverages that were synced
	synced    map[string]int64
	before    int64 // of the newest Expire
}

type said struct {
	effects int // added before it
	applied [2]int64
}

const modelUsers = 5

var topics = []string{"shown", "clicked"}

func newModel(t fataler, parent string, disk bool, opts Options) *model {
	m := &model{opts: opts, disk: disk, clock: 1_700_000_000_000, coverages: []said{{}}, before: minTime}
	if disk {
		m.parent = parent
		m.dir = m.tempDir(t)
		m.opts.Path = m.dir
		m.synced = map[string]int64{}
		m.opts.files = notedFiles{synced: m.synced}
	}
	m.start(t)
	return m
}

func (m *model) tempDir(t fataler) string {
	dir, err := os.MkdirTemp(m.parent, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func (m *model) start(t fataler) {
	t.Helper()
	if m.disk {
		store, err := OpenDisk(m.opts)
		if err != nil {
			t.Fatal(err)
		}
		m.store = store
	} else if m.store == nil {
		m.store = NewMemory(m.opts)
	}
	m.open(t)
}

func (m *model) open(t fataler) {
	t.Helper()
	section, err := m.store.Open(3)
	if err != nil {
		t.Fatal(err)
	}
	m.section = section
	for i, topic := range topics {
		if n := section.Source(topic); int(n) != i {
			t.Fatalf("source %s has number %d after it had %d", topic, n, i)
		}
	}
}

func (m *model) stop(t fataler) {
	t.Helper()
	if err := m.section.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.store.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) drawEffect(t *rapid.T) effect {
	e := effect{
		user:    fmt.Sprintf("default\x00user-%d", rapid.IntRange(0, modelUsers-1).Draw(t, "user")),
		kind:    rapid.SampledFrom([]Kind{KindImpression, KindImpression, KindClick, KindMark}).Draw(t, "kind"),
		place:   Place{Source: rapid.Uint16Range(0, 1).Draw(t, "source")},
		ordinal: rapid.Uint16().Draw(t, "ordinal"),
	}
	m.clock += rapid.Int64Range(0, 60_000).Draw(t, "step")
	e.time = m.clock + rapid.SampledFrom([]int64{0, 0, 0, -5_000, -100_000_000, 2_000, 90_000_000, 40_000_000_000}).Draw(t, "skew")
	m.offsets[e.place.Source]++
	e.place.Offset = m.offsets[e.place.Source]
	if e.kind == KindMark {
		copy(e.hash[:], fmt.Sprint("mark", e.place.Offset))
		e.ordinal = 0
		return e
	}
	e.query = rapid.SampledFrom([]string{"00112233445566778899aabbccddeeff", "message_0123-abc", "0123456789ABCDEF0123456789ABCDEF", ""}).Draw(t, "queryID")
	e.index = rapid.SampledFrom([]string{"products", ""}).Draw(t, "index")
	if e.kind == KindClick {
		e.objectID = rapid.SampledFrom([]string{"sku-1", "x", string(bytes.Repeat([]byte("o"), 256))}).Draw(t, "objectID")
		return e
	}
	e.model = rapid.SampledFrom([]string{"related", ""}).Draw(t, "model")
	e.offset = rapid.SampledFrom([]int64{0, 0, 20, -1, 1 << 40}).Draw(t, "position offset")
	e.tags = rapid.SampledFrom([][]string{nil, {"a", "", "bcd"}}).Draw(t, "tags")
	n := rapid.SampledFrom([]int{1, 3, 20, 200}).Draw(t, "objects")
	for i := range n {
		e.objects = append(e.objects, fmt.Sprintf("%d-%s", i%150, bytes.Repeat([]byte("p"), i%50)))
	}
	return e
}

// check walks every user. atLeast says how many effects must be there; it returns how many are:
// those there are the first ones added, but for what has expired.
func (m *model) check(t fataler, atLeast int) (there int) {
	t.Helper()
	type key struct {
		place   Place
		ordinal uint16
		kind    Kind
	}
	numbers := map[key]int{}
	for i, e := range m.effects {
		numbers[key{e.place, e.ordinal, e.kind}] = i
	}
	seen := make([]bool, len(m.effects))
	for u := range modelUsers {
		user := fmt.Sprintf("default\x00user-%d", u)
		last, first, promised := len(m.effects), true, int64(0)
		err := m.section.Walk([]byte(user), func(r *Record) bool {
			i, ok := numbers[key{r.Place, r.Ordinal, r.Kind}]
			if !ok || m.effects[i].user != user {
				t.Fatalf("a record of nobody's: %+v", r.Place)
			}
			if d := m.effects[i].differs(r); d != "" {
				t.Fatalf("effect %d differs: %s", i, d)
			}
			if r.Time >= m.before && !first && r.Time > promised {
				t.Fatalf("effect %d of time %d below a record that promised %d at most", i, r.Time, promised)
			}
			if m.byTime && last < len(m.effects) && r.Time > m.effects[last].time || !m.byTime && m.before == minTime && i >= last {
				t.Fatalf("effect %d handed out after %d", i, last)
			}
			if m.byTime && seen[i] {
				t.Fatalf("effect %d handed out twice", i)
			}
			last, first, promised = i, false, r.NewestBelow
			seen[i] = true
			there = max(there, i+1)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	there = max(there, atLeast)
	for i, e := range m.effects[:there] {
		if !seen[i] && e.time >= m.before {
			t.Fatalf("effect %d of %d is missing; %d were durable", i, there, m.durable)
		}
	}
	return there
}

func (m *model) checkCoverage(t fataler, there int, from int) {
	t.Helper()
	for s := range topics {
		c := m.section.Coverage(uint16(s))
		ok := slices.ContainsFunc(m.coverages[from:], func(c2 said) bool { return c2.effects <= there && c2.applied[s] == c.Applied })
		if !ok {
			t.Fatalf("coverage of source %d is %+v with %d effects; said was %+v", s, c, there, m.coverages[from:])
		}
		for i, e := range m.effects[:there] {
			if !m.byTime && int(e.place.Source) == s && e.place.Offset >= c.Written && e.time >= m.before {
				t.Fatalf("effect %d lies at %d, at or beyond Written of %+v", i, e.place.Offset, c)
			}
		}
	}
}

func (m *model) sync(t fataler) {
	t.Helper()
	if err := m.section.Sync(); err != nil {
		t.Fatal(err)
	}
	m.isDurable()
}

func (m *model) isDurable() {
	m.durable, m.said = len(m.effects), len(m.coverages)-1
}

func (m *model) sizes(t fataler) map[string]int64 {
	sizes := map[string]int64{}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".seg" {
			return err
		}
		info, err := d.Info()
		sizes[path] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

// crash goes on with a copy of the folder in which everything that was not synced is at the
// disk's mercy.
func (m *model) crash(t *rapid.T) {
	now := m.sizes(t)
	dir := m.tempDir(t)
	for _, path := range slices.Sorted(maps.Keys(now)) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if held := m.synced[path]; int64(len(b)) > held {
			keep := rapid.Int64Range(held, int64(len(b))).Draw(t, "kept bytes")
			b = b[:keep]
			if keep > held && rapid.Bool().Draw(t, "flip") {
				b[rapid.Int64Range(held, keep-1).Draw(t, "flipped byte")] ^= 0x10
			}
		}
		rel, _ := filepath.Rel(m.dir, path)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(rel)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, rel), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.stop(t)
	_ = os.RemoveAll(m.dir)
	m.dir, m.opts.Path = dir, dir
	clear(m.synced)
	m.start(t)
	there := m.check(t, m.durable)
	m.checkCoverage(t, there, m.said)
	m.effects = m.effects[:there]
	var applied [2]int64
	for s := range topics {
		applied[s] = m.section.Coverage(uint16(s)).Applied
	}
	m.coverages = []said{{there, applied}}
	m.sync(t)
}

func (m *model) cover() {
	next := said{effects: len(m.effects)}
	for s := range topics {
		next.applied[s] = m.offsets[s]
		m.section.SetCoverage(uint16(s), Coverage{Applied: m.offsets[s] + 1, Written: m.offsets[s] + 1})
		next.applied[s]++
	}
	m.coverages = append(m.coverages, next)
}

func (m *model) actions(t *rapid.T) map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			m.check(t, len(m.effects))
			m.checkCoverage(t, len(m.effects), len(m.coverages)-1)
		},
		"add": func(t *rapid.T) {
			for range rapid.SampledFrom([]int{1, 5, 40}).Draw(t, "effects") {
				e := m.drawEffect(t)
				if err := e.add(m.section); err != nil {
					t.Fatal(err)
				}
				m.effects = append(m.effects, e)
			}
		},
		"cover": func(t *rapid.T) { m.cover() },
		"sync":  func(t *rapid.T) { m.sync(t) },
		"expire": func(t *rapid.T) {
			before := m.clock - rapid.Int64Range(0, 3_000_000).Draw(t, "age")
			if err := m.section.Expire(before); err != nil {
				t.Fatal(err)
			}
			m.before = max(m.before, before)
		},
		"close and open": func(t *rapid.T) {
			if err := m.section.Close(); err != nil {
				t.Fatal(err)
			}
			m.isDurable()
			m.open(t)
		},
	}
	if m.disk {
		actions["crash"] = m.crash
		actions["restart"] = func(t *rapid.T) {
			m.stop(t)
			m.isDurable()
			m.start(t)
		}
	}
	return actions
}

// Both stores keep what was added, hand it out unchanged and in order, and expire nothing early;
// the disk store, too, over restarts and crashes, where what was synced is there, and coverage is
// never ahead of the effects.
func TestSectionHoldsWhatWasAddedLikeTheModel(t *testing.T) {
	for _, disk := range []bool{true, false} {
		t.Run(map[bool]string{true: "disk", false: "memory"}[disk], func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				opts := Options{SegmentBytes: 64 << 10, Memory: 8 << 20}
				if disk {
					opts.Memory = 1 // the least ring, so that walks read files
					opts.first = rapid.SampledFrom([]uint64{0, 1<<36 - 100<<10}).Draw(rt, "first address")
				}
				m := newModel(rt, t.TempDir(), disk, opts)
				rt.Repeat(m.actions(rt))
				m.stop(rt)
				_ = os.RemoveAll(m.dir)
			})
		})
	}
}
