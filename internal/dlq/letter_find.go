package dlq

import (
	"context"
	"fmt"

	"eventworker/internal/consume"
)

// maxFound bounds the letters that one source record may have: it is dead again after each replay.
const maxFound = 20

// Find gives the letters of an address, copied: one for a place in the dead-letter topic, and the
// newest twenty for a source record, the oldest first. None is an error that says what is there.
func (d *Desk) Find(ctx context.Context, a Address) ([]*Letter, Report, error) {
	s, err := d.Snapshot(ctx, &Filter{})
	if err != nil {
		return nil, Report{}, err
	}
	if a.Source == nil {
		return d.findPlace(ctx, s, a)
	}
	return d.findSource(ctx, s, *a.Source)
}

func (d *Desk) findPlace(ctx context.Context, s Snapshot, a Address) ([]*Letter, Report, error) {
	report := Report{Total: 1, Snapshot: Snapshot{Topic: s.Topic, Partitions: s.Partitions, At: s.At, Ranges: []Range{{a.Partition, a.Offset, a.Offset + 1}}}}
	there := Range{Partition: a.Partition}
	for _, r := range s.Ranges {
		if r.Partition == a.Partition {
			there = r
		}
	}
	switch {
	case int(a.Partition) >= s.Partitions:
		return nil, report, callf("eventworker dlq list", "there is no dead letter at %s: topic %s has the partitions 0 to %d", a, s.Topic, s.Partitions-1)
	case there.From == there.To:
		return nil, report, callf("eventworker dlq list", "there is no dead letter at %s: partition %d of topic %s is empty", a, a.Partition, s.Topic)
	case a.Offset < there.From || a.Offset >= there.To:
		return nil, report, callf("eventworker dlq list", "there is no dead letter at %s: topic %s holds the offsets %d to %d (not included) of partition %d", a, s.Topic, there.From, there.To, a.Partition)
	}
	var found []*Letter
	_, err := d.in.Read(ctx, consume.LogRange{Topic: s.Topic, Partition: a.Partition, From: a.Offset, To: a.Offset + 1, FetchBytes: leastFetch}, func(records []consume.Record, _ int64) error {
		for i := range records {
			found = append(found, LetterOf(a.Partition, &records[i]).Clone())
		}
		return nil
	})
	if err != nil {
		return nil, report, err
	}
	report.Scanned, report.Records, report.Matched, report.Complete = 1, int64(len(found)), int64(len(found)), true
	if len(found) == 0 {
		return nil, report, callf("eventworker dlq list", "there is no record at %s: it is the marker of a transaction, or it was removed", a)
	}
	if !found[0].IsDeadLetter() {
		return nil, report, callf("eventworker dlq list", "the record at %s has no headers of a dead letter", a)
	}
	return found, report, nil
}

// findSource looks first in the partition where the worker puts the letters of the source's partition,
// and then, because the topic may have grown, in the others.
func (d *Desk) findSource(ctx context.Context, s Snapshot, source Coordinates) ([]*Letter, Report, error) {
	expected, others := s, s
	expected.Ranges, others.Ranges = nil, nil
	for _, r := range s.Ranges {
		if int(r.Partition) == int(source.Partition)%s.Partitions {
			expected.Ranges = append(expected.Ranges, r)
		} else {
			others.Ranges = append(others.Ranges, r)
		}
	}
	f := new(Filter)
	if err := f.Add("topic", quoteValue(source.Topic), false, s.At); err != nil {
		return nil, Report{}, err
	}
	var found []*Letter
	var sum Report
	for _, part := range []Snapshot{expected, others} {
		report, err := d.Scan(ctx, part, f, ScanOptions{}, func(l *Letter) error {
			if l.Source() != source {
				return nil
			}
			if found = append(found, l.Clone()); len(found) > maxFound {
				found = found[1:]
			}
			return nil
		})
		sum.Scanned, sum.Records, sum.Foreign, sum.Gone = sum.Scanned+report.Scanned, sum.Records+report.Records, sum.Foreign+report.Foreign, sum.Gone+report.Gone
		sum.Total += report.Total
		sum.Complete, sum.Why, sum.Snapshot, sum.Matched = report.Complete, report.Why, s, int64(len(found))
		if err != nil {
			return nil, sum, err
		}
		if len(found) > 0 {
			return found, sum, nil
		}
	}
	return nil, sum, callf("eventworker dlq list --topic "+source.Topic, "there is no dead letter of %s: %s", source, fmt.Sprintf("all %s offsets were read", Thousands(sum.Scanned)))
}
