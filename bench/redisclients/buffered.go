package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// buffered reads all pages into one buffer, as the server sends them, and looks for the records there. So does the store.
type buffered struct {
	*reused
	pages []*redis.RawWriteToCmd
	keys  []string
	arena arena
}

// arena takes bytes in where they stay.
type arena struct{ buf []byte }

// Write implements io.Writer.
func (a *arena) Write(b []byte) (int, error) {
	a.buf = append(a.buf, b...)
	return len(b), nil
}

// ReadFrom takes in what the client library copies of a member, without a buffer in between.
func (a *arena) ReadFrom(r io.Reader) (n int64, err error) {
	bounded, ok := r.(*io.LimitedReader)
	if !ok {
		return 0, errors.New("a reader without a bound")
	}
	from := len(a.buf)
	a.buf = slices.Grow(a.buf, int(bounded.N))[:from+int(bounded.N)]
	m, err := io.ReadFull(bounded, a.buf[from:])
	return int64(m), err
}

func openBuffered(ctx context.Context, address string) (client, error) {
	c, err := dialGoRedis(ctx, address)
	return &buffered{reused: &reused{Client: c}}, err
}

func (c *buffered) another() client { return &buffered{reused: &reused{Client: c.Client}} }

func (c *buffered) read(ctx context.Context, keys []string) (members, size int, err error) {
	c.arena.buf = c.arena.buf[:0]
	if c.keys == nil {
		c.keys = make([]string, 2*messages) // they are pointed to
	}
	c.cmds = append(c.cmds[:0], redis.NewStringCmd(ctx, "hget", beacon, "seq"))
	for i, key := range keys {
		c.keys[i] = key
		if i == len(c.pages) {
			c.pages = append(c.pages, redis.NewRawWriteToCmd(context.Background(), &c.arena, "zrevrange", &c.keys[i], "0", page))
		}
		c.cmds = append(c.cmds, c.pages[i])
	}
	if err := c.send(ctx); err != nil {
		return 0, 0, err
	}
	rest := c.arena.buf
	for range keys {
		var n int
		n, rest = header(rest)
		for range n {
			var l int
			l, rest = header(rest)
			members, size, rest = members+1, size+l, rest[l+2:]
		}
	}
	return members, size, nil
}

// header reads the number of a line such as *32 or $430.
func header(b []byte) (n int, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	n, _ = strconv.Atoi(string(b[1 : i-1]))
	return n, b[i+1:]
}
