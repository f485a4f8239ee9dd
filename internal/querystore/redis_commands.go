package querystore

import (
	"context"
	"strconv"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// The two commands that make up nearly all of the traffic are made once, with pointers for arguments, and are
// sent again and again: what they point to is set each time. Not so on clusters, where the client keeps the hash
// slot that it once found for a command.

// pageCmd reads the newest records of a set, without scores, into the section's buffer. It is not for clusters, where
// the client must see by an answer that a set has moved.
type pageCmd struct {
	*redis.RawWriteToCmd
	key string
}

func newPageCmd(into *answers) *pageCmd {
	c := new(pageCmd)
	c.RawWriteToCmd = redis.NewRawWriteToCmd(context.Background(), into, zrevrange, &c.key, firstFrom, firstTo)
	return c
}

// addCmd adds one record to a set.
type addCmd struct {
	*redis.IntCmd
	key    string
	time   int64
	member string
}

func newAddCmd() *addCmd {
	c := new(addCmd)
	c.IntCmd = redis.NewIntCmd(context.Background(), zadd, &c.key, &c.time, &c.member)
	return c
}

// Arguments that are the same each time.
var (
	zrevrange   any = "zrevrange"
	withScores  any = "withscores"
	firstFrom   any = "0"
	firstTo     any = strconv.Itoa(firstPage - 1)
	zadd        any = "zadd"
	pexpire     any = "pexpire"
	evalsha     any = "evalsha"
	mostHistory any = strconv.Itoa(maxHistory)
)

// commands are those of one kind that are used again, at most mostCommands of them.
type commands[C any] struct {
	list []C
	used int
}

// next gives a command that is not in use.
func (c *commands[C]) next(build func() C) C {
	if c.used == mostCommands {
		return build()
	}
	if c.used == len(c.list) {
		c.list = append(c.list, build())
	}
	c.used++
	return c.list[c.used-1]
}

// free takes all of them back.
func (c *commands[C]) free(empty func(C)) {
	for _, cmd := range c.list[:c.used] {
		empty(cmd)
	}
	c.used = 0
}

func (c *pageCmd) empty() {
	c.key = ""
	c.SetVal(0)
	c.SetErr(nil)
}

func (c *addCmd) empty() {
	c.key, c.member = "", ""
	c.SetErr(nil)
}

// bytesOf gives a reply's bytes without a copy of them, textOf an argument's. Nobody writes to them while they are
// in use.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) } //nolint:gosec // read only

func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // read only
