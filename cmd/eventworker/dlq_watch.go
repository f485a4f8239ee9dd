package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/telemetry"
)

// watchFlags are what the flags of dlq watch say.
type watchFlags struct {
	listen     string
	every      time.Duration
	maxLetters int64
	once       bool
}

// leastWatch is the shortest time between two scans.
const leastWatch = time.Second

func newDLQWatchCommand(a *app) *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Serves metrics of dead letters and replays to Prometheus",
		Long: `Reads the dead letters and what became of them, again and again, and serves
what alerts want to know: how many are open, by reason; how many can no longer
be replayed within 4 or 24 hours; which causes are new, or back after a replay;
how the last replay goes. One for each dead-letter topic is enough. It changes
nothing, and ends with 0 at Ctrl-C or SIGTERM.

  GET /metrics   the metrics, see docs/metrics.md
  GET /statusz   the same as JSON, with the ten most frequent causes
  GET /readyz    200 if the last scan worked

The first scan reads the topic whole, some 100,000 letters a second; the later
ones read only what is new, and once a day all of it again. A million letters
take some 200 MiB of memory, and a tenth of a second at each scan. Where the
topic holds more than --max-letters, its oldest are left out, and a metric says
so.

While brokers are away the metrics stay as they were, and one of them says
since when; so does the log, once.`,
		Example: `  eventworker dlq watch --config eventworker.yaml
  eventworker dlq watch --config eventworker.yaml --listen 0.0.0.0:9405
  eventworker dlq watch --config eventworker.yaml --once > dead-letters.prom`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.every < leastWatch {
				return usagef("eventworker dlq watch --every 1m", "--every wants at least %s, got %s", leastWatch, f.every)
			}
			if _, port, err := net.SplitHostPort(f.listen); err != nil || port == "" { // of nothing: any port of all interfaces
				return usagef("eventworker dlq watch --listen 127.0.0.1:9405", "--listen wants HOST:PORT, got %.100q", f.listen)
			}
			if f.maxLetters < 1 {
				return usagef("eventworker dlq watch --help", "--max-letters wants at least 1, got %d", f.maxLetters)
			}
			return a.dlqWatch(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9405", "serve on this `HOST:PORT`; to whoever reaches it, as nothing secret is shown")
	flags.DurationVar(&f.every, "every", time.Minute, "`TIME` from the end of a scan to the next")
	flags.Int64Var(&f.maxLetters, "max-letters", 1_000_000, "look at the newest `N` offsets of the topic")
	flags.BoolVar(&f.once, "once", false, "scan once, print the metrics and end, as for node_exporter's textfile collector")
	a.configFlags(cmd)
	return cmd
}

func (a *app) dlqWatch(ctx context.Context, f *watchFlags) error {
	loaded, err := a.loadConfig(false)
	if err != nil {
		return err
	}
	d, err := newDesk(&loaded.Config)
	if err != nil {
		return callError(err)
	}
	defer d.Close()
	w := dlq.NewWatch(d, dlq.WatchOptions{MaxAge: loaded.Delivery.MaxEventAge, MaxLetters: f.maxLetters, Now: clock})
	metrics, registry := dlq.NewWatchMetrics(), prometheus.NewRegistry()
	registry.MustRegister(metrics)
	if f.once {
		found, err := w.Look(ctx)
		if err != nil {
			return a.kafkaError(err)
		}
		metrics.Found(found)
		return writeMetrics(ctx, a.out, registry)
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return a.serveWatch(ctx, f, &loaded.Config, &watcher{watch: w, metrics: metrics, topic: d.Topics.DeadLetter, every: f.every}, registry)
}

// serveWatch scans and serves until ctx is done, which is how it ends well.
func (a *app) serveWatch(ctx context.Context, f *watchFlags, cfg *config.Config, w *watcher, registry *prometheus.Registry) error {
	log, err := telemetry.NewLogger(telemetry.LogOptions{Level: cfg.Log.Level, Format: cfg.Log.Format, Out: a.err})
	if err != nil {
		return err
	}
	w.log, w.health = log, telemetry.NewHealth(conditionRead)
	build := buildOf()
	admin, err := telemetry.NewAdmin(telemetry.AdminOptions{
		Listen: f.listen, Gather: registry, Health: w.health, Log: log, Version: build.Version, Status: w.status,
	})
	if err != nil {
		return failf("eventworker dlq watch --listen 127.0.0.1:0", "cannot listen on %s: %w", f.listen, cause(errors.Unwrap(err)))
	}
	tuneMemory(log)
	log.Info("watching dead letters", zap.String("version", build.Version), zap.String(telemetry.KeyAddress, admin.Addr().String()), zap.String(telemetry.KeyTopic, w.topic))
	ctx, cancel := context.WithCancel(ctx)
	scanned := make(chan struct{})
	go func() {
		defer close(scanned)
		w.run(ctx)
	}()
	err = admin.Run(ctx)
	cancel()
	<-scanned
	log.Info("stopped")
	return err
}

// conditionRead is the condition of readiness.
const conditionRead = "dead letters"

// watcher scans, and tells of it.
type watcher struct {
	watch   *dlq.Watch
	metrics *dlq.WatchMetrics
	topic   string
	every   time.Duration
	health  *telemetry.Health
	log     *zap.Logger
	failing bool
}

// run scans until ctx is done.
func (w *watcher) run(ctx context.Context) {
	for timer := time.NewTimer(0); ; timer.Reset(w.every) {
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		found, err := w.watch.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.metrics.Found(found)
		w.tell(found, err)
	}
}

// tell says how a scan went: in the log where that is not how the one before went.
func (w *watcher) tell(found *dlq.Watched, err error) {
	switch {
	case err != nil && !w.failing:
		w.log.Warn("the dead letters cannot be read; the metrics stay as they are", zap.String(telemetry.KeyTopic, w.topic), zap.Error(err))
	case err == nil && w.failing:
		w.log.Info("the dead letters are read again", zap.String(telemetry.KeyTopic, w.topic), zap.Int64("letters", found.Total), zap.Int64("open", found.Open))
	}
	w.failing = err != nil
	why := ""
	if err != nil {
		why = err.Error()
	}
	w.health.Set(conditionRead, err == nil, why)
}

// status is what /statusz shows.
func (w *watcher) status() any {
	return struct {
		Topic string       `json:"topic"`
		Found *dlq.Watched `json:"found"`
	}{w.topic, w.metrics.Last()}
}

// writeMetrics writes what a scrape would get.
func writeMetrics(ctx context.Context, to io.Writer, registry *prometheus.Registry) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
	if err != nil {
		return err
	}
	answer := &plainAnswer{to: to, header: http.Header{}}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(answer, request)
	if answer.status >= http.StatusBadRequest {
		return fmt.Errorf("the metrics cannot be written: status %d", answer.status)
	}
	return answer.err
}

// plainAnswer writes an HTTP answer's body to a stream.
type plainAnswer struct {
	to     io.Writer
	header http.Header
	status int
	err    error
}

func (p *plainAnswer) Header() http.Header    { return p.header }
func (p *plainAnswer) WriteHeader(status int) { p.status = status }

func (p *plainAnswer) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	if p.err == nil {
		p.err = err
	}
	return n, err
}
