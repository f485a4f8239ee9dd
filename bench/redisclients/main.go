// Command redisclients measures what client libraries for Redis cost the store: the exchanges that
// internal/querystore makes, with members of the sizes of the mix, on a Redis that it starts and ends:
//
//	cd bench && go run ./redisclients
//
// docs/performance.md says how to read it. The clients take turns on the same keys.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"eventworker/internal/realtest/servers"
)

type options struct {
	chunks, rounds, tasks, history, users int
}

func main() {
	var o options
	flag.IntVar(&o.chunks, "chunks", 1500, "chunks of 512 messages in a turn, of all tasks together")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each client")
	flag.IntVar(&o.tasks, "tasks", 1, "tasks that have exchanges at the same time")
	flag.IntVar(&o.history, "history", 8, "records of each set at the start")
	flag.IntVar(&o.users, "users", 20_000, "users")
	flag.Parse()
	runtime.LockOSThread() // the server dies with this thread
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, o, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "redisclients:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options, out io.Writer) (err error) {
	if o.chunks < 1 || o.rounds < 1 || o.tasks < 1 || o.history < 1 || o.users < 1 {
		return errors.New("all numbers must be 1 or more")
	}
	server, err := servers.StartRedis(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	works := make([]*player, o.tasks)
	for i := range works {
		works[i] = newPlayer(uint64(i)+2, o.users)
	}
	if err := fill(ctx, server.Addr, o); err != nil {
		return err
	}
	results := make(map[string][]result)
	for round := range o.rounds {
		for _, l := range turns(round) {
			r, err := measure(ctx, l, server.Addr, o.chunks, works)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-30s %5.2f µs a message\n", round+1, l.name, r.cpu)
			results[l.name] = append(results[l.name], r)
		}
	}
	fmt.Fprintf(out, "%d cores, %d tasks, %d rounds, medians; a chunk: %d messages\n\n", runtime.NumCPU(), o.tasks, o.rounds, messages)
	return printTable(out, results)
}

// turns is the order in a round: every second one is the other way round.
func turns(round int) []library {
	list := slices.Clone(libraries)
	if round%2 == 1 {
		slices.Reverse(list)
	}
	return list
}

// fill gives every set its history.
func fill(ctx context.Context, address string, o options) error {
	c, err := openGoRedis(ctx, address)
	if err != nil {
		return err
	}
	w := newWork(1, o.users)
	for range o.history {
		if err = c.write(ctx, w.history()); err != nil {
			break
		}
	}
	return errors.Join(err, c.close())
}

// player plays chunks over and over. What it writes after the first time is there already, so that sets stay as they are.
type player struct {
	chunks []chunk
	next   int
}

// drawn is how many chunks a player has.
const drawn = 64

func newPlayer(seed uint64, users int) *player {
	p, w := &player{}, newWork(seed, users)
	for range drawn {
		p.chunks = append(p.chunks, w.chunk())
	}
	return p
}

// play has the exchanges of some chunks and says how many records it read.
func (p *player) play(ctx context.Context, c client, chunks int) (members int, err error) {
	for range chunks {
		chunk := &p.chunks[p.next%drawn]
		p.next++
		m, _, err := c.read(ctx, chunk.asked)
		if err == nil {
			err = c.write(ctx, chunk.written)
		}
		if err != nil {
			return 0, err
		}
		members += m
	}
	return members, nil
}

// result is what a turn cost.
type result struct {
	cpu         float64 // of this process, µs a message
	allocations float64 // a message
	allocated   float64 // bytes a message
	exchanges   float64 // a second
	members     float64 // read, a message
}

// measure lets one client play chunks, some for each task.
func measure(ctx context.Context, l library, address string, chunks int, players []*player) (r result, err error) {
	shared, err := l.open(ctx, address)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, shared.close()) }()
	each := max(1, chunks/len(players))
	clients := make([]client, len(players))
	for i, p := range players {
		clients[i] = shared.another()
		if _, err := p.play(ctx, clients[i], drawn); err != nil {
			return r, err
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began, worked := time.Now(), cpu()
	var all errgroup.Group
	var members atomic.Int64
	for i, p := range players {
		all.Go(func() error {
			m, err := p.play(ctx, clients[i], each)
			members.Add(int64(m))
			return err
		})
	}
	err = all.Wait()
	took, spent := time.Since(began), cpu()-worked
	runtime.ReadMemStats(&after)
	played := float64(each * len(players))
	n := played * messages
	r.cpu, r.exchanges, r.members = float64(spent.Nanoseconds())/1e3/n, 2*played/took.Seconds(), float64(members.Load())/n
	r.allocations, r.allocated = float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
	return r, err
}

// printTable prints the medians.
func printTable(out io.Writer, results map[string][]result) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "client\tCPU, µs/message\tallocations/message\tbytes/message\texchanges/s\trecords read/message")
	for _, l := range libraries {
		of := func(f func(r result) float64) float64 {
			var values []float64
			for _, r := range results[l.name] {
				values = append(values, f(r))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.0f\t%.0f\t%.1f\n", l.name,
			of(func(r result) float64 { return r.cpu }), of(func(r result) float64 { return r.allocations }), of(func(r result) float64 { return r.allocated }),
			of(func(r result) float64 { return r.exchanges }), of(func(r result) float64 { return r.members }))
	}
	return t.Flush()
}
