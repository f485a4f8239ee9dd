package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"eventworker/internal/consume"
)

// Range is the offsets from ≤ o < to of a partition of the dead-letter topic.
type Range struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from,string"`
	To        int64 `json:"to,string"`
}

// Snapshot is what a scan will read: offsets that were resolved at one moment. What is written
// later does not belong to it, so a scan ends.
type Snapshot struct {
	Topic string `json:"topic"`
	// Ranges are in order of partition and offset, and do not overlap. Empty ones are left out.
	Ranges []Range `json:"ranges"`
	// Partitions is how many the topic has.
	Partitions int       `json:"partitions"`
	At         time.Time `json:"at"`
}

// Total is the number of offsets.
func (s *Snapshot) Total() (n int64) {
	for _, r := range s.Ranges {
		n += r.To - r.From
	}
	return n
}

// clockMargin is how far the clocks of workers and brokers may be apart for since to find, by the
// records' times, all that failed since.
const clockMargin = 5 * time.Minute

// Snapshot resolves what the filter says of partitions, offsets and since into offsets of the
// dead-letter topic as it is now.
func (d *Desk) Snapshot(ctx context.Context, f *Filter) (Snapshot, error) {
	s := Snapshot{Topic: d.Topics.DeadLetter, Ranges: []Range{}, At: time.Now().UTC()}
	bounds, err := d.Bounds(ctx, s.Topic)
	if err != nil {
		return s, err
	}
	s.Partitions = len(bounds)
	starts := make([]int64, len(bounds))
	for i, b := range bounds {
		starts[i] = b.Start
	}
	if !f.Since.IsZero() {
		if starts, err = d.in.OffsetsAt(ctx, s.Topic, bounds, f.Since.Add(-clockMargin)); err != nil {
			return s, err
		}
	}
	for i, b := range bounds {
		for _, r := range f.narrow(Range{b.Partition, starts[i], b.End}, b) {
			if r.From < r.To {
				s.Ranges = append(s.Ranges, r)
			}
		}
	}
	return s, nil
}

// narrow applies what the filter says of partitions and offsets to a range of one partition.
func (f *Filter) narrow(whole Range, b consume.LogBounds) []Range {
	ranges := []Range{whole}
	for i := range f.Clauses {
		c := &f.Clauses[i]
		var named []Range
		switch c.Key {
		case keyPartition:
			if slices.Contains(c.Values, fmt.Sprint(whole.Partition)) {
				named = []Range{whole}
			}
		case keyOffsets:
			for _, r := range c.ranges {
				if r.Partition >= 0 && r.Partition != whole.Partition {
					continue
				}
				one := Range{whole.Partition, r.From, r.To}
				if r.Last > 0 {
					one.From, one.To = b.End-r.Last, b.End
				} else if r.To < 0 {
					one.To = b.End
				}
				named = append(named, one)
			}
		default:
			continue
		}
		if c.Not {
			ranges = without(ranges, named)
		} else {
			ranges = within(ranges, named)
		}
	}
	return ranges
}

// within is what two lists of ranges of one partition have in common, in order, without overlaps.
func within(list, named []Range) (out []Range) {
	slices.SortFunc(named, func(a, b Range) int { return int(min(max(a.From-b.From, -1), 1)) })
	for _, r := range list {
		at := r.From
		for _, n := range named {
			from, to := max(at, n.From), min(r.To, n.To)
			if from < to {
				out = append(out, Range{r.Partition, from, to})
				at = to
			}
		}
	}
	return out
}

// without is list less named.
func without(list, named []Range) (out []Range) {
	slices.SortFunc(named, func(a, b Range) int { return int(min(max(a.From-b.From, -1), 1)) })
	for _, r := range list {
		at := r.From
		for _, n := range named {
			if n.To <= at || n.From >= r.To {
				continue
			}
			if n.From > at {
				out = append(out, Range{r.Partition, at, n.From})
			}
			at = max(at, n.To)
		}
		if at < r.To {
			out = append(out, Range{r.Partition, at, r.To})
		}
	}
	return out
}

// Report says what a scan read. Total = what was to be read, in offsets; Scanned = what was.
type Report struct {
	Scanned int64 `json:"scanned"`
	Total   int64 `json:"total"`
	// Records are the messages among the offsets: markers of transactions and gaps are none.
	Records int64 `json:"records"`
	Matched int64 `json:"matched"`
	// Foreign are records without the headers of a dead letter, which are passed over.
	Foreign int64 `json:"foreign"`
	// Gone are offsets that retention removed under way; they count as scanned.
	Gone     int64 `json:"gone"`
	Complete bool  `json:"complete"`
	// Why says why it is not complete.
	Why      string   `json:"why"`
	Snapshot Snapshot `json:"snapshot"`
}

// String is the line that every scan ends with, such as: scanned 41,207 of 41,207 (complete: yes)
// matched 40,000.
func (r *Report) String() string {
	complete := "complete: yes"
	if !r.Complete {
		complete = "complete: no"
		if r.Why != "" {
			complete += ", " + r.Why
		}
	}
	text := fmt.Sprintf("scanned %s of %s offsets (%s)   matched %s", Thousands(r.Scanned), Thousands(r.Total), complete, Thousands(r.Matched))
	if r.Foreign > 0 {
		text += fmt.Sprintf("   no dead letters %s", Thousands(r.Foreign))
	}
	if r.Gone > 0 {
		text += fmt.Sprintf("   removed by retention meanwhile %s", Thousands(r.Gone))
	}
	return text
}

// Offsets names the ranges of the snapshot, such as 0:100-200 1:0-50, at most a dozen.
func (s *Snapshot) Offsets() string {
	const most = 12
	var b strings.Builder
	for i, r := range s.Ranges {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(s.Ranges)-most)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d:%d-%d", r.Partition, r.From, r.To)
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

// Thousands writes a number with commas between its thousands.
func Thousands(n int64) string {
	text := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// Stop ends a scan without an error where the function that the scan calls gives it: it is reported as
// not complete, and Why is what Stop says.
type Stop struct{ Why string }

func (s *Stop) Error() string { return s.Why }

// ScanOptions say how to scan.
type ScanOptions struct {
	// Partitions is how many are read at a time; 0: 4. With 1 they are read one after the other.
	Partitions int
	// Progress is called now and then with what was read so far, by one goroutine at a time; nil: it
	// is not.
	Progress func(Report)
}

const (
	scanPartitions = 4
	progressEvery  = 100 * time.Millisecond
)

// Scan calls fn for each letter of the snapshot that the filter takes: those of one partition in order
// of offset, one call at a time. The letter is valid only during the call. The report counts what was
// read also where there is an error: ctx's, fn's, or that of the brokers.
func (d *Desk) Scan(ctx context.Context, s Snapshot, f *Filter, o ScanOptions, fn func(*Letter) error) (Report, error) {
	var mu sync.Mutex
	return d.scan(ctx, s, f, o, func(int) func(*Letter) error {
		return func(l *Letter) error {
			mu.Lock()
			defer mu.Unlock()
			return fn(l)
		}
	})
}

// scan reads several partitions at a time; begin gives the function that gets the letters of the n-th
// reader, which no other goroutine calls.
func (d *Desk) scan(ctx context.Context, s Snapshot, f *Filter, o ScanOptions, begin func(n int) func(*Letter) error) (Report, error) {
	t := tally{snapshot: s, total: s.Total(), progress: o.Progress, last: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var readers sync.WaitGroup
	atOnce := o.Partitions
	if atOnce <= 0 {
		atOnce = scanPartitions
	}
	for n := range min(atOnce, len(s.Ranges)) {
		fn := begin(n)
		readers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(s.Ranges) || ctx.Err() != nil {
					return
				}
				if err := d.scanRange(ctx, s.Ranges[i], f, &t, fn); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	readers.Wait()
	return t.report(context.Cause(ctx))
}

func (d *Desk) scanRange(ctx context.Context, r Range, f *Filter, t *tally, fn func(*Letter) error) error {
	var letter Letter
	at := r.From
	gone, err := d.in.Read(ctx, consume.LogRange{Topic: d.Topics.DeadLetter, Partition: r.Partition, From: r.From, To: r.To}, func(records []consume.Record, next int64) error {
		var c counts
		defer func() { t.add(c) }()
		for i := range records {
			rec := &records[i]
			c.records++
			c.scanned += rec.Offset + 1 - at
			at = rec.Offset + 1
			letter.fill(r.Partition, rec)
			if !letter.marked {
				c.foreign++
				continue
			}
			if !f.Match(&letter) {
				continue
			}
			if err := fn(&letter); err != nil {
				return err
			}
			c.matched++
		}
		c.scanned += next - at
		at = next
		return ctx.Err()
	})
	t.add(counts{gone: gone})
	return err
}

type counts struct{ scanned, records, matched, foreign, gone int64 }

// tally adds up what the readers of a scan count.
type tally struct {
	mu       sync.Mutex
	snapshot Snapshot
	total    int64
	sum      counts
	progress func(Report)
	last     time.Time
}

func (t *tally) add(c counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.scanned += c.scanned
	t.sum.records += c.records
	t.sum.matched += c.matched
	t.sum.foreign += c.foreign
	t.sum.gone += c.gone
	if now := time.Now(); t.progress != nil && now.Sub(t.last) >= progressEvery {
		t.last = now
		t.progress(t.counted())
	}
}

func (t *tally) counted() Report {
	return Report{Scanned: t.sum.scanned, Total: t.total, Records: t.sum.records, Matched: t.sum.matched, Foreign: t.sum.foreign,
		Gone: t.sum.gone, Snapshot: t.snapshot}
}

// report ends the scan; err is why it ended early, nil if it did not.
func (t *tally) report(err error) (Report, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.counted()
	var stop *Stop
	switch {
	case err == nil:
		r.Complete = true
	case errors.As(err, &stop):
		r.Why = stop.Why
		return r, nil
	case errors.Is(err, context.DeadlineExceeded):
		r.Why = "time ran out"
	default:
		r.Why = "stopped: " + err.Error()
	}
	return r, err
}
