package querystore

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Servers may come to evict keys while a worker runs: somebody changed them, or a replica with other settings took
// over. Records then vanish one by one, and the beacon, which every write touches, is the last to go. So a section
// asks, before it stores what it covers and at most every nodesFresh, how the servers make room. One that evicts
// loses the sections, and none is opened before it keeps what it has. What they covered is struck out at once, since
// another process, which does not know, may be the next to open them; it is read again from Kafka then.

// evicts says whether an error is that servers evict keys.
func evicts(err error) bool {
	unfit := (*UnfitError)(nil)
	return errors.As(err, &unfit) && unfit.evicts
}

// keeps loses the section if a server cannot serve any more.
func (s *redisSection) keeps(ctx context.Context) error {
	err := s.store.check(ctx, s.client)
	unfit := (*UnfitError)(nil)
	if !errors.As(err, &unfit) {
		return err
	}
	if unfit.evicts {
		s.store.mu.Lock()
		tasks := slices.Collect(maps.Keys(s.store.open))
		s.store.mu.Unlock()
		s.store.disbelieve(ctx, s.client, tasks...)
	}
	return s.loses(unfit.Why)
}

// disbelieve removes the beacons of tasks whose records may be gone, and remembers to do so where it fails.
func (s *RedisStore) disbelieve(ctx context.Context, client redis.UniversalClient, tasks ...int32) {
	s.mu.Lock()
	for _, task := range tasks {
		s.gone[task] = true
	}
	s.mu.Unlock()
	for _, task := range tasks {
		if s.strike(ctx, client, task) != nil {
			return // it is tried again before the task is opened
		}
	}
}

// strike removes the beacons of a task that is not believed.
func (s *RedisStore) strike(ctx context.Context, client redis.UniversalClient, task int32) error {
	s.mu.Lock()
	gone := s.gone[task]
	s.mu.Unlock()
	if !gone {
		return nil
	}
	nodes, err := s.masters(ctx, client)
	if err != nil {
		return err
	}
	var cmds []redis.Cmder
	for _, node := range nodes {
		cmds = append(cmds, redis.NewIntCmd(ctx, "del", beaconKey(s.opts.KeyPrefix, node.tag, task)))
	}
	if err := s.run(ctx, client, cmds); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.gone, task)
	return nil
}
