package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// KafkaOptions are what tests may want of a broker; the zero value will do.
type KafkaOptions struct {
	// Partitions of a topic that is created without a number; 0: 4.
	Partitions int
	// MessageMaxBytes is the broker's message.max.bytes; 0: Kafka's default.
	MessageMaxBytes int
	// Properties are further lines of server.properties; they win over ours.
	Properties map[string]string

	// Of a node of a cluster: its controller's port and the cluster's id; empty: any.
	controller int
	cluster    string
}

// Kafka is a broker of Apache Kafka, a single node that is its own controller. It creates no topics by
// itself.
type Kafka struct {
	// Addr is its host:port.
	Addr string

	dir     string
	jars    string
	process *process
}

// StartKafka starts a broker and returns when it answers. It takes about three seconds, and longer the
// first time, when its jars are fetched. The caller ends it with Close.
func StartKafka(ctx context.Context, options KafkaOptions) (*Kafka, error) {
	jars, err := KafkaJars(ctx)
	if err != nil {
		return nil, err
	}
	const tries = 3 // another process may take the port first
	for try := 1; ; try++ {
		k, err := startKafka(ctx, jars, options)
		if err == nil || try == tries || !errors.Is(err, errEnded) {
			return k, err
		}
	}
}

func startKafka(ctx context.Context, jars string, options KafkaOptions) (*Kafka, error) {
	dir, err := tempDir("kafka")
	if err != nil {
		return nil, err
	}
	k := &Kafka{dir: dir, jars: jars}
	if err := k.format(ctx, options); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := k.Start(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// format writes the configuration and prepares the data folder.
func (k *Kafka) format(ctx context.Context, options KafkaOptions) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	controller := options.controller
	if controller == 0 {
		if controller, err = freePort(); err != nil {
			return err
		}
	}
	k.Addr = address(port)
	if err := os.WriteFile(k.config(), properties(port, controller, k.dir, options), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(k.dir, "log4j2.properties"), []byte(log4j), 0o600); err != nil {
		return err
	}
	cluster := options.cluster
	if cluster == "" {
		cluster = newClusterID()
	}
	format := k.java(ctx, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", k.config())
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's data folder: %w\n%s", err, tail(out))
	}
	return nil
}

// newClusterID is a random id as Kafka wants it.
func newClusterID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[0] &= 0x7f    // an id that begins with - is taken for an option: one in 64 starts would fail
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func (k *Kafka) config() string { return filepath.Join(k.dir, "server.properties") }

const log4j = `appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
`

func properties(port, controller int, dir string, options KafkaOptions) []byte {
	lines := map[string]string{
		"process.roles":                    "broker,controller",
		"node.id":                          "1",
		"controller.quorum.voters":         "1@" + address(controller),
		"controller.listener.names":        "CONTROLLER",
		"listeners":                        "PLAINTEXT://" + address(port) + ",CONTROLLER://" + address(controller),
		"advertised.listeners":             "PLAINTEXT://" + address(port),
		"log.dirs":                         filepath.Join(dir, "data"),
		"auto.create.topics.enable":        "false",
		"group.initial.rebalance.delay.ms": "0",
		// A broker that was killed may register again only after its session has run out (9 s by default).
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
		// One node, so one replica, and few partitions for what the broker keeps for itself.
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"num.partitions":                                   "4",
	}
	if options.Partitions > 0 {
		lines["num.partitions"] = strconv.Itoa(options.Partitions)
	}
	if options.MessageMaxBytes > 0 {
		lines["message.max.bytes"] = strconv.Itoa(options.MessageMaxBytes)
	}
	maps.Copy(lines, options.Properties)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s=%s\n", name, lines[name])
	}
	return []byte(b.String())
}

// java runs a class of Kafka's jars. The first compiler alone starts sooner and is fast enough here.
func (k *Kafka) java(ctx context.Context, args ...string) *exec.Cmd {
	options := []string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + filepath.Join(k.dir, "log4j2.properties"),
		"-cp", filepath.Join(k.jars, "*"),
	}
	cmd := exec.CommandContext(ctx, "java", append(options, args...)...)
	cmd.Dir = k.dir
	return cmd
}

// Start starts the broker again after Stop or Kill, at the same address with the same data, and
// returns when it answers.
func (k *Kafka) Start(ctx context.Context) (err error) {
	command := func() *exec.Cmd {
		return k.java(context.WithoutCancel(ctx), "kafka.Kafka", k.config()) // it outlives ctx, which only bounds the start
	}
	if k.process, err = launch(ctx, addressPatience, command, filepath.Join(k.dir, "kafka.log"), k.answers); err != nil {
		return fmt.Errorf("start Kafka at %s: %w", k.Addr, err)
	}
	return nil
}

// answers checks that the broker is registered and leads its partitions, which takes a moment longer
// after a restart.
func (k *Kafka) answers(ctx context.Context) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(k.Addr), Transport: transport, Timeout: time.Second}
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	if len(meta.Brokers) == 0 {
		return errors.New("no broker is registered yet")
	}
	return LeadersReady(ctx, client)
}

// LeadersReady checks that each partition, of the topics named or of all, can be written and read: a
// broker names the leaders of a new topic a moment before they lead.
func LeadersReady(ctx context.Context, client *kafka.Client, topics ...string) error {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return err
	}
	ends := make(map[string][]kafka.OffsetRequest)
	for _, topic := range meta.Topics {
		if topic.Error != nil {
			return fmt.Errorf("topic %s: %w", topic.Name, topic.Error)
		}
		if topic.Internal && len(meta.Brokers) > 1 {
			continue // the library does not look for the leaders of these
		}
		for _, p := range topic.Partitions {
			ends[topic.Name] = append(ends[topic.Name], kafka.LastOffsetOf(p.ID))
		}
	}
	res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ends})
	if err != nil {
		return err
	}
	for topic, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, p.Error)
			}
		}
	}
	return nil
}

// Stop ends the broker as an operator would.
func (k *Kafka) Stop() error {
	if k.process == nil {
		return nil
	}
	return k.process.stop()
}

// Kill ends the broker as a crash would.
func (k *Kafka) Kill() {
	if k.process != nil {
		k.process.kill()
	}
}

// Close ends the broker and removes its data.
func (k *Kafka) Close() error {
	return errors.Join(k.Stop(), os.RemoveAll(k.dir))
}
