package reference_test

import (
	"pgregory.net/rapid"

	"eventworker/internal/querystore"
)

// A keeper keeps the section of the task over its lives.
type keeper interface {
	open(t rapid.TB) querystore.Section
	// committed says that a commit followed the last sync.
	committed(t rapid.TB)
	// crash ends the use of the section and leaves of it what how says.
	crash(t rapid.TB, section querystore.Section, how int)
	close(t rapid.TB)
}

// What a crash leaves of the section.
const (
	leaveAll     = iota // as it is
	leaveNothing        // wiped
	leaveOlder          // as it was at an earlier commit (disk; else nothing)
	leaveCut            // with the end of a file cut off (disk; else nothing)
	ways
)

// memory is the memory store.
type memory struct{ store *querystore.LogStore }

func newMemory() *memory {
	return &memory{querystore.NewMemory(querystore.Options{Memory: 8 << 20})}
}

func (k *memory) open(t rapid.TB) querystore.Section {
	section, err := k.store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	return section
}

func (k *memory) committed(rapid.TB) {}

func (k *memory) crash(t rapid.TB, section querystore.Section, how int) {
	if err := section.Close(); err != nil {
		t.Fatal(err)
	}
	if how != leaveAll {
		k.close(t)
		*k = *newMemory()
	}
}

func (k *memory) close(t rapid.TB) {
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}
}
