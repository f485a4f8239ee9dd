package dlq

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
)

// TailOptions say how to follow.
type TailOptions struct {
	Mask   *Masker
	Limits Limits
	// Every is how often the topic is looked at; 0: 500 ms. What is alike between two looks is one line.
	Every time.Duration
}

const tailEvery = 500 * time.Millisecond

// Collapsed is a new letter, and how many alike came with it.
type Collapsed struct {
	Row
	// Count is how many letters of the same cause came between two looks, this one, the newest,
	// included.
	Count int64
}

// Tail calls fn for the letters that are written from now on, the ones of one cause between two looks
// at the topic as one, until ctx ends or fn gives an error. It calls idle after each look; nil: nothing.
// The report counts from the call on; its error is ctx's, fn's, or that of the brokers.
func (d *Desk) Tail(ctx context.Context, f *Filter, o TailOptions, fn func(*Collapsed) error, idle func() error) (Report, error) {
	if o.Every <= 0 {
		o.Every = tailEvery
	}
	t := tally{last: time.Now()}
	from := map[int32]int64{}
	first, err := d.Bounds(ctx, d.Topics.DeadLetter)
	if err != nil {
		return t.report(err)
	}
	for _, b := range first {
		from[b.Partition] = b.End
	}
	ticker := time.NewTicker(o.Every)
	defer ticker.Stop()
	for {
		if idle != nil {
			if err := idle(); err != nil {
				return t.report(err)
			}
		}
		select {
		case <-ctx.Done():
			return t.report(context.Cause(ctx))
		case <-ticker.C:
		}
		if err := d.look(ctx, f, &o, &t, from, fn); err != nil {
			return t.report(err)
		}
	}
}

// look reads what came since the last look; from moves on.
func (d *Desk) look(ctx context.Context, f *Filter, o *TailOptions, t *tally, from map[int32]int64, fn func(*Collapsed) error) error {
	bounds, err := d.Bounds(ctx, d.Topics.DeadLetter)
	if errors.Is(err, kafka.UnknownTopicOrPartition) { // it is made anew: everything in it will be new
		clear(from)
		return nil
	}
	if err != nil {
		return err
	}
	s := Snapshot{Topic: d.Topics.DeadLetter, Partitions: len(bounds), At: time.Now().UTC()}
	for _, b := range bounds {
		if from[b.Partition] < b.Start || from[b.Partition] > b.End { // retention was faster, or it was made anew
			from[b.Partition] = b.Start
		}
		s.Ranges = append(s.Ranges, f.narrowTail(Range{b.Partition, from[b.Partition], b.End}, b)...)
	}
	w := rower{mask: o.Mask, limits: o.Limits}
	met := map[string]*Collapsed{}
	var order []*Collapsed
	report, err := d.Scan(ctx, s, f, ScanOptions{}, func(l *Letter) error {
		key := string(l.raw[slotCause])
		if c := met[key]; c != nil {
			c.Count++
			c.Row = w.row(l)
			return nil
		}
		c := &Collapsed{Row: w.row(l), Count: 1}
		if len(met) < maxCauses {
			met[key] = c
		}
		order = append(order, c)
		return nil
	})
	t.add(counts{scanned: report.Scanned, records: report.Records, matched: report.Matched, foreign: report.Foreign, gone: report.Gone})
	t.total += s.Total()
	if err != nil {
		return err
	}
	for _, b := range bounds {
		from[b.Partition] = b.End
	}
	for _, c := range order {
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// narrowTail is narrow for offsets that a snapshot did not see; a range counted from the end means
// nothing here.
func (f *Filter) narrowTail(r Range, b consume.LogBounds) (ranges []Range) {
	if r.From >= r.To {
		return nil
	}
	return f.narrow(r, b)
}
