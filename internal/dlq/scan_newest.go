package dlq

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"eventworker/internal/consume"
)

// ListOptions say how [Desk.Newest] lists.
type ListOptions struct {
	// Limit ends the list after so many rows; 0: no limit.
	Limit int
	// Mask masks what rows tell; nil: nothing is masked.
	Mask   *Masker
	Limits Limits
	// Progress as in [ScanOptions].
	Progress func(Report)
}

const (
	// heldRows bounds the rows that a list holds while it merges the partitions, of which each has as
	// many once more on the way: about 40 MB in all.
	heldRows    = 32 << 10
	firstWindow = 128
	lastWindow  = 8192
	leastWindow = 256
	// readsAtOnce bounds the requests that are under way.
	readsAtOnce = 4
	leastFetch  = 64 << 10
	mostFetch   = 512 << 10
)

// Newest calls fn for the letters of the snapshot that the filter takes, the newest first by the time
// they were written. The row is fn's. It reads each partition backwards, window by window, and no
// further than the limit needs.
func (d *Desk) Newest(ctx context.Context, s Snapshot, f *Filter, o ListOptions, fn func(*Row) error) (Report, error) {
	t := tally{snapshot: s, total: s.Total(), progress: o.Progress, last: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel(nil)

	slots := make(chan struct{}, readsAtOnce)
	var m merge
	for _, p := range byPartition(s.Ranges) {
		c := &cursor{windows: make(chan window, 1), partition: p[0].Partition, bound: time.Unix(1<<40, 0)}
		b := backwards{d: d, filter: f, slots: slots, out: c.windows, rower: rower{mask: o.Mask, limits: o.Limits},
			most: min(max(heldRows/max(s.Partitions, 1), leastWindow), lastWindow), fetch: leastFetch}
		readers.Go(func() { b.run(ctx, p) })
		m = append(m, c)
	}
	heap.Init(&m)
	err := m.drain(ctx, &t, o.Limit, fn)
	if err == nil {
		err = context.Cause(ctx)
	}
	return t.report(err)
}

// byPartition groups ranges, which are in order.
func byPartition(ranges []Range) (groups [][]Range) {
	for i, r := range ranges {
		if i == 0 || ranges[i-1].Partition != r.Partition {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	return groups
}

// window is a stretch of a partition that was read.
type window struct {
	rows   []Row     // what the filter takes, in order of offset
	oldest time.Time // of the records that were read; zero: there were none
	counts counts
	err    error
}

// cursor goes back through the windows of one partition.
type cursor struct {
	windows   chan window // closed after the last
	partition int32
	rows      []Row // what is left of the current window
	// bound is a time that no row to come is after, as far as a partition's times rise.
	bound time.Time
}

func (c *cursor) top() time.Time {
	if n := len(c.rows); n > 0 {
		return c.rows[n-1].Time
	}
	return c.bound
}

// merge is a heap of cursors, the newest row or bound on top.
type merge []*cursor

func (m merge) Len() int      { return len(m) }
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m merge) Less(i, j int) bool {
	a, b := m[i].top(), m[j].top()
	if a.Equal(b) {
		// A window that is not read yet may hold a row of this very time.
		if (len(m[i].rows) == 0) != (len(m[j].rows) == 0) {
			return len(m[i].rows) == 0
		}
		return m[i].partition > m[j].partition
	}
	return a.After(b)
}

// Push implements heap.Interface; cursors are never added.
func (m *merge) Push(x any) { *m = append(*m, x.(*cursor)) }

// Pop implements heap.Interface.
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// drain hands out rows until there are none, or enough.
func (m *merge) drain(ctx context.Context, t *tally, limit int, fn func(*Row) error) error {
	for given := 0; len(*m) > 0; {
		c := (*m)[0]
		if n := len(c.rows); n > 0 {
			if limit > 0 && given == limit {
				return &Stop{Why: "limit " + Thousands(int64(limit))}
			}
			row := &c.rows[n-1]
			c.rows = c.rows[:n-1]
			if err := fn(row); err != nil {
				return err
			}
			given++
			t.add(counts{matched: 1})
			heap.Fix(m, 0)
			continue
		}
		w, more, err := c.next(ctx)
		if err != nil {
			return err
		}
		if !more {
			heap.Pop(m)
			continue
		}
		t.add(w.counts)
		c.rows = w.rows
		if !w.oldest.IsZero() && w.oldest.Before(c.bound) {
			c.bound = w.oldest
		}
		heap.Fix(m, 0)
	}
	return nil
}

func (c *cursor) next(ctx context.Context) (w window, more bool, err error) {
	select {
	case w, more = <-c.windows:
		return w, more, w.err
	case <-ctx.Done():
		return w, false, context.Cause(ctx)
	}
}

// backwards reads a partition's ranges from their end, in windows that grow.
type backwards struct {
	d      *Desk
	filter *Filter
	slots  chan struct{}
	out    chan<- window
	rower  rower
	most   int // offsets in a window
	fetch  int // bytes that a window takes in the log, about
}

func (b *backwards) run(ctx context.Context, ranges []Range) {
	defer close(b.out)
	size := int64(firstWindow)
	for _, r := range slices.Backward(ranges) {
		for to := r.To; to > r.From; {
			from := max(r.From, to-size)
			w := b.read(ctx, Range{r.Partition, from, to})
			select {
			case b.out <- w:
			case <-ctx.Done():
				return
			}
			if w.err != nil {
				return
			}
			to = from
			size = min(4*size, int64(b.most))
		}
	}
}

func (b *backwards) read(ctx context.Context, r Range) (w window) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return window{err: context.Cause(ctx)}
	}
	var letter Letter
	at := r.From
	w.counts.gone, w.err = b.d.in.Read(ctx, consume.LogRange{Topic: b.d.Topics.DeadLetter, Partition: r.Partition, From: r.From, To: r.To, FetchBytes: b.fetch}, func(records []consume.Record, next int64) error {
		if next < r.To { // it took more than one answer
			b.fetch = min(2*b.fetch, mostFetch)
		}
		for i := range records {
			letter.fill(r.Partition, &records[i])
			if w.oldest.IsZero() || letter.Time.Before(w.oldest) {
				w.oldest = letter.Time
			}
			switch {
			case !letter.marked:
				w.counts.foreign++
			case b.filter.Match(&letter):
				if w.rows == nil {
					w.rows = make([]Row, 0, min(int64(len(records)-i), r.To-letter.Offset))
				}
				w.rows = append(w.rows, b.rower.row(&letter))
			}
		}
		w.counts.records += int64(len(records))
		w.counts.scanned += next - at
		at = next
		return ctx.Err()
	})
	// Times of one partition may fall: brokers and workers have clocks of their own.
	slices.SortStableFunc(w.rows, func(a, b Row) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Offset, b.Offset)) })
	return w
}
