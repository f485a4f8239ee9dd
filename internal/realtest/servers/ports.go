//go:build unix

package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// ports are those of 127.0.0.1 that servers of tests take: below the ones that the system hands out to outgoing
// connections, so that a port stays free until its server takes it, and while a killed one is started again.
var ports = portRange{first: 20000, count: 10000, file: filepath.Join(os.TempDir(), fmt.Sprintf("eventworker-test-ports-%d", os.Getuid()))}

// freePort takes a port for the life of this process.
func freePort() (int, error) { return ports.take() }

// portRange hands each port out once to all processes of the user that run at one time. Each byte of the file
// stands for the port of that number and is locked by the process that has it, so that the end of a process,
// however it comes, gives its ports back.
type portRange struct {
	first, count int
	file         string

	mu    sync.Mutex
	locks *os.File     // never closed: that would give up the locks
	taken map[int]bool // by this process, which its own locks do not keep out
}

func (r *portRange) take() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locks == nil {
		file, err := os.OpenFile(r.file, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return 0, fmt.Errorf("the list of ports that tests have taken: %w", err)
		}
		r.locks, r.taken = file, make(map[int]bool)
	}
	for i, from := 0, rand.IntN(r.count); i < r.count; i++ {
		port := r.first + (from+i)%r.count
		if r.taken[port] {
			continue
		}
		mine, err := r.lock(port, unix.F_WRLCK)
		if err != nil {
			return 0, fmt.Errorf("lock port %d in %s: %w", port, r.file, err)
		}
		if !mine {
			continue
		}
		// Nobody but its owner looks at a port, not even for a moment: that would keep a server from it.
		if l, err := net.Listen("tcp", address(port)); err == nil {
			r.taken[port] = true
			return port, l.Close()
		}
		if _, err := r.lock(port, unix.F_UNLCK); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// lock locks or unlocks a port, or says that another process has it.
func (r *portRange) lock(port int, how int16) (done bool, err error) {
	err = unix.FcntlFlock(r.locks.Fd(), unix.F_SETLK, &unix.Flock_t{Type: how, Start: int64(port), Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
