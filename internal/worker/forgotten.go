package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
)

// forgotten are the users that were forgotten, as hashes of their tokens, each with the time before which
// nothing of them counts any more. It is durable in the store's folder, so that history that is read again
// from Kafka after a lost or damaged store stays forgotten. An entry leaves when no history of its time can
// be read again. Reading is lock-free, and free while nobody is forgotten.
type forgotten struct {
	entries atomic.Pointer[map[tokenHash]int64]

	mu   sync.Mutex
	path string // of the file; empty: none
	// spare: the store does not lie in that folder, which may be missing or read-only. Then the state topic alone
	// makes the list durable.
	spare bool
	keep  time.Duration // how long an entry is needed
}

// tokenHash is the first half of a SHA-256.
type tokenHash [16]byte

func hashToken(token string) (h tokenHash) {
	sum := sha256.Sum256([]byte("eventworker forget\x00" + token))
	copy(h[:], sum[:])
	return h
}

// forgottenFile is the file in the store's folder, forgottenLine a line of it.
const forgottenFile = "forgotten.jsonl"

type forgottenLine struct {
	Hash string `json:"hash"`
	At   int64  `json:"at"` // milliseconds
}

// keptForgotten is how much longer than history can be read again an entry is kept: messages of before
// may still lie unread in Kafka, and old dead letters may be replayed.
const keptForgotten = 14 * 24 * time.Hour

// mostForgotten bounds the list: 100,000 entries take 10 MB.
const mostForgotten = 100_000

// open reads the list.
func (f *forgotten) open(dir string, keep time.Duration, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep = keep
	if dir == "" {
		return nil
	}
	f.path = filepath.Join(dir, forgottenFile)
	content, err := os.ReadFile(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the list of forgotten users: %w", err)
	}
	entries := make(map[tokenHash]int64)
	for line := range lines(content) {
		var l forgottenLine
		var h tokenHash
		if json.Unmarshal(line, &l) != nil {
			return fmt.Errorf("the list of forgotten users, %s, has a line that is not one: restore it from a copy, or remove the line", f.path)
		}
		if n, err := hex.Decode(h[:], []byte(l.Hash)); err != nil || n != len(h) {
			return fmt.Errorf("the list of forgotten users, %s, has a hash that is none", f.path)
		}
		if now.UnixMilli()-l.At < keep.Milliseconds() {
			entries[h] = max(entries[h], l.At)
		}
	}
	f.publish(entries)
	return nil
}

// lines are the lines of a file that are not empty.
func lines(content []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		start := 0
		for i := range len(content) + 1 {
			if i == len(content) || content[i] == '\n' {
				if i > start && !yield(content[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

func (f *forgotten) publish(entries map[tokenHash]int64) {
	if len(entries) == 0 {
		f.entries.Store(nil)
		return
	}
	f.entries.Store(&entries)
}

// add forgets tokens as of a time. It returns when that is durable, or an [unwrittenError].
func (f *forgotten) add(at time.Time, tokens ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries := make(map[tokenHash]int64)
	if old := f.entries.Load(); old != nil {
		maps.Copy(entries, *old)
	}
	for h, since := range entries {
		if at.UnixMilli()-since >= f.keep.Milliseconds() {
			delete(entries, h)
		}
	}
	if len(entries) >= mostForgotten {
		return fmt.Errorf("%d users were forgotten within %v, which is as many as the worker remembers", len(entries), f.keep)
	}
	for _, token := range tokens {
		entries[hashToken(token)] = at.UnixMilli()
	}
	if err := f.write(entries); err != nil {
		err = fmt.Errorf("the list of forgotten users cannot be written: %w", err)
		if !f.spare {
			return err
		}
		f.publish(entries)
		return &unwrittenError{err}
	}
	f.publish(entries)
	return nil
}

// unwrittenError says that users are forgotten, but only until the process ends.
type unwrittenError struct{ error }

func (e *unwrittenError) Unwrap() error { return e.error }

// merge takes entries that others know; those that are not needed any more are left out.
func (f *forgotten) merge(others map[tokenHash]int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries := make(map[tokenHash]int64)
	if old := f.entries.Load(); old != nil {
		maps.Copy(entries, *old)
	}
	changed := false
	for h, at := range others {
		if at > entries[h] && time.Now().UnixMilli()-at < f.keep.Milliseconds() && len(entries) < mostForgotten {
			entries[h], changed = at, true
		}
	}
	if !changed {
		return nil
	}
	f.publish(entries) // it counts at once, durable or not: the topic has it
	if err := f.write(entries); err != nil && !f.spare {
		return err
	}
	return nil
}

// write replaces the file.
func (f *forgotten) write(entries map[tokenHash]int64) error {
	if f.path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(f.path), forgottenFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	enc := json.NewEncoder(temporary)
	for h, at := range entries {
		if err := enc.Encode(forgottenLine{hex.EncodeToString(h[:]), at}); err != nil {
			temporary.Close()
			return err
		}
	}
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

// syncFolder makes a rename durable, where folders can be synced.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = d.Sync() // not everywhere there is such a thing
	return d.Close()
}

// since is when a token was forgotten, in milliseconds; 0: it was not.
func (f *forgotten) since(token string) int64 {
	entries := f.entries.Load()
	if entries == nil {
		return 0
	}
	return (*entries)[hashToken(token)]
}

// sinceKey is that of the user of a record of the store.
func (f *forgotten) sinceKey(key []byte) int64 {
	if f == nil || f.entries.Load() == nil {
		return 0
	}
	user, kind, _ := querystore.SplitKey(key)
	if kind == 0 {
		return 0
	}
	for i, c := range user {
		if c == 0 {
			return f.since(string(user[i+1:]))
		}
	}
	return 0
}

// veil makes a message that a forgotten user left before that time a tombstone: it reads as if it had
// been removed from the log.
func (f *forgotten) veil(rec *consume.Record, msg join.Message) join.Message {
	if f.entries.Load() == nil || msg.Value == nil {
		return msg
	}
	if at := f.since(string(rec.Key)); at > 0 && msg.Time >= 0 && msg.Time <= at {
		msg.Value = nil
	}
	return msg
}
