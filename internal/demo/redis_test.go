package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/realtest/servers"
)

// onRedis are options of a run whose store is in Redis.
func onRedis(t *testing.T, seed uint64, addresses ...string) Options {
	o := options(t, seed, false)
	change := o.Change
	o.Change = func(c *config.Config) {
		change(c)
		c.Store.Kind = "redis"
		c.Store.Redis.Addresses, c.Store.Redis.KeyPrefix = addresses, "demo-"+rand.Text()[:8]+":"
		c.Store.Redis.Timeout, c.Store.Redis.DialTimeout = 500*time.Millisecond, 500*time.Millisecond
	}
	return o
}

// halfWay calls do once, when half of the messages are settled.
func halfWay(o *Options, do func()) {
	done := false
	o.Progress = func(p Progress) {
		if !done && p.Settled > p.Total/2 {
			done = true
			do()
		}
	}
}

func holds(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("seed %d:\n%s", o.Seed, text.String())
	}
	return r
}

// With the store in Redis everything arrives as the contract says: on one node, on a cluster of three, with a
// Redis that is killed half-way and comes back empty, and with one that hangs for a while.
func TestEverythingArrivesWithTheStoreInRedis(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		t.Parallel()
		holds(t, onRedis(t, 21, realtest.Redis(t)))
	})
	t.Run("three masters", func(t *testing.T) {
		t.Parallel()
		holds(t, onRedis(t, 22, realtest.OwnRedisCluster(t, 3, false).Addrs()...))
	})
	t.Run("restarted empty", func(t *testing.T) {
		t.Parallel()
		server := realtest.OwnRedis(t)
		o := onRedis(t, 23, server.Addr)
		o.Messages = 20_000
		halfWay(&o, func() {
			server.Kill()
			restart(t, server)
		})
		holds(t, o)
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		server := realtest.OwnRedis(t)
		o := onRedis(t, 24, server.Addr)
		o.Messages = 20_000
		halfWay(&o, func() {
			if err := server.Pause(); err != nil {
				t.Error(err)
			}
			time.AfterFunc(2*time.Second, func() {
				if err := server.Resume(); err != nil {
					t.Error(err)
				}
			})
		})
		if r := holds(t, o); r.Seconds < 2 {
			t.Error("the run went on while Redis hung")
		}
	})
}

// Generations that end in good order while the API fails now and then, without taking anything, repeat nothing:
// no message is torn into what was taken and what was given up.
func TestNothingIsRepeatedWhenAGenerationEndsWhileTheAPIFails(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed+101), func(t *testing.T) {
			t.Parallel()
			server := realtest.OwnRedis(t)
			o := onRedis(t, seed+101, server.Addr)
			o.Messages = 6000
			change := o.Change
			o.Change = func(c *config.Config) {
				change(c)
				c.Batch.MaxEvents, c.Delivery.MaxInFlight = 200, 8
				c.Delivery.Backoff.InitialInterval, c.Delivery.Backoff.MaxInterval = 50*time.Millisecond, 200*time.Millisecond
			}
			o.Script = func(s *insightsfake.Faults) {
				hour := insightsfake.Duration(time.Hour)
				s.Faults = append(s.Faults,
					insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(10 * time.Millisecond), Jitter: insightsfake.Duration(8 * time.Millisecond), For: hour},
					insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Probability: 0.15, For: hour},
					insightsfake.Fault{Kind: insightsfake.Status, Status: 408, Probability: 0.1, For: hour})
			}
			next := uint64(1000)
			o.Progress = func(p Progress) {
				if p.Settled > next && next < 5000 {
					next += 1500
					server.Kill()
					restart(t, server)
				}
			}
			holds(t, o)
		})
	}
}

func restart(t *testing.T, server *servers.Redis) {
	if err := server.Start(context.Background()); err != nil {
		t.Error(fmt.Errorf("restart: %w", err))
	}
}
