package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// log is a reader of topics in this world.
func (w *world) log(topics ...string) *Log {
	w.t.Helper()
	l, err := NewLog(ConnConfig{Brokers: w.brokers, ClientID: "test", Topics: topics, Dial: w.net.DialContext})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// readValues reads a range, and gives what is in it.
func readValues(l *Log, r LogRange) (got []string, err error) {
	_, err = l.Read(context.Background(), r, func(records []Record, next int64) error {
		for i := range records {
			got = append(got, string(records[i].Value))
			if records[i].Offset >= next || records[i].Offset < r.From || records[i].Offset >= r.To {
				return fmt.Errorf("offset %d is outside", records[i].Offset)
			}
		}
		return nil
	})
	return got, err
}

func TestALogReadsTheRangeAndNothingElse(t *testing.T) {
	inWorld(t, func(w *world) {
		all := numbered("v", 50)
		w.produce("events", 1, all...) // one batch
		for _, v := range numbered("w", 20) {
			w.produce("events", 1, v)
			all = append(all, v)
		}
		l := w.log("events")
		defer l.Close()
		bounds, err := l.Bounds(w.t.Context(), "events")
		if err != nil || len(bounds) != 2 || bounds[1] != (LogBounds{1, 0, 70}) || bounds[0] != (LogBounds{0, 0, 0}) {
			t.Fatalf("%v, %v", bounds, err)
		}
		for _, fetch := range []int{0, 1, 200} {
			for _, r := range [][2]int64{{0, 70}, {10, 20}, {49, 51}, {55, 56}, {60, 60}, {69, 70}} {
				got, err := readValues(l, LogRange{Topic: "events", Partition: 1, From: r[0], To: r[1], FetchBytes: fetch})
				if err != nil || strings.Join(got, " ") != strings.Join(all[r[0]:r[1]], " ") {
					t.Errorf("%v in answers of %d bytes: %v, %v", r, fetch, got, err)
				}
			}
		}
		if _, err := l.Bounds(w.t.Context(), "other"); !errors.Is(err, kafka.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "other") {
			t.Errorf("a topic that is missing: %v", err)
		}
	}, kfake.SeedTopics(2, "events"))
}

// refuseFetches answers fetches of the first partition asked for with an error, while refuses says so.
func (w *world) refuseFetches(code *kerr.Error, refuses func() bool) {
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if !refuses() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.FetchRequest)
		res := req.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic = req.Topics[0].Topic
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.Partition, partition.ErrorCode = req.Topics[0].Partitions[0].Partition, code.Code
		topic.Partitions = append(topic.Partitions, partition)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
}

func TestALogWaitsForLeadersThatAreAwayButNotForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("v", 5)...)
		l := w.log("events")
		defer l.Close()
		if _, err := l.Bounds(w.t.Context(), "events"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		away := 20 * time.Second
		w.refuseFetches(kerr.NotLeaderForPartition, func() bool { return time.Since(began) < away })
		whole := LogRange{Topic: "events", From: 0, To: 5}
		if got, err := readValues(l, whole); err != nil || len(got) != 5 || time.Since(began) < away {
			t.Errorf("%v, %v after %s", got, err, time.Since(began))
		}
		began, away = time.Now(), time.Hour
		_, err := readValues(l, whole)
		if took := time.Since(began); !errors.Is(err, kafka.NotLeaderForPartition) || took < l.pace.patience || took > 2*l.pace.patience {
			t.Errorf("%v after %s", err, took)
		}
		began = time.Now()
		ctx, cancel := context.WithTimeoutCause(w.t.Context(), 5*time.Second, errors.New("enough"))
		defer cancel()
		if _, err := l.Read(ctx, whole, func([]Record, int64) error { return nil }); err == nil || err.Error() != "enough" || time.Since(began) > 6*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	}, kfake.SeedTopics(1, "events"))
}

func TestALogNamesWhatIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, "v")
		l := w.log("events")
		defer l.Close()
		if _, err := l.Bounds(w.t.Context(), "events"); err != nil {
			t.Fatal(err)
		}
		var allowed atomic.Bool
		w.refuseFetches(kerr.TopicAuthorizationFailed, func() bool { return !allowed.Load() })
		var denied *DeniedError
		if _, err := readValues(l, LogRange{Topic: "events", From: 0, To: 1}); !errors.As(err, &denied) || denied.Operation != "Read" {
			t.Errorf("%v", err)
		}
		allowed.Store(true)
		stop := errors.New("seen enough")
		if _, err := l.Read(w.t.Context(), LogRange{Topic: "events", From: 0, To: 1}, func([]Record, int64) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("the caller's error became %v", err)
		}
		if _, err := readValues(l, LogRange{Topic: "events", From: 7, To: 9}); err == nil || !strings.Contains(err.Error(), "made anew") {
			t.Errorf("beyond the end: %v", err)
		}
	}, kfake.SeedTopics(1, "events"))
}

func TestALogFindsOffsetsByTime(t *testing.T) {
	inWorld(t, func(w *world) {
		base := time.Now().Add(-time.Hour)
		w.stamped("events", 0, base, base.Add(10*time.Second), base.Add(20*time.Second))
		l := w.log("events")
		defer l.Close()
		bounds, err := l.Bounds(w.t.Context(), "events")
		if err != nil {
			t.Fatal(err)
		}
		for after, want := range map[time.Duration]int64{-time.Minute: 0, 0: 0, time.Second: 1, 20 * time.Second: 2, time.Minute: 3} {
			if got, err := l.OffsetsAt(w.t.Context(), "events", bounds, base.Add(after)); err != nil || got[0] != want {
				t.Errorf("at %s: %v, %v, want %d", after, got, err, want)
			}
		}
	}, kfake.SeedTopics(1, "events"))
}
