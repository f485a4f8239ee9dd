package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end before it is killed.
const stopTimeout = 30 * time.Second

// A process is one that this program started, and ends.
type process struct {
	cmd  *exec.Cmd
	out  *bufio.Reader // its standard output, of roles
	logs string        // file with its standard error
	done chan struct{} // closed once it has ended
	err  error         // how; read after done
}

// startRole starts this program again in one of its roles and reads the first line it prints. The
// role ends when its standard input does, so also when this process dies.
func startRole(ctx context.Context, dir, role string, args ...string) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self, append([]string{role}, args...)...)
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	p, err := start(cmd, dir, role)
	if err != nil {
		return nil, "", err
	}
	p.out = bufio.NewReader(out)
	line, err := p.out.ReadString('\n')
	if err != nil {
		_ = p.stop()
		return nil, "", fmt.Errorf("start the %s: %w\n%s", role, err, p.tail())
	}
	return p, strings.TrimSpace(line), ctx.Err()
}

// start starts a process whose standard error goes to a file in dir.
func start(cmd *exec.Cmd, dir, name string) (*process, error) {
	logs, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer logs.Close() // the process has its own copy
	cmd.Stderr = logs
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	p := &process{cmd: cmd, logs: logs.Name(), done: make(chan struct{})}
	go func() {
		// Not Wait: it would close the pipe that out is read from.
		state, err := cmd.Process.Wait()
		if err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		p.err = err
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end, waits, and kills it if it does not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("process %d did not end within %v and was killed", p.pid(), stopTimeout)
	}
}

// tail is the end of what the process wrote on its standard error.
func (p *process) tail() []byte {
	const enough = 2048
	text, err := os.ReadFile(p.logs)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text[max(0, len(text)-enough):])
}

// untilStopped is a context that ends with the standard input of a role, or with a signal to it.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}
