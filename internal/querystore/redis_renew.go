package querystore

import "time"

// Renewer is a section that is taken for incomplete when nobody has worked on it for long: what it holds may have
// expired meanwhile. A task that has read its partitions to their ends, and has nothing that waits, is not behind:
// nothing that it will ask for can have expired. It says so with Renew, so that a quiet night is no loss.
//
// A task that is behind, or cannot be read, must not call it: its messages grow older while it waits, and what they
// ask for does expire.
type Renewer interface {
	// Renew says that the task has nothing to do. It may be called often and does something only now and then;
	// again is when it is due next, if nothing is written before. Like Sync it may run beside the other calls. Its
	// errors are theirs: a section that lost something is not renewed.
	Renew() (again time.Duration, err error)
}

var _ Renewer = (*redisSection)(nil)
