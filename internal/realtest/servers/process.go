// Package servers starts and stops real servers for tests, Apache Kafka and Redis, on free ports of
// 127.0.0.1 with data in a temporary folder.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 90 * time.Second // generous: the machine may be busy with everything else
	stopTimeout  = 20 * time.Second // then the process is killed
	pollInterval = 50 * time.Millisecond
)

// process is a server process with a group of its own, so that a terminal's Ctrl-C reaches it through
// us, in order.
type process struct {
	cmd  *exec.Cmd
	logs string // file with what it writes

	once sync.Once
	done chan struct{} // closed once it has ended
	err  error         // how it ended; read after done
}

func start(cmd *exec.Cmd, logs string) (*process, error) {
	file, err := os.OpenFile(logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the process has its own copy
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, logs: logs, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ready polls until check gives no error. It ends early when the process does.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once: %w; its log says:\n%s", errors.Join(p.err, errEnded), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w; its log says:\n%s", err, p.tail())
		case <-time.After(pollInterval):
		}
	}
}

var errEnded = errors.New("the server ended")

func (p *process) tail() []byte {
	out, err := os.ReadFile(p.logs)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(tail(out))
}

// stop asks the process to end and waits; after stopTimeout it is killed. Stopping twice is harmless.
func (p *process) stop() error {
	p.once.Do(func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("process %d did not stop within %s and was killed", p.cmd.Process.Pid, stopTimeout)
	}
}

// kill ends the process as a crash would and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// freePort picks a port of 127.0.0.1 that nobody listens on, below those that the system hands out to
// outgoing connections, so that it stays free until the server takes it.
func freePort() (int, error) {
	const first, count, tries = 20000, 10000, 100
	for range tries {
		port := first + rand.IntN(count)
		l, err := net.Listen("tcp", address(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// tempDir makes the folder of a server's data and logs.
func tempDir(name string) (string, error) {
	dir, err := os.MkdirTemp("", "eventworker-"+name+"-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
