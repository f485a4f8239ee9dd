package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that runs beside us.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has ended
}

func startProcess(ctx context.Context, log, name string, args ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &process{name: filepath.Base(name), cmd: exec.CommandContext(ctx, name, args...), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is told by its log
	}()
	return p, nil
}

// end stops the process, politely at first.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// wait waits until a URL answers 200; it tells the log's end if that does not happen.
func (p *process) wait(ctx context.Context, url string, most time.Duration) error {
	err := within(ctx, most, func() error {
		select {
		case <-p.ended:
			return errEnded
		default:
		}
		_, err := get(ctx, url)
		return err
	})
	if err == nil {
		return nil
	}
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return readErr
	}
	return fmt.Errorf("%s does not get ready: %w\n%s", p.name, err, log[max(0, len(log)-4000):])
}

// errEnded says that waiting is useless.
var errEnded = fmt.Errorf("it has ended")

// within tries until it works or the time is up.
func within(ctx context.Context, most time.Duration, try func() error) error {
	deadline := time.After(most)
	for {
		err := try()
		if err == nil || err == errEnded { //nolint:errorlint // it is never wrapped
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-deadline:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// client asks servers on loopback.
var client = &http.Client{Timeout: 20 * time.Second}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(body))
	}
	return string(body), nil
}

func getJSON(ctx context.Context, url string, into any) error {
	text, err := get(ctx, url)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// freeAddress is one on loopback that nobody listens on at this moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
