package realtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/realtest"
	"eventworker/internal/realtest/servers"
)

const patience = 30 * time.Second

func TestKafkaTakesRecordsAndGivesThemBack(t *testing.T) {
	broker := realtest.Kafka(t)
	topic := realtest.Topic(t, broker, 3)
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(broker), Transport: transport, Timeout: patience}
	produceAndFetch(t, client, topic, "first life")
}

func produceAndFetch(t *testing.T, client *kafka.Client, topic, value string) {
	t.Helper()
	res, err := client.Produce(t.Context(), &kafka.ProduceRequest{
		Topic: topic, Partition: 2, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(value))}),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Fetch(t.Context(), &kafka.FetchRequest{
		Topic: topic, Partition: 2, Offset: res.BaseOffset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
	})
	if err == nil {
		err = got.Error
	}
	if err != nil {
		t.Fatal(err)
	}
	record, err := got.Records.ReadRecord()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(record.Value); err != nil || string(text) != value {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAnOwnKafkaComesBackAfterACrashWithItsData(t *testing.T) {
	k := realtest.OwnKafka(t, servers.KafkaOptions{Partitions: 5, MessageMaxBytes: 50_000})
	topic := realtest.Topic(t, k.Addr, -1)
	transport := &kafka.Transport{MetadataTTL: time.Second}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(k.Addr), Transport: transport, Timeout: patience}
	meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(meta.Topics[0].Partitions) != 5 {
		t.Fatalf("%+v, %v", meta, err)
	}
	produceAndFetch(t, client, topic, "first life")
	large, err := client.Produce(t.Context(), &kafka.ProduceRequest{
		Topic: topic, Partition: 0, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes(make([]byte, 60_000))}),
	})
	if err != nil || !errors.Is(large.Error, kafka.MessageSizeTooLarge) {
		t.Errorf("a record above message.max.bytes: %+v, %v", large, err)
	}

	k.Kill()
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh := &kafka.Transport{}
	defer fresh.CloseIdleConnections()
	client.Transport = fresh
	produceAndFetch(t, client, topic, "second life")
}

func TestRedisKeepsWhatItIsTold(t *testing.T) {
	redisKeeps(t, realtest.Redis(t))
}

func TestAnOwnRedisComesBackAfterACrash(t *testing.T) {
	r := realtest.OwnRedis(t)
	redisKeeps(t, r.Addr)
	r.Kill()
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	redisKeeps(t, r.Addr)
}

func redisKeeps(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("realtest:%s:%d", t.Name(), time.Now().UnixNano())
	fmt.Fprintf(conn, "SET %s v EX 60\r\nGETDEL %s\r\n", key, key)
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "$1\r\n", "v\r\n"} {
		if got, err := answers.ReadString('\n'); got != want || err != nil {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
}

// outcome records how a helper ends a test.
type outcome struct {
	testing.TB
	how string
}

func (o *outcome) Helper() {}

func (o *outcome) Skipf(string, ...any) { o.end("skipped") }

func (o *outcome) Fatalf(string, ...any) { o.end("failed") }

func (o *outcome) end(how string) {
	o.how = how
	runtime.Goexit()
}

func TestAMissingServerSkipsByHandAndFailsWhereItIsRequired(t *testing.T) {
	for _, one := range []struct{ require, want string }{{"", "skipped"}, {"1", "failed"}} {
		t.Setenv(realtest.EnvRequire, one.require)
		for env, helper := range map[string]func(testing.TB) string{realtest.EnvKafka: realtest.Kafka, realtest.EnvRedis: realtest.Redis} {
			t.Setenv(env, "")
			o := &outcome{TB: t}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				helper(o)
			}()
			<-ended
			if o.how != one.want {
				t.Errorf("without %s, %s=%q: %q, want %s", env, realtest.EnvRequire, one.require, o.how, one.want)
			}
			t.Setenv(env, "127.0.0.1:1")
			if got := helper(t); got != "127.0.0.1:1" {
				t.Errorf("with %s: %q", env, got)
			}
		}
	}
}
