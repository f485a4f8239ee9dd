// Package realtest gives tests the real servers that scripts/real-servers has started: Apache Kafka
// and Redis. A test that lacks its server is skipped, so that go test ./... runs anywhere; under
// EVENTWORKER_REQUIRE_REAL=1, as in .ci/run, it fails instead.
package realtest

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/realtest/servers"
)

// The environment that scripts/real-servers sets and tests read.
const (
	EnvKafka   = "EVENTWORKER_TEST_KAFKA"
	EnvRedis   = "EVENTWORKER_TEST_REDIS"
	EnvRequire = "EVENTWORKER_REQUIRE_REAL"
)

// Kafka is the host:port of a broker of Apache Kafka that other tests use too: take own topics
// ([Topic]) and own groups.
func Kafka(t testing.TB) string {
	t.Helper()
	return server(t, EnvKafka)
}

// Redis is the host:port of a Redis server that other tests use too: take an own key prefix.
func Redis(t testing.TB) string {
	t.Helper()
	return server(t, EnvRedis)
}

func server(t testing.TB, env string) string {
	t.Helper()
	address := os.Getenv(env)
	if address != "" {
		return address
	}
	if os.Getenv(EnvRequire) != "" {
		t.Fatalf("%s is set, but %s is not: run under go run ./scripts/real-servers -- go test …", EnvRequire, env)
	}
	t.Skipf("%s is not set: run under go run ./scripts/real-servers -- go test …", env)
	return ""
}

// OwnKafka starts a broker for this test alone, for tests that stop or kill it. It skips or fails like
// [Kafka].
func OwnKafka(t testing.TB, options servers.KafkaOptions) *servers.Kafka {
	t.Helper()
	Kafka(t)
	k, err := servers.StartKafka(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// OwnCluster starts three brokers for this test alone that keep each partition three times, for tests
// that lose a leader. It skips or fails like [Kafka].
func OwnCluster(t testing.TB) []*servers.Kafka {
	t.Helper()
	Kafka(t)
	nodes, err := servers.StartCluster(t.Context(), 3, servers.KafkaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, k := range nodes {
			k.Kill() // an orderly stop of the last ones would wait for a majority
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return nodes
}

// OwnRedis starts a Redis server for this test alone, for tests that stop or kill it. It skips or fails
// like [Redis].
func OwnRedis(t testing.TB, args ...string) *servers.Redis {
	t.Helper()
	Redis(t)
	r, err := servers.StartRedis(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// OwnRedisCluster starts a Redis Cluster for this test alone. It skips or fails like [Redis].
func OwnRedisCluster(t testing.TB, masters int, replicas bool, args ...string) *servers.RedisCluster {
	t.Helper()
	Redis(t)
	c, err := servers.StartRedisCluster(t.Context(), masters, replicas, args...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, c)
	return c
}

// OwnRedisSentinel starts a master, a replica and three sentinels for this test alone. It skips or fails
// like [Redis].
func OwnRedisSentinel(t testing.TB, args ...string) *servers.RedisSentinel {
	t.Helper()
	Redis(t)
	s, err := servers.StartRedisSentinel(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, s)
	return s
}

// OwnRedisTLS starts a server that speaks TLS only, for this test alone. It skips or fails like [Redis].
func OwnRedisTLS(t testing.TB, args ...string) *servers.RedisTLS {
	t.Helper()
	Redis(t)
	r, err := servers.StartRedisTLS(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, r)
	return r
}

func closeAtEnd(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

const (
	adminTimeout = 30 * time.Second
	pollInterval = 20 * time.Millisecond
)

// Topic creates a topic of its own for the test, with settings given as name and value, and deletes it
// at the test's end. It returns its name.
func Topic(t testing.TB, broker string, partitions int, settings ...string) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, t.Name()) + "-" + rand.Text()[:8]
	transport := &kafka.Transport{MetadataTTL: time.Second}
	client := &kafka.Client{Addr: kafka.TCP(broker), Transport: transport, Timeout: adminTimeout}
	config := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: -1} // the broker's default
	for i := 0; i+1 < len(settings); i += 2 {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: settings[i], ConfigValue: settings[i+1]})
	}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = res.Errors[name]
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	awaitLeaders(t, client, name)
	t.Cleanup(func() {
		defer transport.CloseIdleConnections()
		// The broker of the test may be gone by now, and its topics with it.
		_, _ = client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{name}})
	})
	return name
}

func awaitLeaders(t testing.TB, client *kafka.Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), adminTimeout)
	defer cancel()
	for {
		err := servers.LeadersReady(ctx, client, topic)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("topic %s does not get ready: %v", topic, err)
		case <-time.After(pollInterval):
		}
	}
}
