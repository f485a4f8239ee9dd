package deadletter

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/event"
)

const (
	deadTopic = "dead"
	patience  = 30 * time.Second // how long a test waits for what must come
)

var quick = pace{first: time.Millisecond, most: 5 * time.Millisecond, held: 5 * time.Millisecond}

// rig is a broker in this process with a writer on it.
type rig struct {
	*testing.T
	cluster *kfake.Cluster
	writer  *Writer
	logs    *observer.ObservedLogs
	brokers []string
	written sync.WaitGroup
}

func newRig(t *testing.T, cfg Config, opts ...kfake.Opt) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	core, logs := observer.New(zapcore.InfoLevel)
	cfg.Brokers, cfg.Topic, cfg.Group = cluster.ListenAddrs(), deadTopic, "g"
	w, err := newWriter(cfg, quick, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, cluster: cluster, writer: w, logs: logs, brokers: cfg.Brokers}
	t.Cleanup(func() { _ = w.Close(cancelled()) })
	return r
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// put puts a letter of a partition and an offset; wait waits for it.
func (r *rig) put(partition int32, offset int64, change ...func(*Letter)) {
	l := rejected()
	l.Partition, l.Offset = partition, offset
	for _, f := range change {
		f(l)
	}
	r.written.Add(1)
	r.writer.Put(l, r.written.Done)
}

func (r *rig) wait() {
	r.Helper()
	done := make(chan struct{})
	go func() {
		r.written.Wait()
		close(done)
	}()
	await(r.T, done)
}

func await(t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		t.Fatal("what was waited for did not come")
	}
}

// eventually polls for a state that has no signal of its own.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func (r *rig) read() []Record {
	r.Helper()
	var records []Record
	if err := Read(context.Background(), r.brokers, deadTopic, func(one Record) { records = append(records, one) }); err != nil {
		r.Fatal(err)
	}
	return records
}

// offsets are the source offsets of the records, in order, by source partition.
func (r *rig) offsets() map[int32][]int64 {
	r.Helper()
	offsets := map[int32][]int64{}
	for _, one := range r.read() {
		c, err := Decode(one.Headers)
		if err != nil {
			r.Fatal(err)
		}
		offsets[c.Partition] = append(offsets[c.Partition], c.Offset)
	}
	return offsets
}

// refuse answers produce requests with an error as long as refuses says so, and counts those.
func (r *rig) refuse(code *kerr.Error, refuses func() bool) *atomic.Int64 {
	count := new(atomic.Int64)
	r.cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if !refuses() {
			return nil, nil, false
		}
		count.Add(1)
		return answer(kreq.(*kmsg.ProduceRequest), code.Code), nil, true
	})
	return count
}

func answer(req *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, code
			topic.Partitions = append(topic.Partitions, partition)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func TestDoneComesOnlyAfterAllReplicasAcknowledged(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(1, deadTopic))
	arrived, release := make(chan struct{}), make(chan struct{})
	r.cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if acks := kreq.(*kmsg.ProduceRequest).Acks; acks != -1 {
			t.Errorf("acks %d", acks)
		}
		close(arrived)
		r.cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	done := make(chan struct{})
	r.writer.Put(rejected(), func() { close(done) })
	await(t, arrived)
	select {
	case <-done:
		t.Error("done before the broker answered")
	default:
	}
	if n, bytes := r.writer.Pending(); n != 1 || bytes <= 0 {
		t.Errorf("%d letters, %d bytes pending", n, bytes)
	}
	close(release)
	await(t, done)
	if n, bytes := r.writer.Pending(); n != 0 || bytes != 0 {
		t.Errorf("%d letters, %d bytes pending", n, bytes)
	}
	if got := r.offsets(); !reflect.DeepEqual(got, map[int32][]int64{3: {18112}}) {
		t.Errorf("written: %v", got)
	}
}

func TestTheRecordArrivesUntouchedWithTheTimeOfWriting(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(4, deadTopic))
	pairs := [][2][]byte{{nil, nil}, {{}, {}}, {nil, {}}, {{}, nil}, {{0, 0xFF}, {'v'}}}
	for i, pair := range pairs {
		r.put(6, int64(i), func(l *Letter) { l.Key, l.Value = pair[0], pair[1] })
	}
	r.wait()
	records := r.read()
	if len(records) != len(pairs) {
		t.Fatalf("%d records", len(records))
	}
	for i, one := range records {
		if one.Partition != 6%4 {
			t.Errorf("record %d is in partition %d", i, one.Partition)
		}
		if !reflect.DeepEqual(one.Key, pairs[i][0]) || !reflect.DeepEqual(one.Value, pairs[i][1]) {
			t.Errorf("record %d: key %#v value %#v, want %#v", i, one.Key, one.Value, pairs[i])
		}
		if got, want := Originals(one.Headers), rejected().Headers; !reflect.DeepEqual(got, want) {
			t.Errorf("record %d: headers %q, want %q", i, got, want)
		}
		if age := time.Since(one.Time); age < -time.Second || age > patience {
			t.Errorf("record %d is %s old", i, age)
		}
	}
}

func TestLettersOfAPartitionKeepTheirOrderThroughRefusals(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(2, deadTopic))
	var n atomic.Int64
	refused := r.refuse(kerr.NotEnoughReplicas, func() bool { return n.Add(1)%3 != 0 })
	const partitions, letters = 5, 200
	want := map[int32][]int64{}
	for offset := range int64(letters) {
		for p := range int32(partitions) {
			r.put(p, offset)
			want[p] = append(want[p], offset)
		}
	}
	r.wait()
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
	if got := r.offsets(); !reflect.DeepEqual(got, want) {
		t.Errorf("offsets %v", got)
	}
}

func TestAnOutageIsSaidOnceAndItsEndToo(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic))
	var away atomic.Bool
	away.Store(true)
	refused := r.refuse(kerr.NotEnoughReplicas, away.Load)
	for p := range int32(3) {
		r.put(p, 1)
	}
	eventually(t, "no second try", func() bool { return refused.Load() > 12 })
	if ok, why := r.writer.Healthy(); ok || !strings.Contains(why, deadTopic) {
		t.Errorf("healthy %v: %q", ok, why)
	}
	away.Store(false)
	r.wait()
	eventually(t, "the end was not said", func() bool { return r.logs.FilterMessageSnippet("written again").Len() == 1 })
	if n := r.logs.FilterMessageSnippet("cannot be written").Len(); n != 1 {
		t.Errorf("the outage was said %d times", n)
	}
	if ok, why := r.writer.Healthy(); !ok {
		t.Error(why)
	}
}

func TestLettersWaitForATopicThatIsMissing(t *testing.T) {
	r := newRig(t, Config{})
	r.put(1, 1)
	eventually(t, "healthy without a topic", func() bool { ok, _ := r.writer.Healthy(); return !ok })
	if _, why := r.writer.Healthy(); !strings.Contains(why, "kafka.create_topics") {
		t.Errorf("the state does not say what to do: %s", why)
	}
	if _, _, err := r.writer.Check(t.Context()); err == nil {
		t.Error("Check finds a topic")
	}
	r.create()
	r.wait()
}

func TestCheckCreatesTheTopicWhereToldTo(t *testing.T) {
	r := newRig(t, Config{CreateTopic: true, Partitions: 7})
	for range 2 {
		if n, _, err := r.writer.Check(t.Context()); n != 7 || err != nil {
			t.Errorf("%d partitions, %v", n, err)
		}
	}
}

func TestCheckWarnsOfSettingsUnderWhichLettersDoNotLast(t *testing.T) {
	r := newRig(t, Config{MaxEventAge: 95 * time.Hour})
	r.create("retention.ms", "3600000", "cleanup.policy", "compact")
	_, warnings, err := r.writer.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(warnings, "\n"); !strings.Contains(text, "cleanup.policy") || !strings.Contains(text, "1h0m0s") {
		t.Errorf("warnings: %s", text)
	}
	quiet := newRig(t, Config{MaxEventAge: 95 * time.Hour}, kfake.SeedTopics(1, deadTopic))
	if _, warnings, err := quiet.writer.Check(t.Context()); err != nil || len(warnings) != 0 {
		t.Errorf("%v, %v", warnings, err)
	}
}

// create makes the topic with one partition and settings, given as name and value.
func (r *rig) create(settings ...string) {
	r.Helper()
	topic := kafka.TopicConfig{Topic: deadTopic, NumPartitions: 1, ReplicationFactor: 1}
	for i := 0; i < len(settings); i += 2 {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: settings[i], ConfigValue: settings[i+1]})
	}
	res, err := r.writer.client.CreateTopics(r.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err == nil {
		err = res.Errors[deadTopic]
	}
	if err != nil {
		r.Fatal(err)
	}
}

// limited starts a rig whose topic takes batches of at most limit bytes.
func limited(t *testing.T, limit int) *rig {
	t.Helper()
	r := newRig(t, Config{})
	r.create("max.message.bytes", strconv.Itoa(limit))
	return r
}

func TestATopicWithASmallLimitTakesABatchInPieces(t *testing.T) {
	r := limited(t, 20_000)
	var open atomic.Bool
	refused := r.refuse(kerr.NotEnoughReplicas, func() bool { return !open.Load() })
	var want []int64
	for offset := range int64(500) {
		r.put(0, offset)
		want = append(want, offset)
	}
	eventually(t, "no request", func() bool { return refused.Load() > 1 })
	open.Store(true)
	r.wait()
	if got := r.offsets()[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("offsets %v", got)
	}
	if ok, why := r.writer.Healthy(); !ok {
		t.Error(why)
	}
}

func TestALetterThatIsTooLargeLosesItsOptionalHeadersFirst(t *testing.T) {
	r := limited(t, 4000)
	large := func(l *Letter) {
		l.Value = noise(2500)
		for i := range 100 {
			l.Resolved = append(l.Resolved, Resolved{Index: i, QueryID: hex.EncodeToString(noise(16 * (i + 1))[16*i:]), IndexName: "products", Position: 1})
		}
	}
	r.put(0, 1, large)
	r.put(0, 2)
	r.wait()
	records := r.read()
	c, err := Decode(records[0].Headers)
	if err != nil {
		t.Fatal(err)
	}
	if c.Offset != 1 || len(records[0].Value) != 2500 || c.Resolved != nil || len(c.Parts) != 3 {
		t.Errorf("%+v", c)
	}
	if n, bytes := r.writer.Pending(); n != 0 || bytes != 0 {
		t.Errorf("%d letters, %d bytes pending", n, bytes)
	}
}

func TestARecordThatDoesNotFitIsHeldLoudlyWhileOthersGoOn(t *testing.T) {
	r := limited(t, 4000)
	var wasWritten atomic.Bool
	huge := rejected()
	huge.Partition, huge.Offset, huge.Value = 0, 1, noise(5000)
	stuck := make(chan struct{})
	r.put(0, 0)
	r.writer.Put(huge, func() { wasWritten.Store(true); close(stuck) })
	for offset := int64(2); offset < 50; offset++ {
		r.put(0, offset)
	}
	r.wait()
	eventually(t, "the letter is not held", func() bool { return r.logs.FilterMessageSnippet("refused").Len() == 1 })
	ok, why := r.writer.Healthy()
	for _, part := range []string{"recommendation-events partition 0 offset 1", "max.message.bytes is 4000", "raise"} {
		if ok || !strings.Contains(why, part) {
			t.Errorf("healthy %v, %q is missing in: %s", ok, part, why)
		}
	}
	if wasWritten.Load() {
		t.Error("a letter that does not fit was written")
	}
	r.raise(100_000)
	await(t, stuck)
	eventually(t, "not healthy again", func() bool { ok, _ := r.writer.Healthy(); return ok })
	if got := r.offsets()[0]; len(got) != 50 || got[len(got)-1] != 1 {
		t.Errorf("offsets %v", got)
	}
}

// raise sets the topic's max.message.bytes.
func (r *rig) raise(limit int) {
	r.Helper()
	res, err := r.writer.client.IncrementalAlterConfigs(r.Context(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: deadTopic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "max.message.bytes", Value: strconv.Itoa(limit), ConfigOperation: kafka.ConfigOperationSet}},
		}},
	})
	if err != nil {
		r.Fatal(err)
	}
	for _, one := range res.Resources {
		if one.Error != nil {
			r.Fatal(one.Error)
		}
	}
}

func TestARecordThatTheBrokerCallsInvalidDoesNotHoldUpOthers(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(1, deadTopic))
	var heal atomic.Bool
	r.cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		if heal.Load() || !strings.Contains(string(req.Topics[0].Partitions[0].Records), "poison") {
			return nil, nil, false
		}
		return answer(req, kerr.InvalidRecord.Code), nil, true
	})
	held := 0
	for offset := range int64(40) {
		if offset%2 == 0 {
			r.put(0, offset)
			continue
		}
		held++
		l := rejected()
		l.Partition, l.Offset, l.Value = 0, offset, []byte("poison")
		r.writer.Put(l, func() {})
	}
	r.wait()
	eventually(t, "poison is not held", func() bool { n, _ := r.writer.Pending(); return n == held && r.heldLetters() == held })
	if ok, why := r.writer.Healthy(); ok || !strings.Contains(why, fmt.Sprint(held)) {
		t.Errorf("healthy %v: %s", ok, why)
	}
	heal.Store(true)
	eventually(t, "poison is not written", func() bool { n, _ := r.writer.Pending(); return n == 0 })
	if got := len(r.read()); got != 40 {
		t.Errorf("%d records", got)
	}
}

func TestALetterThatCanBeWrittenAgainIsFoundBehindManyThatCannot(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(1, deadTopic))
	var heal atomic.Bool
	r.cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		records := string(req.Topics[0].Partitions[0].Records)
		if strings.Contains(records, "poison") || strings.Contains(records, "curable") && !heal.Load() {
			return answer(req, kerr.InvalidRecord.Code), nil, true
		}
		return nil, nil, false
	})
	const poison = 3 * maxHeldTries
	for offset := range int64(poison) {
		r.writer.Put(&Letter{Offset: offset, Value: []byte("poison")}, func() { t.Error("poison was written") })
	}
	r.put(0, poison, func(l *Letter) { l.Value = []byte("curable") })
	eventually(t, "not all are held", func() bool { return r.heldLetters() == poison+1 })
	heal.Store(true)
	r.wait()
	if n := r.heldLetters(); n != poison {
		t.Errorf("%d letters are held", n)
	}
	if n := r.writer.Abandon(); n != poison {
		t.Errorf("%d letters were abandoned", n)
	}
	if ok, why := r.writer.Healthy(); !ok {
		t.Errorf("after Abandon: %s", why)
	}
}

func TestAbandonWhileALetterIsBeingRefusedTouchesNoNewLetter(t *testing.T) {
	r := limited(t, 4000)
	abandoned := make(chan struct{})
	r.cluster.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		if n := r.writer.Abandon(); n != 1 {
			t.Errorf("%d letters were abandoned", n)
		}
		r.put(0, 10)
		close(abandoned)
		r.cluster.DropControl()
		return nil, nil, false
	})
	huge := rejected()
	huge.Partition, huge.Value = 0, noise(5000)
	r.writer.Put(huge, func() { t.Error("written") })
	await(t, abandoned)
	r.wait()
	if n := r.heldLetters(); n != 0 {
		t.Errorf("%d letters are held", n)
	}
	if got := r.offsets()[0]; !reflect.DeepEqual(got, []int64{10}) {
		t.Errorf("offsets %v", got)
	}
}

func TestReadLeavesOutWhatIsWrittenMeanwhile(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(2, deadTopic))
	r.put(0, 1)
	r.put(1, 2)
	r.wait()
	var got []int64
	err := Read(t.Context(), r.brokers, deadTopic, func(one Record) {
		if c, err := Decode(one.Headers); err == nil {
			got = append(got, c.Offset)
		}
		if len(got) == 1 {
			r.put(1, 3)
			r.wait()
		}
	})
	if err != nil || !reflect.DeepEqual(got, []int64{1, 2}) {
		t.Errorf("offsets %v, %v", got, err)
	}
}

func TestReadOfAMissingTopicSaysSo(t *testing.T) {
	r := newRig(t, Config{})
	err := Read(t.Context(), r.brokers, deadTopic, func(Record) {})
	if !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Error(err)
	}
}

func (r *rig) heldLetters() int {
	r.writer.health.mu.Lock()
	defer r.writer.health.mu.Unlock()
	return len(r.writer.health.held)
}

func TestCloseFlushesWhatWasPut(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic))
	var n atomic.Int64
	r.refuse(kerr.NotEnoughReplicas, func() bool { return n.Add(1)%2 == 0 })
	for offset := range int64(300) {
		r.put(int32(offset%7), offset)
	}
	if err := r.writer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wait()
	if got := len(r.read()); got != 300 {
		t.Errorf("%d records", got)
	}
	if err := r.writer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r.writer.Put(rejected(), func() { t.Error("written after Close") })
	if n, _ := r.writer.Pending(); n != 0 {
		t.Errorf("%d letters pending after Close", n)
	}
}

func TestCloseSaysHowManyLettersItLeaves(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(1, deadTopic))
	refused := r.refuse(kerr.NotEnoughReplicas, func() bool { return true })
	for offset := range int64(3) {
		r.writer.Put(&Letter{Offset: offset}, func() { t.Error("a refused letter is done") })
	}
	eventually(t, "no try", func() bool { return refused.Load() > 1 })
	if err := r.writer.Close(cancelled()); err == nil || !strings.Contains(err.Error(), "3 dead letters") {
		t.Error(err)
	}
}

func TestCloseDoesNotWaitForLettersThatCannotBeWritten(t *testing.T) {
	r := limited(t, 4000)
	huge := rejected()
	huge.Value = noise(5000)
	r.writer.Put(huge, func() { t.Error("written") })
	eventually(t, "the letter is not held", func() bool { return r.heldLetters() == 1 })
	if err := r.writer.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "1 dead letters") {
		t.Error(err)
	}
}

func TestAfterAbandonNothingOfTheOldLettersIsDone(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(1, deadTopic))
	arrived, release := make(chan struct{}), make(chan struct{})
	var slept atomic.Bool
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if !slept.Swap(true) {
			close(arrived)
			r.cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	for offset := range int64(3) {
		r.writer.Put(&Letter{Offset: offset, Refusal: event.Refusal{Reason: event.Invalid, Stage: event.StageDecode}}, func() { t.Error("an abandoned letter is done") })
	}
	await(t, arrived)
	if n := r.writer.Abandon(); n != 3 {
		t.Errorf("%d letters were abandoned", n)
	}
	if n, bytes := r.writer.Pending(); n != 0 || bytes != 0 {
		t.Errorf("%d letters, %d bytes pending", n, bytes)
	}
	r.put(0, 10) // of the next generation, in the same lane
	close(release)
	r.wait()
	if got := r.offsets()[0]; got[len(got)-1] != 10 {
		t.Errorf("offsets %v: the new letter is missing", got)
	}
}

func TestARequestThatTimesOutIsTriedAgain(t *testing.T) {
	r := newRig(t, Config{Timeout: 200 * time.Millisecond}, kfake.SeedTopics(1, deadTopic))
	release := make(chan struct{})
	defer close(release)
	var slept atomic.Bool
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if !slept.Swap(true) {
			r.cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	r.put(0, 1)
	r.wait()
	if n := r.logs.FilterMessageSnippet("cannot be written").Len(); n != 1 {
		t.Errorf("the time-out was said %d times", n)
	}
}

func TestAMovedLeaderIsFound(t *testing.T) {
	r := newRig(t, Config{}, kfake.NumBrokers(3), kfake.SeedTopics(1, deadTopic))
	r.put(0, 1)
	r.wait()
	leader := r.cluster.LeaderFor(deadTopic, 0)
	if err := r.cluster.MoveTopicPartition(deadTopic, 0, (leader+1)%3); err != nil {
		t.Fatal(err)
	}
	r.put(0, 2)
	r.wait()
	if got := r.offsets()[0]; !reflect.DeepEqual(got, []int64{1, 2}) {
		t.Errorf("offsets %v", got)
	}
}

func TestAWriterWithoutTargetIsRefused(t *testing.T) {
	for _, cfg := range []Config{{Topic: "t"}, {Brokers: []string{"b:1"}}} {
		if _, err := NewWriter(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "kafka.") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// noise is n bytes that no compression makes smaller, the same ones each time.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b) // it never fails
	return b
}
