// Package pebble is the store of the join on a general key-value store, so that the choice of a log of
// our own stays a measured one. It keeps what the disk store keeps and answers as it does; it is no
// part of the worker.
package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"eventworker/internal/querystore"
)

// Store keeps all tasks in one database.
type Store struct{ db *pebble.DB }

// Open opens the database in a folder. memory is what its cache and its newest part take together,
// in bytes, half each.
func Open(path string, memory int64) (*Store, error) {
	cache := pebble.NewCache(memory / 2)
	defer cache.Unref()
	db, err := pebble.Open(path, &pebble.Options{Cache: cache, MemTableSize: uint64(memory / 4), MemTableStopWritesThreshold: 4, Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Store{db}, nil
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// Open implements querystore.Store.
func (s *Store) Open(task int32) (querystore.Section, error) {
	return &section{db: s.db, task: task, batch: s.db.NewIndexedBatch(), coverage: map[uint16]querystore.Coverage{}}, nil
}

// Close implements querystore.Store.
func (s *Store) Close() error { return s.db.Close() }

// A section writes into a batch, over which it also reads, and applies it when it is large or synced.
//
// A record's key is the task, the length of the user's key and that key, the time counted down, so that
// the newest comes first, then a number that tells records of one time apart.
type section struct {
	db       *pebble.DB
	task     int32
	mu       sync.Mutex // Sync runs beside the rest
	batch    *pebble.Batch
	n        uint32
	topics   []string
	coverage map[uint16]querystore.Coverage
	key, end []byte
	value    []byte
	record   querystore.Record
}

// applyAt is the size of a batch, in bytes, at which it is applied.
const applyAt = 64 << 10

func (s *section) Source(topic string) uint16 {
	for i, t := range s.topics {
		if t == topic {
			return uint16(i)
		}
	}
	s.topics = append(s.topics, topic)
	return uint16(len(s.topics) - 1)
}

func (s *section) Coverage(source uint16) querystore.Coverage { return s.coverage[source] }

func (s *section) SetCoverage(source uint16, c querystore.Coverage) { s.coverage[source] = c }

func (s *section) AddImpression(user []byte, v *querystore.Impression) (err error) {
	s.value, err = querystore.EncodeImpression(s.value[:0], user, v)
	return s.add(user, v.Time, err)
}

func (s *section) AddClick(user []byte, v *querystore.Click) (err error) {
	s.value, err = querystore.EncodeClick(s.value[:0], user, v)
	return s.add(user, v.Time, err)
}

func (s *section) AddMark(user []byte, v *querystore.Mark) (err error) {
	s.value, err = querystore.EncodeMark(s.value[:0], user, v)
	return s.add(user, v.Time, err)
}

func (s *section) add(user []byte, time int64, err error) error {
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.key = s.prefix(s.key[:0], user)
	s.key = binary.BigEndian.AppendUint64(s.key, uint64(math.MaxInt64-time))
	s.key = binary.BigEndian.AppendUint32(s.key, math.MaxUint32-s.n)
	if err := s.batch.Set(s.key, s.value, nil); err != nil || s.batch.Len() < applyAt {
		return err
	}
	return s.apply(pebble.NoSync)
}

// apply writes the batch; the lock is held.
func (s *section) apply(o *pebble.WriteOptions) error {
	err := s.batch.Commit(o)
	if err == nil {
		err = s.batch.Close()
	}
	s.batch = s.db.NewIndexedBatch()
	return err
}

func (s *section) prefix(dst, user []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.task))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(user)))
	return append(dst, user...)
}

func (s *section) Walk(user []byte, visit func(r *querystore.Record) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = s.prefix(s.key[:0], user)
	s.end = append(s.prefix(s.end[:0], user), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	it, err := s.batch.NewIter(&pebble.IterOptions{LowerBound: s.key, UpperBound: s.end})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		k := it.Key()
		time := math.MaxInt64 - int64(binary.BigEndian.Uint64(k[len(k)-12:]))
		if !s.record.Decode(value, time) {
			return errors.New("a record is damaged")
		}
		if !visit(&s.record) {
			break
		}
	}
	return it.Error()
}

// Settle waits until the database has sorted what it holds, which is when it answers quickest.
func (s *section) Settle(ctx context.Context) error {
	if err := s.Sync(); err != nil {
		return err
	}
	return s.db.Compact(ctx, []byte{0}, []byte{0xff}, true)
}

// Expire does nothing: a run of the benchmark ends before a window does.
func (s *section) Expire(int64) error { return nil }

func (s *section) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(pebble.Sync)
}

func (s *section) Close() error {
	err := s.Sync()
	return errors.Join(err, s.batch.Close())
}
