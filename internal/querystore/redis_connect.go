package querystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
)

// redisNode is a master: what is written to it is lost or kept as a whole.
type redisNode struct {
	tag         string // leads to one of its slots; empty where there is one node
	first, last int    // that slot's range
}

// nodesFresh is how long the masters of a cluster are taken for what they were.
const nodesFresh = 10 * time.Second

// connect gives the client, which it makes when the first server has answered.
func (s *RedisStore) connect(ctx context.Context) (redis.UniversalClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.client != nil {
		return s.client, nil
	}
	mode, master := s.opts.Mode, s.opts.SentinelMaster
	if mode == RedisAuto || mode == RedisSentinel && master == "" {
		var err error
		if mode, master, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	s.client = s.newClient(mode, master)
	return s.client, nil
}

// discover asks the servers what they are.
func (s *RedisStore) discover(ctx context.Context) (mode, master string, err error) {
	if s.opts.Mode == RedisAuto && s.opts.SentinelMaster != "" {
		return RedisSentinel, s.opts.SentinelMaster, nil
	}
	var failed []error
	for _, address := range s.opts.Addresses {
		mode, master, err := s.ask(ctx, address)
		if err == nil {
			return mode, master, nil
		}
		if unfit := (*UnfitError)(nil); errors.As(err, &unfit) {
			return "", "", err
		}
		failed = append(failed, err)
	}
	return "", "", &RedisError{Task: -1, Op: "connect", Err: errors.Join(failed...)}
}

// ask asks one server what it is. Sentinels may know neither the user nor the database of the servers that they
// watch, so one that refuses is asked as a sentinel, too.
func (s *RedisStore) ask(ctx context.Context, address string) (mode, master string, err error) {
	mode, master, err = s.askAs(ctx, address, s.opts.Mode == RedisSentinel)
	var refusal redis.Error
	if s.opts.Mode != RedisAuto || !errors.As(err, &refusal) {
		return mode, master, err
	}
	if as, name, err := s.askAs(ctx, address, true); as == RedisSentinel {
		return as, name, err
	}
	return mode, master, err
}

// askAs asks with the credentials for servers, or with those for sentinels.
func (s *RedisStore) askAs(ctx context.Context, address string, sentinel bool) (mode, master string, err error) {
	probe := redis.NewClient(s.options(address, sentinel))
	defer func() { _ = probe.Close() }()
	info, err := probe.Info(ctx, "server").Result()
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") && s.opts.Mode == RedisAuto {
		return RedisSingle, "", nil // a cluster would answer MOVED, which says so
	}
	if err != nil {
		return "", "", err
	}
	switch serverMode(info) {
	case RedisCluster:
		return RedisCluster, "", nil
	case RedisSentinel:
		master, err := onlyMaster(ctx, probe)
		return RedisSentinel, master, err
	}
	if s.opts.Mode == RedisSentinel {
		return "", "", &UnfitError{Why: fmt.Sprintf("mode is sentinel, but %s is none", address)}
	}
	return RedisSingle, "", nil
}

func onlyMaster(ctx context.Context, probe *redis.Client) (string, error) {
	reply, err := probe.Do(ctx, "sentinel", "masters").Slice()
	if err != nil {
		return "", err
	}
	if len(reply) != 1 {
		return "", &UnfitError{Why: fmt.Sprintf("the sentinels know %d masters: name one as sentinel_master", len(reply))}
	}
	fields, _ := reply[0].([]any)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "name" {
			name, _ := fields[i+1].(string)
			return name, nil
		}
	}
	return "", errors.New("a sentinel names no master")
}

// options are those of one node.
func (s *RedisStore) options(address string, sentinel bool) *redis.Options {
	u := s.universal("")
	o := u.Simple()
	// One is used. A pool that fails as often as it has connections goes on trying in the background for a second
	// after it was closed.
	o.Addr, o.PoolSize = address, 4
	if sentinel {
		o.Username, o.CredentialsProviderContext, o.DB = "", s.credentials(s.opts.SentinelUsername, s.opts.SentinelPassword), 0
	}
	return o
}

// newClient makes the client of a mode.
func (s *RedisStore) newClient(mode, master string) redis.UniversalClient {
	u := s.universal(master)
	switch mode {
	case RedisCluster:
		return redis.NewClusterClient(u.Cluster())
	case RedisSentinel:
		o := u.Failover()
		if s.opts.SentinelPassword != nil {
			// Sentinels are asked now and then by connections of their own; their password is read once.
			o.SentinelPassword, _ = s.opts.SentinelPassword()
		}
		return redis.NewFailoverClient(o)
	}
	return redis.NewClient(u.Simple())
}

func (s *RedisStore) universal(master string) *redis.UniversalOptions {
	o := &s.opts
	return &redis.UniversalOptions{
		Addrs: o.Addresses, MasterName: master, DB: o.Database, ClientName: "eventworker",
		Protocol: 2, CredentialsProviderContext: s.credentials(o.Username, o.Password), SentinelUsername: o.SentinelUsername,
		Dialer: s.dialer(), TLSConfig: o.TLS, DialTimeout: o.DialTimeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true,
		// One more try covers a connection that the server had closed; then the caller waits.
		MaxRetries: 1, MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 100 * time.Millisecond, DialerRetries: 1,
		PoolSize: poolSize, PipelinePoolSize: -1, ReadBufferSize: 128 << 10, WriteBufferSize: 128 << 10,
		PoolTimeout: o.Timeout, ConnMaxIdleTime: 5 * time.Minute, FailingTimeoutSeconds: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// poolSize bounds the connections to a node. A connection's buffers take 256 KiB.
const poolSize = 16

func (s *RedisStore) credentials(username string, password func() (string, error)) func(context.Context) (string, string, error) {
	return func(context.Context) (string, string, error) {
		if password == nil {
			return username, "", nil
		}
		secret, err := password()
		return username, secret, err
	}
}

// check refuses servers that would let records go by themselves, and a prefix that belongs to others.
func (s *RedisStore) check(ctx context.Context, client redis.UniversalClient) error {
	s.mu.Lock()
	fresh := time.Since(s.checked) < nodesFresh
	s.mu.Unlock()
	if fresh {
		return nil
	}
	if err := s.inspect(ctx, client, true); err != nil {
		return err
	}
	s.mu.Lock()
	s.checked = time.Now()
	s.mu.Unlock()
	return nil
}

// inspect looks at servers and prefix; claim takes the prefix for this group where nobody has it.
func (s *RedisStore) inspect(ctx context.Context, client redis.UniversalClient, claim bool) error {
	err := eachMaster(ctx, client, func(ctx context.Context, node *redis.Client) error { return s.checkPolicy(ctx, node) })
	if err == nil {
		err = s.checkOwner(ctx, client, claim)
	}
	if unfit := (*UnfitError)(nil); err == nil || errors.As(err, &unfit) {
		return err
	}
	return &RedisError{Task: -1, Op: "connect", Err: err}
}

func eachMaster(ctx context.Context, client redis.UniversalClient, do func(context.Context, *redis.Client) error) error {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, do)
	case *redis.Client:
		return do(ctx, c)
	}
	return nil
}

// checkPolicy asks how a server makes room. CONFIG is often forbidden; INFO says it, too.
func (s *RedisStore) checkPolicy(ctx context.Context, node *redis.Client) error {
	info, err := node.Info(ctx, "memory").Result()
	policy := infoField(info, "maxmemory_policy")
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		var values map[string]string
		if values, err = node.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
			policy = values["maxmemory-policy"]
		} else if strings.HasPrefix(err.Error(), "NOPERM") {
			s.opts.Log.Warn("the Redis user may read neither INFO nor the configuration: whether the server evicts keys is not known; maxmemory-policy must be noeviction")
			return nil
		}
	}
	switch {
	case err != nil:
		return err
	case policy != "" && policy != "noeviction":
		return &UnfitError{evicts: true, Why: fmt.Sprintf("the server evicts keys when its memory is full (maxmemory-policy %s), and clicks would go unattributed without a word; set it to noeviction: CONFIG SET maxmemory-policy noeviction", policy)}
	}
	return nil
}

// checkOwner makes sure that the prefix is this group's, in this mode of delivery, and its layout the known one.
func (s *RedisStore) checkOwner(ctx context.Context, client redis.UniversalClient, claim bool) error {
	key := s.opts.KeyPrefix + keyStore
	var names []string
	if claim {
		names = []string{"group", s.opts.Group, "layout", layoutVersion}
	}
	have, err := s.owner(ctx, client, names...)
	switch {
	case err != nil:
		return err
	case !claim && len(have) == 0: // the first worker takes it
		return nil
	case have["layout"] != layoutVersion:
		return &UnfitError{Why: fmt.Sprintf("the keys at key_prefix %q are of layout %s, this program knows %s: give it a prefix of its own", s.opts.KeyPrefix, have["layout"], layoutVersion)}
	case have["group"] != s.opts.Group:
		return &UnfitError{Why: fmt.Sprintf("key_prefix %q belongs to consumer group %q: give group %q a prefix of its own; if the group was only renamed: HSET %s group %s", s.opts.KeyPrefix, have["group"], s.opts.Group, key, s.opts.Group)}
	case have["delivery"] == "" && claim: // not before the group is known to be this one: earlier versions named no more
		if have, err = s.owner(ctx, client, "delivery", s.opts.Delivery); err != nil {
			return err
		}
	}
	if mode := have["delivery"]; mode != "" && mode != s.opts.Delivery {
		return &UnfitError{Why: fmt.Sprintf("key_prefix %q belongs to group %q with delivery.mode %s, and this worker has %s: it would take what that one delivered for its own; give shadow mode a group and a prefix of its own, or remove the keys at this prefix (what the store lacks is read again from Kafka)",
			s.opts.KeyPrefix, have["group"], mode, s.opts.Delivery)}
	}
	return nil
}

// owner is what the prefix says of its owner, after the fields that it lacks were set: names and values.
func (s *RedisStore) owner(ctx context.Context, client redis.UniversalClient, lacking ...string) (map[string]string, error) {
	key := s.opts.KeyPrefix + keyStore
	var cmds []redis.Cmder
	for i := 0; i+1 < len(lacking); i += 2 {
		cmds = append(cmds, redis.NewBoolCmd(ctx, "hsetnx", key, lacking[i], lacking[i+1]))
	}
	have := redis.NewMapStringStringCmd(ctx, "hgetall", key)
	err := s.run(ctx, client, append(cmds, have))
	return have.Val(), err
}

// masters are the nodes among which the keys are spread, as of a moment ago.
func (s *RedisStore) masters(ctx context.Context, client redis.UniversalClient) ([]redisNode, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return []redisNode{{}}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < nodesFresh {
		return s.nodes, nil
	}
	ranges, err := cluster.ClusterSlots(ctx).Result() //nolint:staticcheck // CLUSTER SHARDS needs Redis 7, this one serves 6.2, too
	if err != nil && s.nodes != nil {
		return s.nodes, nil // their tags stay good; the next command says what is wrong
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ranges, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	var nodes []redisNode
	seen := make(map[string]bool)
	covered := 0
	for _, r := range ranges {
		covered += r.End - r.Start + 1
		if len(r.Nodes) == 0 || seen[r.Nodes[0].ID+r.Nodes[0].Addr] {
			continue
		}
		seen[r.Nodes[0].ID+r.Nodes[0].Addr] = true
		nodes = append(nodes, s.node(r.Start, r.End))
	}
	if covered < slots {
		return nil, fmt.Errorf("the cluster serves %d of %d slots", covered, slots)
	}
	s.nodes, s.looked = nodes, time.Now()
	return nodes, nil
}

// stumbled looks anew at who the masters are after an exchange that failed, at most every second.
func (s *RedisStore) stumbled(client redis.UniversalClient) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.reloaded) > time.Second {
		s.looked, s.reloaded = time.Time{}, time.Now()
		cluster.ReloadState(context.Background()) // in a goroutine of the client's
	}
}

// node is the node of a range of slots; tags are looked for once.
func (s *RedisStore) node(first, last int) redisNode {
	for _, n := range s.nodes {
		if n.first == first {
			return redisNode{tag: n.tag, first: first, last: last}
		}
	}
	return redisNode{tag: tagOf(first), first: first, last: last}
}

// serverMode is what a server says it is: standalone, or RedisCluster, or RedisSentinel.
func serverMode(info string) string {
	if mode := infoField(info, "redis_mode"); mode != "" {
		return mode
	}
	return infoField(info, "server_mode") // Valkey
}

// infoField takes a field out of the answer to INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// warnStrange says once that members are not of the documented form.
func (s *RedisStore) warnStrange() {
	s.counts.ignored.Add(1)
	if s.strange.CompareAndSwap(false, true) {
		s.opts.Log.Warn("some records that others wrote into Redis are not of the form that docs/redis.md describes; they are passed over", zap.String("prefix", s.opts.KeyPrefix))
	}
}
