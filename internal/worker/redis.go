package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
)

// RedisOptions is what the configuration says of the store in Redis.
func RedisOptions(c *config.Config) (querystore.RedisOptions, error) {
	r := &c.Store.Redis
	secure, err := redisTLS(r)
	if err != nil {
		return querystore.RedisOptions{}, err
	}
	o := querystore.RedisOptions{
		Addresses: r.Addresses, Mode: r.Mode, Database: r.Database, SentinelMaster: r.SentinelMaster,
		Username: r.Username, SentinelUsername: r.SentinelUsername, TLS: secure,
		KeyPrefix: r.KeyPrefix, Group: c.Kafka.Group, Delivery: c.Delivery.Mode, DialTimeout: r.DialTimeout, Timeout: r.Timeout,
		Reach: longestWindow(c), Standstill: r.Standstill, Shared: !c.Kafka.Copartitioned, Memory: int64(c.Store.Memory),
	}
	if r.Password != "" || r.PasswordFile != "" {
		o.Password = r.ReadPassword
	}
	if r.SentinelPassword != "" || r.SentinelPasswordFile != "" {
		o.SentinelPassword = r.ReadSentinelPassword
	}
	return o, nil
}

func redisTLS(r *config.Redis) (*tls.Config, error) {
	t := config.TLS(r.TLS)
	return tlsOf("store.redis.tls", &t)
}

// longestWindow is how long, in event time, a record can matter.
func longestWindow(c *config.Config) (longest time.Duration) {
	longest = max(c.Join.Window, c.Join.ClickWindow)
	if len(c.Dedupe.Types) > 0 {
		longest = max(longest, c.Dedupe.Window)
	}
	return longest + c.Join.AllowedLateness + c.Join.ClockSkew
}

// openRedis makes the store. A Redis that cannot be reached yet is waited for, as Kafka is; one that cannot
// serve is refused at once.
func (w *Worker) openRedis() error {
	o, err := RedisOptions(w.cfg)
	if err != nil {
		return err
	}
	o.Log = w.log.Named("store")
	store, err := querystore.OpenRedis(o)
	if err != nil {
		return err
	}
	w.store = store
	ctx, cancel := context.WithTimeout(context.Background(), o.DialTimeout+o.Timeout)
	defer cancel()
	err = store.Check(ctx)
	if unfit := (*querystore.UnfitError)(nil); errors.As(err, &unfit) {
		return fmt.Errorf("the store cannot be used: %w", err)
	}
	if err != nil {
		w.log.Warn("Redis cannot be reached yet; the partitions wait for it", zap.Error(err))
	}
	return nil
}
