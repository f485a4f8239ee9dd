package querystore

import (
	"errors"
	"io/fs"
	"slices"

	"go.uber.org/zap"
)

// expire drops whole segments from the oldest on while what is in them is before the given time,
// but for a few records.
func (l *impressionLog) expire(before int64) error {
	l.expired = max(l.expired, before)
	f := l.files
	if f == nil || len(f.segments) == 0 {
		return nil
	}
	if err := l.removeDoomed(); err != nil {
		return err
	}
	l.sealOld(before)
	for len(f.segments) > 1 && f.segments[0].due(before) {
		if err := l.rescue(f.segments[0], before); err != nil {
			return err
		}
		if dropped, err := l.dropOldest(false); err != nil || !dropped {
			return err
		}
	}
	return nil
}

// due says whether a segment can go: at most one in eight of its records is not yet before the
// given time, and these are known.
func (s *segment) due(before int64) bool {
	left, all := s.newest.from(before)
	return all && int64(left)*8 <= s.records
}

// sealOld ends a segment most of whose first records are before the given time, so that on a task
// with little traffic, too, records go after about twice the window.
func (l *impressionLog) sealOld(before int64) {
	last := l.files.segments[len(l.files.segments)-1]
	if last.born != minTime && last.born < before {
		l.files.seal = true
	}
}

// rescue adds the records of a segment that are not yet before the given time anew.
func (l *impressionLog) rescue(s *segment, before int64) error {
	for i, left := range s.newest.list {
		if left.time < before {
			continue
		}
		rec, err := l.reachable(left.addr)
		if err != nil {
			return err
		}
		if rec != nil {
			dst, err := l.begin(len(rec))
			if err != nil {
				return err
			}
			copy(dst, rec)
			var r Record
			r.load(rec)
			l.commit(dst, userTag(r.key()), r.Time)
		}
		s.newest.list[i].time = minTime
		s.rescued = true
	}
	if !s.rescued {
		return nil
	}
	if err := l.sync(); err != nil {
		return err
	}
	s.rescued = false
	return nil
}

// reachable gives a copy of a record, nil if its user's walk does not come to it: it was hidden, or
// added anew before.
func (l *impressionLog) reachable(addr uint64) ([]byte, error) {
	b, err := l.at(addr)
	var r Record
	if err != nil || !r.load(b) {
		return nil, err
	}
	rec := slices.Clone(r.b)
	r.load(rec)
	place, ordinal, kind := r.Place, r.Ordinal, r.Kind
	at, err := l.follow(r.key(), func(r *Record) bool {
		return r.Place != place || r.Ordinal != ordinal || r.Kind != kind
	})
	if err != nil || at != addr {
		return nil, err
	}
	return rec, nil
}

// dropOldest lets the oldest segment go, unless it is still being written or synced. forced: it
// is dropped for want of addresses, though its time has not come.
func (l *impressionLog) dropOldest(forced bool) (dropped bool, err error) {
	f := l.files
	if len(f.segments) < 2 || f.segments[0].end > f.flushed.Load() || !f.syncing.TryLock() {
		return false, nil
	}
	s := f.segments[0]
	f.io.Lock()
	f.mu.Lock()
	f.segments = f.segments[1:]
	l.base = f.segments[0].base
	f.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close()
	}
	f.io.Unlock()
	f.syncing.Unlock()
	l.counts.Records -= s.records
	if forced {
		l.counts.Dropped += s.records
		l.home.log.Warn("the query store of a task is full and lets its oldest records go",
			zap.Int32("task", l.task), zap.Int64("records", s.records), zap.Uint64("limit_bytes", l.home.alive))
	}
	l.horizon.forget(l.base, l.expired)
	f.doomed = append(f.doomed, s.path)
	return true, l.removeDoomed()
}

// removeDoomed removes files one after another, so that no crash leaves a gap between those that stay.
func (l *impressionLog) removeDoomed() error {
	f := l.files
	for len(f.doomed) > 0 {
		path := f.doomed[0]
		if err := f.sys.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &IOError{Task: l.task, Op: "remove", Path: path, Err: err}
		}
		if err := f.sys.syncDir(f.dir); err != nil {
			return &IOError{Task: l.task, Op: "sync", Path: f.dir, Err: err}
		}
		f.doomed = f.doomed[1:]
	}
	return nil
}

// reset forgets everything but the numbers of the sources.
func (l *impressionLog) reset() error {
	if f := l.files; f != nil {
		f.syncing.Lock()
		defer f.syncing.Unlock()
		f.io.Lock()
		defer f.io.Unlock()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range slices.Backward(f.segments) { // the newest first: what a crash leaves is whole
			if s.file != nil {
				_ = s.file.Close()
			}
			f.doomed = append(f.doomed, s.path)
		}
		f.segments, f.open, f.seal = nil, false, false
		f.closed.Store(l.tail)
		f.flushed.Store(l.tail)
		f.durable = l.tail
		f.failed.Store(nil)
	}
	l.base, l.ring.low, l.fresh = l.tail, l.tail, l.tail
	l.index, l.horizon = newUserIndex(), newHorizon()
	clear(l.covered)
	l.counts.Records = 0
	if l.files != nil {
		return l.removeDoomed()
	}
	return nil
}
