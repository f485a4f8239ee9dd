// Command bench measures the whole worker side by side, in one run, with the loop that most teams
// write by hand. A broker process holds the messages, a sink process stands for the Insights API
// and only counts events, and the contestants take turns on the same log:
//
//	cd bench && go run .
//
// docs/performance.md says what is measured and how to read it. It needs Linux, ends by itself, and
// ends only what it has started.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/realtest/servers"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch starts the role that the first argument names, or the benchmark.
func dispatch(ctx context.Context) error {
	if len(os.Args) > 1 {
		switch args := os.Args[2:]; os.Args[1] {
		case "broker":
			return runBroker(ctx)
		case "sink":
			return runSink(ctx, args)
		case "loop":
			return runLoop(ctx, args)
		}
	}
	runtime.LockOSThread() // see dieWithParent
	return bench(ctx, parse())
}

type options struct {
	logs, contestants []string
	messages, history int
	rounds            int
	broker            string
	compression       kgo.CompressionCodec
	latency           time.Duration
	https             bool
	output            string
	profiles          string
	worker            string
	set               []string
	timeout           time.Duration
	seed              uint64
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(), "snappy": kgo.SnappyCompression(), "gzip": kgo.GzipCompression(),
}

func parse() options {
	var o options
	logs := flag.String("logs", "ids,mix", "messages to measure with: ids carry queryIDs, mix needs the join")
	names := flag.String("contestants", "worker-disk,worker-memory,loop", "who takes turns")
	codec := flag.String("compression", "none", "of the messages: none, lz4, zstd, snappy, gzip")
	flag.IntVar(&o.messages, "messages", 1_000_000, "messages to measure, of each log")
	flag.IntVar(&o.history, "history", 0, "messages of the mix before those")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each contestant on each log")
	flag.StringVar(&o.broker, "broker", defaultBroker(), "kafka (Apache Kafka, started here: Java 17, Maven), kfake (embedded), or HOST:PORT")
	flag.DurationVar(&o.latency, "api-latency", 0, "how long the sink takes to answer")
	flag.BoolVar(&o.https, "https", false, "the sink speaks TLS")
	flag.StringVar(&o.output, "output", "table", "table or json")
	flag.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles of the worker")
	flag.StringVar(&o.worker, "worker", "", "binary of the worker; empty: it is built")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "of one run")
	flag.Uint64Var(&o.seed, "seed", 1, "of the messages")
	flag.Func("set", "setting of the worker, `KEY=VALUE`; may be repeated", func(s string) error { o.set = append(o.set, s); return nil })
	flag.Parse()
	o.logs, o.contestants = strings.Split(*logs, ","), strings.Split(*names, ",")
	var ok bool
	if o.compression, ok = codecs[*codec]; !ok || flag.NArg() > 0 || o.output != "table" && o.output != "json" || o.messages < 1000 || o.history < 0 || o.rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

// defaultBroker is the broker of the tests if there is one.
func defaultBroker() string {
	if addr := os.Getenv("EVENTWORKER_TEST_KAFKA"); addr != "" {
		return addr
	}
	return "kafka"
}

func bench(ctx context.Context, o options) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("CPU and memory of processes are read from /proc: this needs Linux")
	}
	list, err := contestants(o.contestants)
	if err != nil {
		return err
	}
	e := &env{worker: o.worker, set: o.set, profiles: o.profiles, timeout: o.timeout}
	if e.dir, err = os.MkdirTemp("", "eventworker-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if e.worker == "" {
		say("building the worker")
		if e.worker, err = buildWorker(ctx, e.dir); err != nil {
			return err
		}
	}
	say("starting broker and sink")
	if e.broker, err = startBroker(ctx, o.broker, e.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.broker.stop()) }()
	if err := e.startSink(ctx, o.latency, o.https); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.sink.stop()) }()
	if slices.Contains(o.contestants, withRedis) {
		if e.redis, err = servers.StartRedis(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.redis.Close()) }()
	}
	logs, results, err := e.measure(ctx, o, list)
	if err != nil {
		return err
	}
	if o.output == "json" {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(results)
	}
	fmt.Printf("%d cores, %d rounds, medians; broker and sink: CPU of these processes, µs a message\n\n", runtime.NumCPU(), o.rounds)
	return printTable(os.Stdout, logs, list, results)
}

// measure lets all contestants run on all logs, taking turns.
func (e *env) measure(ctx context.Context, o options, list []contestant) (logs []*log, results []*Result, err error) {
	defer func() {
		for _, l := range logs {
			if o.broker == e.broker.addr { // others go with their broker
				err = errors.Join(err, l.remove(context.WithoutCancel(ctx), e.broker.addr))
			}
		}
	}()
	for _, name := range o.logs {
		t, history, err := trafficOf(name, o)
		if err != nil {
			return logs, nil, err
		}
		say("filling %s with %d messages", name, t.all())
		l, err := fill(ctx, e.broker.addr, t, history, o.compression)
		if l != nil {
			logs = append(logs, l)
		}
		if err != nil {
			return logs, nil, err
		}
		rate, cpu, err := e.ceiling(ctx, l)
		if err != nil {
			return logs, nil, err
		}
		say("%s: the broker alone gives %.0f messages/s for %.2f µs a message of its CPU", name, rate, cpu)
		for round := range o.rounds {
			for _, c := range turns(list, round) {
				r, err := e.run(ctx, c, l, round)
				if err != nil {
					return logs, results, err
				}
				say("%s, round %d: %-14s %8.0f messages/s, %5.2f µs a message", name, round+1, c.name, r.MessagesPerSecond, r.CPU)
				results = append(results, r)
			}
		}
	}
	return logs, results, nil
}

// turns is the order in a round: each starts where the one before did not.
func turns(list []contestant, round int) []contestant {
	list = slices.Clone(list)
	if round%2 == 1 {
		slices.Reverse(list)
	}
	return list
}

func trafficOf(name string, o options) (t *traffic, history int, err error) {
	startAt := func(n int) int64 { return time.Now().UnixMilli() - int64(n) - 2*tailAhead }
	switch name {
	case "ids":
		return newIDs(o.seed, o.messages, startAt(o.messages)), 0, nil
	case "mix":
		n := o.history + o.messages
		return newMix(o.seed, n, startAt(n)), o.history, nil
	}
	return nil, 0, fmt.Errorf("-logs: there is no %q: ids, mix", name)
}

// say tells on standard error what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
