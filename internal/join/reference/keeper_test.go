package reference_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
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
	// moves says whether another worker opens it after a crash.
	moves() bool
}

// What a crash leaves of the section; what is beyond ways, divided by it, says more.
const (
	leaveAll     = iota // as it is
	leaveNothing        // wiped
	leaveOlder          // as it was at an earlier commit (disk); given up without a word (Redis); else wiped
	leaveCut            // with the end of a file cut off (disk); else as it is
	ways
)

// memory is the memory store.
type memory struct{ store *querystore.LogStore }

func newMemory() *memory {
	return &memory{querystore.NewMemory(querystore.Options{Memory: 8 << 20})}
}

func (k *memory) open(t rapid.TB) querystore.Section { return openOf(t, k.store) }

func (k *memory) committed(rapid.TB) {}

func (k *memory) crash(t rapid.TB, section querystore.Section, how int) {
	check(t, section.Close())
	if how %= ways; how == leaveNothing || how == leaveOlder {
		k.close(t)
		*k = *newMemory()
	}
}

func (k *memory) moves() bool { return false }

func (k *memory) close(t rapid.TB) { check(t, k.store.Close()) }

func openOf(t rapid.TB, store querystore.Store) querystore.Section {
	t.Helper()
	section, err := store.Open(0)
	check(t, err)
	return section
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk is the disk store.
type disk struct {
	root  string // of all folders
	n     int    // the number of the folder in use
	store *querystore.LogStore
	old   []string // folders as they were at commits
}

func newDisk(t rapid.TB, root string) *disk {
	k := &disk{root: root}
	k.start(t)
	return k
}

func (k *disk) folder() string { return filepath.Join(k.root, strconv.Itoa(k.n)) }

func (k *disk) start(t rapid.TB) {
	store, err := querystore.OpenDisk(querystore.Options{Path: k.folder(), SegmentBytes: 64 << 10})
	check(t, err)
	k.store = store
}

func (k *disk) open(t rapid.TB) querystore.Section { return openOf(t, k.store) }

func (k *disk) committed(t rapid.TB) {
	k.n++
	old := k.folder()
	k.n--
	old += fmt.Sprintf("-old-%d", len(k.old))
	check(t, os.CopyFS(old, os.DirFS(k.folder())))
	k.old = append(k.old, old)
}

func (k *disk) crash(t rapid.TB, section querystore.Section, how int) {
	check(t, section.Close())
	k.close(t)
	last, more := k.folder(), how/ways
	switch how %= ways; how {
	case leaveNothing:
		k.n++
	case leaveOlder:
		k.n++
		if len(k.old) > 0 {
			check(t, os.CopyFS(k.folder(), os.DirFS(k.old[more%len(k.old)])))
		}
	case leaveCut:
		cutEnd(t, last, int64(more))
	}
	k.start(t)
}

// cutEnd takes some bytes off the end of the newest file with records.
func cutEnd(t rapid.TB, folder string, thirds int64) {
	newest, size := "", int64(0)
	check(t, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil && info.Size() > 0 && path > newest && strings.Contains(path, ".") {
				newest, size = path, info.Size()
			}
		}
		return err
	}))
	if newest != "" {
		check(t, os.Truncate(newest, size-size*(thirds%4)/4))
	}
}

func (k *disk) moves() bool { return false }

func (k *disk) close(t rapid.TB) { check(t, k.store.Close()) }

// A pair is two workers between which the task moves with every crash.
type pair struct {
	workers [2]keeper
	at      int
}

func (k *pair) open(t rapid.TB) querystore.Section { return k.workers[k.at].open(t) }
func (k *pair) committed(t rapid.TB)               { k.workers[k.at].committed(t) }

func (k *pair) crash(t rapid.TB, section querystore.Section, how int) {
	k.workers[k.at].crash(t, section, how)
	k.at = 1 - k.at
}

func (k *pair) moves() bool { return true }

func (k *pair) close(t rapid.TB) {
	k.workers[0].close(t)
	k.workers[1].close(t)
}

// inRedis is the store in Redis, with keys of its own.
type inRedis struct {
	address, prefix string
	store           *querystore.RedisStore
}

func newRedis(t rapid.TB, address, prefix string) *inRedis {
	k := &inRedis{address: address, prefix: prefix}
	k.start(t)
	return k
}

func (k *inRedis) start(t rapid.TB) {
	store, err := querystore.OpenRedis(querystore.RedisOptions{
		Addresses: []string{k.address}, Mode: querystore.RedisSingle, KeyPrefix: k.prefix, Group: "g", Reach: time.Minute,
	})
	check(t, err)
	k.store = store
}

func (k *inRedis) open(t rapid.TB) querystore.Section { return openOf(t, k.store) }

func (k *inRedis) committed(rapid.TB) {}

func (k *inRedis) crash(t rapid.TB, section querystore.Section, how int) {
	if how %= ways; how != leaveOlder {
		check(t, section.Close())
	}
	k.close(t)
	if how == leaveNothing {
		k.wipe(t)
	}
	k.start(t)
}

// wipe removes all keys of the store.
func (k *inRedis) wipe(t rapid.TB) {
	c := redis.NewClient(&redis.Options{Addr: k.address})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	it := c.Scan(ctx, 0, k.prefix+"*", 1000).Iterator()
	for it.Next(ctx) {
		check(t, c.Unlink(ctx, it.Val()).Err())
	}
	check(t, it.Err())
}

func (k *inRedis) moves() bool { return false }

func (k *inRedis) close(t rapid.TB) { check(t, k.store.Close()) }

// sharedRedis are two workers with one Redis.
type sharedRedis struct{ pair }

func (k *sharedRedis) wipe(t rapid.TB) { k.workers[0].(*inRedis).wipe(t) }
