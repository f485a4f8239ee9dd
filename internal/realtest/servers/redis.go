package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// InstallRedis makes sure that redis-server is there. As root on a system with apt-get it installs it,
// without starting the system's own server.
func InstallRedis(ctx context.Context) error {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errors.New("redis-server is missing: install Redis 7 (Debian: apt-get install redis-server)")
	}
	const install = "apt-get install -y --no-install-recommends redis-server"
	for _, command := range []string{install, "apt-get update && " + install} {
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		// RUNLEVEL=1 keeps the package from starting a server at the system's port.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if command != install {
			return fmt.Errorf("install redis-server: %w\n%s", err, tail(out))
		}
	}
	return nil
}

// Redis is a Redis server without persistence.
type Redis struct {
	// Addr is its host:port.
	Addr string

	dir     string
	args    []string
	tls     *tls.Config // nil: plain
	process *process
}

// StartRedis starts a server and returns when it answers. args are added to its command line. The
// caller ends it with Close.
func StartRedis(ctx context.Context, args ...string) (*Redis, error) {
	if err := InstallRedis(ctx); err != nil {
		return nil, err
	}
	const tries = 3 // another process may take the port first
	for try := 1; ; try++ {
		r, err := startRedis(ctx, args)
		if err == nil || try == tries || !errors.Is(err, errEnded) {
			return r, err
		}
	}
}

func startRedis(ctx context.Context, args []string) (*Redis, error) {
	dir, err := tempDir("redis")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: address(port), dir: dir}
	r.args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Start starts the server again after Stop or Kill, at the same address, and returns when it answers.
func (r *Redis) Start(ctx context.Context) (err error) {
	command := func() *exec.Cmd {
		return exec.CommandContext(context.WithoutCancel(ctx), "redis-server", r.args...) // it outlives ctx, which only bounds the start
	}
	if r.process, err = launch(ctx, addressPatience, command, filepath.Join(r.dir, "redis.log"), r.answers); err != nil {
		return fmt.Errorf("start Redis at %s: %w", r.Addr, err)
	}
	return nil
}

func (r *Redis) answers(ctx context.Context) error {
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{Timeout: time.Second}
	if r.tls != nil {
		dialer = &tls.Dialer{Config: r.tls}
	}
	conn, err := dialer.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") {
		return fmt.Errorf("it answers %q", strings.TrimSpace(line))
	}
	return nil
}

// PID is the process id of the server that runs.
func (r *Redis) PID() int { return r.process.cmd.Process.Pid }

// Stop ends the server as an operator would.
func (r *Redis) Stop() error {
	if r.process == nil {
		return nil
	}
	return r.process.stop()
}

// Kill ends the server as a crash would.
func (r *Redis) Kill() {
	if r.process != nil {
		r.process.kill()
	}
}

// Close ends the server and removes its folder.
func (r *Redis) Close() error {
	return errors.Join(r.Stop(), os.RemoveAll(r.dir))
}
