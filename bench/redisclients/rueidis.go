package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/rueidis"
)

// throughRueidis uses the other library as its documentation does: commands are built and taken back by it.
type throughRueidis struct {
	rueidis.Client
	cmds rueidis.Commands
}

func openRueidis(ctx context.Context, address string) (client, error) {
	return dialRueidis(ctx, address, false)
}

// openRueidisDirect gives each exchange a connection of its own, as go-redis does.
func openRueidisDirect(ctx context.Context, address string) (client, error) {
	return dialRueidis(ctx, address, true)
}

func dialRueidis(ctx context.Context, address string, direct bool) (client, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, AlwaysRESP2: true, DisableCache: true, DisableAutoPipelining: direct,
		ReadBufferEachConn: 128 << 10, WriteBufferEachConn: 128 << 10})
	if err != nil {
		return nil, err
	}
	return &throughRueidis{Client: c}, c.Do(ctx, c.B().ScriptLoad().Script(touch).Build()).Error()
}

func (c *throughRueidis) another() client { return &throughRueidis{Client: c.Client} }

func (c *throughRueidis) close() error {
	c.Close()
	return nil
}

func (c *throughRueidis) read(ctx context.Context, keys []string) (members, bytes int, err error) {
	c.cmds = append(c.cmds[:0], c.B().Hget().Key(beacon).Field("seq").Build())
	for _, key := range keys {
		c.cmds = append(c.cmds, c.B().Zrevrange().Key(key).Start(0).Stop(31).Build())
	}
	replies := c.DoMulti(ctx, c.cmds...)
	if err := replies[0].Error(); err != nil && !rueidis.IsRedisNil(err) {
		return 0, 0, err
	}
	for _, reply := range replies[1:] {
		page, err := reply.AsStrSlice()
		if err != nil {
			return 0, 0, err
		}
		for _, member := range page {
			members, bytes = members+1, bytes+len(member)
		}
	}
	return members, bytes, nil
}

func (c *throughRueidis) write(ctx context.Context, list []record) error {
	c.cmds = c.cmds[:0]
	for len(list) > 0 {
		n := min(len(list), together)
		script := c.B().Evalsha().Sha1(touchHash).Numkeys(int64(n)).Key(list[0].key)
		for i, r := range list[:n] {
			c.cmds = append(c.cmds, c.B().Arbitrary("ZADD").Keys(r.key).Args(strconv.FormatInt(r.time, 10), r.member).Build())
			if i > 0 {
				script = script.Key(r.key)
			}
		}
		c.cmds = append(c.cmds, script.Arg(ttl).Build())
		if list = list[n:]; len(list) > 0 && len(c.cmds) <= mostAtOnce-2*together {
			continue
		}
		c.cmds = append(c.cmds, c.B().Hset().Key(beacon).FieldValue().FieldValue("seq", "1").Build())
		var failed error
		for _, reply := range c.DoMulti(ctx, c.cmds...) {
			failed = errors.Join(failed, reply.Error())
		}
		if failed != nil {
			return failed
		}
		c.cmds = c.cmds[:0]
	}
	return nil
}
