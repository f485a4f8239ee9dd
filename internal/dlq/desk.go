package dlq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"go.uber.org/zap"

	"eventworker/internal/consume"
)

// Cluster says how to reach Kafka.
type Cluster struct {
	// Brokers are host:port addresses, at least one.
	Brokers  []string
	ClientID string
	// TLS is nil for plaintext, SASL nil where the brokers want no authentication.
	TLS  *tls.Config
	SASL sasl.Mechanism
	// Dial opens connections; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// callTimeout bounds a request of [Cluster.Client].
const callTimeout = 10 * time.Second

func (c *Cluster) conn(topics []string) consume.ConnConfig {
	return consume.ConnConfig{Brokers: c.Brokers, ClientID: c.ClientID, Topics: topics, TLS: c.TLS, SASL: c.SASL, Dial: c.Dial}
}

// Client is a client of the library whose requests end after ten seconds. topics are those whose
// metadata it keeps, at least one. The second result closes its connections.
func (c *Cluster) Client(topics ...string) (client *kafka.Client, done func()) {
	conn := c.conn(topics)
	transport := consume.Transport(conn)
	return &kafka.Client{Addr: conn.Addr(), Transport: transport, Timeout: callTimeout}, transport.CloseIdleConnections
}

// Topics are the names of the topics that dead letters have to do with.
type Topics struct {
	DeadLetter string
	// Replay is the topic that replays are put on, State the compacted topic of what became of each
	// dead letter; empty: the name of DeadLetter with .state behind it.
	Replay, State string
	// Inputs are the topics of the storefront.
	Inputs []string
}

// Desk reads one dead-letter topic. Make it with [New] and close it. Its methods may be called at the
// same time.
type Desk struct {
	Cluster Cluster
	Topics  Topics
	Group   string

	log *zap.Logger
	in  *consume.Log
}

// New makes a desk. It does not connect yet.
func New(cluster Cluster, topics Topics, group string, log *zap.Logger) (*Desk, error) {
	if topics.DeadLetter == "" {
		return nil, &CallError{Problem: "kafka.dead_letter_topic is empty", Try: "eventworker config print --origin", Setting: "kafka.dead_letter_topic"}
	}
	if topics.State == "" {
		topics.State = topics.DeadLetter + ".state"
	}
	if log == nil {
		log = zap.NewNop()
	}
	names := slices.Concat([]string{topics.DeadLetter, topics.State, topics.Replay}, topics.Inputs)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	in, err := consume.NewLog(cluster.conn(slices.Compact(names)))
	if err != nil {
		return nil, err
	}
	return &Desk{Cluster: cluster, Topics: topics, Group: group, log: log, in: in}, nil
}

// Close closes the connections.
func (d *Desk) Close() { d.in.Close() }

// leaderTime is how long a partition without a leader is waited for: that of a topic that was just made, or
// one whose broker restarts, has none for a moment.
const leaderTime = 15 * time.Second

// Bounds are the ends of the partitions of any of the desk's topics. A leader that is not there is waited for,
// for 15 s.
func (d *Desk) Bounds(ctx context.Context, topic string) ([]consume.LogBounds, error) {
	bounds, err := d.in.Bounds(ctx, topic)
	for began := time.Now(); errors.Is(err, kafka.LeaderNotAvailable) && time.Since(began) < leaderTime; {
		if pause(ctx, 200*time.Millisecond) != nil {
			return nil, err
		}
		bounds, err = d.in.Bounds(ctx, topic)
	}
	if errors.Is(err, kafka.UnknownTopicOrPartition) && topic == d.Topics.DeadLetter {
		return nil, noLetters(err)
	}
	return bounds, err
}

func noLetters(err error) error {
	return fmt.Errorf("%w: no dead letter was written yet, or kafka.dead_letter_topic names another one", err)
}

// Retention is how long the dead-letter topic keeps a record by its time. known is false where the
// setting cannot be read, or there is no limit.
func (d *Desk) Retention(ctx context.Context) (keeps time.Duration, known bool, err error) {
	settings, err := d.in.Settings(ctx, d.Topics.DeadLetter, "retention.ms")
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		err = noLetters(fmt.Errorf("topic %s does not exist: %w", d.Topics.DeadLetter, err))
	}
	if err != nil {
		return 0, false, err
	}
	ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms > int64(1<<63-1)/int64(time.Millisecond) {
		return 0, false, nil
	}
	return time.Duration(ms) * time.Millisecond, true, nil
}

// CallError is a mistake of the caller: a filter, an address, an option. Try is a command that helps, Setting
// the key of the configuration that is wrong, empty for none.
type CallError struct {
	Problem string
	Try     string
	Setting string
}

func (e *CallError) Error() string { return e.Problem }

func callf(try, format string, args ...any) error {
	return &CallError{Problem: fmt.Sprintf(format, args...), Try: try}
}
