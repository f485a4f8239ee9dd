package querystore

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockFolder takes the folder for this process, until the file is closed. The lock is the
// operating system's, on the file "lock", and ends with the process; the file stays and names the
// process that holds it or held it last.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("querystore: lock of folder %s: %w", dir, err)
	}
	held, err := tryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("querystore: lock of folder %s: %w", dir, err)
	}
	if held {
		b, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return nil, &LockedError{Path: dir, PID: pid}
	}
	// Of one width, so that it covers what was there. A full disk must not keep the worker from its store.
	_, _ = f.WriteAt(fmt.Appendf(nil, "%-20d\n", os.Getpid()), 0)
	return f, nil
}
