package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What the contestants send to the sink, which does not look at it.
const (
	appID        = "BENCHAPP01"
	apiKey       = "bench-search-only-key"
	defaultIndex = "products"
)

// A contestant reads a log to its end and delivers what comes of it.
type contestant struct {
	name  string
	pprof bool // its metrics' address has profiles, too
	start func(ctx context.Context, e *env, l *log, group, metrics string) (*process, error)
}

// withRedis is the contestant that needs a Redis.
const withRedis = "worker-redis"

// contestants are the ways to do the work, in the order they take turns.
func contestants(names []string) (list []contestant, err error) {
	all := []contestant{
		{"worker-disk", true, workerWith("disk", "32MiB")},
		{"worker-memory", true, workerWith("memory", "2GiB")}, // all the history of a run
		{withRedis, true, workerWith("redis", "32MiB")},
		{"loop", false, startLoop},
	}
	for _, name := range names {
		found := false
		for _, c := range all {
			if c.name == name {
				list, found = append(list, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-contestants: there is no %q: worker-disk, worker-memory, worker-redis, loop", name)
		}
	}
	return list, nil
}

// workerWith starts the worker as it comes, but for its store.
func workerWith(kind, memory string) func(context.Context, *env, *log, string, string) (*process, error) {
	return func(_ context.Context, e *env, l *log, group, metrics string) (*process, error) {
		dir, err := os.MkdirTemp(e.dir, "worker-")
		if err != nil {
			return nil, err
		}
		cfg := map[string]any{
			"kafka": map[string]any{"brokers": []string{e.broker.addr}, "group": group, "topics": []string{l.Topic},
				"dead_letter_topic": l.deadLetters(), "replay_topic": l.replays()},
			"insights": map[string]any{"endpoint": e.url, "applications": map[string]any{
				"default": map[string]any{"app_id": appID, "api_key": apiKey, "default_index": defaultIndex}}},
			"store": map[string]any{"kind": kind, "path": filepath.Join(dir, "queries"), "memory": memory,
				"redis": map[string]any{"addresses": []string{e.redisAddress()}, "key_prefix": group + ":"}},
			"admin": map[string]any{"listen": metrics, "pprof": e.profiles != ""},
		}
		text, err := json.Marshal(cfg) // YAML, too
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "eventworker.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
		cmd := exec.Command(e.worker, "run", "--config", file)
		for _, set := range e.set {
			cmd.Args = append(cmd.Args, "--set", set)
		}
		cmd.Dir, cmd.Env = dir, e.environment()
		return start(cmd, e.dir, "worker")
	}
}

// redisAddress is that of the Redis of the run; where there is none, of one that is not asked.
func (e *env) redisAddress() string {
	if e.redis == nil {
		return "127.0.0.1:6379"
	}
	return e.redis.Addr
}

func startLoop(ctx context.Context, e *env, l *log, group, metrics string) (*process, error) {
	if e.certificate != "" {
		os.Setenv("SSL_CERT_FILE", e.certificate)
	}
	p, _, err := startRole(ctx, e.dir, "loop", "-broker", e.broker.addr, "-topic", l.Topic, "-group", group, "-url", e.url, "-metrics", metrics)
	return p, err
}

// environment is that of contestants: they trust the sink's certificate.
func (e *env) environment() []string {
	list := os.Environ()
	if e.certificate != "" {
		list = append(list, "SSL_CERT_FILE="+e.certificate)
	}
	return list
}

// buildWorker builds the worker as make build does.
func buildWorker(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "eventworker").Output()
	if err != nil {
		return "", fmt.Errorf("find the worker's module (call this program in bench/, or name a binary with -worker): %w", err)
	}
	file := filepath.Join(dir, "eventworker")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./cmd/eventworker")
	cmd.Dir, cmd.Env = strings.TrimSpace(string(root)), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker: %w\n%s", err, out)
	}
	return file, nil
}

// freeAddress is one of 127.0.0.1 that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func groupOf(c contestant, round int) string {
	return fmt.Sprintf("bench-%s-%d-%d", c.name, round, time.Now().UnixMilli())
}
