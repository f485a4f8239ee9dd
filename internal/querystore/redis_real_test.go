//go:build unix

package querystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/realtest"
	"eventworker/internal/realtest/servers"
)

const aDay = 24 * time.Hour

func userKey(name string) []byte { return []byte("default\x00" + name) }

func list(user string, time, offset int64, objects ...string) effect {
	return effect{user: "default\x00" + user, kind: KindImpression, time: time, place: Place{Offset: offset}, query: "00112233445566778899aabbccddeeff", index: "products", objects: objects}
}

// write adds effects, covers them and has them acknowledged.
func write(t *testing.T, s Remote, effects ...effect) {
	t.Helper()
	addAll(t, s, effects...)
	for _, e := range effects {
		s.SetCoverage(e.place.Source, Coverage{Applied: e.place.Offset + 1, Written: e.place.Offset + 1})
	}
	if err := errors.Join(s.Flush(), s.Sync()); err != nil {
		t.Fatal(err)
	}
}

func mustLose(t *testing.T, what string, err error) {
	t.Helper()
	var lost *LostError
	if !errors.As(err, &lost) {
		t.Fatalf("%s: %v instead of a LostError", what, err)
	}
}

// until repeats until do gives no error, as a runner would.
func until(t *testing.T, do func() error) (failed error) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		err := do()
		if err == nil {
			return failed
		}
		failed = err
		if isLost(err) {
			return err
		}
		if time.Now().After(end) {
			t.Fatalf("it does not come back: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func offsets(t *testing.T, s Section, key []byte) (list []int64) {
	t.Helper()
	if err := s.Walk(key, func(r *Record) bool { list = append(list, r.Place.Offset); return true }); err != nil {
		t.Fatal(err)
	}
	return list
}

// A user with more records than a round trip brings is walked to the end, read ahead or not; the oldest
// are let go at the bound.
func TestRedisWalksLongHistoriesAndBoundsThem(t *testing.T) {
	store := newRedis(t, redisOptions(realtest.Redis(t)))
	s := openRemote(t, store, 0)
	s.Source("t")
	const n = maxHistory + 300
	for from := 0; from < n; from += 400 {
		var effects []effect
		for i := from; i < min(from+400, n); i++ {
			effects = append(effects, list("u", int64(1_000_000+i), int64(i), "sku"))
		}
		write(t, s, effects...)
	}
	for range 2 {
		got := offsets(t, s, userKey("u"))
		if len(got) != maxHistory || got[0] != n-1 || got[len(got)-1] != n-maxHistory {
			t.Fatalf("%d records from %d to %d", len(got), got[0], got[len(got)-1])
		}
		trips := store.RedisStats().Trips
		if err := s.Prefetch([][]byte{userKey("u"), userKey("u"), userKey("v")}); err != nil {
			t.Fatal(err)
		}
		if now := store.RedisStats().Trips; now != trips+1 {
			t.Fatalf("reading ahead took %d round trips", now-trips)
		}
		if offsets(t, s, userKey("v")) != nil || store.RedisStats().Trips != trips+1 {
			t.Fatal("a user read ahead costs a round trip, or has records")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Clicks and marks of a user are read in one round trip, and found by their object and their hash.
func TestRedisFindsClicksAndMarksByTheirKeys(t *testing.T) {
	s := openRemote(t, newRedis(t, redisOptions(realtest.Redis(t))), 0)
	s.Source("t")
	user := userKey("u")
	click := func(object string, offset int64) {
		t.Helper()
		err := s.AddClick(AppendClickKey(nil, user, []byte(object)), &Click{Time: 100 + offset, Place: Place{Offset: offset}, ObjectID: []byte(object), QueryID: []byte("message_x")})
		if err != nil {
			t.Fatal(err)
		}
	}
	click("a", 1)
	click("b", 2)
	click("a", 3)
	hash := [MarkSize]byte{7}
	if err := s.AddMark(AppendMarkKey(nil, user, &hash), &Mark{Time: 104, Place: Place{Offset: 4}, Hash: hash}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	other := [MarkSize]byte{8}
	for range 2 { // each alone, then read ahead
		for key, want := range map[string]string{
			string(AppendClickKey(nil, user, []byte("a"))): "[3 1]",
			string(AppendClickKey(nil, user, []byte("b"))): "[2]",
			string(AppendClickKey(nil, user, []byte("c"))): "[]",
			string(AppendMarkKey(nil, user, &hash)):        "[4]",
			string(AppendMarkKey(nil, user, &other)):       "[]",
			string(user):                                   "[]",
		} {
			if got := fmt.Sprint(offsets(t, s, []byte(key))); got != want {
				t.Errorf("key %q: %s instead of %s", key, got, want)
			}
		}
		if err := s.Prefetch([][]byte{AppendClickKey(nil, user, []byte("a")), AppendMarkKey(nil, user, &hash), user}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.(Forgetter).Forget(user); err != nil {
		t.Fatal(err)
	}
	if got := offsets(t, s, AppendClickKey(nil, user, []byte("a"))); got != nil {
		t.Errorf("after the user was forgotten: %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a storefront writes with one plain ZADD is an impression like any other; what is not of the
// documented form is passed over, and said once without a word of what it holds.
func TestRedisShowsWhatAStorefrontWroteItself(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	logs, seen := observer.New(zapcore.WarnLevel)
	opts.Log = zap.New(logs)
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	s.Source("t")
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	zadd := func(set, score, member string) {
		t.Helper()
		if err := c.Do(t.Context(), "ZADD", opts.KeyPrefix+set, score, member).Err(); err != nil {
			t.Fatal(err)
		}
	}
	zadd("shown:default:u", "1764000000000", `{"queryID":"43B15DF305339E827F0AC0BDC5EBCAA7","index":"products","objectIDs":["sku-1","sku-2"],"model":"related","positionOffset":20,"analyticsTags":["a"]}`)
	zadd("shown:default:u", "1764000001000", `{"queryID":"43b15df305339e827f0ac0bdc5ebcaa8","index":"products","objectIDs":["sku-3"]}`)
	zadd("clicked:default:u", "1764000002000", `{"queryID":"43b15df305339e827f0ac0bdc5ebcaa8","index":"products","objectID":"sku-3"}`)
	for i, bad := range []string{`{"queryID":"xyz","objectIDs":["secret-1"]}`, `{"queryID":"43b15df305339e827f0ac0bdc5ebcaa8","objectIDs":[]}`, `{`, `secret-2`, ``, "\x01short"} {
		zadd("shown:default:u", fmt.Sprint(1764000003000+i), bad)
	}
	write(t, s, list("u", 1_764_000_000_500, 5, "sku-4"))
	if err := s.Prefetch([][]byte{userKey("u"), userKey("w")}); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := s.Walk(userKey("u"), func(r *Record) bool {
		got = append(got, fmt.Sprintf("%d %s %s %s %s %d %v", r.Time, r.QueryID(), r.Index(), r.Model(), r.ObjectIDAt(0), r.PositionOffset(), r.Place.Source == OutsideSource))
		return true
	})
	want := []string{
		"1764000001000 43b15df305339e827f0ac0bdc5ebcaa8 products  sku-3 0 true",
		"1764000000500 00112233445566778899aabbccddeeff products  sku-4 0 false",
		"1764000000000 43b15df305339e827f0ac0bdc5ebcaa7 products related sku-1 20 true",
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v, records\n%s", err, strings.Join(got, "\n"))
	}
	clicked := 0
	if err := s.Walk(AppendClickKey(nil, userKey("u"), []byte("sku-3")), func(*Record) bool { clicked++; return true }); err != nil || clicked != 1 {
		t.Errorf("%v, %d clicks", err, clicked)
	}
	if seen.Len() != 1 || strings.Contains(fmt.Sprint(seen.All()), "secret") || store.RedisStats().Ignored < 6 {
		t.Errorf("said: %v; ignored %d", seen.All(), store.RedisStats().Ignored)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Scripts that a server forgot are told it again within the call.
func TestRedisTeachesAServerItsScripts(t *testing.T) {
	server := realtest.OwnRedis(t)
	s := openRemote(t, newRedis(t, redisOptions(server.Addr)), 0)
	s.Source("t")
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	for i := range int64(3) {
		if err := c.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		write(t, s, list("u", 1000+i, i, "sku"))
	}
	if got := fmt.Sprint(offsets(t, s, userKey("u"))); got != "[2 1 0]" {
		t.Error(got)
	}
	ttl, err := c.PTTL(t.Context(), s.(*redisSection).store.opts.KeyPrefix+"shown:default:u").Result()
	if err != nil || ttl < 2*aDay-time.Minute || ttl > 2*aDay {
		t.Errorf("%v, time to live %s", err, ttl)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A worker that takes a task leaves nothing to the one that had it.
func TestRedisTaskBelongsToTheNewestOwner(t *testing.T) {
	opts := redisOptions(realtest.Redis(t))
	first := openRemote(t, newRedis(t, opts), 0)
	first.Source("t")
	write(t, first, list("u", 1000, 1, "sku"))
	second := openRemote(t, newRedis(t, opts), 0)
	if c := second.Coverage(second.Source("t")); c.Applied != 2 {
		t.Errorf("the next owner finds %+v", c)
	}
	mustLose(t, "Prefetch of the first", first.Prefetch([][]byte{userKey("u")}))
	mustLose(t, "Sync of the first", first.Sync())
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
}

// After a topic was made anew its old records are passed over, and what others wrote stays.
func TestRedisResetPassesOverOldRecords(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	old := s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	c.ZAdd(t.Context(), opts.KeyPrefix+"shown:default:u", redis.Z{Score: 900, Member: `{"queryID":"43b15df305339e827f0ac0bdc5ebcaa8","objectIDs":["sku-9"]}`})
	if err := s.(Resetter).Reset(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := s.Source("t"); n == old || s.Coverage(n) != (Coverage{}) {
			t.Fatalf("number %d after %d, coverage %+v", n, old, s.Coverage(n))
		}
		if got := offsets(t, s, userKey("u")); len(got) != 1 || got[0] != 0 {
			t.Fatalf("offsets %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openRemote(t, store, 0)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A Redis that came back empty is noticed by each call, and the section opened anew lacks everything.
func TestRedisThatRestartedEmptyIsALoss(t *testing.T) {
	server := realtest.OwnRedis(t)
	store := newRedis(t, redisOptions(server.Addr))
	var sections []Remote
	for task := range int32(3) {
		s := openRemote(t, store, task)
		s.Source("t")
		write(t, s, list("u", 1000, 1, "sku"))
		sections = append(sections, s)
	}
	server.Kill()
	err := sections[0].Prefetch([][]byte{userKey("u")})
	if err == nil || isLost(err) {
		t.Fatalf("while it is away: %v", err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustLose(t, "Prefetch", until(t, func() error { return sections[0].Prefetch([][]byte{userKey("u")}) }))
	mustLose(t, "Walk", until(t, func() error { return sections[1].Walk(userKey("u"), func(*Record) bool { return true }) }))
	addAll(t, sections[2], list("u", 1001, 2, "sku"))
	mustLose(t, "Flush", until(t, sections[2].Flush))
	mustLose(t, "Sync", sections[2].Sync())
	for task, s := range sections {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openRemote(t, store, int32(task))
		if c := s.Coverage(s.Source("t")); c.Applied != 0 {
			t.Errorf("task %d: coverage %+v of an empty Redis", task, c)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A Redis that came back with what it had some time ago is noticed; its coverage is that of then.
func TestRedisThatLostItsLastSecondsIsALoss(t *testing.T) {
	server := realtest.OwnRedis(t)
	store := newRedis(t, redisOptions(server.Addr))
	s := openRemote(t, store, 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	if err := c.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	write(t, s, list("u", 1001, 2, "sku"), list("v", 1001, 3, "sku"))
	server.Kill()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustLose(t, "Prefetch", until(t, func() error { return s.Prefetch([][]byte{userKey("w")}) }))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openRemote(t, store, 0)
	if c := s.Coverage(s.Source("t")); c.Applied != 2 {
		t.Errorf("coverage %+v, of before the loss it was 2", c)
	}
	if got := fmt.Sprint(offsets(t, s, userKey("u"))); got != "[1]" {
		t.Errorf("records %s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A server that hangs gives an error in bounded time, and nothing is lost when it runs again.
func TestRedisThatHangsFailsInBoundedTime(t *testing.T) {
	t.Parallel()
	server := realtest.OwnRedis(t)
	opts := redisOptions(server.Addr)
	opts.Timeout, opts.DialTimeout = 100*time.Millisecond, 100*time.Millisecond
	s := openRemote(t, newRedis(t, opts), 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	addAll(t, s, list("u", 1001, 2, "sku"))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	flush, prefetch := s.Flush(), s.Prefetch([][]byte{userKey("u")})
	if took := time.Since(began); flush == nil || prefetch == nil || isLost(flush) || took > 5*time.Second {
		t.Errorf("after %s: %v, %v", took, flush, prefetch)
	}
	if err := s.Sync(); err == nil {
		t.Error("Sync vouches for what is not acknowledged")
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := until(t, s.Flush); isLost(err) {
		t.Fatal(err)
	}
	if got := fmt.Sprint(offsets(t, s, userKey("u"))); got != "[2 1]" {
		t.Errorf("records %s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Servers that would let records go, and prefixes of others, are refused by name.
func TestRedisThatCannotServeIsRefused(t *testing.T) {
	address := realtest.Redis(t)
	evicting := realtest.OwnRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	taken := redisOptions(address)
	if err := newRedis(t, taken).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := taken
	other.Group = "h"
	shadow := taken
	shadow.Delivery = "shadow"
	braces := taken
	braces.KeyPrefix = "{a}:"
	for name, c := range map[string]struct {
		opts RedisOptions
		says string
	}{
		"evicts":  {redisOptions(evicting.Addr), "allkeys-lru"},
		"group":   {other, `belongs to consumer group "g"`},
		"mode":    {shadow, "delivery.mode send"},
		"braces":  {braces, "key_prefix"},
		"address": {RedisOptions{}, "addresses"},
	} {
		store, err := OpenRedis(c.opts)
		if err == nil {
			err = store.Check(t.Context())
			if _, opened := store.Open(0); opened == nil {
				t.Errorf("%s: a section opens", name)
			}
			_ = store.Close()
		}
		var unfit *UnfitError
		if !errors.As(err, &unfit) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Earlier versions named the group only. Whoever is refused leaves nothing there that would bind the owner.
func TestAPrefixOfAnEarlierVersionIsAdoptedByItsGroupOnly(t *testing.T) {
	opts := redisOptions(realtest.Redis(t))
	c := redis.NewClient(&redis.Options{Addr: opts.Addresses[0]})
	defer c.Close()
	if err := c.HSet(t.Context(), opts.KeyPrefix+keyStore, "group", opts.Group, "layout", layoutVersion).Err(); err != nil {
		t.Fatal(err)
	}
	trial := opts
	trial.Group, trial.Delivery = "trial", "shadow"
	shadow := opts
	shadow.Delivery = "shadow"
	for i, step := range []struct {
		opts RedisOptions
		says string
	}{{trial, "belongs to consumer group"}, {opts, ""}, {shadow, "delivery.mode send"}, {opts, ""}} {
		err := newRedis(t, step.opts).Check(t.Context())
		if err == nil && step.says != "" || err != nil && (step.says == "" || !strings.Contains(err.Error(), step.says)) {
			t.Errorf("step %d: %v, want %q", i, err, step.says)
		}
	}
}

// Over TLS an ACL user that has the documented rights, and no other, is all that is needed. Neither the
// password nor a token stands in an error.
func TestRedisOverTLSWithTheDocumentedRights(t *testing.T) {
	const password = "s3cret-password"
	rules := append([]string{"--user", "eventworker", "on", ">" + password, "~shop:*"}, documentedRights(t)...)
	server := realtest.OwnRedisTLS(t, append(rules, "--user", "default", "off")...)
	pem, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := password
	opts := redisOptions(server.Addr)
	opts.Mode, opts.KeyPrefix, opts.Username, opts.TLS = RedisAuto, "shop:", "eventworker", trusting(t, pem)
	opts.Password = func() (string, error) { return secret, nil }
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	s.Source("t")
	write(t, s, list("user-token", 1000, 1, "sku"))
	if got := fmt.Sprint(offsets(t, s, userKey("user-token"))); got != "[1]" {
		t.Error(got)
	}
	err = errors.Join(s.Prefetch([][]byte{userKey("user-token")}), s.(Forgetter).Forget(userKey("user-token")), s.(Resetter).Reset(), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	secret = "another-password"
	wrong := newRedis(t, opts)
	if err := wrong.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "password"+"-") || strings.Contains(err.Error(), secret) {
		t.Errorf("a wrong password: %v", err)
	}
	secret = password
	opts.KeyPrefix = "other:"
	if err := newRedis(t, opts).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "docs/redis.md") {
		t.Errorf("a prefix without rights: %v", err)
	}
	opts.TLS = trusting(t, nil)
	if err := newRedis(t, opts).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that is not trusted: %v", err)
	}
}

// documentedRights are the rights that docs/redis.md gives the user of the worker.
func documentedRights(t *testing.T) (rights []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(page) {
		if rest, ok := bytes.CutPrefix(line, []byte("ACL SETUSER eventworker ")); ok {
			for word := range strings.FieldsSeq(string(rest)) {
				if strings.HasPrefix(word, "+") || strings.HasPrefix(word, "-") {
					rights = append(rights, word)
				}
			}
		}
	}
	if len(rights) == 0 {
		t.Fatal("docs/redis.md lists no rights")
	}
	return rights
}

// Behind sentinels the store goes on after a failover; a replica that took over without the last writes is a
// loss.
func TestRedisBehindSentinels(t *testing.T) {
	t.Parallel()
	for _, lagging := range []bool{false, true} {
		t.Run(map[bool]string{false: "the replica has everything", true: "the replica lacks the last writes"}[lagging], func(t *testing.T) {
			t.Parallel()
			shop := realtest.OwnRedisSentinel(t)
			opts := redisOptions("")
			opts.Mode, opts.Addresses = RedisAuto, shop.Addrs()
			opts.Timeout, opts.DialTimeout = 500*time.Millisecond, 500*time.Millisecond
			store := newRedis(t, opts)
			s := openRemote(t, store, 0)
			s.Source("t")
			write(t, s, list("u", 1000, 1, "sku"))
			replicated(t, shop.Replica.Addr, opts.KeyPrefix, s)
			if lagging {
				cutOff(t, shop)
				write(t, s, list("u", 1001, 2, "sku"))
			}
			shop.Master.Kill()
			addAll(t, s, list("u", 1002, 3, "sku"))
			err := until(t, s.Flush)
			if isLost(err) != lagging {
				t.Fatalf("after the failover: %v", err)
			}
			if lagging {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openRemote(t, store, 0)
				if c := s.Coverage(s.Source("t")); c.Applied != 2 {
					t.Errorf("coverage %+v, the replica had 2", c)
				}
			} else if got := fmt.Sprint(offsets(t, s, userKey("u"))); got != "[3 1]" {
				t.Errorf("records %s", got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// cutOff keeps the replica from getting anything more.
func cutOff(t *testing.T, shop *servers.RedisSentinel) {
	t.Helper()
	replica, master := redis.NewClient(&redis.Options{Addr: shop.Replica.Addr}), redis.NewClient(&redis.Options{Addr: shop.Master.Addr})
	defer replica.Close()
	defer master.Close()
	err := replica.ConfigSet(t.Context(), "masterauth", "refused").Err()
	if err == nil {
		err = master.Do(t.Context(), "client", "kill", "type", "replica").Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// replicated waits until a replica has the section's newest beacon.
func replicated(t *testing.T, address, prefix string, s Remote) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: address, Protocol: 2})
	defer c.Close()
	b := &s.(*redisSection).beacon
	until(t, func() error {
		seq, err := c.HGet(t.Context(), beaconKey(prefix, b.nodes[0].tag, 0), "seq").Result()
		if err == nil && seq != b.number(b.seq) {
			err = errors.New("not yet")
		}
		return err
	})
}

// On a cluster of three masters records spread over all; the store goes on after a master was replaced, and
// notices one that came back empty.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	cluster := realtest.OwnRedisCluster(t, 3, true)
	opts := redisOptions("")
	opts.Mode, opts.Addresses = RedisAuto, cluster.Addrs()[1:]
	opts.Timeout, opts.DialTimeout = 500*time.Millisecond, 500*time.Millisecond
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	s.Source("t")
	const users = 300
	everyone := func(from int64) (effects []effect) {
		for i := range int64(users) {
			effects = append(effects, list(fmt.Sprint("u", i), 1000+from, from+i, "sku"))
		}
		return effects
	}
	write(t, s, everyone(0)...)
	for _, node := range cluster.Masters {
		if n := keysOf(t, node); n < users/6 {
			t.Errorf("a master holds %d keys of %d users", n, users)
		}
	}
	waitReplicas(t, cluster)
	cluster.Masters[0].Kill()
	addAll(t, s, everyone(users)...)
	if err := until(t, s.Flush); err == nil || isLost(err) {
		t.Fatalf("while a master is replaced: %v", err)
	}
	var keys [][]byte
	for i := range users {
		keys = append(keys, userKey(fmt.Sprint("u", i)))
	}
	if err := until(t, func() error { return s.Prefetch(keys) }); isLost(err) {
		t.Fatal(err)
	}
	trips := store.RedisStats().Trips
	for i, key := range keys {
		if got := fmt.Sprint(offsets(t, s, key)); got != fmt.Sprintf("[%d %d]", users+i, i) {
			t.Fatalf("user %d: %s", i, got)
		}
	}
	if store.RedisStats().Trips != trips {
		t.Error("users that were read ahead cost round trips")
	}
	if err := errors.Join(s.Sync(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func keysOf(t *testing.T, node *servers.Redis) int64 {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer c.Close()
	n, err := c.DBSize(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// waitReplicas waits until the replicas have what their masters have.
func waitReplicas(t *testing.T, cluster *servers.RedisCluster) {
	t.Helper()
	for i := range cluster.Masters {
		until(t, func() error {
			if a, b := keysOf(t, cluster.Masters[i]), keysOf(t, cluster.Replicas[i]); a != b {
				return fmt.Errorf("%d keys, its replica %d", a, b)
			}
			return nil
		})
	}
}

// A master of a cluster that restarted empty is a loss, although the others have all they were given.
func TestRedisClusterWithAMasterThatRestartedEmpty(t *testing.T) {
	t.Parallel()
	cluster := realtest.OwnRedisCluster(t, 3, false)
	opts := redisOptions("")
	opts.Mode, opts.Addresses = RedisAuto, cluster.Addrs()
	opts.Timeout, opts.DialTimeout = 500*time.Millisecond, 500*time.Millisecond
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	cluster.Masters[2].Kill()
	if err := cluster.Masters[2].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustLose(t, "Prefetch", until(t, func() error { return s.Prefetch([][]byte{userKey("v")}) }))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		section, err := store.Open(0)
		if err == nil {
			if c := section.Coverage(section.Source("t")); c.Applied != 0 {
				t.Errorf("coverage %+v, one master has nothing", c)
			}
			if err := section.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
