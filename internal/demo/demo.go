// Package demo runs everything in one process: an embedded broker that speaks Kafka's protocol, the
// strict fake of the Insights API, a simulated storefront and the worker with the disk store. It then
// holds what arrived against what had to arrive, message by message.
package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
	"eventworker/internal/worker"
)

// Options of a run.
type Options struct {
	// Messages, at most a few million: what arrived is kept in memory, about 60 bytes an event.
	Messages uint64
	Seed     uint64
	// Faults makes the fake API slow, limiting and failing for a while.
	Faults bool
	// Dir is an empty folder for the worker's store.
	Dir string
	Log *zap.Logger
	// Progress is told every 100 ms how far the run is; nil: nobody is.
	Progress func(Progress)
	// Script may change what goes wrong at the fake API.
	Script func(*insightsfake.Faults)
	// Change may change the worker's configuration before it starts.
	Change func(*config.Config)
}

// Progress is how far a run is, in messages.
type Progress struct {
	Total, Produced, Settled uint64
}

const (
	topic       = "recommendation-events"
	deadLetters = topic + ".dead-letter"
	replays     = topic + ".replay"
	partitions  = 6
	// explained is how many differences a report tells in full.
	explained = 10
	// patience is how long nothing may be settled before a run gives up.
	patience = time.Minute
)

// Run does it all and cleans up. The error is a failure of the run itself; what the run found is in
// the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic, deadLetters, replays))
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	defer cluster.Close()
	api, err := startAPI(&o)
	if err != nil {
		return nil, err
	}
	defer api.close()
	traffic := storefront.Config{Seed: o.Seed, Messages: o.Messages, Topic: topic, Partitions: partitions}
	generator, err := storefront.NewGenerator(traffic)
	if err != nil {
		return nil, err
	}
	cfg := configuration(cluster.ListenAddrs(), api.url, &o, generator.Config().Rules)
	w, err := worker.New(cfg, worker.Options{Log: o.Log})
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, worker: w, generator: generator, brokers: cluster.ListenAddrs(), group: cfg.Kafka.Group}
	if err := r.work(ctx); err != nil {
		return nil, err
	}
	return r.report(ctx, api)
}

// configuration is the worker's, with waits that suit a log that ends.
func configuration(brokers []string, url string, o *Options, rules storefront.Rules) *config.Config {
	cfg := config.Default()
	cfg.Kafka.Brokers = brokers
	cfg.Kafka.Topics = []string{topic}
	cfg.Kafka.DeadLetterTopic, cfg.Kafka.ReplayTopic = deadLetters, replays
	cfg.Insights.Endpoint = url
	cfg.Insights.Applications = make(map[string]config.Application)
	for name, a := range rules.Applications {
		cfg.Insights.Applications[name] = config.Application{AppID: appID, APIKey: apiKey, DefaultIndex: a.DefaultIndex, Indices: a.Indices}
	}
	cfg.Store.Path = filepath.Join(o.Dir, "queries")
	cfg.Join.Wait = 3 * time.Second
	cfg.Batch.Linger = 200 * time.Millisecond
	cfg.Admin.Listen = "127.0.0.1:0"
	if o.Change != nil {
		o.Change(cfg)
	}
	return cfg
}

// run is one run in progress.
type run struct {
	Options
	worker    *worker.Worker
	generator *storefront.Generator
	brokers   []string
	group     string

	truth    *storefront.Truth
	produced atomic.Uint64
	seconds  float64
}

// errDone is the cause with which a run stops that has all it wanted.
var errDone = errors.New("the run is done")

// work lets storefront and worker run until every message is settled, and stops both. When ctx is
// done before, its cause is the error.
func (r *run) work(ctx context.Context) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	shop, worker := begin(inner, r.produce), begin(inner, r.worker.Run)
	err := r.watch(inner, shop, worker)
	stop(errDone)
	<-shop.ended
	<-worker.ended
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, worker.err)
}

// activity is one half of a run.
type activity struct {
	ended chan struct{} // closed at its end
	err   error         // valid then
}

func begin(ctx context.Context, do func(context.Context) error) *activity {
	a := &activity{ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.err = do(ctx)
	}()
	return a
}

// watch waits until all is produced and settled, and gives up when nothing moves any more.
func (r *run) watch(ctx context.Context, shop, worker *activity) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	last, lastAt := uint64(0), began
	producing := shop.ended
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-worker.ended:
			return errors.New("the worker ended before its work")
		case <-producing:
			if shop.err != nil {
				return shop.err
			}
			producing = nil
		case <-ticker.C:
		}
		s := r.worker.Ledger().Snapshot()
		settled := uint64(s.Settled())
		if r.Progress != nil {
			r.Progress(Progress{Total: r.Messages, Produced: r.produced.Load(), Settled: settled})
		}
		if settled != last {
			last, lastAt = settled, time.Now()
		}
		switch {
		case producing == nil && settled >= r.Messages && s.InFlight == 0 && (s.Released == 0 || r.committed(ctx)):
			r.seconds = time.Since(began).Seconds()
			return nil
		case time.Since(lastAt) > patience:
			return fmt.Errorf("nothing was settled for %v: %d of %d messages are", patience, settled, r.Messages)
		}
	}
}

// committed says whether the group has come to the end of the log. Only that tells when a run is over in which
// messages were given back: they are counted once more when they are read again.
func (r *run) committed(ctx context.Context) bool {
	admin, err := consume.NewAdmin(consume.Config{Brokers: r.brokers, Group: r.group, Topics: []string{topic}})
	if err != nil {
		return false
	}
	defer admin.Close()
	group, err := admin.Group(ctx)
	if err != nil {
		return false // it is asked again
	}
	return len(group.Partitions) == partitions && !slices.ContainsFunc(group.Partitions, func(p consume.GroupPartition) bool {
		return p.End < 0 || p.Committed < p.End && p.End > 0
	})
}

// report holds what arrived against the truth.
func (r *run) report(ctx context.Context, api *fakeAPI) (*Report, error) {
	arrived := storefront.Arrived{Accepted: api.Accepted()}
	err := deadletter.Read(ctx, r.brokers, deadLetters, func(rec deadletter.Record) {
		arrived.DeadLetters = append(arrived.DeadLetters, Letter(rec.Headers))
	})
	if err != nil {
		return nil, err
	}
	r.truth.Seal()
	s := r.worker.Ledger().Snapshot()
	return &Report{
		Seed: r.Seed, Messages: r.Messages, Seconds: r.seconds, Rate: float64(r.Messages) / r.seconds,
		Equation: EquationOf(&s), Truth: r.truth.Compare(arrived, explained), API: api.Stats(),
	}, nil
}
