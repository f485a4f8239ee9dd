package insights

import (
	"math"

	"eventworker/internal/batch"
)

// item is a part of a batch whose events have no outcome yet: what the queue of a deliverer holds.
type item[R any] struct {
	b    *batch.Batch[R]
	i, j int // events i to j, j excluded

	attempts    int   // requests that carried these events
	firstTry    int64 // start of the first of them, Unix milliseconds; 0: none yet
	firstFailed int64 // start of the first of them that failed; 0: none did
	status      int   // of the last answer; 0: there was none
	cursor      int   // the event that the next probe carries; below i: the first
}

func (it *item[R]) len() int { return it.j - it.i }

// oldest is the time of the oldest event, in milliseconds: the first, as batches are in time order.
func (it *item[R]) oldest() int64 { return it.b.Entries[it.i].Time }

// part is the item without some of its events.
func (it *item[R]) part(i, j int) *item[R] {
	p := *it
	p.i, p.j = i, j
	return &p
}

// expired is how many of the item's events, from the first on, must leave at the time now: those
// older than maxAge, or all once the item was tried for longer than maxElapsed. A limit of 0 is none.
// All times are in milliseconds.
func (it *item[R]) expired(now, maxAge, maxElapsed int64) int {
	if maxElapsed > 0 && it.firstTry > 0 && now-it.firstTry > maxElapsed {
		return it.len()
	}
	n := 0
	for maxAge > 0 && n < it.len() && now-it.b.Entries[it.i+n].Time > maxAge {
		n++
	}
	return n
}

// expiry is when expired will next be more than 0; never if that is never.
func (it *item[R]) expiry(maxAge, maxElapsed int64) int64 {
	at := never
	if t := it.oldest(); maxAge > 0 && t < never-maxAge {
		at = t + maxAge + 1
	}
	if maxElapsed > 0 && it.firstTry > 0 {
		at = min(at, it.firstTry+maxElapsed+1)
	}
	return at
}

// never is a time that does not come.
const never int64 = math.MaxInt64

// queue holds the items that wait: urgent ones, last in, first out, so that the search for a bad
// event ends before other batches are begun; then the others in order.
type queue[R any] struct {
	urgent []*item[R]
	items  []*item[R]
	head   int // items before it were taken
}

func (q *queue[R]) pushUrgent(it *item[R]) { q.urgent = append(q.urgent, it) }

func (q *queue[R]) push(it *item[R]) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
}

func (q *queue[R]) pop() *item[R] {
	if n := len(q.urgent); n > 0 {
		it := q.urgent[n-1]
		q.urgent[n-1] = nil
		q.urgent = q.urgent[:n-1]
		return it
	}
	if q.head == len(q.items) {
		return nil
	}
	it := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return it
}

// each calls f for every item and removes those for which it returns false.
func (q *queue[R]) each(f func(*item[R]) bool) {
	q.urgent = keepIf(q.urgent, f)
	q.items = keepIf(append(q.items[:0], q.items[q.head:]...), f)
	q.head = 0
}

func keepIf[R any](items []*item[R], f func(*item[R]) bool) []*item[R] {
	kept := items[:0]
	for _, it := range items {
		if f(it) {
			kept = append(kept, it)
		}
	}
	clear(items[len(kept):])
	return kept
}
