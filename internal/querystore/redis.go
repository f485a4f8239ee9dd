package querystore

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The ways to reach Redis.
const (
	RedisAuto     = "auto" // the first server that answers says what it belongs to
	RedisSingle   = "single"
	RedisSentinel = "sentinel"
	RedisCluster  = "cluster"
)

// RedisOptions say how to reach Redis, or Valkey, and how long it keeps what it is given. The zero value
// of a field means its default.
type RedisOptions struct {
	// Addresses are host:port of a single node, of sentinels, or of some nodes of a cluster.
	Addresses []string
	// Mode is one of the Redis… constants; RedisAuto by default.
	Mode string
	// Database is the number of the database; clusters have only 0.
	Database int
	// SentinelMaster is the name under which sentinels know the master; empty: the only one they know.
	SentinelMaster string
	Username       string
	// Password is asked for each connection, so that it may change; nil: none.
	Password         func() (string, error)
	SentinelUsername string
	SentinelPassword func() (string, error)
	// TLS is nil for plain connections.
	TLS *tls.Config
	// KeyPrefix begins every key; "eventworker:" by default.
	KeyPrefix string
	// Group is the consumer group that the prefix belongs to.
	Group string
	// Delivery is the mode in which the group delivers, which the prefix belongs to, too (see [Owner]); "send" by default.
	Delivery string
	// DialTimeout bounds the making of a connection, Timeout one exchange on it; 2 s by default. A call
	// of a section takes at most a few of them.
	DialTimeout, Timeout time.Duration
	// Reach is how long, in event time, a record can matter: the longest window.
	Reach time.Duration
	// Standstill is how long the workers may stand still before records can be missing; 24 h by default. A
	// record lives for Reach + Standstill from its last write, what is known of the coverage for
	// Standstill: once that is gone, everything is read again from Kafka.
	Standstill time.Duration
	// Shared says that several tasks write one user's records; then none of them removes expired ones.
	Shared bool
	// Memory bounds what the open sections hold read ahead, in bytes, together; 32 MiB by default. Each
	// may take at least 256 KiB, and on top of its share what one exchange brings: about 4 MiB, and at most 8 MiB from
	// each master, however many and however long the records of its users are. While it is read an exchange may take
	// up to three times its size.
	Memory int64
	// Log says what was found odd; nothing by default.
	Log *zap.Logger
}

func (o RedisOptions) withDefaults() RedisOptions {
	if o.Mode == "" {
		o.Mode = RedisAuto
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = "eventworker:"
	}
	if o.Delivery == "" {
		o.Delivery = "send"
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 2 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Reach <= 0 {
		o.Reach = 24 * time.Hour
	}
	if o.Standstill <= 0 {
		o.Standstill = 24 * time.Hour
	}
	if o.Memory <= 0 {
		o.Memory = 32 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// RedisStore keeps impressions, clicks and marks in Redis, for all workers of a group. Its methods may be
// called from any goroutine. Its sections are [Remote].
type RedisStore struct {
	opts RedisOptions
	ttl  any // of records, in milliseconds: an argument of each write
	// Bounds of what is read, in bytes: mostRead, mostReply and leastAhead but in tests.
	mostRead, mostReply, leastAhead int

	mu       sync.Mutex
	client   redis.UniversalClient // nil before the first server answered
	nodes    []redisNode
	looked   time.Time // when nodes was read
	reloaded time.Time // when the client was told to look anew
	checked  time.Time // when the servers were last found fit
	open     map[int32]bool
	gone     map[int32]bool // tasks whose beacons are still to be removed: servers evicted keys
	closed   bool

	outside  atomic.Bool // a storefront writes records, too
	strange  atomic.Bool // and some that are not of the documented form; it was said
	sections atomic.Int32
	counts   redisCounts
}

// redisCounts are counted across sections.
type redisCounts struct {
	records, reads, ahead, alone, ignored, trips, commands atomic.Int64
}

// RedisStats is what a store did since it was opened.
type RedisStats struct {
	Records  int64 // written
	Reads    int64 // members read
	Ahead    int64 // walks over what was read ahead
	Alone    int64 // walks that began with a round trip of their own
	Ignored  int64 // members that are of no known form
	Trips    int64 // exchanges with a server, or with several at once
	Commands int64 // of them
}

var (
	_ Store     = (*RedisStore)(nil)
	_ Remote    = (*redisSection)(nil)
	_ Forgetter = (*redisSection)(nil)
	_ Resetter  = (*redisSection)(nil)
)

// OpenRedis makes the store. It speaks to no server yet; see [RedisStore.Check].
func OpenRedis(opts RedisOptions) (*RedisStore, error) {
	opts = opts.withDefaults()
	switch {
	case len(opts.Addresses) == 0:
		return nil, &UnfitError{Why: "addresses is empty: name a server"}
	case strings.ContainsAny(opts.KeyPrefix, "{}"):
		return nil, &UnfitError{Why: "key_prefix must not hold { or }: they would put all keys on one node of a cluster"}
	}
	quiet.Do(func() { redis.SetLogger(silent{}) })
	return &RedisStore{opts: opts, ttl: (opts.Reach + opts.Standstill).Milliseconds(), open: make(map[int32]bool), gone: make(map[int32]bool),
		mostRead: mostRead, mostReply: mostReply, leastAhead: leastAhead}, nil
}

// quiet keeps the client library from writing to the standard error stream: what it would say stands in
// the errors.
var quiet sync.Once

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Stats may be called at any time. Its RingHits are walks that were answered from memory, its Reads those that
// cost a round trip of their own; what the servers hold is not asked for.
func (s *RedisStore) Stats() Stats {
	return Stats{Sections: int(s.sections.Load()), RingHits: s.counts.ahead.Load(), Reads: s.counts.alone.Load()}
}

// RedisStats may be called at any time.
func (s *RedisStore) RedisStats() RedisStats {
	c := &s.counts
	return RedisStats{Records: c.records.Load(), Reads: c.reads.Load(), Ahead: c.ahead.Load(), Alone: c.alone.Load(), Ignored: c.ignored.Load(), Trips: c.trips.Load(), Commands: c.commands.Load()}
}

// Check asks the servers whether they can serve: a [UnfitError] says why not, a [RedisError] that they
// cannot be asked now.
func (s *RedisStore) Check(ctx context.Context) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return s.check(ctx, client)
}

// Ask is Check, but leaves nothing on the servers.
func (s *RedisStore) Ask(ctx context.Context) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return s.inspect(ctx, client, false)
}

// Open takes the section of a task and reads what its effects cover. Another worker that has it open gets a
// [LostError] with its next call.
func (s *RedisStore) Open(task int32) (Section, error) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, ErrClosed
	case s.open[task]:
		s.mu.Unlock()
		return nil, ErrOpen
	}
	s.open[task] = true
	s.mu.Unlock()
	section, err := s.openSection(task)
	if err != nil {
		s.release(task)
		return nil, err
	}
	s.sections.Add(1)
	return section, nil
}

func (s *RedisStore) release(task int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, task)
}

// Close closes the connections. Sections that are open fail from then on.
func (s *RedisStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.client == nil {
		return nil
	}
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("querystore: redis: close: %w", err)
	}
	return nil
}

// context bounds one call: a try, one more, and the waits of a cluster between redirections.
func (s *RedisStore) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.opts.DialTimeout+2*s.opts.Timeout)
}

// budget is how many bytes a section may hold read ahead.
func (s *RedisStore) budget() int {
	return int(max(int64(s.leastAhead), s.opts.Memory/int64(max(1, s.sections.Load()))))
}

// run sends commands in one pipeline, at most most at a time. It returns the first error that makes the
// whole worthless; a command's own reply is the caller's to look at.
func (s *RedisStore) run(ctx context.Context, client redis.UniversalClient, cmds []redis.Cmder) error {
	for len(cmds) > 0 {
		n := min(len(cmds), mostCommands)
		pipe := client.Pipeline()
		_ = pipe.BatchProcess(ctx, cmds[:n]...)
		s.counts.trips.Add(1)
		s.counts.commands.Add(int64(n))
		if _, err := pipe.Exec(ctx); err != nil {
			s.stumbled(client)
			return err
		}
		cmds = cmds[n:]
	}
	return nil
}

// mostCommands bounds a pipeline. A reply of each may be some kilobytes.
const mostCommands = 1024
