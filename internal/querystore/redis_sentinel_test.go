package querystore

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// Sentinels know neither the users nor the databases of the servers that they watch: that they refuse those does
// not keep mode auto from seeing what they are.
func TestRedisSentinelsThatDoNotKnowTheUserOfTheMaster(t *testing.T) {
	t.Parallel()
	shop := realtest.OwnRedisSentinel(t)
	c := redis.NewClient(&redis.Options{Addr: shop.Master.Addr})
	defer c.Close()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	opts := redisOptions("")
	opts.Mode, opts.Addresses, opts.Database = RedisAuto, shop.Addrs(), 1
	opts.Username, opts.Password = "shop", func() (string, error) { return "secret", nil }
	s := openRemote(t, newRedis(t, opts), 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
