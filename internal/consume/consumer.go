package consume

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/sasl"
	"go.uber.org/zap"
)

// Config says what to consume and how. The zero value of a field that has a default takes it.
type Config struct {
	// Brokers, ClientID, TLS, SASL and Dial say how to reach the cluster, see [ConnConfig].
	Brokers  []string
	ClientID string
	TLS      *tls.Config
	SASL     sasl.Mechanism
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)

	// Group is the consumer group's name.
	Group string
	// Topics are the input topics, at least one. Those that do not exist are read once they do.
	Topics []string
	// ReplayTopic is one more input topic; empty: none.
	ReplayTopic string
	// ShownTopics is the subset of Topics that a quarter of the budget is kept for; empty: any topic
	// may carry any type, and none is.
	ShownTopics []string
	// Copartitioned demands that all input topics have the same number of partitions.
	Copartitioned bool
	// CreateTopics are topics that Run creates where they are missing, all with the same number of
	// partitions: that of those that exist, else the broker's default. They need not be input topics.
	CreateTopics []string
	// StartOffset is where a group without any commit starts; default Earliest.
	StartOffset StartOffset

	// CommitInterval is the time between commits; default 250 ms.
	CommitInterval time.Duration
	// SessionTimeout is how long the group waits for a heartbeat; default 15 s. Brokers bound it, to 6 s
	// from below by default.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for members to join; default 30 s. Together with
	// SessionTimeout it bounds the time for draining at a rebalance.
	RebalanceTimeout time.Duration
	// DrainTimeout is how long the handler may drain when the worker stops; default 20 s.
	DrainTimeout time.Duration
	// RecheckInterval is how often topics and partition counts are looked at; default 30 s.
	RecheckInterval time.Duration

	// MaxFetchBytes bounds one answer of a leader; default 8 MiB. MinBytes and MaxWait say how long the
	// leader may wait for how much: default 1 byte and 500 ms.
	MaxFetchBytes int
	MinBytes      int
	MaxWait       time.Duration
	// MaxBatchBytes bounds a record batch, decompressed; default 64 MiB. A partition with a larger one
	// stays there and says so.
	MaxBatchBytes int
	// Budget bounds the bytes held between fetch and settlement; default 64 MiB.
	Budget int64

	// UntilCaughtUp makes Run return nil once the offsets that were the ends of the partitions at the
	// first assignment are settled and committed. With several workers each looks at the partitions
	// that it was assigned first and still has: those that move to another worker are that one's.
	UntilCaughtUp bool
	// Metadata is the text to commit with a partition's frontier, at most 4,096 bytes; nil: none. It is
	// called by the committer every CommitInterval, and committed when it or the frontier changed; the
	// next owner of the partition reads it back with [Partition.CommitMetadata]. While it gives false
	// nothing is committed, so that what was committed before stays.
	Metadata func(p *Partition, frontier int64) (text string, ok bool)
	// Why says what the oldest unsettled message of a partition waits for, for [Consumer.Status]; nil: it
	// is not told.
	Why func(p *Partition, o *Oldest) string
	// Rewind is told of each task of an assignment and calls want for its partitions of which messages
	// before the start are wanted once more; nil: none are.
	// After an error it is called again for all tasks.
	Rewind func(t *Task, want func(p *Partition, r Rewind)) error
	// Committed is told of each commit how long it took, the handler's Sync included, and its result;
	// nil: nobody is.
	Committed func(took time.Duration, result string)
	// Poison overwrites buffers before they are used again, so that tests see who reads them too late.
	Poison bool

	retryEvery time.Duration // between tries while brokers are away; default 500 ms
}

// withDefaults fills in defaults.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.CommitInterval, 250*time.Millisecond)
	set(&c.SessionTimeout, 15*time.Second)
	set(&c.RebalanceTimeout, 30*time.Second)
	set(&c.DrainTimeout, 20*time.Second)
	set(&c.RecheckInterval, 30*time.Second)
	set(&c.MaxWait, 500*time.Millisecond)
	set(&c.retryEvery, 500*time.Millisecond)
	if c.MaxFetchBytes == 0 {
		c.MaxFetchBytes = 8 << 20
	}
	if c.MinBytes == 0 {
		c.MinBytes = 1
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 64 << 20
	}
	if c.Budget == 0 {
		c.Budget = 64 << 20
	}
	if c.StartOffset == "" {
		c.StartOffset = Earliest
	}
	return c
}

// validate says what is wrong, all at once.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		bad("kafka.brokers: at least one is needed")
	}
	if c.Group == "" {
		bad("kafka.group: must not be empty")
	}
	if len(c.Topics) == 0 {
		bad("kafka.topics: at least one is needed")
	}
	for _, t := range c.ShownTopics {
		if !slices.Contains(c.Topics, t) {
			bad("kafka.shown_topics: %s is not among kafka.topics", t)
		}
	}
	if c.StartOffset != Earliest && c.StartOffset != Latest {
		bad("kafka.start_offset: %q is neither earliest nor latest", c.StartOffset)
	}
	if c.CommitInterval <= 0 || c.SessionTimeout <= 0 || c.RebalanceTimeout <= 0 || c.DrainTimeout < 0 || c.MaxWait <= 0 {
		bad("kafka: intervals and time-outs must be positive")
	}
	if c.CommitInterval > c.SessionTimeout/2 {
		bad("kafka.commit_interval: %v must be at most half of kafka.session_timeout, %v", c.CommitInterval, c.SessionTimeout)
	}
	if c.MaxFetchBytes < minPartBytes || c.MaxFetchBytes > 1<<30 {
		bad("kafka.max_fetch_bytes: %d is not between %d and %d", c.MaxFetchBytes, minPartBytes, 1<<30)
	}
	if c.MaxBatchBytes < 1<<20 || c.MaxBatchBytes > 1<<28 {
		bad("the largest batch: %d is not between %d and %d bytes", c.MaxBatchBytes, 1<<20, 1<<28)
	}
	if c.Budget < 1<<20 {
		bad("memory.budget: %d bytes are less than 1 MiB", c.Budget)
	}
	return errors.Join(errs...)
}

// heartbeatEvery is the time between heartbeats: four fit the session.
func (c *Config) heartbeatEvery() time.Duration { return min(3*time.Second, c.SessionTimeout/4) }

// drainBudget is how long draining may take at a rebalance: the session and rebalance time-outs less
// the time until the rebalance is seen, and a margin for the last commit.
func (c *Consumer) drainBudget() time.Duration { return c.cfg.drainBudget(c.drainTimeout()) }

// drainTimeout is Config.DrainTimeout, or what SetDrainTimeout said last.
func (c *Consumer) drainTimeout() time.Duration {
	if d := c.drain.Load(); d > 0 {
		return time.Duration(d)
	}
	return c.cfg.DrainTimeout
}

// SetDrainTimeout replaces Config.DrainTimeout for drains that begin from now on.
func (c *Consumer) SetDrainTimeout(d time.Duration) { c.drain.Store(int64(d)) }

func (c *Config) drainBudget(drainTimeout time.Duration) time.Duration {
	d := min(c.SessionTimeout, c.RebalanceTimeout)
	d -= c.heartbeatEvery() + min(2*time.Second, d/10)
	return min(d, max(drainTimeout, time.Millisecond))
}

// conn is how to reach the cluster for these topics.
func (c *Config) conn(topics []string) ConnConfig {
	return ConnConfig{Brokers: c.Brokers, ClientID: c.ClientID, Topics: topics, TLS: c.TLS, SASL: c.SASL, Dial: c.Dial}
}

// Consumer is a member of a consumer group. Make it with [New], run it once.
type Consumer struct {
	cfg     Config
	handler Handler
	log     *zap.Logger
	inputs  []string // Topics and ReplayTopic

	addr        net.Addr
	transport   *kafka.Transport
	connections *connections
	coordinator atomic.Int32
	balancer    taskBalancer
	condition   *condition
	counters    counters

	paused   atomic.Bool
	caughtUp chan struct{} // closed once UntilCaughtUp is reached
	drain    atomic.Int64  // from SetDrainTimeout, nanoseconds; 0: as configured

	mu         sync.Mutex
	pauses     []string
	missing    []string
	state      State
	stateSince time.Time
	generation *Generation
	targets    map[topicPartition]int64 // of UntilCaughtUp, set by the first generation
	isCaughtUp bool
}

// New makes a Consumer. It reports everything that is wrong with the configuration and does not
// connect yet.
func New(cfg Config, h Handler, log *zap.Logger) (*Consumer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	c := &Consumer{cfg: cfg, handler: h, log: log, caughtUp: make(chan struct{})}
	c.inputs = slices.Clone(cfg.Topics)
	if cfg.ReplayTopic != "" {
		c.inputs = append(c.inputs, cfg.ReplayTopic)
	}
	slices.Sort(c.inputs)
	c.inputs = slices.Compact(c.inputs)
	c.coordinator.Store(-1)
	c.condition = newCondition(log, security{tls: cfg.TLS != nil, sasl: cfg.SASL != nil, group: cfg.Group})
	known := slices.Concat(c.inputs, cfg.CreateTopics)
	slices.Sort(known)
	conn := cfg.conn(slices.Compact(known))
	c.addr = conn.Addr()
	c.connections = newConnections(conn.dial())
	conn.Dial = c.connections.Dial
	c.transport = Transport(conn)
	c.setState(StateStarting)
	return c, nil
}

func (c *Consumer) maxSet() int { return c.cfg.MaxFetchBytes + c.cfg.MaxBatchBytes }

// Run consumes until ctx is cancelled, which is a clean stop: it drains for up to DrainTimeout, commits,
// leaves the group and returns nil. While brokers are away it waits and says so once. It returns an
// error when the configuration cannot work ([PartitionCountError]) or the handler failed.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.setState(StateStopped)
	defer c.connections.closeAll()
	defer c.transport.CloseIdleConnections()
	for {
		l, err := c.awaitTopics(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		again, err := c.member(ctx, l)
		if err != nil || !again {
			return err
		}
	}
}

// outcome says what follows a generation.
type outcome int

const (
	goOn   outcome = iota // the next generation
	rejoin                // a new membership, with other topics
	stop                  // the end of Run
)

// member joins the group and runs its generations, until the worker stops or the topics change.
func (c *Consumer) member(ctx context.Context, l *layout) (again bool, err error) {
	m, err := c.join(l)
	if err != nil {
		return false, err
	}
	defer m.close()
	for {
		c.setState(StateJoining)
		kg, err := m.group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return false, nil
		case err != nil:
			c.condition.report("group", err)
			continue
		}
		c.condition.report("group", nil)
		what, err := c.generationRun(ctx, kg, l, m)
		if err != nil || what == stop {
			return false, err
		}
		if what == rejoin {
			return true, nil
		}
		// Counts may have changed; topics are the same.
		if fresh, err := c.readLayout(ctx); err == nil && slices.Equal(fresh.topics(), l.topics()) {
			l = fresh
		}
	}
}

// membership is the library's part in the group.
type membership struct {
	group *kafka.ConsumerGroup
	conns *connections
	close func() // leaves the group; a call that hangs is cut off after callTimeout
}

// join starts the membership.
func (c *Consumer) join(l *layout) (*membership, error) {
	conn := c.cfg.conn(nil)
	conns := newConnections(conn.dial())
	conn.Dial = conns.Dial
	cg, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                c.cfg.Group,
		Brokers:           c.cfg.Brokers,
		Dialer:            Dialer(conn),
		Topics:            l.topics(),
		GroupBalancers:    []kafka.GroupBalancer{&c.balancer, rangeBalancer{}},
		HeartbeatInterval: c.cfg.heartbeatEvery(),
		SessionTimeout:    c.cfg.SessionTimeout,
		RebalanceTimeout:  c.cfg.RebalanceTimeout,
		JoinGroupBackoff:  2 * c.cfg.retryEvery,
		StartOffset:       kafka.FirstOffset,
		Timeout:           callTimeout,
		Logger: kafka.LoggerFunc(func(format string, args ...any) {
			c.log.Debug("kafka-go: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("joining group %s: %w", c.cfg.Group, err)
	}
	leave := sync.OnceFunc(func() {
		cut := time.AfterFunc(callTimeout, conns.closeAll)
		defer cut.Stop()
		_ = cg.Close() // always nil
		conns.closeAll()
	})
	return &membership{group: cg, conns: conns, close: leave}, nil
}

// generationRun runs one generation from the assignment to the last commit.
func (c *Consumer) generationRun(ctx context.Context, kg *kafka.Generation, l *layout, m *membership) (outcome, error) {
	g := c.newGeneration(kg, l)
	defer g.cancelDrain()
	defer g.endNow(nil)
	finished := make(chan struct{})     // what the library waits for before it joins again
	libraryEnded := make(chan struct{}) // the library thinks that the generation is over
	kg.Start(func(gctx context.Context) {
		select {
		case <-gctx.Done():
			g.rebalance()
			close(libraryEnded)
			<-finished
		case <-finished: // returning ends the generation
		}
	})
	what, err := c.runAssigned(ctx, g)
	if err == nil && what == goOn {
		close(finished)
		return what, nil
	}
	// The group has to be closed before the library is let go, or it joins once more. Where it already
	// waits to join, it must not be able to, and we leave in its place.
	select {
	case <-libraryEnded:
		m.conns.closeAll()
		defer c.leave(g)
	default:
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		m.close()
	}()
	<-libraryEnded // closing ends the library's generation
	close(finished)
	<-closed
	return what, err
}

// leave leaves the group, so that it need not wait for the session time-out.
func (c *Consumer) leave(g *Generation) {
	if g.isStale() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err := c.groupCall(ctx, &leavegroup.Request{
		GroupID: c.cfg.Group, MemberID: g.Member,
		Members: []leavegroup.RequestMember{{MemberID: g.Member}},
	})
	if err != nil {
		g.log.Info("could not leave the group; it takes the session time-out to notice", zap.Error(err))
	}
}

// runAssigned does the work of a generation.
func (c *Consumer) runAssigned(ctx context.Context, g *Generation) (outcome, error) {
	beats := newRunner(context.Background())
	beats.run(g.beat)
	defer beats.stop()

	if !c.prepare(ctx, g) {
		return c.follow(ctx, g), nil
	}
	c.announce(g)
	defer c.withdraw(g)

	fetching, commits := newRunner(context.Background()), newRunner(context.Background())
	defer fetching.stop()
	fetching.run(g.leaders.run)
	fetching.run(g.watchTopics)
	fetching.run(g.watchLag)
	commits.run(g.commitLoop)

	serveErr := c.serve(ctx, g, fetching)
	commits.stop()
	g.lastCommit()
	g.abandon()
	if serveErr != nil {
		return stop, serveErr
	}
	return c.follow(ctx, g), nil
}

// serve runs the handler, and tells it to stop when the generation or the worker ends.
func (c *Consumer) serve(ctx context.Context, g *Generation, fetching *runner) error {
	serveCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	returned := make(chan error, 1)
	go func() { returned <- c.handler.Serve(serveCtx, g, g.drain) }()

	cause := ErrShutdown
	select {
	case err := <-returned:
		if err == nil {
			err = errors.New("the handler returned although its generation goes on")
		}
		return err
	case <-ctx.Done():
		g.log.Info("stopping: draining", zap.Duration("at most", c.drainTimeout()))
		g.limitDrain(c.drainTimeout())
	case <-c.caughtUp:
		g.log.Info("caught up: stopping")
		g.limitDrain(c.drainTimeout())
	case <-g.endCtx.Done():
		cause = ErrGenerationEnded
		g.log.Info("the generation ends: draining", zap.String("why", string(g.why())), zap.Duration("at most", c.drainBudget()))
		g.limitDrain(c.drainBudget())
	}
	c.setState(StateDraining)
	fetching.cancel()
	cancel(cause)
	err := <-returned
	if err == nil || errors.Is(err, cause) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// drain is the context that the handler drains under.
func (g *Generation) drain() (context.Context, context.CancelFunc) {
	return context.WithCancel(g.drainCtx)
}

// follow says what comes after a generation.
func (c *Consumer) follow(ctx context.Context, g *Generation) outcome {
	select {
	case <-ctx.Done():
		return stop
	case <-c.caughtUp:
		return stop
	default:
	}
	if g.why() == endTopics {
		return rejoin
	}
	return goOn
}

// prepare finds the start of each partition, as long as it takes; false: the generation is over.
func (c *Consumer) prepare(ctx context.Context, g *Generation) bool {
	c.balancer.remember(g.ID, g.taskNumbers())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.endCtx, cancel)()
	for {
		err := g.position(ctx, g.layout)
		if ctx.Err() != nil {
			return false
		}
		c.condition.report("start offsets", err)
		if err == nil {
			break
		}
		if !sleep(ctx, c.cfg.retryEvery) {
			return false
		}
	}
	select {
	case <-g.leased: // before it the handler may not send
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *Generation) taskNumbers() (numbers []int32) {
	for _, t := range g.Tasks {
		numbers = append(numbers, t.Number)
	}
	return numbers
}

// announce makes a generation the current one.
func (c *Consumer) announce(g *Generation) {
	c.counters.generations.Add(1)
	c.mu.Lock()
	c.generation = g
	if c.cfg.UntilCaughtUp && c.targets == nil {
		c.targets = map[topicPartition]int64{}
		for _, p := range g.partitions {
			c.targets[topicPartition{p.Topic, p.ID}] = p.End()
		}
	}
	c.mu.Unlock()
	c.setState(StateConsuming)
	g.log.Info("partitions assigned", zap.String("member", g.Member), zap.Int("tasks", len(g.Tasks)), zap.Int("partitions", len(g.partitions)))
	if n := g.splitTasks(); n > 0 && c.cfg.Copartitioned {
		g.log.Error("the group's leader split tasks, so that a user's messages do not meet and attribution misses some: a member of the group is not this worker, or an old version of it",
			zap.Int("tasks", n))
	}
	c.checkCaughtUp(g)
}

// splitTasks counts tasks of which other members have a part.
func (g *Generation) splitTasks() (n int) {
	for _, t := range g.Tasks {
		topics := 0
		for _, count := range g.layout.counts {
			if int(t.Number) < count {
				topics++
			}
		}
		if len(t.Partitions) < topics {
			n++
		}
	}
	return n
}

func (c *Consumer) withdraw(g *Generation) {
	c.condition.forget("fetch", "heartbeat", "commit", "partition counts")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == g {
		c.generation = nil
	}
}

// abandon says how much a generation left unsettled; others read it again.
func (g *Generation) abandon() {
	left := int64(0)
	for _, p := range g.partitions {
		left += p.tracker.unsettled()
	}
	if left > 0 {
		g.log.Info("given back unsettled; the next owner reads them again", zap.Int64("messages", left))
	}
}

// checkCaughtUp ends Run when everything up to the targets is settled and committed.
func (c *Consumer) checkCaughtUp(g *Generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.targets == nil || c.isCaughtUp {
		return
	}
	for _, p := range g.partitions {
		target, counts := c.targets[topicPartition{p.Topic, p.ID}]
		if counts && p.start < target && p.committed.Load() < target {
			return
		}
	}
	c.isCaughtUp = true
	close(c.caughtUp)
}

// watchTopics ends the generation once when topics appeared or went, or have more partitions.
func (g *Generation) watchTopics(ctx context.Context) {
	for sleep(ctx, g.c.cfg.RecheckInterval) {
		l, err := g.c.readLayout(ctx)
		if err != nil {
			continue // the leader watch reports it
		}
		g.c.sayMissing(l.missing)
		if g.c.cfg.Copartitioned {
			err := l.checkCopartitioned()
			g.c.condition.report("partition counts", err)
			if err != nil {
				continue // being altered, perhaps; what is assigned still holds
			}
		}
		switch {
		case !slices.Equal(l.topics(), g.layout.topics()):
			g.end(endTopics)
			return
		case !equalCounts(l.counts, g.layout.counts):
			g.end(endCounts)
			return
		}
	}
}

func equalCounts(a, b map[string]int) bool {
	for t, n := range a {
		if b[t] != n {
			return false
		}
	}
	return len(a) == len(b)
}

// runner owns goroutines that run until it is stopped.
type runner struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newRunner(parent context.Context) *runner {
	r := &runner{}
	r.ctx, r.cancel = context.WithCancel(parent)
	return r
}

func (r *runner) run(f func(context.Context)) { r.wg.Go(func() { f(r.ctx) }) }

func (r *runner) stop() {
	r.cancel()
	r.wg.Wait()
}
