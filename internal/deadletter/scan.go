package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Record is a record of a dead-letter topic, or of any other one.
type Record struct {
	Partition int32
	Offset    int64
	Time      time.Time
	// Key and Value are nil where the record has none.
	Key, Value []byte
	Headers    []Header
}

const (
	scanTimeout    = 10 * time.Second
	scanFetchBytes = 1 << 20
	scanWait       = 250 * time.Millisecond
	// scanStalls is how many requests in a row may bring nothing before the scan gives up.
	scanStalls = 40
)

// Read calls fn for each record that the topic holds when Read is called, partition by partition, in
// order of offset. Records that are written meanwhile are left out. The record belongs to fn. Read
// ends with the first error; records of aborted transactions are not told apart.
func Read(ctx context.Context, brokers []string, topic string, fn func(Record)) error {
	transport := &kafka.Transport{MetadataTopics: []string{topic}}
	defer transport.CloseIdleConnections()
	s := scan{
		client: &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport, Timeout: scanTimeout},
		topic:  topic,
		fn:     fn,
	}
	ranges, err := s.ranges(ctx)
	if err != nil {
		return fmt.Errorf("read topic %s: %w", topic, err)
	}
	for _, r := range ranges {
		if err := s.partition(ctx, r); err != nil {
			return fmt.Errorf("read topic %s partition %d: %w", topic, r.Partition, err)
		}
	}
	return nil
}

type scan struct {
	client *kafka.Client
	topic  string
	fn     func(Record)
}

// ranges are the first and the end offset of each partition now, in order of partition.
func (s *scan) ranges(ctx context.Context) ([]kafka.PartitionOffsets, error) {
	meta, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{s.topic}})
	if err != nil {
		return nil, err
	}
	if err := meta.Topics[0].Error; err != nil {
		return nil, err
	}
	var asked []kafka.OffsetRequest
	for _, p := range meta.Topics[0].Partitions {
		asked = append(asked, kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
	}
	res, err := s.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{s.topic: asked}})
	if err != nil {
		return nil, err
	}
	ranges := res.Topics[s.topic]
	for i := range ranges {
		if err := ranges[i].Error; err != nil {
			return nil, fmt.Errorf("partition %d: %w", ranges[i].Partition, err)
		}
	}
	slices.SortFunc(ranges, func(a, b kafka.PartitionOffsets) int { return a.Partition - b.Partition })
	return ranges, nil
}

// partition reads from the first to the end offset. Offsets may have gaps: a request that brings no
// record of its offset or later, though the partition's end is beyond, steps over what is there, such
// as the marker of a transaction.
func (s *scan) partition(ctx context.Context, r kafka.PartitionOffsets) error {
	stalls := 0
	for offset := r.FirstOffset; offset < r.LastOffset; {
		next, err := s.fetch(ctx, r.Partition, offset, r.LastOffset)
		if err != nil {
			return err
		}
		if stalls++; next > offset {
			stalls = 0
		}
		if stalls == scanStalls {
			return fmt.Errorf("nothing comes from offset %d on, though the end is %d", offset, r.LastOffset)
		}
		offset = next
	}
	return nil
}

// fetch makes one request and returns the offset to go on from.
func (s *scan) fetch(ctx context.Context, partition int, offset, end int64) (next int64, err error) {
	res, err := s.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: s.topic, Partition: partition, Offset: offset,
		MinBytes: 1, MaxBytes: scanFetchBytes, MaxWait: scanWait,
	})
	if err != nil {
		return offset, err
	}
	if res.Error != nil {
		return offset, res.Error
	}
	next = offset
	for {
		record, err := res.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return next, err
		}
		if record.Offset < next || record.Offset >= end { // a batch is handed out whole
			continue
		}
		own, err := s.own(partition, record)
		if err != nil {
			return next, err
		}
		s.fn(own)
		next = record.Offset + 1
	}
	if next == offset && res.HighWatermark > offset {
		next++ // a record that is no message
	}
	return next, nil
}

func (s *scan) own(partition int, r *kafka.Record) (own Record, err error) {
	own = Record{Partition: int32(partition), Offset: r.Offset, Time: r.Time}
	if own.Key, err = kafka.ReadAll(r.Key); err != nil {
		return own, err
	}
	if own.Value, err = kafka.ReadAll(r.Value); err != nil {
		return own, err
	}
	for _, h := range r.Headers {
		own.Headers = append(own.Headers, Header(h))
	}
	return own, nil
}
