package querystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openTask(t *testing.T, s *LogStore, task int32) Section {
	t.Helper()
	section, err := s.Open(task)
	if err != nil {
		t.Fatal(err)
	}
	section.Source("topic")
	return section
}

func count(t *testing.T, s Section, user string) (n int) {
	t.Helper()
	if err := s.Walk([]byte(user), func(*Record) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

func mark(user string, time, offset int64) effect {
	return effect{user: user, kind: KindMark, time: time, place: Place{Offset: offset}}
}

func addAll(t *testing.T, s Section, effects ...effect) {
	t.Helper()
	for _, e := range effects {
		if err := e.add(s); err != nil {
			t.Fatal(err)
		}
	}
}

func diskStore(t *testing.T, opts Options) *LogStore {
	t.Helper()
	opts.Path = t.TempDir()
	if opts.files == nil {
		opts.files = notedFiles{}
	}
	s, err := OpenDisk(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bothStores(t *testing.T, opts Options, test func(t *testing.T, s *LogStore)) {
	t.Run("disk", func(t *testing.T) { test(t, diskStore(t, opts)) })
	t.Run("memory", func(t *testing.T) { test(t, NewMemory(opts)) })
}

const day = int64(86_400_000)

func TestUsersWhoseTagsCollideDoNotSeeEachOther(t *testing.T) {
	tags := map[uint32]string{}
	var a, b string
	for i := 0; a == ""; i++ {
		user := fmt.Sprint("default\x00u", i)
		tag := userTag([]byte(user))
		if other, ok := tags[tag]; ok {
			a, b = other, user
		}
		tags[tag] = user
	}
	bothStores(t, Options{}, func(t *testing.T, s *LogStore) {
		section := openTask(t, s, 0)
		for i := range int64(10) {
			addAll(t, section, mark(a, 1000+i, 2*i), mark(b, 5000+i, 2*i+1))
		}
		if n := count(t, section, a); n != 10 {
			t.Fatalf("%d records", n)
		}
		err := section.Walk([]byte(b), func(r *Record) bool {
			if r.Time < 5000 {
				t.Fatal("a record of the other user")
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := section.(Forgetter).Forget([]byte(a)); err != nil {
			t.Fatal(err)
		}
		if na, nb := count(t, section, a), count(t, section, b); na != 0 || nb != 10 {
			t.Fatalf("after one was forgotten: %d and %d", na, nb)
		}
	})
}

func TestObjectsWhoseHashesCollideAreNotTakenForEachOther(t *testing.T) {
	hashes := map[uint32][]byte{}
	for i := 0; ; i++ {
		id := fmt.Append(nil, "sku-", i)
		h := storedHash(HashObject(id))
		other, ok := hashes[h]
		if hashes[h] = id; !ok {
			continue
		}
		section := openTask(t, NewMemory(Options{}), 0)
		if err := section.AddImpression([]byte("u"), &Impression{ObjectIDs: [][]byte{other}}); err != nil {
			t.Fatal(err)
		}
		err := section.Walk([]byte("u"), func(r *Record) bool {
			_, there := r.Find(HashObject(other), other)
			if _, wrong := r.Find(HashObject(id), id); wrong || !there {
				t.Fatalf("of %s and %s, which share a hash, the wrong one is found", id, other)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

func TestForgottenUserStaysForgottenAndCanComeBack(t *testing.T) {
	s := diskStore(t, Options{})
	section := openTask(t, s, 0)
	addAll(t, section, mark("u", 1, 1), mark("u", 2, 2), mark("v", 3, 3))
	if err := section.(Forgetter).Forget([]byte("u")); err != nil {
		t.Fatal(err)
	}
	addAll(t, section, mark("u", 4, 4))
	for range 2 {
		if nu, nv := count(t, section, "u"), count(t, section, "v"); nu != 1 || nv != 1 {
			t.Fatalf("%d and %d records", nu, nv)
		}
		if err := section.Close(); err != nil {
			t.Fatal(err)
		}
		s.letGo(0)
		section = openTask(t, s, 0)
	}
}

func TestResetLeavesNothingButTheNumbersOfSources(t *testing.T) {
	bothStores(t, Options{SegmentBytes: 64 << 10}, func(t *testing.T, s *LogStore) {
		section := openTask(t, s, 0)
		two := section.Source("second")
		for i := range int64(3000) {
			addAll(t, section, mark("u", i, i))
		}
		section.SetCoverage(two, Coverage{Applied: 7, Written: 8})
		if err := section.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := section.(Resetter).Reset(); err != nil {
			t.Fatal(err)
		}
		if n := count(t, section, "u"); n != 0 || section.Coverage(two) != (Coverage{}) {
			t.Fatalf("%d records and %+v are left", n, section.Coverage(two))
		}
		addAll(t, section, mark("u", 1, 1))
		if n := count(t, section, "u"); n != 1 || section.Source("second") != two {
			t.Fatalf("afterwards: %d records, source %d", n, section.Source("second"))
		}
		if err := section.Close(); err != nil {
			t.Fatal(err)
		}
		if s.lock != nil {
			s.letGo(0)
		}
		section = openTask(t, s, 0)
		if n := count(t, section, "u"); n != 1 || section.Source("second") != two || section.Coverage(two) != (Coverage{}) {
			t.Fatalf("opened again: %d records, source %d, %+v", n, section.Source("second"), section.Coverage(two))
		}
	})
}

func TestMemoryStoreKeepsTheNewestWithinItsBoundAndCountsWhatItLetsGo(t *testing.T) {
	const bound = 1 << 20
	s := NewMemory(Options{Memory: bound})
	section := openTask(t, s, 0)
	const n = 50_000
	for i := range int64(n) {
		addAll(t, section, mark(fmt.Sprint("user", i%100), i, i))
	}
	there := 0
	for u := range 100 {
		next := int64(n)
		err := section.Walk(fmt.Append(nil, "user", u), func(r *Record) bool {
			if r.Time >= next {
				t.Fatal("not the newest first")
			}
			next = r.Time
			there++
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := section.Expire(0); err != nil {
		t.Fatal(err)
	}
	if err := section.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if there < bound/96*9/10 || there+int(st.Dropped) != n || st.Records != int64(there) || st.Bytes > bound {
		t.Fatalf("%d of %d records are there: %+v", there, n, st)
	}
}

func TestMemoryStoreDoesNotCountExpiredRecordsAsDropped(t *testing.T) {
	s := NewMemory(Options{Memory: 1})
	section := openTask(t, s, 0)
	for i := range int64(20_000) {
		if i%100 == 0 {
			if err := section.Expire(i); err != nil {
				t.Fatal(err)
			}
		}
		addAll(t, section, mark("u", i, i))
	}
	if err := section.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Dropped != 0 || st.Records == 20_000 {
		t.Fatalf("%+v", st)
	}
}

func TestSharesOfMemoryFollowTheOpenSectionsWithoutLosingWhatTheyHold(t *testing.T) {
	bothStores(t, Options{Memory: 2 << 20}, func(t *testing.T, s *LogStore) {
		sections := []Section{openTask(t, s, 0)}
		var n int64
		add := func() {
			for range 3000 {
				for task, section := range sections {
					addAll(t, section, mark(fmt.Sprint("u", task), n, n))
				}
				n++
			}
		}
		add()
		for task := range int32(3) {
			sections = append(sections, openTask(t, s, task+1))
			add()
		}
		for _, section := range sections {
			section.(interface{ publish() }).publish()
		}
		if st := s.Stats(); st.Memory-4*minIndexSlots*8 > 2<<20 {
			t.Fatalf("%d bytes of rings", st.Memory)
		}
		want := []int{12000, 9000, 6000, 3000}
		all := 0
		for task, section := range sections {
			got := count(t, section, fmt.Sprint("u", task))
			all += got
			if s.lock == nil && got < 4000 && got < want[task] || s.lock != nil && got != want[task] {
				t.Fatalf("task %d has %d records of %d", task, got, want[task])
			}
		}
		if st := s.Stats(); st.Records != int64(all) || st.Records+st.Dropped != 30_000 {
			t.Fatalf("%d records are there: %+v", all, st)
		}
		for _, section := range sections[1:] {
			if err := section.Close(); err != nil {
				t.Fatal(err)
			}
		}
		sections = sections[:1]
		add()
		if got := count(t, sections[0], "u0"); s.lock != nil && got != 15_000 {
			t.Fatalf("%d records", got)
		}
	})
}

func TestParkedSectionsComeBackAtOnceAndGoWhenTheirTimeIsOver(t *testing.T) {
	bothStores(t, Options{}, func(t *testing.T, s *LogStore) {
		one, two := openTask(t, s, 1), openTask(t, s, 2)
		addAll(t, one, mark("u", 10*day, 1))
		one.SetCoverage(0, Coverage{Applied: 2, Written: 2})
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		if err := two.Expire(9 * day); err != nil {
			t.Fatal(err)
		}
		one = openTask(t, s, 1)
		if n := count(t, one, "u"); n != 1 || one.Coverage(0).Applied != 2 {
			t.Fatalf("%d records, %+v", n, one.Coverage(0))
		}
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		if err := two.Expire(11 * day); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Records != 0 {
			t.Fatalf("%d records are left", st.Records)
		}
		if s.lock != nil {
			if left, _ := filepath.Glob(filepath.Join(s.opts.Path, "task-00001", "*.seg")); len(left) != 0 {
				t.Fatalf("files are left: %v", left)
			}
		}
		one = openTask(t, s, 1)
		if n := count(t, one, "u"); n != 0 || one.Coverage(0).Applied != 0 {
			t.Fatalf("%d records, %+v", n, one.Coverage(0))
		}
	})
}

// A phone whose clock is a year ahead must not keep the history of everybody else on disk.
func TestRecordsAheadOfTheirTimeAreKeptWithoutHoldingTheirSegment(t *testing.T) {
	synced := map[string]int64{}
	s := diskStore(t, Options{SegmentBytes: 64 << 10, Memory: 1, files: notedFiles{synced: synced}})
	section := openTask(t, s, 0)
	now, n := 100*day, int64(0)
	for hour := range int64(24 * 6) {
		now += day / 24
		for i := range int64(300) {
			n++
			addAll(t, section, mark(fmt.Sprint("u", i%50), now+i, n))
		}
		if hour%24 == 5 {
			n++
			addAll(t, section, mark("ahead", now+365*day+hour, n), mark("hidden", now+365*day+hour, n))
			if err := section.(Forgetter).Forget([]byte("hidden")); err != nil {
				t.Fatal(err)
			}
			if err := section.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if err := section.Expire(now - day); err != nil {
			t.Fatal(err)
		}
	}
	check := func(records int) {
		t.Helper()
		if ahead, hidden := count(t, section, "ahead"), count(t, section, "hidden"); ahead != records || hidden != 0 {
			t.Fatalf("%d records ahead and %d hidden ones are left", ahead, hidden)
		}
	}
	check(6)
	section.(interface{ publish() }).publish()
	if st := s.Stats(); st.Bytes > 40*300*96 {
		t.Fatalf("%d bytes for a day of %d", st.Bytes, 24*300*96)
	}
	stopped := false
	err := section.Walk([]byte("u7"), func(r *Record) bool {
		stopped = r.NewestBelow < now-day/2
		return !stopped
	})
	if err != nil || !stopped {
		t.Fatalf("a walk cannot stop early: %v", err)
	}

	// A crash that keeps nothing that was not synced.
	if len(synced) == 0 {
		t.Fatal("nothing was synced")
	}
	s.letGo(0)
	delete(s.open, 0)
	files, _ := filepath.Glob(filepath.Join(s.opts.Path, "task-00000", "*.seg"))
	for _, path := range files {
		if err := os.Truncate(path, synced[path]); err != nil {
			t.Fatal(err)
		}
	}
	section = openTask(t, s, 0)
	check(6)
}

// While the oldest segment cannot go, what is to be kept of it is added anew only once.
func TestRecordIsAddedAnewOnlyOnceThoughItsSegmentStays(t *testing.T) {
	s := diskStore(t, Options{SegmentBytes: 64 << 10, Memory: 1})
	section := openTask(t, s, 0)
	addAll(t, section, mark("ahead", 1000*day, 0))
	for i := range int64(3000) {
		addAll(t, section, mark("u", 10*day+i, i))
	}
	if err := section.Sync(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l := s.logs[0]
		l.files.syncing.Lock() // as during an fsync
		dropped, err := l.dropOldest(false)
		l.files.syncing.Unlock()
		if err != nil || dropped {
			t.Fatalf("the oldest segment went during an fsync: %v", err)
		}
		if err := l.rescue(l.files.segments[0], 20*day); err != nil {
			t.Fatal(err)
		}
		if n := count(t, section, "ahead"); n != 2 {
			t.Fatalf("%d records", n)
		}
		if err := section.Close(); err != nil {
			t.Fatal(err)
		}
		s.letGo(0)
		section = openTask(t, s, 0)
	}
	if err := section.Expire(20 * day); err != nil {
		t.Fatal(err)
	}
	if n := count(t, section, "ahead"); n != 1 {
		t.Fatalf("%d records", n)
	}
}

func TestLittleTrafficExpiresWithinTwiceTheWindow(t *testing.T) {
	s := diskStore(t, Options{})
	section := openTask(t, s, 0)
	for i := range int64(1000) { // one in two hours
		now := 100*day + i*day/12
		addAll(t, section, mark("u", now, i))
		if err := section.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := section.Expire(now - day); err != nil {
			t.Fatal(err)
		}
		if n := count(t, section, "u"); i > 200 && n > 60 {
			t.Fatalf("%d records of two hours each are there", n)
		}
	}
}

func TestExpiredUsersLeaveTheIndex(t *testing.T) {
	s := diskStore(t, Options{SegmentBytes: 64 << 10, Memory: 1})
	section := openTask(t, s, 0)
	for i := range int64(40_000) {
		addAll(t, section, mark(fmt.Sprint("user", i), i*60_000, i))
		if i%100 == 0 {
			if err := section.Expire((i - 2000) * 60_000); err != nil {
				t.Fatal(err)
			}
		}
	}
	section.(interface{ publish() }).publish()
	if st := s.Stats(); st.Users > 12_000 || st.Records < 2000 || st.Records > 5000 {
		t.Fatalf("%+v", st)
	}
}

func TestSyncBesideTheTaskMakesDurableWhatWasAddedBefore(t *testing.T) {
	s := diskStore(t, Options{SegmentBytes: 64 << 10, Memory: 1})
	section := openTask(t, s, 0)
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := section.Sync(); err != nil {
					t.Error(err)
					return
				}
				s.Stats()
			}
		}
	})
	const n = 12_000
	for i := range int64(n) {
		addAll(t, section, mark(fmt.Sprint("user", i%50), 100*day+i*1000, i))
		if i%100 == 0 {
			section.SetCoverage(0, Coverage{Applied: i + 1, Written: i + 1})
			if err := section.Expire(100*day + i*1000 - 10_000_000); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(t, section, fmt.Sprint("user", i%50)); got == 0 {
			t.Fatal("a record is missing")
		}
	}
	if err := section.Sync(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	beside.Wait()
	s.letGo(0) // a crash
	delete(s.open, 0)
	section = openTask(t, s, 0)
	there := map[int64]bool{}
	for u := range 50 {
		err := section.Walk(fmt.Append(nil, "user", u), func(r *Record) bool {
			there[r.Place.Offset] = true
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := int64(n - 9_000); i < n; i++ {
		if !there[i] {
			t.Fatalf("%d is missing", i)
		}
	}
}

func TestWhatDoesNotFitIsRefusedAndLeavesTheSectionAsItWas(t *testing.T) {
	long := []byte(strings.Repeat("x", 1<<16))
	many := make([][]byte, 5000)
	for i := range many {
		many[i] = long[:256]
	}
	id := [][]byte{[]byte("a")}
	bothStores(t, Options{}, func(t *testing.T, s *LogStore) {
		section := openTask(t, s, 0)
		user := []byte("u")
		for what, err := range map[string]error{
			"user":     section.AddMark(long, &Mark{}),
			"queryID":  section.AddClick(user, &Click{QueryID: long}),
			"index":    section.AddImpression(user, &Impression{ObjectIDs: id, Index: long}),
			"model":    section.AddImpression(user, &Impression{ObjectIDs: id, Model: long}),
			"objectID": section.AddImpression(user, &Impression{ObjectIDs: [][]byte{nil}}),
			"record":   section.AddImpression(user, &Impression{ObjectIDs: many}),
		} {
			var record *RecordError
			if !errors.As(err, &record) || record.Field != what || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := section.AddMark(user, &Mark{Place: Place{Source: 9}}); err == nil {
			t.Error("a source that nobody named is taken")
		}
		if n := count(t, section, "u"); n != 0 {
			t.Errorf("%d records", n)
		}
		v := Impression{ObjectIDs: many[:3000], Tags: [][]byte{[]byte("kept"), long[:20_000]}}
		if err := section.AddImpression(user, &v); err != nil {
			t.Fatal(err)
		}
		err := section.Walk(user, func(r *Record) bool {
			if tags := r.Tags(nil); r.Len() != 3000 || len(tags) != 1 {
				t.Errorf("%d objects, %d tags", r.Len(), len(tags))
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestLogThatIsFullOfLivingRecordsLetsTheOldestGoAndCountsThem(t *testing.T) {
	s := diskStore(t, Options{SegmentBytes: 64 << 10, Memory: 1, alive: 1 << 20})
	section := openTask(t, s, 0)
	const n = 30_000
	for i := range int64(n) {
		addAll(t, section, mark("u", 10*day+i, i))
	}
	there, next := 0, int64(n)
	err := section.Walk([]byte("u"), func(r *Record) bool {
		next--
		if r.Place.Offset != next {
			t.Fatalf("%d after %d", r.Place.Offset, next+1)
		}
		there++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	section.(interface{ publish() }).publish()
	if st := s.Stats(); there < 1<<20/96*9/10 || there > 1<<20/96*12/10 || st.Dropped != int64(n-there) || st.Records != int64(there) {
		t.Fatalf("%d are there: %+v", there, st)
	}
}

func TestOpenAndCloseKeepTheirPromises(t *testing.T) {
	bothStores(t, Options{}, func(t *testing.T, s *LogStore) {
		section := openTask(t, s, 0)
		if _, err := s.Open(0); !errors.Is(err, ErrOpen) {
			t.Errorf("a second Open gives %v", err)
		}
		if err := s.Close(); !errors.Is(err, ErrOpen) {
			t.Errorf("Close with an open section gives %v", err)
		}
		for range 2 {
			if err := section.Close(); err != nil {
				t.Error(err)
			}
		}
		again := openTask(t, s, 0)
		addAll(t, again, mark("u", 1, 1))
		for what, err := range map[string]error{
			"AddMark": section.AddMark([]byte("u"), &Mark{}), "AddClick": section.AddClick([]byte("u"), &Click{}),
			"AddImpression": section.AddImpression([]byte("u"), &Impression{}), "Sync": section.Sync(),
			"Walk": section.Walk([]byte("u"), func(*Record) bool { return true }), "Expire": section.Expire(5),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s of a closed section gives %v", what, err)
			}
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Open(0); !errors.Is(err, ErrClosed) {
			t.Errorf("Open of a closed store gives %v", err)
		}
	})
}

func TestAddingAndWalkingAllocateNothing(t *testing.T) {
	bothStores(t, Options{Memory: 1}, func(t *testing.T, s *LogStore) {
		section := openTask(t, s, 0)
		shop := newShop()
		for range 5000 {
			user, imp := shop.next(1000)
			if err := section.AddImpression(user, imp); err != nil {
				t.Fatal(err)
			}
		}
		object := []byte("sku-none")
		hash := HashObject(object)
		visit := func(r *Record) bool {
			r.Find(hash, object)
			return len(r.QueryID()) == 32
		}
		click := Click{ObjectID: object, QueryID: shop.imp.QueryID}
		allocs := testing.AllocsPerRun(2000, func() {
			user, imp := shop.next(1000)
			_ = section.AddImpression(user, imp)
			_ = section.AddClick(user, &click)
			_ = section.Walk(user, visit)
		})
		if allocs != 0 {
			t.Fatalf("%v allocations", allocs)
		}
	})
}

func TestOpenDiskSaysWhatIsWrongWithItsFolder(t *testing.T) {
	if _, err := OpenDisk(Options{}); err == nil || !strings.Contains(err.Error(), "store.path") {
		t.Errorf("no folder gives %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDisk(Options{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file in its place gives %v", err)
	}
}
