package querystore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/realtest"
)

// A key of another type, which a storefront wrote by mistake, does not hold up the others of its task: it counts as
// empty, and gives way to what the worker writes.
func TestRedisKeysOfAnotherTypeHoldUpNobody(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	logs, seen := observer.New(zapcore.WarnLevel)
	opts.Log = zap.New(logs)
	s := openRemote(t, newRedis(t, opts), 0)
	s.Source("t")
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	for user, command := range map[string][]any{
		"secret-1": {"SET", opts.KeyPrefix + "shown:default:secret-1", "x"},
		"secret-2": {"RPUSH", opts.KeyPrefix + "shown:default:secret-2", "x", "y"},
	} {
		if err := c.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Prefetch([][]byte{userKey(user), userKey("u")}); err != nil {
			t.Fatal(err)
		}
		if got := offsets(t, s, userKey(user)); len(got) != 0 {
			t.Errorf("%s: %v", user, got)
		}
		write(t, s, list(user, 1000, 1, "sku"), list(user, 1001, 2, "sku"), list("u", 1002, 3, "sku"))
		if err := s.Prefetch([][]byte{userKey(user), userKey("u")}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(offsets(t, s, userKey(user)), offsets(t, s, userKey("u"))); got != "[2 1] [3]" {
			t.Errorf("%s: %s", user, got)
		}
	}
	if said := fmt.Sprint(seen.All()); seen.Len() != 1 || strings.Contains(said, "secret") {
		t.Errorf("said: %s", said)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a server refuses for another reason stays an error, also within the script, and nothing is taken for written.
func TestRedisThatIsFullTakesNothing(t *testing.T) {
	server := realtest.OwnRedis(t)
	s := openRemote(t, newRedis(t, redisOptions(server.Addr)), 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	if err := c.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	addAll(t, s, list("u", 1001, 2, "sku"))
	if err := s.Flush(); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("of a full server: %v", err)
	}
	if s.Sync() == nil {
		t.Error("a write that failed is taken for durable")
	}
	if err := c.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(offsets(t, s, userKey("u"))); got != "[2 1]" {
		t.Error(got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The numbers of topics may be lost while records with them are left on other masters of a cluster. A topic then
// gets a number that none had: old records do not pass for those of another one.
func TestRedisGivesLostNumbersOfTopicsToNoOther(t *testing.T) {
	address := realtest.Redis(t)
	opts := redisOptions(address)
	store := newRedis(t, opts)
	s := openRemote(t, store, 0)
	first, second := s.Source("first"), s.Source("second")
	e := list("u", 1000, 1, "sku")
	e.place.Source = second
	write(t, s, e)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	if err := c.Del(t.Context(), opts.KeyPrefix+keyTopics).Err(); err != nil {
		t.Fatal(err)
	}
	again := openRemote(t, store, 0)
	for _, topic := range []string{"second", "third"} {
		if n := again.Source(topic); n == first || n == second {
			t.Errorf("%s has the number %d; %d and %d were first's and second's", topic, n, first, second)
		} else if c := again.Coverage(n); c != (Coverage{}) {
			t.Errorf("%s is covered: %+v", topic, c)
		}
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
