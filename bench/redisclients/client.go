package main

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis gives a script
	"encoding/hex"
)

// client has the exchanges of one task.
type client interface {
	// read asks in one pipeline for a beacon and for the newest records of some sets, and says what it got.
	read(ctx context.Context, keys []string) (members, bytes int, err error)
	// write adds records, in pipelines as the store makes them: after each 32 sets a script that lets their time to
	// live begin anew, and a beacon at the end.
	write(ctx context.Context, list []record) error
	// another is a client of another task, over the same connections.
	another() client
	close() error
}

// library is a way to speak to Redis.
type library struct {
	name string
	open func(ctx context.Context, address string) (client, error)
}

var libraries = []library{
	{"go-redis, as the store uses it", openBuffered},
	{"go-redis, commands used again", openReused},
	{"go-redis", openGoRedis},
	{"rueidis", openRueidis},
	{"rueidis, without auto pipelining", openRueidisDirect},
}

const (
	page       = "31" // the last of the newest 32 records
	together   = 32   // sets that one script touches
	mostAtOnce = 1024 // commands in a pipeline
	ttl        = "172800000"
	beacon     = "bench:task:0"
)

// touch is the store's script, without its bounds.
const touch = `for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end return 1`

var touchHash = func() string {
	sum := sha1.Sum([]byte(touch)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}()
