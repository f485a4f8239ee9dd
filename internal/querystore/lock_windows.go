package querystore

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the file's lock, or says that another open file holds it. The locked byte lies far
// beyond the content, so that others can read which process it is.
func tryLock(f *os.File) (held bool, err error) {
	at := &windows.Overlapped{OffsetHigh: 1}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if err == windows.ERROR_LOCK_VIOLATION {
		return true, nil
	}
	return false, err
}
