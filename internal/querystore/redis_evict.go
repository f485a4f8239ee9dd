package querystore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Servers may come to evict keys while a worker runs: somebody changed them, or a replica with other settings took
// over. Records then vanish one by one, and the beacon, which every write touches, is the last to go. So a section
// asks, before it stores what it covers and at most every nodesFresh, how the servers make room. One that evicts
// loses the sections, which are not opened before it keeps what it has; and what was open meanwhile is not believed
// then, but read again from Kafka.

// keeps loses the section if a server evicts keys.
func (s *redisSection) keeps(ctx context.Context) error {
	err := s.store.check(ctx, s.client)
	unfit := (*UnfitError)(nil)
	if !errors.As(err, &unfit) {
		return err
	}
	s.store.mu.Lock()
	for task := range s.store.open {
		s.store.gone[task] = true
	}
	s.store.mu.Unlock()
	return s.loses(unfit.Why)
}

// disbelieve removes the beacons of a task that was open while servers evicted keys.
func (s *redisSection) disbelieve(ctx context.Context) error {
	s.store.mu.Lock()
	gone := s.store.gone[s.task]
	s.store.mu.Unlock()
	if !gone {
		return nil
	}
	nodes, err := s.store.masters(ctx, s.client)
	if err != nil {
		return err
	}
	var cmds []redis.Cmder
	for _, node := range nodes {
		cmds = append(cmds, redis.NewIntCmd(ctx, "del", s.beaconKey(node)))
	}
	return s.store.run(ctx, s.client, cmds)
}
