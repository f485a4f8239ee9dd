//go:build unix

package querystore

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// Each write lets the time to live of every set that it writes to begin anew, of many users in one flush as of
// one, and the commands that are used again carry nothing over from one flush to the next.
func TestRedisEveryWriteLetsTheTimeToLiveBeginAnew(t *testing.T) {
	address := realtest.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	for _, clustered := range []bool{false, true} {
		t.Run(fmt.Sprintf("clustered %v", clustered), func(t *testing.T) {
			opts := redisOptions(address)
			s := openRemote(t, newRedis(t, opts), 0)
			s.(*redisSection).clustered = clustered // a command of its own for each user; one node takes that, too
			s.Source("t")
			offset := int64(0)
			for _, users := range []int{mostSets*3 + 1, 1, mostSets*trimEvery + 7} {
				var effects []effect
				for u := range users {
					name := fmt.Sprint("u", u)
					for range 1 + u%2 {
						effects = append(effects, list(name, 1000+offset, offset, "sku"))
						offset++
					}
					if err := c.Expire(t.Context(), opts.KeyPrefix+"shown:default:"+name, time.Hour).Err(); err != nil {
						t.Fatal(err)
					}
				}
				write(t, s, effects...)
				for u := range users {
					name := fmt.Sprint("u", u)
					ttl, err := c.PTTL(t.Context(), opts.KeyPrefix+"shown:default:"+name).Result()
					if err != nil || ttl < 2*aDay-time.Minute || ttl > 2*aDay {
						t.Fatalf("user %d of %d: %v, time to live %s", u, users, err, ttl)
					}
				}
			}
			for u := range mostSets*trimEvery + 7 {
				got := offsets(t, s, userKey(fmt.Sprint("u", u)))
				want := 1 + u%2
				if u < mostSets*3+1 {
					want *= 2
				}
				if u == 0 {
					want++
				}
				if len(got) != want {
					t.Fatalf("user %d has %d records, not %d", u, len(got), want)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
