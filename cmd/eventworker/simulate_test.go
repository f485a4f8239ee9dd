package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"eventworker/internal/storefront"
)

func TestSimulateIsRepeatable(t *testing.T) {
	args := []string{"simulate", "--count", "300", "--seed", "7", "--end", "2026-08-03T10:00:00Z"}
	first, second := call(t, nil, args...), call(t, nil, args...)
	if first.code != exitOK || strings.Count(first.out, "\n") != 300 || first.out != second.out {
		t.Errorf("code %d, %d lines, equal %t; %s", first.code, strings.Count(first.out, "\n"), first.out == second.out, first.err)
	}
	for line := range strings.Lines(first.out) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("no JSON: %s", line)
		}
	}
	if other := call(t, nil, append(args, "--seed", "8")...); other.out == first.out {
		t.Error("another seed makes the same traffic")
	}
	if !strings.Contains(first.err, "simulating 300 messages, seed 7, to standard output\n") || !strings.Contains(first.err, "simulated 300/300 100%") {
		t.Errorf("standard error: %q", first.err)
	}
}

func TestSimulateToFilesWithTruth(t *testing.T) {
	inDir(t, nil)
	r := call(t, nil, "simulate", "--count", "500", "--out", "log.jsonl", "--truth", "truth.jsonl", "--poison", "0.2")
	if r.code != exitOK || r.out != "" || !strings.Contains(r.err, "truth written to truth.jsonl") {
		t.Fatalf("%+v", r)
	}
	f, err := os.Open("truth.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := storefront.ReadTruth(f); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile("log.jsonl")
	if err != nil || bytes.Count(log, []byte("\n")) != 500 {
		t.Errorf("%d lines, %v", bytes.Count(log, []byte("\n")), err)
	}
}

func TestSimulateValuesAreLinesForCheck(t *testing.T) {
	r := call(t, nil, "simulate", "--count", "300", "--poison", "0", "--format", "value")
	for line := range strings.Lines(r.out) {
		var m struct{ Type string }
		if err := json.Unmarshal([]byte(line), &m); err != nil || !strings.HasPrefix(m.Type, "recommendation.") {
			t.Fatalf("%v in %s", err, line)
		}
	}
	if strings.Count(r.out, "\n") != 300 {
		t.Errorf("%d lines", strings.Count(r.out, "\n"))
	}
}

func TestSimulateRefusesWhatCannotBe(t *testing.T) {
	inDir(t, nil)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--count wants", []string{"--count", "0"}},
		{"--late wants a share", []string{"--late", "1.5"}},
		{"--poison wants a share", []string{"--poison", "NaN"}},
		{"--rate wants", []string{"--rate", "-1"}},
		{"longer than 12 hours", []string{"--rate", "0.1"}},
		{"--end wants a time", []string{"--end", "yesterday"}},
		{"--create-topics needs", []string{"--create-topics"}},
		{"give all types one topic", []string{"--truth", "t", "--clicked-topic", "clicks"}},
		{"--format wants one of", []string{"--format", "csv"}},
		{"duration", []string{"--duration", "100h"}},
	} {
		r := call(t, nil, append([]string{"simulate", "--out", "log"}, c.args...)...)
		if r.code != exitUsage || !strings.Contains(r.err, c.want) {
			t.Errorf("%v: code %d, %q; want 2 and %q", c.args, r.code, r.err, c.want)
		}
	}
	if r := call(t, nil, "simulate", "--out", "no/such/directory"); r.code != exitFailed {
		t.Errorf("a file that cannot be made: %+v", r)
	}
}

func startBroker(t *testing.T, o ...kfake.Opt) string {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// readAll reads a topic from its beginning to its end.
func readAll(t *testing.T, broker, topic string, partitions int) (records []kafka.Message) {
	t.Helper()
	for p := range partitions {
		records = append(records, readPartition(t, broker, topic, p)...)
	}
	return records
}

func readPartition(t *testing.T, broker, topic string, p int) (records []kafka.Message) {
	t.Helper()
	conn, err := kafka.DialLeader(t.Context(), "tcp", broker, topic, p)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, end, err := conn.ReadOffsets()
	if err != nil {
		t.Fatal(err)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: topic, Partition: p, MaxWait: 50 * time.Millisecond})
	defer reader.Close()
	for range end {
		m, err := reader.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, m)
	}
	return records
}

func TestSimulateToABrokerKeepsPartitionsOrderAndTimes(t *testing.T) {
	inDir(t, nil)
	broker := startBroker(t)
	args := []string{"simulate", "--count", "2000", "--seed", "3", "--end", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}
	r := call(t, nil, append(args, "--brokers", broker, "--create-topics", "--partitions", "3", "--truth", "truth")...)
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	records := readAll(t, broker, "recommendation-events", 3)
	want := map[string]string{}
	for line := range strings.Lines(call(t, nil, append(args, "--partitions", "3")...).out) {
		var m struct {
			Seq, Time int64
			Partition int
			Key       string
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		want[fmt.Sprint(m.Seq)] = fmt.Sprint(m.Partition, m.Time, m.Key)
	}
	last := map[int]int{}
	for _, m := range records {
		seq := string(m.Headers[0].Value)
		if got := fmt.Sprint(m.Partition, m.Time.UnixMilli(), string(m.Key)); got != want[seq] {
			t.Fatalf("message %s: %s, want %s", seq, got, want[seq])
		}
		var number int
		fmt.Sscan(seq, &number)
		if number <= last[m.Partition] && last[m.Partition] > 0 {
			t.Fatalf("partition %d: message %d after %d", m.Partition, number, last[m.Partition])
		}
		last[m.Partition] = number
		delete(want, seq)
	}
	if len(records) != 2000 || len(want) != 0 {
		t.Errorf("%d records, %d missing", len(records), len(want))
	}
}

func TestSimulateTakesThePartitionsOfTheBroker(t *testing.T) {
	broker := startBroker(t, kfake.SeedTopics(5, "recommendation-events", "shown"), kfake.SeedTopics(2, "other"))
	r := call(t, nil, "simulate", "--count", "200", "--brokers", broker, "--shown-topic", "shown")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	all := len(readAll(t, broker, "recommendation-events", 5)) + len(readAll(t, broker, "shown", 5))
	if all != 200 {
		t.Errorf("%d records", all)
	}
	for want, args := range map[string][]string{
		"but topic recommendation-events has 5": {"--partitions", "4"},
		"joins topics with the same number":     {"--clicked-topic", "other"},
		"Try: eventworker simulate --create":    {"--topic", "absent"},
	} {
		r := call(t, nil, append([]string{"simulate", "--count", "1", "--brokers", broker}, args...)...)
		if r.code == exitOK || !strings.Contains(r.err, want) {
			t.Errorf("%v: %+v, want %q", args, r, want)
		}
	}
}

func TestSimulateWithoutABrokerFails(t *testing.T) {
	r := call(t, nil, "simulate", "--count", "1", "--brokers", "127.0.0.1:1")
	if r.code != exitFailed || !strings.Contains(r.err, "Error: no broker answers at 127.0.0.1:1, which --brokers names: dial tcp") || strings.Contains(r.err, "kafka.(") {
		t.Errorf("%+v", r)
	}
}

func TestSimulateKeepsItsRateAndStopsWhenInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if r := callWith(t.Context(), nil, "simulate", "--count", "100", "--rate", "10"); r.code != exitOK {
			t.Errorf("%+v", r)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("100 messages at 10/s took %v", took)
		}

		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(35*time.Second, func() { cancel(&interrupted{syscall.SIGINT}) })
		r := callWith(ctx, nil, "simulate", "--count", "600", "--rate", "10")
		if r.code != 130 || strings.Count(r.out, "\n") != 349 && strings.Count(r.out, "\n") != 350 {
			t.Errorf("code %d, %d messages, %s", r.code, strings.Count(r.out, "\n"), r.err)
		}
		if n := strings.Count(r.err, "\nsimulated "); n != 4 {
			t.Errorf("%d lines of progress in 35 s, want 3 and a last one:\n%s", n, r.err)
		}
		if !strings.Contains(r.err, "simulated 100/600 16% 10/s left 50s\n") {
			t.Errorf("progress:\n%s", r.err)
		}
	})
}

func TestInterruptedSimulationWritesNoTruth(t *testing.T) {
	inDir(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupted{syscall.SIGTERM})
	r := callWith(ctx, nil, "simulate", "--count", "10000", "--out", "log", "--truth", "truth")
	if _, err := os.Stat("truth"); r.code != 143 || !os.IsNotExist(err) || !strings.Contains(r.err, "no truth is written") {
		t.Errorf("%+v, truth: %v", r, err)
	}
}
