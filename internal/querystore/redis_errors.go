package querystore

import (
	"errors"
	"fmt"
	"strings"
)

// RedisError is a failed exchange with Redis. Nothing is known to be stored of what it was about; the
// same call may be made again. Neither keys nor tokens stand in it.
type RedisError struct {
	// Task is the number of the section, -1 where none is concerned.
	Task int32
	// Op is connect, read, write, cover, open or forget.
	Op  string
	Err error
}

func (e *RedisError) Error() string {
	where := "redis"
	if e.Task >= 0 {
		where = fmt.Sprintf("redis, task %d", e.Task)
	}
	return fmt.Sprintf("querystore: %s: %s: %s", where, e.Op, plain(e.Err))
}

func (e *RedisError) Unwrap() error { return e.Err }

// LostError says that a store across a network no longer holds what it had acknowledged: it restarted
// empty, lost its last seconds, or another node took over that had not got them. Every call of the
// section gives it from now on. The section must be closed and opened anew; its coverage then says what
// has to be read again from Kafka.
type LostError struct {
	Task int32
	Why  string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("querystore: the store of task %d lost what it held: %s (the section must be opened anew; what it lacks is read again from Kafka)", e.Task, e.Why)
}

// UnfitError says that the Redis that answers cannot serve as the store. Trying again does not help
// before its operator, or the configuration, changed.
type UnfitError struct {
	Why    string
	evicts bool // it lets records go by itself
}

func (e *UnfitError) Error() string { return "store.redis: " + e.Why }

// plain is an error's text without what a server quotes of a command: keys hold tokens.
func plain(err error) string {
	var shown string
	if err != nil {
		shown = err.Error()
	}
	if i := strings.Index(shown, ", with args beginning with"); i >= 0 {
		shown = shown[:i]
	}
	if strings.HasPrefix(shown, "NOPERM") {
		return "NOPERM: the user of store.redis.username lacks a right; docs/redis.md lists the commands and keys that it needs"
	}
	const longest = 300
	if len(shown) > longest {
		shown = shown[:longest] + "…"
	}
	return shown
}

// wrongType says whether a server found something else at a key than the command is for.
func wrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }

// isLost says whether an error is a LostError.
func isLost(err error) bool {
	var lost *LostError
	return errors.As(err, &lost)
}
