//go:build unix

// Command real-servers starts Apache Kafka and Redis for tests, on free ports of 127.0.0.1, and stops
// them again; nothing of them stays behind.
//
//	go run ./scripts/real-servers -- go test ./internal/realtest/...
//
// runs a command with their addresses in its environment and ends with its exit status. Without a
// command it prints the environment and waits for Ctrl-C:
//
//	export EVENTWORKER_TEST_KAFKA=127.0.0.1:21234
//	export EVENTWORKER_TEST_REDIS=127.0.0.1:24321
//
// It needs Java 17 and Maven for Kafka, whose jars it keeps in the user's cache folder, and
// redis-server, which it installs where it may.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"eventworker/internal/realtest"
	"eventworker/internal/realtest/servers"
)

// The servers die with the thread that started them (see servers.ownGroup), so that must be one that
// lives as long as the process.
func init() { runtime.LockOSThread() }

type options struct {
	kafka, redis, prepare bool
	broker                servers.KafkaOptions
	command               []string
}

func main() {
	o := parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go watchParent(cancel)
	status, err := run(ctx, o)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "real-servers:", err)
	}
	os.Exit(status)
}

func parse() options {
	o := options{broker: servers.KafkaOptions{Properties: map[string]string{}}}
	flag.BoolVar(&o.kafka, "kafka", true, "start Apache Kafka")
	flag.BoolVar(&o.redis, "redis", true, "start Redis")
	flag.BoolVar(&o.prepare, "prepare", false, "only fetch and install what the servers need")
	flag.IntVar(&o.broker.Partitions, "partitions", 0, "partitions of a topic that is created without a number (default 4)")
	flag.IntVar(&o.broker.MessageMaxBytes, "message-max-bytes", 0, "message.max.bytes of the broker (default Kafka's)")
	flag.Func("kafka-property", "further line of server.properties, `NAME=VALUE`; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want NAME=VALUE")
		}
		o.broker.Properties[name] = value
		return nil
	})
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "Usage: real-servers [flags] [-- command arguments…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.command = flag.Args()
	return o
}

// watchParent ends us with our parent: go run does not pass on a SIGTERM.
func watchParent(cancel context.CancelFunc) {
	parent := os.Getppid()
	for parent != 1 && os.Getppid() == parent {
		time.Sleep(time.Second)
	}
	if parent != 1 {
		cancel()
	}
}

func run(ctx context.Context, o options) (status int, err error) {
	if o.prepare {
		if err := prepare(ctx, o); err != nil {
			return 1, err
		}
		return 0, nil
	}
	var env []string
	defer func() {
		if err != nil && status == 0 {
			status = 1
		}
	}()
	if o.kafka {
		k, e := servers.StartKafka(ctx, o.broker)
		if e != nil {
			return 1, e
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		env = append(env, realtest.EnvKafka+"="+k.Addr)
	}
	if o.redis {
		r, e := servers.StartRedis(ctx)
		if e != nil {
			return 1, e
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		env = append(env, realtest.EnvRedis+"="+r.Addr)
	}
	if len(o.command) == 0 {
		for _, line := range env {
			fmt.Println("export", line)
		}
		fmt.Fprintln(os.Stderr, "The servers run until Ctrl-C.")
		<-ctx.Done()
		return 0, nil
	}
	return command(ctx, o.command, env)
}

func prepare(ctx context.Context, o options) error {
	if o.kafka {
		jars, err := servers.KafkaJars(ctx)
		if err != nil {
			return err
		}
		fmt.Println("Kafka's jars:", jars)
	}
	if o.redis {
		return servers.InstallRedis(ctx)
	}
	return nil
}

// command runs a program in a process group of its own, so that all it started ends with it.
func command(ctx context.Context, args, env []string) (status int, err error) {
	const grace = 10 * time.Second
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err = cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what of the group did not end
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		return 130, errors.New("interrupted")
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	default:
		return 1, err
	}
}
