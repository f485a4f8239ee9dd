//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// prepare starts a daemon that has every image the compose file names. The daemon ends with end, which
// may always be called.
func (t *test) prepare(ctx context.Context) (end func(), err error) {
	end = func() {}
	if socket := runningDaemon(ctx, os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"); socket != "" && !t.beside {
		return end, fmt.Errorf("a Docker daemon runs at %s, whose containers would lose their rules of iptables to a second one: use it with -official, or say -beside", socket)
	}
	if err := step("tools", func() error { return t.installTools(ctx) }); err != nil {
		return end, err
	}
	if err := step("downloads", func() error { return t.download(ctx) }); err != nil {
		return end, err
	}
	err = step("a Docker daemon of our own", func() error { end, err = t.startDaemon(ctx); return err })
	if err != nil {
		return end, err
	}
	return end, step("stand-ins under the names of the official images", func() error { return t.buildStandIns(ctx) })
}

// tools by the Debian package that has them.
var tools = map[string]string{
	"dockerd": "docker.io", "docker": "docker.io", "docker-compose": "docker-compose", "iptables": "iptables",
	"mmdebstrap": "mmdebstrap", "curl": "curl",
}

func (t *test) installTools(ctx context.Context) error {
	missing := map[string]bool{}
	for program, pkg := range tools {
		if _, err := exec.LookPath(program); err != nil {
			missing[pkg] = true
		}
	}
	if os.Geteuid() != 0 {
		return errors.New("a Docker daemon of our own needs root; with a daemon that runs: -official")
	}
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for pkg := range missing {
		names = append(names, pkg)
	}
	say("installing %s", strings.Join(names, ", "))
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install %s", strings.Join(names, ", "))
	}
	return t.aptGet(ctx, append([]string{"install", "-y", "--no-install-recommends"}, names...)...)
}

// aptGet runs apt-get, and once more after an update if it fails. Another apt-get is waited for. No
// package starts a service.
func (t *test) aptGet(ctx context.Context, args ...string) error {
	args = append([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args...)
	env := t.env
	defer func() { t.env = env }()
	t.env = append(t.env, "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	if t.quietly(ctx, nil, "apt-get", args...) == nil {
		return nil
	}
	if err := t.quietly(ctx, nil, "apt-get", "-q", "update"); err != nil {
		return err
	}
	return t.quietly(ctx, nil, "apt-get", args...)
}

// startDaemon starts dockerd with everything of it in our folder and waits until it answers.
func (t *test) startDaemon(ctx context.Context) (end func(), err error) {
	file, err := os.Create(filepath.Join(t.dir, "dockerd.log"))
	if err != nil {
		return func() {}, err
	}
	defer file.Close() // the daemon has its own copy
	daemon := exec.Command("dockerd", "--data-root", t.path("data"), "--exec-root", t.path("exec"), "--pidfile", t.path("pid"),
		"-H", "unix://"+t.path("docker.sock"), "--log-level", "warn")
	daemon.Stdout, daemon.Stderr = file, file
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := daemon.Start(); err != nil {
		return func() {}, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = daemon.Wait()
	}()
	end = func() { t.endDaemon(daemon.Process, ended) }
	return end, until(ctx, func(ctx context.Context) error {
		select {
		case <-ended:
			return errors.New("dockerd ended:\n" + t.daemonLog())
		default:
		}
		_, err := t.output(ctx, "docker", "version", "--format", "{{.Server.Version}}")
		return err
	})
}

func (t *test) path(name string) string { return filepath.Join(t.dir, name) }

func (t *test) daemonLog() string {
	log, _ := os.ReadFile(t.path("dockerd.log")) // a missing log says enough
	return string(log[max(0, len(log)-4000):])
}

// endDaemon stops the daemon that our pid file names, which takes its containers along.
func (t *test) endDaemon(daemon *os.Process, ended <-chan struct{}) {
	if pid, err := os.ReadFile(t.path("pid")); err == nil && strings.TrimSpace(string(pid)) != strconv.Itoa(daemon.Pid) {
		fmt.Printf("dockerd's pid file names %s, not %d\n", pid, daemon.Pid)
	}
	_ = daemon.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		fmt.Println("dockerd does not end and is killed:\n" + t.daemonLog())
		_ = daemon.Kill()
		<-ended
	}
}
