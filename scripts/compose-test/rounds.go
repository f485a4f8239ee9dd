//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/storefront"
)

// The messages of each round. Each has a seed of its own, so that no order is a copy of another.
const (
	firstCount = 3000
	killCount  = 2000
	killRate   = 400
	scaleCount = 2000
)

const (
	topic   = "recommendation-events"
	settles = 2 * time.Minute // how long what was sent may take to settle
)

// firstRound waits for the simulator that came up with the stack and checks what came of its log, by
// the simulator's own truth too.
func (t *test) firstRound(ctx context.Context) error {
	if err := t.ended(ctx, "simulator"); err != nil {
		return err
	}
	t.traffic += firstCount
	if err := t.settled(ctx, "worker"); err != nil {
		return err
	}
	if err := t.checkOwnTruth(ctx); err != nil {
		return err
	}
	return t.checkTruth(ctx, nil)
}

// checkOwnTruth holds what arrived against the file that the simulator left in its volume.
func (t *test) checkOwnTruth(ctx context.Context) error {
	id, err := t.container(ctx, "simulator")
	if err != nil {
		return err
	}
	path := t.path("truth.jsonl")
	if _, err := t.output(ctx, "docker", "cp", id+":/var/lib/eventworker/truth.jsonl", path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	truth, err := storefront.ReadTruth(file)
	if err != nil {
		return err
	}
	arrived, err := t.arrived(ctx, bySimulator)
	if err != nil {
		return err
	}
	return verdict("the simulator's truth", truth.Compare(*arrived, 5))
}

// killRound kills the worker's container in the middle of traffic and brings it up again.
func (t *test) killRound(ctx context.Context) error {
	// Nothing comes late: of live traffic the clock decides what is missed, and no truth knows when.
	shop, err := t.simulate(ctx, killCount, "--rate="+strconv.Itoa(killRate), "--late=0")
	if err != nil {
		return err
	}
	defer shop.stop()
	const some = killCount / 3
	if err := until(ctx, time.Minute, t.receivedAtLeast("worker", firstCount+some)); err != nil {
		return err
	}
	id, err := t.container(ctx, "worker")
	if err != nil {
		return err
	}
	if _, err := t.output(ctx, "docker", "kill", "-s", "KILL", id); err != nil {
		return err
	}
	group, err := t.group(ctx)
	if err != nil {
		return err
	}
	committed := int64(0)
	for _, p := range group.Partitions {
		committed += p.Committed
	}
	say("killed with %d of %d messages sent before committed", committed, endOf(group))
	if err := t.composed(ctx, "up", "-d", "worker"); err != nil {
		return err
	}
	if err := shop.wait(); err != nil {
		return err
	}
	if err := t.healthy(ctx, "worker"); err != nil {
		return err
	}
	if err := t.settled(ctx, "worker"); err != nil {
		return err
	}
	return t.checkTruth(ctx, group)
}

// scaleRound lets three workers share the partitions.
func (t *test) scaleRound(ctx context.Context) error {
	if err := t.composed(ctx, "--profile", "scale", "up", "-d", "worker", "worker-2", "worker-3"); err != nil {
		return err
	}
	for _, service := range []string{"worker-2", "worker-3"} {
		if err := t.healthy(ctx, service); err != nil {
			return err
		}
	}
	err := until(ctx, time.Minute, func(ctx context.Context) error {
		group, err := t.group(ctx)
		if err == nil && (group.State != "Stable" || len(group.Members) != 3) {
			err = fmt.Errorf("the group is %s with %d members", group.State, len(group.Members))
		}
		return err
	})
	if err != nil {
		return err
	}
	shop, err := t.simulate(ctx, scaleCount)
	if err != nil {
		return err
	}
	defer shop.stop()
	if err := shop.wait(); err != nil {
		return err
	}
	if err := t.settled(ctx, "worker", "worker-2", "worker-3"); err != nil {
		return err
	}
	if err := t.checkTruth(ctx, nil); err != nil {
		return err
	}
	return t.composed(ctx, "--profile", "scale", "stop", "worker-2", "worker-3")
}

// traffic is a simulator in a container of its own.
type traffic struct {
	cmd   *exec.Cmd
	ended chan error
}

// simulate starts further traffic. Its times end now; what was sent before lies at least a minute back.
func (t *test) simulate(ctx context.Context, count int, flags ...string) (*traffic, error) {
	t.traffic += uint64(count)
	t.seed++
	args := append(slices.Clone(t.compose[1:]), "run", "--rm", "-T", "--no-deps", "simulator", "simulate", "--brokers=kafka:29092",
		"--count="+strconv.Itoa(count), "--seed="+strconv.Itoa(100+t.seed), "--poison=0.03")
	cmd := t.command(ctx, t.compose[0], append(args, flags...)...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &traffic{cmd: cmd, ended: make(chan error, 1)}
	go func() {
		err := cmd.Wait()
		if err != nil {
			err = failed(ctx, t.compose[0], cmd.Args[1:], err, []byte(said.String()))
		}
		s.ended <- err
	}()
	return s, nil
}

func (s *traffic) wait() error {
	err := <-s.ended
	s.ended <- err // for stop
	return err
}

// stop ends it, if it has not ended.
func (s *traffic) stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Cancel()
	}
	<-s.ended
}

// group is the consumer group as the broker sees it.
func (t *test) group(ctx context.Context) (*consume.Group, error) {
	admin, err := consume.NewAdmin(consume.Config{Brokers: []string{t.address("KAFKA_PORT")}, ClientID: "compose-test", Group: "eventworker", Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return admin.Group(ctx)
}

func endOf(g *consume.Group) (end int64) {
	for _, p := range g.Partitions {
		end += p.End
	}
	return end
}

// settled waits until the group has committed everything that was sent, and until then holds the
// equation of every worker at each scrape.
func (t *test) settled(ctx context.Context, workers ...string) error {
	scrapes := 0
	err := until(ctx, settles, func(ctx context.Context) error {
		for _, w := range workers {
			m, err := t.scrape(ctx, w)
			if err != nil {
				return err
			}
			scrapes++
			if err := m.equation(); err != nil {
				return &wrong{fmt.Errorf("%s: %w", w, err)}
			}
		}
		return t.committed(ctx)
	})
	var w *wrong
	if errors.As(err, &w) {
		return w.error
	}
	if err == nil {
		say("settled: all of %d messages are committed; the equation held in %d scrapes", t.traffic, scrapes)
	}
	return err
}

// wrong is an error that no waiting heals.
type wrong struct{ error }

// committed says whether all that was sent is there and committed.
func (t *test) committed(ctx context.Context) error {
	group, err := t.group(ctx)
	if err != nil {
		return err
	}
	if end := endOf(group); uint64(end) != t.traffic {
		return fmt.Errorf("topic %s holds %d messages, %d were sent", topic, end, t.traffic)
	}
	for _, p := range group.Partitions {
		if p.Committed != p.End && p.End > 0 {
			return fmt.Errorf("partition %d is committed up to %d of %d", p.Partition, p.Committed, p.End)
		}
	}
	return nil
}
