package querystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// faultyFiles are files on a disk of limited size whose fsync may fail. What an fsync that failed
// should have made durable is lost, as on a real disk.
type faultyFiles struct {
	osFiles
	room     int64 // bytes that can still be written
	syncFail error
	keeps    bool // what a failed fsync should have made durable stays in the system's cache
	removes  int  // files that can still be removed, if it is not 0
	readFail error
	writes   int
}

func (d *faultyFiles) syncDir(string) error { return nil }

func (d *faultyFiles) create(path string) (file, error) {
	f, err := d.osFiles.create(path)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file: f, disk: d}, nil
}

func (d *faultyFiles) open(path string) (file, error) {
	f, err := d.osFiles.open(path)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file: f, disk: d}, nil
}

func (d *faultyFiles) remove(path string) error {
	if d.removes == 1 {
		return syscall.EACCES
	}
	d.removes = max(d.removes-1, 0)
	return d.osFiles.remove(path)
}

type faultyFile struct {
	file
	disk     *faultyFiles
	from, to int64 // written since the last sync
}

func (f *faultyFile) WriteAt(b []byte, at int64) (n int, err error) {
	f.disk.writes++
	if fits := min(int64(len(b)), f.disk.room); fits < int64(len(b)) {
		b, err = b[:fits], syscall.ENOSPC
	}
	f.disk.room -= int64(len(b))
	n, werr := f.file.WriteAt(b, at)
	if f.from == f.to {
		f.from, f.to = at, at
	}
	f.from, f.to = min(f.from, at), max(f.to, at+int64(n))
	return n, errors.Join(err, werr)
}

func (f *faultyFile) ReadAt(b []byte, at int64) (int, error) {
	if f.disk.readFail != nil {
		return 0, f.disk.readFail
	}
	return f.file.ReadAt(b, at)
}

func (f *faultyFile) Sync() error {
	if f.disk.syncFail == nil || f.disk.keeps {
		f.from, f.to = 0, 0
		return f.disk.syncFail
	}
	_, err := f.file.WriteAt(make([]byte, f.to-f.from), f.from)
	f.from, f.to = 0, 0
	return errors.Join(f.disk.syncFail, err)
}

func faultyModel(t *testing.T, disk *faultyFiles, memory int64) *model {
	m := &model{disk: true, dir: t.TempDir(), before: minTime, objects: 20}
	m.opts = Options{Path: m.dir, Memory: memory, SegmentBytes: 64 << 10, files: disk}
	m.start(t)
	return m
}

func (m *model) impression() effect {
	i := len(m.effects)
	e := effect{user: fmt.Sprintf("default\x00user-%d", i%modelUsers), kind: KindImpression, time: 1_700_000_000_000 + int64(i),
		place: Place{Offset: int64(i)}, query: "00112233445566778899aabbccddeeff", index: "products"}
	for k := range max(m.objects, 1) {
		e.objects = append(e.objects, fmt.Sprintf("sku-%d-%d", i, k))
	}
	return e
}

func (m *model) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		e := m.impression()
		if err := e.add(m.section); err != nil {
			t.Fatal(err)
		}
		m.effects = append(m.effects, e)
	}
}

func TestFullDiskIsReportedAppliesNothingAndHealsWhenThereIsSpace(t *testing.T) {
	disk := &faultyFiles{room: 300_000}
	m := faultyModel(t, disk, 1)
	var failed error
	for range 10_000 {
		e := m.impression()
		if failed = e.add(m.section); failed != nil {
			break
		}
		m.effects = append(m.effects, e)
	}
	var io *IOError
	if !errors.As(failed, &io) || !errors.Is(failed, syscall.ENOSPC) || io.Final || io.Task != 3 || io.Op != "write" {
		t.Fatalf("a full disk gives %v", failed)
	}
	if err := m.section.Sync(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Sync on a full disk gives %v", err)
	}
	e := m.impression()
	if err := e.add(m.section); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a second try gives %v", err)
	}
	m.check(t, len(m.effects))
	covered := Coverage{Written: int64(len(m.effects))}
	for range 200 {
		covered.Applied++
		m.section.SetCoverage(0, covered)
		if err := m.section.Sync(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Sync on a full disk gives %v", err)
		}
	}

	disk.room = 1 << 30
	if err := m.section.Sync(); err != nil {
		t.Fatal(err)
	}
	m.store.letGo(3) // a crash: nobody closes anything
	delete(m.store.open, 3)
	m.open(t)
	if got := m.section.Coverage(0); got != covered {
		t.Fatalf("coverage after the disk had space again is %+v, not %+v", got, covered)
	}
	m.add(t, 100)
	m.stop(t)
	m.start(t)
	m.check(t, len(m.effects))
	m.stop(t)
}

func TestRingDoesNotShrinkBelowWhatAFullDiskHasNotTaken(t *testing.T) {
	disk := &faultyFiles{}
	m := faultyModel(t, disk, 4<<20)
	m.add(t, 4000) // 1.7 MB, nothing of it written
	for task := range int32(7) {
		if task != 3 {
			section := openTask(t, m.store, task)
			t.Cleanup(func() { section.Close() })
		}
	}
	e := m.impression()
	if err := e.add(m.section); err == nil {
		m.effects = append(m.effects, e)
	}
	m.check(t, len(m.effects))
	disk.room = 1 << 30
	m.add(t, 10)
	m.sync(t)
	m.add(t, 10)
	m.check(t, len(m.effects))
	m.section.(interface{ publish() }).publish()
	if st := m.store.Stats(); st.Memory > 1<<20 {
		t.Fatalf("it did not shrink later: %d bytes", st.Memory)
	}
	m.sync(t)
	m.store.letGo(3)
	delete(m.store.open, 3)
	m.open(t)
	m.check(t, len(m.effects))
}

func TestFailedSyncWritesAgainWhatTheSystemMayHaveLost(t *testing.T) {
	disk := &faultyFiles{room: 1 << 30}
	m := faultyModel(t, disk, 8<<20)
	m.add(t, 100)
	m.sync(t)
	m.add(t, 500)
	disk.syncFail = syscall.EIO
	var io *IOError
	if err := m.section.Sync(); !errors.As(err, &io) || !errors.Is(err, syscall.EIO) || io.Op != "sync" || io.Final {
		t.Fatalf("a failed fsync gives %v", err)
	}
	disk.syncFail = nil
	m.add(t, 10)
	m.stop(t)
	m.start(t)
	m.check(t, len(m.effects))
	m.stop(t)
}

func TestFailedSyncOfWhatMemoryNoLongerHoldsIsFinalAndOpeningAnewGivesWhatIsDurable(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		t.Run(fmt.Sprint("cached=", keeps), func(t *testing.T) { testFinalSync(t, &faultyFiles{room: 1 << 30, keeps: keeps}) })
	}
}

func testFinalSync(t *testing.T, disk *faultyFiles) {
	m := faultyModel(t, disk, 1)
	m.add(t, 100)
	m.section.SetCoverage(0, Coverage{Applied: 100, Written: 100})
	m.sync(t)
	m.add(t, 2000)
	m.section.SetCoverage(0, Coverage{Applied: 2100, Written: 2100})
	disk.syncFail = syscall.EIO
	var io *IOError
	if err := m.section.Sync(); !errors.As(err, &io) || !io.Final {
		t.Fatalf("it gives %v", err)
	}
	e := m.impression()
	if err := e.add(m.section); !errors.As(err, &io) || !io.Final {
		t.Fatalf("an add after it gives %v", err)
	}
	if err := m.section.Close(); !errors.As(err, &io) {
		t.Fatalf("Close after it gives %v", err)
	}
	disk.syncFail = nil
	m.open(t)
	if there := m.check(t, 100); there != 100 {
		t.Fatalf("%d effects are there, 100 were durable", there)
	}
	if c := m.section.Coverage(0); c.Applied != 100 {
		t.Fatalf("coverage is %+v", c)
	}
	m.effects = m.effects[:100]
	m.add(t, 50)
	m.stop(t)
	m.start(t)
	m.check(t, 150)
	m.stop(t)
}

func TestUnreadableFileFailsTheWalkAndTheOpeningButNotTheStore(t *testing.T) {
	disk := &faultyFiles{room: 1 << 30}
	m := faultyModel(t, disk, 1)
	m.add(t, 3000)
	disk.readFail = syscall.EIO
	var io *IOError
	err := m.section.Walk([]byte(m.effects[0].user), func(*Record) bool { return true })
	if !errors.As(err, &io) || io.Op != "read" || !strings.HasSuffix(io.Path, ".seg") {
		t.Fatalf("a walk gives %v", err)
	}
	if err := m.section.Close(); err != nil {
		t.Fatal(err)
	}
	m.store.letGo(3)
	if _, err := m.store.Open(3); !errors.As(err, &io) {
		t.Fatalf("opening gives %v", err)
	}
	disk.readFail = nil
	m.open(t)
	m.check(t, 3000)
	m.stop(t)
}

func TestFileOfAnotherFormatVersionIsRefusedAndKept(t *testing.T) {
	m := faultyModel(t, &faultyFiles{room: 1 << 30}, 1)
	m.add(t, 10)
	m.stop(t)
	path := segmentPath(filepath.Join(m.dir, "task-00003"), 0)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var head [segmentHeader]byte
	putSegmentHeader(head[:], 3, 0)
	head[8]++
	sealHeader(head[:])
	if err := os.WriteFile(path, append(head[:], b[segmentHeader:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := OpenDisk(m.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var version *VersionError
	if _, err := store.Open(3); !errors.As(err, &version) || version.Got != formatVersion+1 {
		t.Fatalf("opening gives %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != int64(len(b)) {
		t.Fatalf("the file did not stay: %v", err)
	}
}

func TestResetThatFailsHalfWayLeavesTheOldestAndCanBeRepeated(t *testing.T) {
	disk := &faultyFiles{room: 1 << 30}
	m := faultyModel(t, disk, 1)
	m.add(t, 1000)
	m.sync(t)
	disk.removes = 3
	var io *IOError
	if err := m.section.(Resetter).Reset(); !errors.As(err, &io) || io.Op != "remove" {
		t.Fatalf("it gives %v", err)
	}
	left := m.sizes(t)
	if _, oldest := left[segmentPath(filepath.Join(m.dir, "task-00003"), 0)]; !oldest || len(left) < 2 {
		t.Fatalf("left are %v", left)
	}
	disk.removes = 0
	if err := m.section.(Resetter).Reset(); err != nil {
		t.Fatal(err)
	}
	m.effects = nil
	m.add(t, 10)
	m.stop(t)
	m.start(t)
	if there := m.check(t, 10); there != 10 {
		t.Fatalf("%d effects are there", there)
	}
	m.stop(t)
}
