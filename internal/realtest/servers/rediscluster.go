package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisCluster is a Redis Cluster: masters that share the slots equally, and their replicas.
type RedisCluster struct {
	Masters  []*Redis
	Replicas []*Redis // the i-th is that of the i-th master; empty if the cluster was started without
}

// StartRedisCluster starts a cluster and returns when it serves all slots, and each replica has its
// master's data: one that lacks it never takes over. A master that is away for 2 s is replaced. The caller
// ends it with Close.
func StartRedisCluster(ctx context.Context, masters int, replicas bool, args ...string) (*RedisCluster, error) {
	if err := InstallRedis(ctx); err != nil {
		return nil, err
	}
	c := &RedisCluster{}
	n := masters
	if replicas {
		n *= 2
	}
	nodes, buses, err := startClusterNodes(ctx, n, args)
	c.Masters, c.Replicas = nodes[:min(masters, len(nodes))], nodes[min(masters, len(nodes)):]
	if err == nil {
		err = c.join(ctx, nodes, buses)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func startClusterNodes(ctx context.Context, n int, args []string) (nodes []*Redis, buses []int, err error) {
	nodes, buses = make([]*Redis, n), make([]int, n)
	errs := make([]error, n)
	var starting sync.WaitGroup
	for i := range n {
		if buses[i], err = freePort(); err != nil {
			return nil, nil, err
		}
		all := append([]string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(buses[i]), "--cluster-node-timeout", "2000",
			"--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0",
		}, args...)
		starting.Go(func() { nodes[i], errs[i] = startRedis(ctx, all) })
	}
	starting.Wait()
	if err = errors.Join(errs...); err != nil {
		for _, node := range nodes {
			if node != nil {
				err = errors.Join(err, node.Close())
			}
		}
		return nil, nil, err
	}
	return nodes, buses, nil
}

// join makes one cluster of the nodes.
func (c *RedisCluster) join(ctx context.Context, nodes []*Redis, buses []int) error {
	const slots = 16384
	clients := make([]*redis.Client, len(nodes))
	for i, node := range nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: node.Addr})
	}
	defer func() {
		for _, client := range clients {
			_ = client.Close()
		}
	}()
	for i := range c.Masters {
		first, last := i*slots/len(c.Masters), (i+1)*slots/len(c.Masters)-1
		if err := clients[i].ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			return fmt.Errorf("give slots: %w", err)
		}
	}
	for i, node := range nodes[1:] {
		host, port, err := net.SplitHostPort(node.Addr)
		if err != nil {
			return err
		}
		if err := clients[0].Do(ctx, "cluster", "meet", host, port, buses[i+1]).Err(); err != nil {
			return fmt.Errorf("cluster meet: %w", err)
		}
	}
	everyone := func(ctx context.Context) error { return clusterComplete(ctx, clients, len(nodes)) }
	if err := eventually(ctx, everyone); err != nil {
		return err
	}
	for i := range c.Replicas {
		id, err := clients[i].Do(ctx, "cluster", "myid").Text()
		if err != nil {
			return err
		}
		replica := clients[len(c.Masters)+i]
		err = eventually(ctx, func(ctx context.Context) error { return replica.ClusterReplicate(ctx, id).Err() })
		if err == nil {
			err = eventually(ctx, func(ctx context.Context) error { return linkUp(ctx, replica) })
		}
		if err != nil {
			return fmt.Errorf("replica %d: %w", i, err)
		}
	}
	return eventually(ctx, everyone)
}

// clusterComplete says whether every node knows all others and all slots are served.
func clusterComplete(ctx context.Context, clients []*redis.Client, n int) error {
	for _, client := range clients {
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r\n", n)) {
			return fmt.Errorf("the cluster is not complete: %s", info)
		}
	}
	return nil
}

func linkUp(ctx context.Context, replica *redis.Client) error {
	info, err := replica.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = errors.New("its link to the master is not up")
	}
	return err
}

// eventually polls until check gives no error.
func eventually(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollInterval):
		}
	}
}

// Addrs are the addresses of the masters at the start.
func (c *RedisCluster) Addrs() (list []string) {
	for _, node := range c.Masters {
		list = append(list, node.Addr)
	}
	return list
}

// Close ends all nodes and removes their folders.
func (c *RedisCluster) Close() error {
	var errs []error
	for _, node := range append(slices.Clip(c.Replicas), c.Masters...) {
		if node != nil {
			node.Kill()
			errs = append(errs, node.Close())
		}
	}
	return errors.Join(errs...)
}

// RedisSentinel is a master with one replica, watched by three sentinels.
type RedisSentinel struct {
	Master, Replica *Redis
	Sentinels       []*Redis
	// Name is the name of the master among the sentinels.
	Name string
}

// StartRedisSentinel starts them and returns when the replica has the master's data and all sentinels know
// each other. A master that is away for a second is replaced. The caller ends it with Close.
func StartRedisSentinel(ctx context.Context, args ...string) (s *RedisSentinel, err error) {
	if err := InstallRedis(ctx); err != nil {
		return nil, err
	}
	s = &RedisSentinel{Name: "shop"}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	fast := append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	if s.Master, err = startRedis(ctx, fast); err != nil {
		return s, err
	}
	host, port, err := net.SplitHostPort(s.Master.Addr)
	if err != nil {
		return s, err
	}
	if s.Replica, err = startRedis(ctx, append(fast, "--replicaof", host, port)); err != nil {
		return s, err
	}
	replica := redis.NewClient(&redis.Options{Addr: s.Replica.Addr})
	defer replica.Close()
	if err := eventually(ctx, func(ctx context.Context) error { return linkUp(ctx, replica) }); err != nil {
		return s, err
	}
	for range 3 {
		sentinel, err := startSentinel(ctx, s.Name, host, port)
		if err != nil {
			return s, err
		}
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	return s, eventually(ctx, s.acquainted)
}

func startSentinel(ctx context.Context, name, host, port string) (*Redis, error) {
	dir, err := tempDir("sentinel")
	if err != nil {
		return nil, err
	}
	own, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 5000\n",
		own, dir, name, host, port, name, name)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r := &Redis{Addr: address(own), dir: dir, args: []string{conf, "--sentinel"}}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// acquainted says whether each sentinel knows the others and the replica.
func (s *RedisSentinel) acquainted(ctx context.Context) error {
	for _, sentinel := range s.Sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr})
		master, err := client.Master(ctx, s.Name).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		if master["num-slaves"] != "1" || master["num-other-sentinels"] != strconv.Itoa(len(s.Sentinels)-1) {
			return fmt.Errorf("a sentinel knows %s replicas and %s other sentinels", master["num-slaves"], master["num-other-sentinels"])
		}
	}
	return nil
}

// Addrs are the addresses of the sentinels.
func (s *RedisSentinel) Addrs() (list []string) {
	for _, sentinel := range s.Sentinels {
		list = append(list, sentinel.Addr)
	}
	return list
}

// Close ends all of them and removes their folders.
func (s *RedisSentinel) Close() error {
	var errs []error
	for _, r := range append(slices.Clip(s.Sentinels), s.Replica, s.Master) {
		if r != nil {
			r.Kill()
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}
