package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

const (
	// maxStates bounds the states that wait to be written: about 2 MB.
	maxStates = 10_000
	// maxStateBatch bounds the states of one request.
	maxStateBatch = 1000
)

// StateRecord is a record of the state topic: the key of [StateKey] and an encoded [State].
type StateRecord struct {
	Key   string
	Value []byte
}

// StateWriter writes the states of dead letters into their topic, from a queue ([StateWriter.Put]) or
// at once ([StateWriter.Write]). States are a record of what happened, nothing depends on them for a
// message to be delivered once: a queue that is full, or a topic that is missing, loses them, is said
// once, and counted.
type StateWriter struct {
	topic      string
	partitions int
	create     bool
	client     *kafka.Client
	pace       pace
	log        *zap.Logger

	lifetime context.Context // of the goroutine that Put starts
	stop     func()

	mu      sync.Mutex
	queue   []StateRecord
	writing bool // a goroutine works on the queue
	closed  bool
	said    bool // that states are lost
	lost    int64
	running sync.WaitGroup
}

// NewStateWriter makes a writer of the states of cfg.Topic's letters, which go to [StateTopic] of it.
// Of the configuration it uses what concerns the connection, Topic, CreateTopic and Partitions. It ends
// with [StateWriter.Close].
func NewStateWriter(cfg Config, log *zap.Logger) *StateWriter {
	return newStateWriter(cfg, defaultPace, log)
}

func newStateWriter(cfg Config, p pace, log *zap.Logger) *StateWriter {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	lifetime, stop := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		Dial: cfg.Dial, ClientID: cfg.ClientID, TLS: cfg.TLS, SASL: cfg.SASL,
		MetadataTTL: metadataTTL, MetadataTopics: []string{StateTopic(cfg.Topic)}, Context: lifetime,
	}
	return &StateWriter{
		topic: StateTopic(cfg.Topic), partitions: cfg.Partitions, create: cfg.CreateTopic,
		client: &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport, Timeout: cfg.Timeout},
		pace:   p, log: log, lifetime: lifetime, stop: func() { stop(); transport.CloseIdleConnections() },
	}
}

// Put takes a state and returns at once. It is written as soon as it can be; the states of one key keep
// their order. The value is kept, not copied.
func (w *StateWriter) Put(key string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if len(w.queue) >= maxStates {
		w.lose(1, "the queue is full")
		return
	}
	w.queue = append(w.queue, StateRecord{Key: key, Value: value})
	if !w.writing {
		w.writing = true
		w.running.Go(w.drain)
	}
}

// Lost is how many states were not written.
func (w *StateWriter) Lost() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// lose counts states that will not be written, and says so the first time; mu is held.
func (w *StateWriter) lose(n int, why string) {
	w.lost += int64(n)
	if w.said {
		return
	}
	w.said = true
	w.log.Warn("what became of replayed messages cannot be noted: dlq verify will say unknown of them; make the topic, compacted, or set kafka.create_topics",
		zap.String("topic", w.topic), zap.String("why", why))
}

// drain writes until the queue is empty, then ends.
func (w *StateWriter) drain() {
	wait := w.pace.newBackoff()
	for {
		w.mu.Lock()
		n := min(len(w.queue), maxStateBatch)
		if n == 0 || w.lifetime.Err() != nil {
			w.writing = false
			w.mu.Unlock()
			return
		}
		batch := w.queue[:n:n]
		w.mu.Unlock()

		err := w.Write(w.lifetime, batch)
		if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) && !refusesRecord(err) {
			timer := time.NewTimer(wait.NextBackOff())
			select {
			case <-timer.C:
			case <-w.lifetime.Done():
			}
			timer.Stop()
			continue
		}
		wait.Reset()
		w.mu.Lock()
		if err != nil {
			w.lose(n, err.Error())
		} else {
			w.said = false
		}
		clear(w.queue[:n])
		w.queue = w.queue[n:]
		w.mu.Unlock()
	}
}

// Close takes no more states and waits until those it has are written or ctx is done.
func (w *StateWriter) Close(ctx context.Context) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	ended := awaitEnd(ctx, &w.running)
	w.stop()
	<-ended
}

// Ensure makes sure that the state topic exists, and makes it, compacted, where the configuration says
// so. Without that a missing topic is kafka.UnknownTopicOrPartition.
func (w *StateWriter) Ensure(ctx context.Context) (partitions int, err error) {
	count, err := w.lookUp(ctx)
	if !w.create || !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return count, err
	}
	if err := w.make(ctx); err != nil {
		return 0, err
	}
	// A new topic has no leader for a moment.
	wait := w.pace.newBackoff()
	for {
		if count, err = w.lookUp(ctx); err == nil || ctx.Err() != nil {
			return count, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (w *StateWriter) lookUp(ctx context.Context) (int, error) {
	meta, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{w.topic}})
	if err != nil {
		return 0, fmt.Errorf("read metadata of topic %s: %w", w.topic, err)
	}
	topic := &meta.Topics[0]
	switch {
	case topic.Error != nil:
		return 0, fmt.Errorf("topic %s of the states of dead letters: %w", w.topic, topic.Error)
	case len(topic.Partitions) == 0:
		return 0, fmt.Errorf("topic %s has no partitions yet", w.topic)
	}
	return len(topic.Partitions), nil
}

func (w *StateWriter) make(ctx context.Context) error {
	count := w.partitions
	if count <= 0 {
		count = -1 // the broker's default
	}
	res, err := w.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: w.topic, NumPartitions: count, ReplicationFactor: -1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: cleanupPolicy, ConfigValue: "compact"}},
	}}})
	if err == nil {
		err = res.Errors[w.topic]
	}
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s of the states of dead letters: %w", w.topic, err)
	}
	return nil
}

// movingFor bounds how long Write waits for a leader: a topic that was just made has none, or one that does
// not know of it, for a moment.
const movingFor = 10 * time.Second

// movingError is a failure that passes once the partition has a leader that knows of it.
type movingError struct{ error }

func (e *movingError) Unwrap() error { return e.error }

// Write writes states and returns once all in-sync replicas have all of them. After an error some may be
// there: writing them again is harmless. A key goes to the partition that Java's client would give it.
func (w *StateWriter) Write(ctx context.Context, batch []StateRecord) error {
	patience := time.After(movingFor)
	wait := w.pace.newBackoff()
	for {
		err := w.write(ctx, batch)
		if moving := (*movingError)(nil); !errors.As(err, &moving) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-patience:
			return err
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// write is one try of Write.
func (w *StateWriter) write(ctx context.Context, batch []StateRecord) error {
	count, err := w.Ensure(ctx)
	if err != nil {
		return err
	}
	numbers := make([]int, count)
	for i := range numbers {
		numbers[i] = i
	}
	byPartition := make(map[int][]kafka.Record)
	for i := range batch {
		key := []byte(batch[i].Key)
		p := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, numbers...)
		byPartition[p] = append(byPartition[p], kafka.Record{Key: kafka.NewBytes(key), Value: kafka.NewBytes(batch[i].Value)})
	}
	var failures []error
	for p, records := range byPartition {
		res, err := w.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: w.topic, Partition: p, RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4,
			Records: kafka.NewRecordReader(records...),
		})
		if err == nil {
			err = res.Error
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, kafka.NotLeaderForPartition), errors.Is(err, kafka.LeaderNotAvailable), errors.Is(err, kafka.UnknownTopicOrPartition):
			err = &movingError{err}
		}
		failures = append(failures, fmt.Errorf("write to topic %s: %w", w.topic, err))
	}
	return errors.Join(failures...)
}
