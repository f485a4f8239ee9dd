package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/telemetry"
	"eventworker/internal/trace"
	"eventworker/internal/worker"
)

func newRunCommand(a *app) *cobra.Command {
	var untilCaughtUp bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Runs the worker",
		Long: `Runs the worker until it is stopped: the first interrupt or SIGTERM drains and
commits, a second one ends it at once. While brokers or the API are away it
waits and says so once; /readyz of the admin server tells why.

API keys are best kept out of files: application NAME takes its key from the
variable EVENTWORKER_INSIGHTS__APPLICATIONS__NAME__API_KEY, or from the file
that its setting api_key_file names.

SIGHUP, or POST /-/reload of the admin server, reads the configuration again
and takes what may change without a restart: API keys and their files,
log.level, drain_timeout, admin.token, and of delivery timeout, max_in_flight,
max_events_per_second and backoff. If anything else changed nothing is applied,
and the log names it.

Traces go to where OTEL_EXPORTER_OTLP_ENDPOINT says; without it there are none.`,
		Example: `  eventworker run --config eventworker.yaml
  eventworker run --config eventworker.yaml --set insights.region=de
  eventworker run --config eventworker.yaml --until-caught-up`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runWorker(cmd.Context(), untilCaughtUp)
		},
	}
	a.configFlags(cmd)
	cmd.Flags().BoolVar(&untilCaughtUp, "until-caught-up", false, "end when what the topics held at the start is settled")
	return cmd
}

func (a *app) runWorker(ctx context.Context, untilCaughtUp bool) error {
	signals, ignore := hangups()
	defer ignore()
	loaded, err := a.loadConfig(true)
	if err != nil {
		return err
	}
	cfg := &loaded.Config
	metrics := telemetry.NewMetrics()
	var level zap.AtomicLevel
	log, err := telemetry.NewLogger(telemetry.LogOptions{Level: cfg.Log.Level, Format: cfg.Log.Format, Out: a.err, Live: &level, Suppressed: metrics.LogSuppressed.Inc})
	if err != nil {
		return err
	}
	build := buildOf()
	metrics.SetBuild(build.Version, build.Commit, build.Go)
	tuneMemory(log)
	tracer, err := trace.FromEnvironment(ctx, build.Version, log.Named("trace"))
	if err != nil {
		return &failure{code: exitUsage, category: categoryConfig, err: err}
	}
	defer func() {
		if err := tracer.Close(ctx); err != nil {
			log.Warn("the last spans were not sent", zap.Error(err))
		}
	}()
	w, err := worker.New(cfg, worker.Options{
		Tracer: tracer,
		Log:    log, Metrics: metrics, Version: build.Version, UntilCaughtUp: untilCaughtUp,
		Loaded: loaded, Load: func() (*config.Loaded, error) { return a.loadConfig(true) }, SetLogLevel: setter(level),
	})
	if err != nil {
		return err
	}
	log.Info("starting", zap.String("version", build.Version), zap.Strings("brokers", cfg.Kafka.Brokers), zap.Strings("topics", cfg.Kafka.Topics),
		zap.String("group", cfg.Kafka.Group), zap.String("store", cfg.Store.Kind), zap.Int("gomaxprocs", runtime.GOMAXPROCS(0)))
	stop := reloadOnHangup(w, signals)
	err = w.Run(ctx)
	stop()
	s := w.Ledger().Snapshot()
	log.Info("stopped", zap.Int64("received", s.Received), zap.Int64("delivered", s.Delivered), zap.Int64("dead_lettered", s.TotalDeadLettered()),
		zap.Int64("absorbed", s.TotalAbsorbed()), zap.Int64("released", s.Released), zap.Int64("in_flight", s.InFlight))
	return err
}

// setter changes a logger's level by name.
func setter(level zap.AtomicLevel) func(name string) error {
	return func(name string) error {
		l, err := telemetry.ParseLevel(name)
		if err == nil {
			level.SetLevel(l)
		}
		return err
	}
}

// tuneMemory trades a little work of the collector, of which there is almost none, for memory, and
// makes a container's limit known to it. GOGC and GOMEMLIMIT win over both.
func tuneMemory(log *zap.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	if _, err := memlimit.Set(memlimit.WithRatio(0.9)); err != nil {
		log.Warn("the container's memory limit could not be read; the collector does not know it", zap.Error(err))
	}
}
