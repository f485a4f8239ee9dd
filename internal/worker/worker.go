// Package worker puts the parts together: messages come in from Kafka, are joined with what the
// store remembers, encoded, batched and delivered; what cannot be delivered becomes a dead letter;
// what is settled is committed. Read worker.go, generation.go and runner.go in this order.
package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"eventworker/internal/batch"
	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
	"eventworker/internal/trace"
)

// Options are what a caller adds to the configuration. The zero value will do.
type Options struct {
	// Log is nil for none.
	Log *zap.Logger
	// Metrics is nil for own ones, which nobody sees.
	Metrics *telemetry.Metrics
	// Version stands in the User-Agent and on the admin server.
	Version string
	// UntilCaughtUp ends Run when the offsets that were the partitions' ends at its start are settled.
	UntilCaughtUp bool
	// Load reads the configuration again for [Worker.Reload]; nil: it cannot be reloaded.
	Load func() (*config.Loaded, error)
	// Loaded is the configuration with the origins of its values, for /statusz; nil: they are not told.
	Loaded *config.Loaded
	// SetLogLevel changes the level of Log; nil: it stays.
	SetLogLevel func(level string) error
	// Tracer makes spans of chunks and requests; nil: none.
	Tracer *trace.Tracer
	// Dial replaces the network to the brokers; nil: the system's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Worker is the worker of one process. Make it with New, run it once.
type Worker struct {
	cfg     *config.Config
	opts    Options
	version string
	log     *zap.Logger
	rules   *join.Config
	limits  batch.Limits
	apps    []*insights.Application // in the order of rules.Applications; nil: another group's
	tallies []*tally                // of apps
	store   querystore.Store
	letters *deadletter.Writer
	kafka   *consume.Consumer
	admin   *telemetry.Admin

	metrics     *telemetry.Metrics
	ledger      *telemetry.Ledger
	health      *telemetry.Health
	joined      joinCounts
	attribution *attribution
	written     [event.NumReasons]prometheus.Counter // dead letters
	pauses      pauses
	steering    steering
	topic       topicCheck
	live        liveness
	causes      causes

	forgotten forgotten
	learning  learning
	// connection is how to reach the brokers for the state topic.
	connection consume.ConnConfig
	reloads    reloads
	restored   atomic.Int64 // messages read again for their effects
	current    atomic.Pointer[generation]
	// retention is how long topics keep their messages, where it is known; nil: nobody has asked yet.
	retention atomic.Pointer[map[string]time.Duration]

	mu       sync.Mutex
	sections map[int32]querystore.Section
	failing  map[int32]error // tasks whose store does not take writes
	lost     map[int32]*reopening
	steps    map[int32]map[string][]join.Step // by task and topic, see steps.go

	states    *deadletter.StateWriter // what becomes of replayed messages
	strangers atomic.Int64            // records of the replay topic that do not say where they come from

	decoding sync.Mutex // describe is rare
	decoder  *event.Decoder
	raw      event.Event
}

const (
	// syncers bounds how many sections are made durable at one time.
	syncers = 8
	// storeRetry is the time between two tries of what the store refused.
	storeRetry = time.Second
	// looksEvery is how many turns of watch there are to one look after the partitions: a second.
	looksEvery = 5
	// lettersTimeout bounds how long the end of the worker waits for dead letters.
	lettersTimeout = 5 * time.Second
)

// New checks the configuration and takes what needs no other process: the store's folder and the
// admin server's address. Run gives both back, also when it is called with a context that is done.
func New(cfg *config.Config, opts Options) (*Worker, error) {
	if err := cfg.Validate(true); err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, opts: opts, version: opts.Version, log: opts.Log, metrics: opts.Metrics, rules: JoinConfig(cfg),
		limits:   batch.Limits{MaxEvents: cfg.Batch.MaxEvents, MaxBytes: int(cfg.Batch.MaxBytes), Linger: cfg.Batch.Linger},
		health:   telemetry.NewHealth("kafka", conditionTopics),
		sections: make(map[int32]querystore.Section), failing: make(map[int32]error), lost: make(map[int32]*reopening), steps: make(map[int32]map[string][]join.Step),
		decoder: event.NewDecoder(event.Options{HashTokens: cfg.Tokens == "hash"})}
	if w.log == nil {
		w.log = zap.NewNop()
	}
	w.reloads.loaded, w.reloads.applied = opts.Loaded, time.Now()
	if opts.Loaded == nil {
		w.reloads.loaded = config.NewLoaded(cfg)
	}
	if w.metrics == nil {
		w.metrics = telemetry.NewMetrics()
	}
	w.rules.Indexes = join.NewIndexes(w.rules.Applications)
	w.attribution = newAttribution(w.rules.Indexes, w.metrics)
	w.ledger, w.written = w.metrics.Ledger, lettersWritten(w.metrics)
	for _, result := range []string{consume.CommitOK, consume.CommitFailed, consume.CommitFenced} {
		w.metrics.Commits.WithLabelValues(result) // there from the start, at 0
	}
	if err := w.assemble(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *Worker) assemble() error {
	if err := w.newApplications(); err != nil {
		return err
	}
	secure, mechanism, err := Security(&w.cfg.Kafka)
	if err != nil {
		return err
	}
	k := &w.cfg.Kafka
	w.connection = consume.ConnConfig{Brokers: k.Brokers, ClientID: k.ClientID, TLS: secure, SASL: mechanism, Dial: w.opts.Dial,
		Topics: []string{deadletter.StateTopic(k.DeadLetterTopic)}}
	if w.letters, err = deadletter.NewWriter(deadletter.Config{
		Brokers: k.Brokers, Topic: k.DeadLetterTopic, Group: k.Group, ClientID: k.ClientID, TLS: secure, SASL: mechanism,
		Dial: w.opts.Dial, CreateTopic: k.CreateTopics, MaxEventAge: w.cfg.Delivery.MaxEventAge,
		Failed: w.metrics.DeadLetterFailures.Inc,
	}, w.log.Named("deadletter")); err != nil {
		return err
	}
	w.openStates(secure, mechanism)
	if w.kafka, err = consume.New(w.consumerConfig(secure, mechanism), w, w.log.Named("consume")); err != nil {
		return err
	}
	if err := w.openStore(); err != nil {
		return err
	}
	w.forgotten.spare = w.cfg.Store.Kind != "disk"
	if err := w.forgotten.open(w.cfg.Store.Path, w.memory()+keptForgotten, time.Now()); err != nil {
		return err
	}
	w.readMetrics()
	if w.cfg.Admin.Listen == "" {
		return nil
	}
	return w.newAdmin()
}

// newAdmin takes the admin server's address and adds what it answers.
func (w *Worker) newAdmin() error {
	token, err := w.cfg.Admin.ReadToken()
	if err != nil {
		return fmt.Errorf("admin.token_file: %w", err)
	}
	w.admin, err = telemetry.NewAdmin(telemetry.AdminOptions{
		Listen: w.cfg.Admin.Listen, PProf: w.cfg.Admin.PProf, Gather: w.metrics.Registry, Health: w.health, Token: token,
		Log: w.log.Named("admin"), Version: w.version, Status: func() any { return w.Status() }, Page: w.Page,
		Live: func() (bool, []string) { return w.live.alive(time.Now(), w.stallLimit()) },
	})
	if err != nil {
		return err
	}
	w.handlePauses()
	act := func(path string, h http.HandlerFunc, about string, parameters ...string) {
		w.admin.HandleAction(telemetry.Action{Method: http.MethodPost, Path: path, About: about, Parameters: parameters}, h)
	}
	act(SkipPath, w.handleSkip, "dead-letters the oldest unsettled message of a partition (?topic=&partition=&offset=&note=)", "topic", "partition", "offset", telemetry.ParameterNote)
	if w.opts.Load != nil {
		act(ReloadPath, w.handleReload, "reads the configuration again and takes what may change without a restart")
	}
	told := func(path string, h http.HandlerFunc, about string) {
		w.admin.HandleAction(telemetry.Action{Method: http.MethodPost, Path: path, About: about, JSON: true}, h)
	}
	told(StoreUserPath, w.handleStoreUser, "what the store holds of a user, and which impression an object takes (JSON: application, userToken, objectID, at)")
	told(ForgetPath, w.handleForget, "removes what a user left, and lets nothing older count any more (JSON: userToken)")
	return nil
}

// Ledger is the account of the messages.
func (w *Worker) Ledger() *telemetry.Ledger { return w.ledger }

// Run works until ctx is done, which is a clean stop: it drains, commits, leaves the group and
// returns nil. It returns an error if the worker cannot go on.
func (w *Worker) Run(ctx context.Context) error {
	defer w.close()
	side, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	if w.admin != nil {
		w.log.Info("the admin server listens", zap.String("address", w.admin.Addr().String()))
		group.Go(func() error { return w.admin.Run(side) })
	}
	group.Go(func() error { return w.watch(side) })
	group.Go(func() error { return w.awaitLetterTopic(side) })
	group.Go(func() error { return w.watchRetention(side) })
	err := w.kafka.Run(ctx)
	letters, cancel := context.WithTimeout(context.WithoutCancel(ctx), lettersTimeout)
	defer cancel()
	if cerr := w.letters.Close(letters); cerr != nil {
		w.log.Warn("dead letters without acknowledgement at the end; their messages are read again", zap.Error(cerr))
	}
	w.closeStates(letters)
	stopSide()
	err = errors.Join(err, group.Wait())
	w.kafka.CloseIdleConnections() // of what was asked after the consumer had ended
	return err
}

// watch keeps readiness up to date until ctx is done.
func (w *Worker) watch(ctx context.Context) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for turn := 0; ; turn++ {
		k := w.checkHealth()
		if turn%looksEvery == 0 {
			w.lookAfter(time.Now(), &k)
		}
		w.sample(&k)
		select {
		case <-ctx.Done():
			k := w.kafka.Status()
			w.sample(&k)
			return nil
		case <-ticker.C:
		}
	}
}

// close gives everything back. It may be called at any stage of New or Run.
func (w *Worker) close() {
	if w.letters != nil {
		w.letters.Abandon()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	w.closeStates(over)
	for _, a := range w.apps {
		if a != nil {
			a.Close()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for number, s := range w.sections {
		if err := s.Close(); err != nil {
			w.log.Error("could not close the store of a task; what it lacks is made again from Kafka", telemetry.Task(number), zap.Error(err))
		}
		delete(w.sections, number)
	}
	if w.store != nil {
		if err := w.store.Close(); err != nil {
			w.log.Error("could not close the store", zap.Error(err))
		}
	}
	if w.admin != nil {
		_ = w.admin.Close() // Run has closed it, if it ran
	}
}

// leaveSections closes the sections of tasks that went elsewhere.
func (w *Worker) leaveSections(tasks []*consume.Task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := make(map[int32]bool, len(tasks))
	for _, t := range tasks {
		mine[t.Number] = true
	}
	for number, section := range w.sections {
		if mine[number] {
			continue
		}
		delete(w.sections, number)
		delete(w.failing, number)
		delete(w.steps, number)
		if err := section.Close(); err != nil {
			w.log.Error("could not close the store of a task that went to another worker", telemetry.Task(number), zap.Error(err))
		}
	}
}

// openSection is the section of a task, opened if it is not open.
func (w *Worker) openSection(task int32) (querystore.Section, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sections[task]; s != nil {
		return s, nil
	}
	s, err := w.store.Open(task)
	if err != nil {
		return nil, fmt.Errorf("open the store of task %d: %w", task, err)
	}
	w.sections[task] = s
	return s, nil
}

// carries says whether a topic may carry the types of a list: no list means that any may, and the
// replay topic may carry all.
func (w *Worker) carries(topics []string, topic string) bool {
	return len(topics) == 0 || topic == w.cfg.Kafka.ReplayTopic || slices.Contains(topics, topic)
}

// describe reads type and application of a message that was valid when it was decoded first.
func (w *Worker) describe(value []byte) (kind, application string) {
	w.decoding.Lock()
	defer w.decoding.Unlock()
	if w.decoder.Decode(value, &w.raw) != nil {
		return "", ""
	}
	application = "default"
	if w.raw.Application != nil {
		application = string(w.raw.Application)
	}
	return w.raw.Type.Name(), application
}

// storeFails notes that a task's store refused something; the first time it says so.
func (w *Worker) storeFails(task int32, err error) {
	w.mu.Lock()
	first := w.failing[task] == nil
	w.failing[task] = err
	w.mu.Unlock()
	if first {
		w.log.Error("the store refuses a message's effects; the partitions of this task wait until it takes them", telemetry.Task(task), zap.Error(err))
	}
}

func (w *Worker) storeWorks(task int32) {
	w.mu.Lock()
	failed := w.failing[task] != nil
	delete(w.failing, task)
	w.mu.Unlock()
	if failed {
		w.log.Info("the store takes effects again", telemetry.Task(task))
	}
}
