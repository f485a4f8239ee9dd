// Package servers starts and stops real servers for tests, Apache Kafka and Redis, on free ports of
// 127.0.0.1 with data in a temporary folder.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// addressPatience is how long an address that is in use is waited for: something else may have it for a moment.
const addressPatience = 10 * time.Second

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
	from int64  // where in the file: what stands before is an earlier life's

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
	said, err := file.Stat()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, logs: logs, from: said.Size(), done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// launch starts the process of a server and returns when check gives no error. The address of a server that is
// started again may be in use for a moment: that is tried again for so long.
func launch(ctx context.Context, patience time.Duration, command func() *exec.Cmd, logs string, check func(context.Context) error) (*process, error) {
	for began := time.Now(); ; {
		p, err := start(command(), logs)
		if err != nil {
			return nil, err
		}
		if err = p.ready(ctx, check); err == nil {
			return p, nil
		}
		p.kill()
		if !p.addressInUse() || time.Since(began) > patience {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, err
		case <-time.After(pollInterval):
		}
	}
}

// addressInUse says whether the process could not have its address, in the words of the system.
func (p *process) addressInUse() bool {
	return bytes.Contains(bytes.ToLower(p.said()), []byte("address already in use"))
}

// ready polls until check gives no error. It ends early when the process does.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil && p.runs() { // else another server answers at its address
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

func (p *process) runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

var errEnded = errors.New("the server ended")

func (p *process) tail() []byte { return bytes.TrimSpace(tail(p.said())) }

// said is what the process has written.
func (p *process) said() []byte {
	out, err := os.ReadFile(p.logs)
	if err != nil {
		return []byte(err.Error())
	}
	return out[min(p.from, int64(len(out))):]
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

// tempDir makes the folder of a server's data and logs.
func tempDir(name string) (string, error) {
	dir, err := os.MkdirTemp("", "eventworker-"+name+"-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
