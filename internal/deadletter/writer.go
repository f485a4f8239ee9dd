package deadletter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"go.uber.org/zap"
)

// Config says where dead letters go and how the brokers are reached.
type Config struct {
	// Brokers are host:port addresses, at least one.
	Brokers []string
	// Topic is the dead-letter topic.
	Topic string
	// Group is the consumer group that the dead letters name.
	Group string
	// ClientID is what the brokers log.
	ClientID string
	// TLS and SASL are nil where the brokers want none.
	TLS  *tls.Config
	SASL sasl.Mechanism
	// Dial replaces the network in tests; nil: the system's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// CreateTopic makes the topic where it is missing, with Partitions partitions (0: the broker's
	// default) and the broker's default replication.
	CreateTopic bool
	Partitions  int
	// Timeout bounds each request, the wait for all in-sync replicas included; 0: 10 s. A shorter one
	// repeats what a slow cluster did write.
	Timeout time.Duration
	// MaxEventAge is only compared with the topic's retention, to warn where a dead letter would go
	// before its last chance to be replayed; 0: no comparison.
	MaxEventAge time.Duration
	// Failed is told of each write that failed and will be repeated; nil: nobody is.
	Failed func()
}

const (
	defaultTimeout = 10 * time.Second
	// metadataTTL is how soon a moved leader or a new topic is seen.
	metadataTTL = 3 * time.Second
	// maxRequests bounds the requests, and so the connections, that wait at one time.
	maxRequests = 16
)

// pace says how long a lane waits before it tries again. Tests make it short.
type pace struct {
	first, most time.Duration // the backoff of a topic or broker that is away
	held        time.Duration // between two tries of letters that the broker refuses
}

var defaultPace = pace{first: 100 * time.Millisecond, most: 10 * time.Second, held: 30 * time.Second}

// Writer puts dead letters into their topic and says of each when all in-sync replicas have it.
//
// A letter is tried again until it is written, however long its topic or the brokers are away: its
// message stays uncommitted meanwhile, so nothing is lost, and a letter may be written twice where an
// answer was lost. The letters of one source partition are written in the order of Put, but for those
// that the broker refuses for themselves (see Put).
//
// Memory: each letter holds a copy of its record and about 1 KiB besides until it is acknowledged.
// Put does not wait, so the bound is the caller's: the byte budget for messages that are not settled.
type Writer struct {
	cfg       Config
	pace      pace
	log       *zap.Logger
	transport *kafka.Transport
	client    *kafka.Client
	slots     chan struct{}
	health    *health

	// lifetime ends the lanes; stop ends it.
	lifetime context.Context // kept, since lanes start in Put, which has no context of its own
	stop     context.CancelFunc
	closing  chan struct{}

	// settle is held for reading while done functions run, for writing by Abandon.
	settle sync.RWMutex

	mu      sync.Mutex
	closed  bool
	lanes   map[int32]*lane // by source partition; only those with letters
	running sync.WaitGroup
	letters int
	bytes   int64
}

// NewWriter makes a writer. It connects with the first letter or with [Writer.Check], and ends with
// [Writer.Close].
func NewWriter(cfg Config, log *zap.Logger) (*Writer, error) {
	return newWriter(cfg, defaultPace, log)
}

func newWriter(cfg Config, p pace, log *zap.Logger) (*Writer, error) {
	switch {
	case len(cfg.Brokers) == 0:
		return nil, errors.New("dead letters: no brokers: set kafka.brokers")
	case cfg.Topic == "":
		return nil, errors.New("dead letters: no topic: set kafka.dead_letter_topic")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	lifetime, stop := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		Dial:           cfg.Dial,
		ClientID:       cfg.ClientID,
		TLS:            cfg.TLS,
		SASL:           cfg.SASL,
		MetadataTTL:    metadataTTL,
		MetadataTopics: []string{cfg.Topic},
		Context:        lifetime,
	}
	return &Writer{
		cfg:       cfg,
		pace:      p,
		log:       log,
		transport: transport,
		client:    &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport, Timeout: cfg.Timeout},
		slots:     make(chan struct{}, maxRequests),
		health:    newHealth(cfg.Topic, log),
		lifetime:  lifetime,
		stop:      stop,
		closing:   make(chan struct{}),
		lanes:     make(map[int32]*lane),
	}, nil
}

// Put takes a letter. It copies all of it and returns without waiting for the network; any goroutine
// may call it. done is called once, from the writer's goroutine, when all in-sync replicas have the
// letter; it must be quick and call neither Close nor Abandon. After Close, Put does nothing and done
// is never called.
//
// A letter that the broker refuses as too large loses what is optional in its headers, step by step.
// Where the record itself does not fit, the letter is held and tried every 30 seconds, [Writer.Healthy]
// and the log name its coordinates and the topic's limit, and the letters behind it go on.
func (w *Writer) Put(l *Letter, done func()) {
	m := Encode(l, w.cfg.Group)
	one := &letter{message: m, size: m.Size(), done: done}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.letters++
	w.bytes += int64(one.size)
	ln := w.lanes[m.Partition]
	if ln == nil {
		ln = newLane(w, m.Partition)
		w.lanes[m.Partition] = ln
		ln.queue = append(ln.queue, one)
		w.running.Go(ln.run)
		return
	}
	ln.queue = append(ln.queue, one)
	ln.signal()
}

// Pending is the number of letters that wait for their acknowledgement, and their bytes.
func (w *Writer) Pending() (letters int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.letters, w.bytes
}

// Healthy says whether letters are being written; if not, why, for readiness and status pages.
func (w *Writer) Healthy() (ok bool, why string) { return w.health.state() }

// Abandon gives up all letters that are not acknowledged and says how many there were: their messages
// are read again by whoever owns the partitions next. After it has returned no done function of
// theirs is called. A letter on the wire may still be written, and then is there twice.
func (w *Writer) Abandon() int {
	w.settle.Lock()
	defer w.settle.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.letters
	for _, ln := range w.lanes {
		ln.queue, ln.held = nil, nil
		ln.epoch++
		ln.signal()
	}
	w.letters, w.bytes = 0, 0
	w.health.abandoned()
	return n
}

// Close takes no more letters, waits until those it has are acknowledged or ctx is done, and ends the
// writer. Letters that the broker refuses for themselves are not waited for. The error says how many
// were left: their messages are not settled and will be read again. Closing twice is harmless.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
	}
	w.mu.Unlock()
	ended := awaitEnd(ctx, &w.running)
	w.stop()
	<-ended
	w.transport.CloseIdleConnections()
	if n, _ := w.Pending(); n > 0 {
		return fmt.Errorf("%d dead letters were not acknowledged by topic %s; their messages stay uncommitted and are read again", n, w.cfg.Topic)
	}
	return nil
}

// awaitEnd waits until what runs has ended or ctx is done; the channel is closed at the end.
func awaitEnd(ctx context.Context, running *sync.WaitGroup) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return ended
}

// forget takes acknowledged letters out of what is pending; mu is held.
func (w *Writer) forget(batch []*letter) {
	w.letters -= len(batch)
	for _, one := range batch {
		w.bytes -= int64(one.size)
	}
}

// newBackoff is the wait between tries while the topic or the brokers are away, without end.
func (p pace) newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.first),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(p.most),
		backoff.WithMaxElapsedTime(0),
	)
}
