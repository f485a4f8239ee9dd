package querystore

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// idle lets the beacon of a section be as old as after that time without a write: on the server, and for the section.
func idle(t *testing.T, c *redis.Client, s Remote, since time.Duration) (key string) {
	t.Helper()
	r := s.(*redisSection)
	key = r.beaconKey(redisNode{})
	if err := c.PExpire(t.Context(), key, r.store.opts.Standstill-since).Err(); err != nil {
		t.Fatal(err)
	}
	r.beacon.mu.Lock()
	defer r.beacon.mu.Unlock()
	r.beacon.renewed = time.Now().Add(-since)
	return key
}

func lives(t *testing.T, c *redis.Client, key string) time.Duration {
	t.Helper()
	ttl, err := c.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ttl
}

func renew(t *testing.T, s Remote) time.Duration {
	t.Helper()
	again, err := s.(Renewer).Renew()
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// A task without traffic keeps its beacon: one small write each quarter of the standstill, and none before. What it
// covers stays known, to the next owner, too.
func TestRedisTaskWithoutTrafficKeepsItsBeacon(t *testing.T) {
	address := realtest.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	store := newRedis(t, redisOptions(address))
	s := openRemote(t, store, 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	key := idle(t, c, s, aDay/4-time.Minute)
	trips := store.RedisStats().Trips
	if again := renew(t, s); again <= 0 || again > time.Minute {
		t.Errorf("it is due again in %s", again)
	}
	if ttl, now := lives(t, c, key), store.RedisStats().Trips; ttl > aDay*3/4+2*time.Minute || now != trips {
		t.Errorf("renewed too early, after %d exchanges: time to live %s", now-trips, ttl)
	}
	for range 5 { // five quarters: longer than the standstill
		idle(t, c, s, aDay/4)
		if again := renew(t, s); again < aDay/4-time.Minute || again > aDay/4 {
			t.Errorf("it is due again in %s", again)
		}
		if ttl := lives(t, c, key); ttl < aDay-time.Minute {
			t.Errorf("not renewed: time to live %s", ttl)
		}
	}
	if now := store.RedisStats().Trips; now != trips+5 {
		t.Errorf("five renewals took %d exchanges", now-trips)
	}
	write(t, s, list("u", 1001, 2, "sku"))
	if again := renew(t, s); again < aDay/4-time.Minute {
		t.Errorf("after a write it is due again in %s", again)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.(Renewer).Renew(); !errors.Is(err, ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
	s = openRemote(t, store, 0)
	if c := s.Coverage(s.Source("t")); c.Applied != 3 {
		t.Errorf("the next owner finds %+v", c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Renewing brings nothing back: a beacon that expired, that is older than the newest write, or that another worker
// took is a loss, told at once, and stays what it is on the server.
func TestRedisRenewingHidesNoLoss(t *testing.T) {
	address := realtest.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	for name, happens := range map[string]func(t *testing.T, store *RedisStore, s Remote, key string){
		"expired": func(t *testing.T, _ *RedisStore, _ Remote, key string) {
			if err := c.Unlink(t.Context(), key).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"older": func(t *testing.T, _ *RedisStore, s Remote, key string) {
			b := &s.(*redisSection).beacon
			if err := c.HSet(t.Context(), key, "seq", b.number(b.seq-1)).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"taken": func(t *testing.T, store *RedisStore, _ Remote, _ string) {
			other := openRemote(t, newRedis(t, store.opts), 0)
			t.Cleanup(func() {
				if again, err := other.(Renewer).Renew(); err != nil || again <= 0 {
					t.Errorf("the other worker: %s, %v", again, err)
				}
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := newRedis(t, redisOptions(address))
			s := openRemote(t, store, 0)
			s.Source("t")
			write(t, s, list("u", 1000, 1, "sku"))
			key := idle(t, c, s, aDay/4)
			happens(t, store, s, key)
			before := c.HGetAll(t.Context(), key).Val()
			_, err := s.(Renewer).Renew()
			mustLose(t, "Renew", err)
			mustLose(t, "Flush", s.Flush())
			if after := c.HGetAll(t.Context(), key).Val(); len(after) != len(before) || after["seq"] != before["seq"] {
				t.Errorf("the beacon was %v, and is %v", before, after)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A Redis that is away is no loss: the renewal fails, and is made later.
func TestRedisThatIsAwayIsRenewedLater(t *testing.T) {
	server := realtest.OwnRedis(t)
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	opts := redisOptions(server.Addr)
	opts.Timeout, opts.DialTimeout = time.Second, time.Second
	s := openRemote(t, newRedis(t, opts), 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	key := idle(t, c, s, aDay/4)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.(Renewer).Renew(); err == nil || isLost(err) {
		t.Errorf("while it hangs: %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := until(t, func() error { _, err := s.(Renewer).Renew(); return err }); isLost(err) {
		t.Fatal(err)
	}
	if ttl := lives(t, c, key); ttl < aDay-time.Minute {
		t.Errorf("time to live %s", ttl)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
