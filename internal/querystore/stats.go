package querystore

// Stats is what a store holds and has done. Levels are as of a moment ago: a section tells its own
// every 256 records and walks, and at every Expire and Close.
type Stats struct {
	Sections int   // open ones
	Users    int64 // indexed, some of whom may have no record left
	Records  int64 // living, source names and the like not counted
	Bytes    int64 // of history
	Memory   int64 // of rings and indexes, in bytes
	Segments int64 // files

	// Counters since the store was opened.
	RingHits int64 // records that walks found in memory
	Reads    int64 // records that walks read from a file
	Dropped  int64 // records let go, before their time, for want of room
	Cut      int64 // bytes cut off at open because they were not whole
}

func (s *Stats) add(o Stats) {
	s.Users += o.Users
	s.Records += o.Records
	s.Bytes += o.Bytes
	s.Memory += o.Memory
	s.Segments += o.Segments
	s.count(o)
}

func (s *Stats) count(o Stats) {
	s.RingHits += o.RingHits
	s.Reads += o.Reads
	s.Dropped += o.Dropped
	s.Cut += o.Cut
}

// tell publishes the counts now and then.
func (l *impressionLog) tell() {
	if l.told++; l.told >= 256 {
		l.publish()
	}
}

func (l *impressionLog) publish() {
	l.told = 0
	l.counts.Users = int64(l.index.users())
	l.counts.Bytes = int64(l.tail - l.base)
	l.counts.Memory = int64(l.ring.held + l.index.bytes())
	if l.files != nil {
		l.counts.Segments = int64(len(l.files.segments))
	}
	l.published.Lock()
	l.published.Stats = l.counts
	l.published.Unlock()
}
