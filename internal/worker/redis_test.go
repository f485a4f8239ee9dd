package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/config"
	"eventworker/internal/realtest"
)

// onRedis puts the store into Redis, under a prefix of its own.
func onRedis(address, prefix string) func(*config.Config) {
	return func(c *config.Config) {
		c.Store.Kind = "redis"
		c.Store.Redis.Addresses, c.Store.Redis.KeyPrefix = []string{address}, prefix
		c.Store.Redis.Timeout, c.Store.Redis.DialTimeout = 200*time.Millisecond, 200*time.Millisecond
	}
}

func newPrefix() string { return "worker-" + rand.Text()[:8] + ":" }

// bareClick is a click that lacks what the join finds.
func bareClick(user, object string, at time.Time) string {
	return fmt.Sprintf(`{"type":"recommendation.clicked","userToken":%q,"timestamp":%d,"objectID":%q}`, user, at.UnixMilli(), object)
}

// What a storefront stores itself, with the command that docs/redis.md shows, gives a click its queryID,
// position and index.
func TestAStorefrontMayStoreQueryIDsItself(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	w := newWorld(t)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	now := time.Now()
	member := `{"queryID":"` + query + `","index":"shoes","objectIDs":["sku-1","sku-2"],"model":"related-products"}`
	if err := c.Do(t.Context(), "ZADD", prefix+"shown:default:user-1234", now.Add(-time.Minute).UnixMilli(), member).Err(); err != nil {
		t.Fatal(err)
	}
	run := w.start(w.config(onRedis(address, prefix)))
	w.send(record("user-1234", bareClick("user-1234", "sku-2", now)))
	run.settles(1)
	run.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) != 1 {
		t.Fatalf("%d events", len(w.events))
	}
	if e := w.events[0]; e.QueryID != query || e.Index != "shoes" || fmt.Sprint(e.Positions) != "[2]" {
		t.Errorf("the click was sent as %+v", e)
	}
}

// A Redis that hangs makes the worker unready, which names the store; nothing is guessed meanwhile, and the
// worker goes on when it answers again.
func TestAWorkerWaitsForARedisThatHangs(t *testing.T) {
	server := realtest.OwnRedis(t)
	w := newWorld(t)
	run := w.start(w.config(onRedis(server.Addr, newPrefix())))
	now := time.Now()
	w.send(record("u", shown("u", now.Add(-time.Second), "a")))
	run.settles(1)
	run.ready()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	w.send(record("u", bareClick("u", "a", now)))
	run.unready("store")
	if n := w.accepted()["a"]; n != 1 { // the view
		t.Errorf("%d events while Redis hung", n)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	run.settles(2)
	run.ready()
	run.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.events[len(w.events)-1]; last.QueryID != query {
		t.Errorf("the click was sent as %+v", last)
	}
}

// A Redis that is away at the start is waited for; one that evicts is refused by New.
func TestAWorkerWaitsForARedisThatIsAwayAndRefusesOneThatEvicts(t *testing.T) {
	server := realtest.OwnRedis(t)
	server.Kill()
	w := newWorld(t)
	run := w.start(w.config(onRedis(server.Addr, newPrefix())))
	w.send(record("u", click("u", "a")))
	run.unready("store")
	if err := server.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	run.settles(1)
	run.stop()
	w.onlyOnce("a")

	evicting := realtest.OwnRedis(t, "--maxmemory-policy", "volatile-lru")
	if _, err := New(w.config(onRedis(evicting.Addr, newPrefix())), Options{}); err == nil || !strings.Contains(err.Error(), "volatile-lru") {
		t.Errorf("a Redis that evicts: %v", err)
	}
}

// Forgetting removes from Redis all that a user left, also clicks and marks to which no impression leads, and
// counts the clicks on every object.
func TestForgettingRemovesTheUserFromRedis(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	w := newWorld(t)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	run := w.start(w.config(onRedis(address, prefix)))
	before := time.Now().Add(-time.Minute)
	w.send(record("u", shown("u", before, "a", "b")), record("u", bareClick("u", "a", before.Add(time.Second))), record("u", bareClick("u", "b", before.Add(time.Second))),
		record("v", click("v", "solo")), record("v", cart("v", "id-1", "solo")))
	run.settles(5)
	for _, user := range []struct {
		token               string
		impressions, clicks int
	}{{"u", 1, 2}, {"v", 0, 0}} {
		report := asked[ForgetReport](run, ForgetPath, fmt.Sprintf(`{"userToken":%q}`, user.token), 200)
		if !report.Owner || report.Impressions != user.impressions || report.Clicks != user.clicks {
			t.Errorf("the report on %s: %+v", user.token, report)
		}
		for _, set := range []string{"shown", "clicked"} {
			if n, err := c.Exists(t.Context(), prefix+set+":default:"+user.token).Result(); n != 0 || err != nil {
				t.Errorf("%s of %s is still there: %d %v", set, user.token, n, err)
			}
		}
	}
	run.stop()
}
