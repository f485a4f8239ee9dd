package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Log reads topics outside of any group, as committed messages: what a transaction aborted, and the
// markers of transactions, are left out. Make it with [NewLog] and close it. Its methods may be called
// at the same time.
type Log struct {
	c      *Consumer
	client *kafka.Client
	pace   logPace

	mu      sync.Mutex
	leaders map[topicPartition]int32
}

// logPace says how long a [Log] waits, for tests to shorten.
type logPace struct {
	retry    time.Duration // between tries
	patience time.Duration // without any progress, before a read fails
}

// NewLog makes a Log of cfg.Topics, the topics that it may read. It does not connect yet.
func NewLog(cfg ConnConfig) (*Log, error) {
	c, err := New(Config{
		Brokers: cfg.Brokers, ClientID: cfg.ClientID, TLS: cfg.TLS, SASL: cfg.SASL, Dial: cfg.Dial,
		Group: "none", Topics: cfg.Topics,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Log{
		c:       c,
		client:  &kafka.Client{Addr: c.addr, Transport: c.transport, Timeout: 2 * callTimeout},
		pace:    logPace{retry: 250 * time.Millisecond, patience: 30 * time.Second},
		leaders: map[topicPartition]int32{},
	}, nil
}

// Close closes the connections; reads that still run end with an error.
func (l *Log) Close() {
	l.c.transport.CloseIdleConnections()
	l.c.connections.closeAll()
}

// LogBounds are the ends of a partition: the first offset that is there, and the end, below which no
// message belongs to an open transaction.
type LogBounds struct {
	Partition  int32
	Start, End int64
}

// Bounds asks for the ends of all partitions of a topic, in the order of their numbers. That one
// partition's leader does not answer is an error: nothing is left out silently.
func (l *Log) Bounds(ctx context.Context, topic string) ([]LogBounds, error) {
	tps, err := l.partitions(ctx, topic)
	if err != nil {
		return nil, l.explain(err)
	}
	known, err := l.c.bounds(ctx, tps, true)
	if err != nil {
		return nil, l.explain(err)
	}
	list := make([]LogBounds, len(tps))
	for i, tp := range tps {
		b, ok := known[tp]
		if !ok {
			return nil, fmt.Errorf("the leader of %s/%d does not tell its offsets: %w", topic, tp.partition, kafka.LeaderNotAvailable)
		}
		list[i] = LogBounds{Partition: tp.partition, Start: b.start, End: max(b.start, b.stable)}
	}
	return list, nil
}

// partitions are those of a topic, in the order of their numbers; it notes their leaders.
func (l *Log) partitions(ctx context.Context, topic string) ([]topicPartition, error) {
	lay, err := l.c.readLayout(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.leaders = lay.leaders
	l.mu.Unlock()
	var tps []topicPartition
	for tp := range lay.leaders {
		if tp.topic == topic {
			tps = append(tps, tp)
		}
	}
	if len(tps) == 0 {
		return nil, fmt.Errorf("topic %s does not exist: %w", topic, kafka.UnknownTopicOrPartition)
	}
	slices.SortFunc(tps, func(a, b topicPartition) int { return int(a.partition) - int(b.partition) })
	return tps, nil
}

// OffsetsAt gives, for each of the bounds, the offset of the first message with a record timestamp at
// or after a time, within the bounds; the end where there is none.
func (l *Log) OffsetsAt(ctx context.Context, topic string, bounds []LogBounds, at time.Time) ([]int64, error) {
	if _, err := l.partitions(ctx, topic); err != nil {
		return nil, l.explain(err)
	}
	byLeader := map[int32][]topicPartition{}
	for _, b := range bounds {
		tp := topicPartition{topic, b.Partition}
		byLeader[l.leader(tp)] = append(byLeader[l.leader(tp)], tp)
	}
	found := map[topicPartition]int64{}
	for leader, tps := range byLeader {
		offsets, err := l.c.listOffsets(ctx, leader, tps, listKind{max(at.UnixMilli(), 0), readCommitted})
		if err != nil {
			return nil, l.explain(err)
		}
		maps.Copy(found, offsets)
	}
	list := make([]int64, len(bounds))
	for i, b := range bounds {
		offset, ok := found[topicPartition{topic, b.Partition}]
		if !ok {
			return nil, fmt.Errorf("the leader of %s/%d does not tell its offsets: %w", topic, b.Partition, kafka.LeaderNotAvailable)
		}
		if offset < 0 || offset > b.End {
			offset = b.End
		}
		list[i] = max(offset, b.Start)
	}
	return list, nil
}

func (l *Log) leader(tp topicPartition) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if leader, ok := l.leaders[tp]; ok {
		return leader
	}
	return -1
}

// Settings are the topic's, by name; an empty map where the user may not read them.
func (l *Log) Settings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	if _, err := l.c.readLayout(ctx); err != nil && !errors.As(err, new(*DeniedError)) { // says why, where no broker answers
		return nil, l.explain(err)
	}
	res, err := l.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
	}}})
	if err != nil {
		return nil, l.explain(err)
	}
	settings := map[string]string{}
	for _, resource := range res.Resources {
		if errors.Is(resource.Error, kafka.TopicAuthorizationFailed) || errors.Is(resource.Error, kafka.ClusterAuthorizationFailed) {
			return settings, nil
		}
		if resource.Error != nil {
			return nil, l.explain(resource.Error)
		}
		for _, entry := range resource.ConfigEntries {
			settings[entry.ConfigName] = entry.ConfigValue
		}
	}
	return settings, nil
}

func (l *Log) explain(err error) error {
	_, err = classify(err, l.c.condition.on)
	return err
}

// LogRange is the offsets from ≤ o < to of a partition.
type LogRange struct {
	Topic     string
	Partition int32
	From, To  int64
	// FetchBytes bounds one answer, as it lies in the log; 0: 512 KiB.
	FetchBytes int
}

const (
	defaultLogFetch = 512 << 10
	// logRoom bounds what the batches of one answer unfold to, in bytes; a single batch may be larger,
	// up to Config.MaxBatchBytes.
	logRoom = 32 << 20
)

// Read calls fn for the records of a range, in order of offset, an answer of the leader at a time: next
// is the offset after everything that was read with them. The records, which may be none, belong to
// fn only until it returns. Leaders that move or are away are waited for, up to half a minute without
// progress. gone counts offsets that retention removed before they were read.
//
// It holds one answer at a time: at most FetchBytes and 32 MiB of what these unfold to.
func (l *Log) Read(ctx context.Context, r LogRange, fn func(records []Record, next int64) error) (gone int64, err error) {
	one := logReader{l: l, r: r, tp: topicPartition{r.Topic, r.Partition}, p: &Partition{Topic: r.Topic, ID: r.Partition}, since: time.Now()}
	one.build.maxBatch = l.c.cfg.MaxBatchBytes
	defer one.build.unpack.close()
	if one.r.FetchBytes <= 0 {
		one.r.FetchBytes = defaultLogFetch
	}
	for one.r.From < one.r.To {
		before := one.r.From
		err := one.next(ctx, fn)
		if ctx.Err() != nil {
			return one.gone, context.Cause(ctx)
		}
		if one.r.From > before {
			one.since = time.Now()
		}
		if err == nil {
			continue
		}
		var transient *logTrouble
		if !errors.As(err, &transient) {
			return one.gone, err
		}
		if time.Since(one.since) > l.pace.patience {
			return one.gone, fmt.Errorf("%s/%d from offset %d: %w", r.Topic, r.Partition, one.r.From, l.explain(transient.err))
		}
		if !sleep(ctx, l.pace.retry) {
			return one.gone, context.Cause(ctx)
		}
		_, _ = l.partitions(ctx, r.Topic) // who leads now; if nobody says, the next try fails again
	}
	return one.gone, nil
}

// logTrouble is an error that may pass.
type logTrouble struct{ err error }

func (t *logTrouble) Error() string { return t.err.Error() }

// logReader reads one range.
type logReader struct {
	l     *Log
	r     LogRange // From moves on
	tp    topicPartition
	p     *Partition
	build builder
	gone  int64
	since time.Time // of the last progress
}

// next makes one fetch and hands out its records.
func (o *logReader) next(ctx context.Context, fn func([]Record, int64) error) error {
	leader := o.l.leader(o.tp)
	if leader < 0 {
		return &logTrouble{kafka.LeaderNotAvailable}
	}
	req := &fetchRequest{
		broker: leader, clientID: o.l.c.cfg.ClientID, maxWait: int32(o.l.c.cfg.MaxWait / time.Millisecond), minBytes: 1,
		maxBytes: int32(o.r.FetchBytes), parts: []fetchPart{{o.p, o.r.From, int32(o.r.FetchBytes)}}, maxSet: o.l.c.maxSet(),
	}
	callCtx, cancel := context.WithTimeout(ctx, o.l.c.cfg.MaxWait+answerTime)
	defer cancel()
	msg, err := o.l.c.transport.RoundTrip(callCtx, o.l.c.addr, req)
	if err != nil {
		return &logTrouble{err}
	}
	res := msg.(*fetchResponse)
	defer res.free()
	if res.errorCode != 0 {
		return &logTrouble{kafka.Error(res.errorCode)}
	}
	if len(res.parts) == 0 {
		return &logTrouble{errors.New("the answer leaves the partition out")}
	}
	part := &res.parts[0]
	switch code := kafka.Error(part.errorCode); code {
	case 0:
		return o.take(part, fn)
	case kafka.OffsetOutOfRange:
		return o.skip(ctx, fn)
	case kafka.TopicAuthorizationFailed:
		return denied(code, "topic "+o.r.Topic, "Read")
	default:
		return &logTrouble{code}
	}
}

// take parses an answer and hands its records out.
func (o *logReader) take(part *partResponse, fn func([]Record, int64) error) error {
	cutSet(part.set, o.r.To)
	out := o.build.build(part, logRoom)
	defer func() {
		out.memory.freeBuffers(false)
		out.memory.freeRecords()
	}()
	records := out.records
	if n := len(records); n > 0 && records[n-1].Offset >= o.r.To {
		cut, _ := slices.BinarySearchFunc(records, o.r.To, func(r Record, to int64) int {
			if r.Offset < to {
				return -1
			}
			return 1
		})
		records = records[:cut]
	}
	if out.next > o.r.From {
		o.r.From = min(out.next, o.r.To)
		if err := fn(records, o.r.From); err != nil {
			return err
		}
	} else if out.err == nil {
		return &logTrouble{fmt.Errorf("nothing comes, though the end is %d", o.r.To)}
	}
	if out.err != nil {
		return fmt.Errorf("%s/%d: %w", o.r.Topic, o.r.Partition, out.err)
	}
	return nil
}

// cutSet leaves out the batches that begin at an offset or later: they need not be unfolded.
func cutSet(set *buffer, to int64) {
	if set == nil {
		return
	}
	for rest := set.b; ; {
		b, after, ok, err := nextBatch(rest)
		if err != nil || !ok {
			return // the builder tells
		}
		if b.base >= to {
			set.b = set.b[:len(set.b)-len(rest)]
			return
		}
		rest = after
	}
}

// skip passes over what retention removed. An offset beyond the end means that the topic was made anew.
func (o *logReader) skip(ctx context.Context, fn func([]Record, int64) error) error {
	known, err := o.l.c.bounds(ctx, []topicPartition{o.tp}, false)
	if err != nil {
		return &logTrouble{err}
	}
	b, ok := known[o.tp]
	switch {
	case !ok:
		return &logTrouble{kafka.LeaderNotAvailable}
	case o.r.From > b.end:
		return fmt.Errorf("%s/%d ends at offset %d, before %d: the topic was made anew meanwhile", o.r.Topic, o.r.Partition, b.end, o.r.From)
	case o.r.From >= b.start:
		return &logTrouble{kafka.OffsetOutOfRange}
	}
	to := min(b.start, o.r.To)
	o.gone += to - o.r.From
	o.r.From = to
	return fn(nil, to)
}
