package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialGoRedis connects as the store does.
func dialGoRedis(ctx context.Context, address string) (*redis.Client, error) {
	c := redis.NewClient(&redis.Options{Addr: address, Protocol: 2, ReadBufferSize: 128 << 10, WriteBufferSize: 128 << 10, PipelinePoolSize: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	return c, c.ScriptLoad(ctx, touch).Err()
}

// goRedis uses the library as its documentation does.
type goRedis struct{ *redis.Client }

func openGoRedis(ctx context.Context, address string) (client, error) {
	c, err := dialGoRedis(ctx, address)
	return goRedis{c}, err
}

func (c goRedis) read(ctx context.Context, keys []string) (members, bytes int, err error) {
	pipe := c.Pipeline()
	pipe.HGet(ctx, beacon, "seq")
	pages := make([]*redis.StringSliceCmd, len(keys))
	for i, key := range keys {
		pages[i] = pipe.ZRevRange(ctx, key, 0, 31)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return 0, 0, err
	}
	for _, p := range pages {
		for _, member := range p.Val() {
			members, bytes = members+1, bytes+len(member)
		}
	}
	return members, bytes, nil
}

func (c goRedis) write(ctx context.Context, list []record) error {
	pipe := c.Pipeline()
	for len(list) > 0 {
		n := min(len(list), together)
		keys := make([]string, n)
		for i, r := range list[:n] {
			pipe.ZAdd(ctx, r.key, redis.Z{Score: float64(r.time), Member: r.member})
			keys[i] = r.key
		}
		pipe.EvalSha(ctx, touchHash, keys, ttl)
		if list = list[n:]; len(list) == 0 || pipe.Len() > mostAtOnce-2*together {
			pipe.HSet(ctx, beacon, "seq", "1")
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c goRedis) another() client { return c }
func (c goRedis) close() error    { return c.Close() }

// reused makes the commands that are frequent once, with pointers for arguments, and sends them again and again.
type reused struct {
	*redis.Client
	pages []*page1
	adds  []*add1
	cmds  []redis.Cmder
	args  []any
}

// page1 reads a set; its key is set each time.
type page1 struct {
	*redis.StringSliceCmd
	key string
}

// add1 writes a record.
type add1 struct {
	*redis.IntCmd
	key, member string
	time        int64
}

func openReused(ctx context.Context, address string) (client, error) {
	c, err := dialGoRedis(ctx, address)
	return &reused{Client: c}, err
}

func (c *reused) another() client { return &reused{Client: c.Client} }
func (c *reused) close() error    { return c.Close() }

func (c *reused) send(ctx context.Context) error {
	pipe := c.Pipeline()
	_ = pipe.BatchProcess(ctx, c.cmds...)
	_, err := pipe.Exec(ctx)
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (c *reused) read(ctx context.Context, keys []string) (members, bytes int, err error) {
	c.cmds = append(c.cmds[:0], redis.NewStringCmd(ctx, "hget", beacon, "seq"))
	for i, key := range keys {
		if i == len(c.pages) {
			p := new(page1)
			p.StringSliceCmd = redis.NewStringSliceCmd(context.Background(), "zrevrange", &p.key, "0", page)
			c.pages = append(c.pages, p)
		}
		c.pages[i].key = key
		c.cmds = append(c.cmds, c.pages[i])
	}
	if err := c.send(ctx); err != nil {
		return 0, 0, err
	}
	for _, p := range c.pages[:len(keys)] {
		for _, member := range p.Val() {
			members, bytes = members+1, bytes+len(member)
		}
		p.SetVal(nil)
	}
	return members, bytes, nil
}

func (c *reused) write(ctx context.Context, list []record) error {
	for len(list) > 0 {
		c.cmds, c.args = c.cmds[:0], c.args[:0]
		for used := 0; len(list) > 0 && len(c.cmds) <= mostAtOnce-2*together; {
			n := min(len(list), together)
			for i := range list[:n] {
				c.cmds = append(c.cmds, c.add(used, &list[i]))
				used++
			}
			from := len(c.args)
			c.args = append(c.args, "evalsha", touchHash, strconv.Itoa(n))
			for i := range list[:n] {
				c.args = append(c.args, &list[i].key)
			}
			c.args = append(c.args, ttl)
			c.cmds = append(c.cmds, redis.NewCmd(ctx, c.args[from:len(c.args):len(c.args)]...))
			list = list[n:]
		}
		c.cmds = append(c.cmds, redis.NewIntCmd(ctx, "hset", beacon, "seq", "1"))
		if err := c.send(ctx); err != nil {
			return err
		}
	}
	return nil
}

// add is the i-th command of a pipeline that adds a record.
func (c *reused) add(i int, r *record) redis.Cmder {
	if i == len(c.adds) {
		a := new(add1)
		a.IntCmd = redis.NewIntCmd(context.Background(), "zadd", &a.key, &a.time, &a.member)
		c.adds = append(c.adds, a)
	}
	a := c.adds[i]
	a.key, a.time, a.member = r.key, r.time, r.member
	return a
}
