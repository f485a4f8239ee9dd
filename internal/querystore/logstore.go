package querystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Options of the disk and the memory store. The zero value of each field means its default.
type Options struct {
	// Path is the folder of the disk store; it is made if it is missing. No default.
	Path string
	// Owner is whose the folder is. The first one to open a section names itself in the folder, which is then
	// refused to any other. Without one the folder is opened whoever it belongs to: for tools.
	Owner Owner
	// Memory is how much recent history (disk) or all history (memory) is kept in memory, in
	// bytes, shared equally by the open sections; 32 MiB by default. Each section takes at least
	// 256 KiB, whatever the number of sections. The index of users comes on top: 10 to 15 bytes a user, twice
	// that for a moment while it grows.
	Memory int64
	// SegmentBytes is the size of a segment file, in bytes; 64 MiB by default, at least 64 KiB.
	// History goes by whole segments: larger ones hold more that is too old, smaller ones keep
	// more files open.
	SegmentBytes int64
	// Log says what was cut off or let go; nothing by default.
	Log *zap.Logger
	// Fsync is asked to make a file durable, which do does; nil: do is called. Tests let it fail.
	Fsync func(path string, do func() error) error

	files fileSystem // of tests
	first uint64     // first address of a new log, of tests
	alive uint64     // in the place of maxAlive, of tests
}

func (o Options) withDefaults() Options {
	if o.Memory <= 0 {
		o.Memory = 32 << 20
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = max(o.SegmentBytes, 64<<10)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.alive == 0 {
		o.alive = maxAlive
	}
	if o.files == nil {
		o.files = osFiles{}
		if o.Fsync != nil {
			o.files = hookedFiles{o.files, o.Fsync}
		}
	}
	return o
}

// LogStore keeps impression logs, one for each task: the disk store, or the memory store. Its
// methods may be called from any goroutine.
//
// A section that was closed is parked: opened again, it is there at once, in memory too. Parked
// sections go when all they hold is older than what Expire of another section names, in memory
// also when another section takes their place.
type LogStore struct {
	home  home
	opts  Options
	lock  *os.File // nil in memory
	claim claim    // written under mu

	mu     sync.Mutex
	logs   map[int32]*impressionLog // open, opening (nil) and parked
	open   map[int32]bool
	parked []int32 // the one parked longest first
	gone   Stats   // counters of logs let go
	closed bool

	waiting atomic.Int32 // len(parked)
}

var _ Store = (*LogStore)(nil)

// OpenDisk opens the store in the folder opts.Path and locks it. It returns a [LockedError] if
// another process uses it, and an [OwnerError] if it is another group's.
func OpenDisk(opts Options) (*LogStore, error) {
	opts = opts.withDefaults()
	if opts.Path == "" {
		return nil, errors.New("querystore: store.path is empty: name a folder")
	}
	if err := os.MkdirAll(opts.Path, 0o700); err != nil {
		return nil, fmt.Errorf("querystore: folder %s: %w", opts.Path, err)
	}
	lock, err := lockFolder(opts.Path)
	if err != nil {
		return nil, err
	}
	s := NewMemory(opts)
	s.lock = lock
	if err := s.checkOwner(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// NewMemory makes a store without files. All history lies in opts.Memory bytes; when a section's
// share is full, its oldest records are let go, and counted in [Stats].Dropped if their time had
// not come. Nothing survives the process.
func NewMemory(opts Options) *LogStore {
	opts = opts.withDefaults()
	s := &LogStore{opts: opts, logs: map[int32]*impressionLog{}, open: map[int32]bool{}}
	s.home.log, s.home.segmentBytes, s.home.alive = opts.Log, uint64(opts.SegmentBytes), opts.alive
	s.divide()
	return s
}

// Open takes the section of a task, which must not be open: else it returns [ErrOpen]. With files,
// it reads all segments of a task that this store has not opened before. A [VersionError] says that they
// were written in another format.
func (s *LogStore) Open(task int32) (Section, error) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, ErrClosed
	case s.open[task]:
		s.mu.Unlock()
		return nil, ErrOpen
	}
	s.open[task] = true
	l := s.logs[task]
	if l != nil {
		s.parked = slices.DeleteFunc(s.parked, func(t int32) bool { return t == task })
	} else if s.lock == nil && len(s.parked) > 0 {
		s.letGo(s.parked[0])
	}
	s.divide()
	s.mu.Unlock()

	if l == nil {
		var err error
		if l, err = s.load(task); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.open, task)
			s.divide()
			return nil, err
		}
	}
	l.publish()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[task] = l
	return &section{store: s, impressionLog: l}, nil
}

func (s *LogStore) load(task int32) (*impressionLog, error) {
	l := &impressionLog{task: task, home: &s.home, index: newUserIndex(), horizon: newHorizon(), expired: minTime,
		base: s.opts.first, tail: s.opts.first, fresh: s.opts.first}
	l.ring.low = l.tail
	if s.lock == nil {
		return l, nil
	}
	dir := filepath.Join(s.opts.Path, fmt.Sprintf("task-%05d", task))
	if err := s.takeFolder(dir); err != nil {
		return nil, &IOError{Task: task, Op: "create", Path: filepath.Join(s.opts.Path, ownerFile), Err: err}
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		err = s.opts.files.syncDir(s.opts.Path)
		if err != nil {
			return nil, &IOError{Task: task, Op: "sync", Path: s.opts.Path, Err: err}
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, &IOError{Task: task, Op: "create", Path: dir, Err: err}
	}
	l.files = &files{dir: dir, sys: s.opts.files}
	l.files.closed.Store(l.tail)
	l.files.flushed.Store(l.tail)
	l.files.durable = l.tail
	if err := l.recover(); err != nil {
		l.closeFiles()
		return nil, err
	}
	return l, nil
}

// divide shares the memory out; mu is held.
func (s *LogStore) divide() {
	n := len(s.open)
	if s.lock == nil {
		n += len(s.parked)
	}
	s.waiting.Store(int32(len(s.parked)))
	s.home.share.Store(min(s.opts.Memory/int64(max(n, 1)), maxAlive))
}

// letGo forgets a parked log; mu is held.
func (s *LogStore) letGo(task int32) {
	l := s.logs[task]
	l.closeFiles()
	s.gone.count(l.counts)
	delete(s.logs, task)
	s.parked = slices.DeleteFunc(s.parked, func(t int32) bool { return t == task })
}

// park takes a closed section back. One that failed is opened anew from its files next time.
func (s *LogStore) park(l *impressionLog, failed bool) {
	l.publish()
	l.lastTime = l.newest()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, l.task)
	s.parked = append(s.parked, l.task)
	if failed {
		s.letGo(l.task)
	}
	s.divide()
}

// expireParked removes parked logs that hold nothing from the given time on.
func (s *LogStore) expireParked(before int64) {
	if s.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, task := range slices.Clone(s.parked) {
		l := s.logs[task]
		if l.lastTime >= before {
			continue
		}
		if err := l.reset(); err != nil {
			s.opts.Log.Warn("expired history of a task that is not assigned could not be removed", zap.Int32("task", task), zap.Error(err))
			continue
		}
		s.letGo(task)
	}
	s.divide()
}

// Stats is what the store holds and has done.
func (s *LogStore) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.gone
	all.Sections = len(s.open)
	for _, l := range s.logs {
		l.published.Lock()
		all.add(l.published.Stats)
		l.published.Unlock()
	}
	return all
}

// Close gives the folder back. Sections must be closed before: it returns [ErrOpen] otherwise, and
// may be called again.
func (s *LogStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		return ErrOpen
	}
	if s.closed {
		return nil
	}
	s.closed = true
	for _, task := range slices.Clone(s.parked) {
		s.letGo(task)
	}
	if s.lock != nil {
		return s.lock.Close()
	}
	return nil
}

// closeFiles closes the segments. After a failed fsync it cuts off what may not be on disk, so
// that nobody reads it out of the system's cache and takes it for durable.
func (l *impressionLog) closeFiles() {
	f := l.files
	if f == nil {
		return
	}
	f.io.Lock()
	defer f.io.Unlock()
	for _, s := range slices.Backward(f.segments) {
		if s.file == nil {
			continue
		}
		if f.failed.Load() != nil && s.end > f.durable {
			_ = s.file.Truncate(int64(max(f.durable, s.base) - s.base))
		}
		_ = s.file.Close()
	}
}

// newest is at least the newest time of the log's records.
func (l *impressionLog) newest() int64 {
	newest := int64(minTime)
	if l.files != nil {
		for _, s := range l.files.segments {
			newest = max(newest, s.newest.newest())
		}
		return newest
	}
	for addr := l.base; addr < l.tail; {
		b, err := l.at(addr)
		if err != nil || !l.rec.load(b) {
			break
		}
		newest = max(newest, l.rec.Time)
		addr += uint64(len(l.rec.b))
	}
	return newest
}
