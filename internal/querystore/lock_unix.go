//go:build unix

package querystore

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the file's lock, or says that another open file holds it.
func tryLock(f *os.File) (held bool, err error) {
	for {
		switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return true, nil
		default:
			return false, err
		}
	}
}
