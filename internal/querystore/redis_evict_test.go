package querystore

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// A server that comes to evict keys while a worker runs loses the sections. Until it keeps what it has none is
// opened, and then what they held is not believed: somebody's records may be gone.
func TestRedisThatComesToEvictKeysIsALoss(t *testing.T) {
	server := realtest.OwnRedis(t)
	store := newRedis(t, redisOptions(server.Addr))
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	var sections []Remote
	for task := range int32(2) {
		s := openRemote(t, store, task)
		s.Source("t")
		write(t, s, list("u", 1000, 1, "sku"))
		sections = append(sections, s)
	}
	policy(t, c, store, "allkeys-lru")
	addAll(t, sections[1], list("u", 1001, 2, "sku"))
	sections[1].SetCoverage(0, Coverage{Applied: 3, Written: 3})
	mustLose(t, "a section of a server that evicts", errors.Join(sections[1].Flush(), sections[1].Sync()))
	for task, s := range sections {
		_ = s.Close() // one of them is lost
		if _, err := store.Open(int32(task)); !errors.As(err, new(*UnfitError)) {
			t.Errorf("task %d is opened although the server evicts: %v", task, err)
		}
	}
	policy(t, c, store, "noeviction")
	for task := range sections {
		s := openRemote(t, store, int32(task))
		if got := s.Coverage(s.Source("t")); got != (Coverage{}) {
			t.Errorf("task %d is taken to hold %+v", task, got)
		}
		write(t, s, list("u", 1002, 3, "sku"))
		s.Close()
		s = openRemote(t, store, int32(task))
		if got := s.Coverage(s.Source("t")); got.Applied != 4 {
			t.Errorf("task %d is not believed any more: %+v", task, got)
		}
		s.Close()
	}
}

// So are they for whoever opens the section next: this process, or one that knows nothing of it, whether the section
// was open when the server was seen to evict or was refused then.
func TestRedisThatEvictedKeysIsBelievedByNobody(t *testing.T) {
	for name, open := range map[string]bool{"open": true, "refused": false} {
		t.Run(name, func(t *testing.T) { evictedIsNotBelieved(t, open) })
	}
}

func evictedIsNotBelieved(t *testing.T, open bool) {
	server := realtest.OwnRedis(t)
	o := redisOptions(server.Addr)
	first := newRedis(t, o)
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	s := openRemote(t, first, 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	if open {
		policy(t, c, first, "allkeys-lru")
		addAll(t, s, list("u", 1001, 2, "sku"))
		s.SetCoverage(0, Coverage{Applied: 3, Written: 3})
		mustLose(t, "a section of a server that evicts", errors.Join(s.Flush(), s.Sync()))
	}
	_ = s.Close() // it may be lost
	if !open {
		policy(t, c, first, "allkeys-lru")
		if _, err := first.Open(0); !errors.As(err, new(*UnfitError)) {
			t.Fatalf("the section is opened although the server evicts: %v", err)
		}
	}
	policy(t, c, first, "noeviction")
	s = openRemote(t, newRedis(t, o), 0)
	if got := s.Coverage(s.Source("t")); got != (Coverage{}) {
		t.Errorf("another process takes the task to hold %+v", got)
	}
	s.Close()
}

// policy sets how the server makes room, and lets the store ask for it again.
func policy(t *testing.T, c *redis.Client, store *RedisStore, policy string) {
	t.Helper()
	if err := c.ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
		t.Fatal(err)
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	store.checked = time.Time{}
}
