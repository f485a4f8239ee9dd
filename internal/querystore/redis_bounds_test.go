package querystore

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// longLists writes many impressions of long lists, 6 KB each, for each of many users, and gives the keys of the users.
func longLists(t *testing.T, s Remote, users, impressions int) (keys [][]byte) {
	t.Helper()
	var objects [][]byte
	for i := range 30 {
		objects = append(objects, fmt.Appendf(nil, "objectID-%0190d", i))
	}
	for u := range users {
		keys = append(keys, userKey(fmt.Sprint("u", u)))
	}
	at := int64(0)
	for range impressions {
		for u := range users {
			at++
			v := Impression{Time: 1_700_000_000_000 + at, Place: Place{Offset: at}, QueryID: []byte("00112233445566778899aabbccddeeff"), Index: []byte("products"), ObjectIDs: objects}
			if err := s.AddImpression(keys[u], &v); err != nil {
				t.Fatal(err)
			}
		}
		if at%16 == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// answersOf walks the users as deep as attribution does, and says what it saw of each and the most that was held.
func answersOf(t *testing.T, s Remote, keys [][]byte, look func()) (answers []string) {
	t.Helper()
	if err := s.Prefetch(keys); err != nil {
		t.Fatal(err)
	}
	look()
	for _, key := range keys {
		seen := strings.Builder{}
		left := 200
		err := s.Walk(key, func(r *Record) bool {
			fmt.Fprint(&seen, r.Place.Offset, " ")
			left--
			return left > 0
		})
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, seen.String())
		look()
	}
	return answers
}

// However many impressions users have, and however long their lists are, what a section holds of them stays below its
// share of store.memory and an exchange; what it answers is the same as with memory for all.
func TestRedisLongListsOfManyUsersStayWithinTheMemory(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	wide := newRedis(t, opts)
	s := openRemote(t, wide, 0)
	s.Source("t")
	keys := longLists(t, s, 32, 220)
	want := answersOf(t, s, keys, func() {})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	opts.Memory = 2 << 20
	store := newRedis(t, opts)
	store.mostRead, store.mostReply = 512<<10, 1<<20
	s = openRemote(t, store, 0)
	s.Source("t")
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	base, mostLive, most, turn := live(), uint64(0), 0, 0
	got := answersOf(t, s, keys, func() {
		most = max(most, s.(*redisSection).ahead.bytes)
		if turn%8 == 0 {
			mostLive = max(mostLive, live())
		}
		turn++
	})
	bound := int(opts.Memory) + store.mostReply
	t.Logf("reckoned %d KiB, heap %d KiB more than before; bound %d KiB", most>>10, (int64(mostLive)-int64(base))>>10, bound>>10)
	if most > bound {
		t.Errorf("%d bytes are held, more than %d", most, bound)
	}
	if grown := int64(mostLive) - int64(base); grown > 2*int64(bound) { // connections, and room for an answer
		t.Errorf("the heap grew by %d bytes, the bound is %d", grown, bound)
	}
	for u := range keys {
		if got[u] != want[u] || strings.Count(want[u], " ") != 200 {
			t.Fatalf("user %d: %s instead of %s", u, got[u], want[u])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// An answer that would be too large is asked for in parts, also of one user, and a member that is too large by itself,
// which others wrote, is passed over.
func TestRedisAnswersThatAreTooLargeAreAskedForInParts(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	store := newRedis(t, opts)
	store.mostRead, store.mostReply = 1<<30, 64<<10 // nothing is reckoned: a first page brings 200 KB
	s := openRemote(t, store, 0)
	s.Source("t")
	keys := longLists(t, s, 6, 40)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	huge := bytes.Repeat([]byte("x"), 100<<10)
	if err := c.ZAdd(t.Context(), opts.KeyPrefix+"shown:default:u3", redis.Z{Score: 1_700_000_000_100, Member: huge}).Err(); err != nil {
		t.Fatal(err)
	}
	for u, answer := range answersOf(t, s, keys, func() {}) {
		if n := strings.Count(answer, " "); n != 40 {
			t.Errorf("user %d has %d impressions: %s", u, n, answer)
		}
	}
	if store.RedisStats().Ignored == 0 {
		t.Error("the member that is too large was not counted")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is still to be written is handed out once and in its place also in a walk that lets go of what it has passed.
func TestRedisLongWalksHandOutOnceWhatIsStillToBeWritten(t *testing.T) {
	store := newRedis(t, redisOptions(realtest.Redis(t)))
	tighten(store)
	s := openRemote(t, store, 0)
	s.Source("t")
	var written, added []effect
	var want []int64
	for i := range int64(90) {
		e := list("u", 1_000_000+i/20, i, strings.Repeat("s", 100)) // twenty of each time
		if i%7 == 3 {
			added = append(added, e)
		} else {
			written = append(written, e)
		}
		want = append(want, i)
	}
	write(t, s, written...)
	addAll(t, s, added...)
	for _, ahead := range []bool{false, true} {
		if ahead {
			if err := s.Prefetch([][]byte{userKey("u")}); err != nil {
				t.Fatal(err)
			}
		}
		got := offsets(t, s, userKey("u"))
		for i := 1; i < len(got); i++ {
			if got[i]/20 > got[i-1]/20 {
				t.Errorf("%d after %d", got[i], got[i-1])
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("read ahead %v: %v", ahead, got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
