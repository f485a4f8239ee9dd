package querystore

import "sync/atomic"

// section is the handle of an open log.
type section struct {
	*impressionLog
	store  *LogStore
	closed atomic.Bool
}

// Forgetter is a section that can hide a user's history.
type Forgetter interface {
	// Forget hides all records of the user added so far. They leave the disk when their segment
	// expires. It becomes durable with the next Sync.
	Forget(user []byte) error
}

// Resetter is a section that can be emptied.
type Resetter interface {
	// Reset removes all records and coverage at once and for good; the numbers of the sources stay.
	// After an error, or a crash in it, it must be called again.
	Reset() error
}

var (
	_ Section   = (*section)(nil)
	_ Forgetter = (*section)(nil)
	_ Resetter  = (*section)(nil)
)

func (s *section) Source(topic string) uint16 { return s.impressionLog.source(topic) }

func (s *section) Coverage(source uint16) Coverage { return s.impressionLog.coverage(source) }

func (s *section) SetCoverage(source uint16, c Coverage) {
	if !s.closed.Load() {
		s.impressionLog.setCoverage(source, c)
	}
}

// AddImpression copies what it is given. It returns an [IOError] if there is no room left in
// memory because the disk does not take what was added before, and a [RecordError] for what does
// not fit: objectIDs of 1 to 256 bytes, at most 65,535 of them and 1 MiB in all. Tags beyond
// 16 KiB are left out.
func (s *section) AddImpression(user []byte, v *Impression) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.addImpression(user, v)
}

func (s *section) AddClick(user []byte, v *Click) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.addClick(user, v)
}

func (s *section) AddMark(user []byte, v *Mark) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.addMark(user, v)
}

// Walk calls visit for one record after another. visit must not call the section.
func (s *section) Walk(user []byte, visit func(r *Record) bool) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.walk(user, visit)
}

// Expire lets go of whole segments. A record whose clock was ahead of its neighbours' does not
// hold their segment: it is added anew before the segment goes, and may be handed out twice until then.
func (s *section) Expire(before int64) error {
	if s.closed.Load() {
		return ErrClosed
	}
	s.store.expireParked(before)
	err := s.expire(before)
	s.tell()
	return err
}

func (s *section) Sync() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.sync()
}

// Close syncs and gives the section back, also if that failed.
func (s *section) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.sync()
	if s.files != nil {
		s.rest()
	}
	s.store.park(s.impressionLog, err != nil)
	return err
}

func (s *section) Forget(user []byte) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.forget(user)
}

func (s *section) Reset() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.reset()
}

// rest frees what a parked log with files does not need. A Sync that began before Close is waited for.
func (l *impressionLog) rest() {
	f := l.files
	f.syncing.Lock()
	defer f.syncing.Unlock()
	f.io.Lock()
	defer f.io.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushed.Load() == l.tail {
		l.ring, l.scratch, l.share = ring{low: l.tail}, nil, 0
	}
}
