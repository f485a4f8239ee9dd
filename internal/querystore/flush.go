package querystore

import "go.uber.org/zap"

// flush writes the closed blocks to their files. It may be called beside the task. After an error
// what was not written stays in the ring and the next flush tries again, at the same place.
func (l *impressionLog) flush() error {
	f := l.files
	f.io.Lock()
	defer f.io.Unlock()
	for {
		f.mu.Lock()
		from, to := f.flushed.Load(), f.closed.Load()
		s := f.segmentAt(from)
		if s != nil {
			to = min(to, s.end)
		}
		f.mu.Unlock()
		if from >= to || s == nil {
			return nil
		}
		if err := l.write(s, from, to); err != nil {
			return err
		}
		f.flushed.Store(to)
	}
}

// write puts a range of the ring at its place in a segment file; io is held.
func (l *impressionLog) write(s *segment, from, to uint64) error {
	f := l.files
	if s.file == nil {
		file, err := f.sys.create(s.path)
		if err != nil {
			return &IOError{Task: l.task, Op: "create", Path: s.path, Err: err}
		}
		s.file, f.dirDirty = file, true
	}
	s.dirty = true
	for from < to {
		p := l.ring.piece(from, int(to-from))
		if _, err := s.file.WriteAt(p, int64(from-s.base)); err != nil {
			return &IOError{Task: l.task, Op: "write", Path: s.path, Err: err}
		}
		from += uint64(len(p))
	}
	return nil
}

// sync makes everything added so far durable. It may be called beside the task, which it holds up
// only for the checksum of the open block.
func (l *impressionLog) sync() error {
	f := l.files
	if f == nil {
		return nil
	}
	f.syncing.Lock()
	defer f.syncing.Unlock()
	if err := f.failed.Load(); err != nil {
		return err
	}
	// What is closed goes first: while the disk is full no block is closed half-empty.
	if err := l.flush(); err != nil {
		return err
	}
	f.mu.Lock()
	l.closeBlock()
	f.mu.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	return l.harden()
}

// harden syncs what was written; syncing is held.
func (l *impressionLog) harden() error {
	f := l.files
	f.io.Lock()
	upTo := f.flushed.Load()
	dir := f.dirDirty
	var dirty []*segment
	f.mu.Lock()
	for _, s := range f.segments {
		if s.dirty {
			dirty = append(dirty, s)
			s.dirty = false
		}
	}
	f.dirDirty = false
	f.mu.Unlock()
	f.io.Unlock()
	for i, s := range dirty {
		if err := s.file.Sync(); err != nil {
			return l.unsynced(dirty[i:], dir, &IOError{Task: l.task, Op: "sync", Path: s.path, Err: err})
		}
	}
	if dir {
		if err := f.sys.syncDir(f.dir); err != nil {
			return l.unsynced(nil, dir, &IOError{Task: l.task, Op: "sync", Path: f.dir, Err: err})
		}
	}
	f.durable = upTo
	return nil
}

// unsynced deals with a failed fsync. The system may have forgotten which pages were not on disk,
// so that a second fsync would succeed without them: they must be written again. If the ring does
// not hold them any more, only opening anew helps.
func (l *impressionLog) unsynced(dirty []*segment, dir bool, err *IOError) error {
	f := l.files
	f.io.Lock()
	defer f.io.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range dirty {
		s.dirty = true
	}
	f.dirDirty = f.dirDirty || dir
	if len(dirty) == 0 {
		return err
	}
	if from := max(f.durable, f.segments[0].base); from >= l.ring.oldest(l.tail) {
		f.flushed.Store(from)
		return err
	}
	err.Final = true
	f.failed.Store(err)
	l.home.log.Error("the query store could not be synced and must be opened anew",
		zap.Int32("task", l.task), zap.String("file", err.Path), zap.Error(err.Err))
	return err
}
