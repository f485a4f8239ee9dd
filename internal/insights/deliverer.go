package insights

import (
	"context"
	"errors"
	"sync"
	"time"

	"eventworker/internal/batch"
)

// DelivererConfig says what a Deliverer has to know of events and their limits.
type DelivererConfig[R any] struct {
	// MaxBytes is the largest request body; an event that does not fit by itself is too large
	// without a request. 0: batch.DefaultMaxBytes.
	MaxBytes int
	// MaxEventAge: an event whose time is further in the past leaves as Expired before its next try,
	// whatever the application waits for; at once, if it will be too old at the time of the next try.
	// 0: no limit.
	MaxEventAge time.Duration
	// MaxElapsedTime: so do events without outcome this long after their first try. 0: no limit.
	MaxElapsedTime time.Duration
	// Message identifies the message of an event, for the rule that tells a bad message from an API
	// that refuses everything. nil: each event counts as a message of its own.
	Message func(R) uint64
	// IsPurchase says whether an event is a purchase. nil: none is.
	IsPurchase func(R) bool
	// DeadLetterAmbiguous: purchases leave as Ambiguous after a request that failed and may have been
	// taken all the same (delivery.ambiguous.purchases: dead-letter). Otherwise they are tried again.
	DeadLetterAmbiguous bool
	// Together says whether two neighbours in a batch are of one message, which is torn only where it must be;
	// nil: no two are.
	Together func(a, b R) bool
	// MaySend is asked before each request, under a lock, and must not wait: false while the caller's
	// right to deliver is in doubt, as when a group member has not been heard for its session
	// time-out. Events wait, and it is asked again within a second. nil: always.
	MaySend func() bool
	// Span is called before each request with its events and the number of the try, from 1; the Span it
	// gives is ended after it. It must not wait. nil: there are none.
	Span func(events []batch.Entry[R], attempt int) Span
}

// Span follows one request.
type Span interface {
	// EndRequest says how it ended: the HTTP status, 0 without an answer, and the kind of failure, empty for
	// events that were delivered.
	EndRequest(status int, kind string)
}

// Deliverer delivers batches of one application and tells what became of each event, for the life
// of a generation. Submit takes batches, Run does the work, Drain ends it.
//
// It tries events again until they have an outcome, as docs/contract.md, section 4, says. A refused
// batch is halved, the halves are delivered on their own, and so on, until the bad events stand
// alone: at most 2·log2(n) requests for each of them, and the good ones do not wait for them.
//
// Memory: the batches submitted and, for each part of one that waits apart, about 150 bytes.
type Deliverer[R any] struct {
	app    *Application
	cfg    DelivererConfig[R]
	settle Settle[R]
	// maxAge and maxElapsed are the limits in milliseconds, 0: none.
	maxAge, maxElapsed int64

	wake    chan struct{} // one token: the dispatcher has something to look at
	ended   chan struct{} // closed when Run returned
	senders sync.WaitGroup

	mu       sync.Mutex
	queue    queue[R]
	flying   map[*item[R]]int64 // items on the wire, each with the time of its oldest event
	expiry   int64              // no queued event expires before it
	open     int                // events without outcome
	held     int64              // bytes of these
	started  bool
	draining bool
	stop     context.CancelCauseFunc
}

// Settle takes what became of events i to j of a batch, j excluded. The batch is valid only during
// the call.
type Settle[R any] func(b *batch.Batch[R], i, j int, o Outcome)

// NewDeliverer returns a Deliverer for the application. settle gets each event exactly once, in
// contiguous parts of batches with one outcome; both are valid only during the call. It is called
// from the Deliverer's goroutines, several at a time, and not after Run returned. While it waits,
// one of the requests in flight, or the expiry of events, waits.
func NewDeliverer[R any](app *Application, cfg DelivererConfig[R], settle Settle[R]) *Deliverer[R] {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = batch.DefaultMaxBytes
	}
	return &Deliverer[R]{
		app: app, cfg: cfg, settle: settle,
		maxAge: cfg.MaxEventAge.Milliseconds(), maxElapsed: cfg.MaxElapsedTime.Milliseconds(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		flying: map[*item[R]]int64{}, expiry: never,
	}
}

// Submit takes the batch over and never waits; what bounds the queue is the caller's budget. It may
// be called before Run. What is submitted after Run returned has no outcome.
func (d *Deliverer[R]) Submit(b *batch.Batch[R]) {
	n := len(b.Entries)
	d.app.cfg.Observer.batch(string(b.Trigger), n, b.Bytes(0, n))
	d.mu.Lock()
	d.open += n
	d.held += weight(b, 0, n)
	d.enqueue(&item[R]{b: b, j: n}, false)
	d.mu.Unlock()
	poke(d.wake)
}

// enqueue puts an item into the queue; the lock is held.
func (d *Deliverer[R]) enqueue(it *item[R], urgent bool) {
	d.expiry = min(d.expiry, it.expiry(d.maxAge, d.maxElapsed))
	if urgent {
		d.queue.pushUrgent(it)
	} else {
		d.queue.push(it)
	}
}

// Pending is the number of events without outcome, and the time of the oldest of them in Unix
// milliseconds, 0 if there is none.
func (d *Deliverer[R]) Pending() (events int, oldest int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	oldest = never
	d.queue.each(func(it *item[R]) bool {
		oldest = min(oldest, it.oldest())
		return true
	})
	for _, at := range d.flying { // their batches may be gone already
		oldest = min(oldest, at)
	}
	if oldest == never {
		oldest = 0
	}
	return d.open, oldest
}

// Load is what a deliverer has to do.
type Load struct {
	Events int
	Bytes  int64 // of the encoded events
}

// Load is what there is to do now.
func (d *Deliverer[R]) Load() Load {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Load{Events: d.open, Bytes: d.held}
}

// weight is the size of events i to j with a comma for each, so that the weights of parts add up.
func weight[R any](b *batch.Batch[R], i, j int) int64 {
	return int64(b.Entries[j-1].End-b.Entries[i].Start) + 1
}

// errRunning is what a second Run returns.
var errRunning = errors.New("insights: the deliverer runs already, or did")

// errDrainTimeout is the cause with which requests on the wire end when the time to drain is over.
var errDrainTimeout = errors.New("the time to drain is over")

// Run delivers until Drain has finished, and then returns nil, or until ctx is done: then requests
// on the wire are given up and it returns ctx's cause. It waits for all goroutines it started. To
// stop in good order call Drain while ctx is still alive. After a Drain it does nothing.
func (d *Deliverer[R]) Run(ctx context.Context) error {
	requests, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.mu.Lock()
	if d.started || d.draining {
		defer d.mu.Unlock()
		if d.started {
			return errRunning
		}
		return nil
	}
	d.started, d.stop = true, stop
	d.mu.Unlock()
	defer close(d.ended)
	defer d.app.listen(d.wake)()

	d.dispatchLoop(requests)
	d.senders.Wait()
	return context.Cause(ctx)
}

// Drain ends the delivery: what is queued is tried, and refused batches are halved until their bad events
// stand alone, while the application is not waiting for a backoff; a failure is not waited out; and the
// requests on the wire are waited for. When ctx is done they are given up. It returns when Run is about
// to, with the number of events that have no outcome: they are the caller's to release. It may be called
// again, and without Run.
func (d *Deliverer[R]) Drain(ctx context.Context) (left int) {
	d.mu.Lock()
	d.draining = true
	started, stop := d.started, d.stop
	d.mu.Unlock()
	poke(d.wake)
	if started {
		select {
		case <-d.ended:
		case <-ctx.Done():
			stop(errDrainTimeout)
			<-d.ended
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// dispatchLoop starts requests when they may be made and takes out what expires.
func (d *Deliverer[R]) dispatchLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		d.expire()
		next, over := d.dispatch(ctx)
		if over {
			return
		}
		timer.Reset(time.Until(next))
		select {
		case <-d.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// dispatch starts all requests that may be made now. It returns when to look again at the latest,
// and whether a drain is over.
func (d *Deliverer[R]) dispatch(ctx context.Context) (next time.Time, over bool) {
	for {
		it, t, at, over := d.take()
		if it == nil {
			return at, over
		}
		d.senders.Go(func() { d.send(ctx, it, t) })
	}
}

// take takes the next item out of the queue, if a request with it may be made now. If not, it says
// when to look again at the latest, and whether there is nothing more to be done in a drain.
func (d *Deliverer[R]) take() (it *item[R], t ticket, at time.Time, over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := away
	if d.cfg.MaySend != nil && !d.cfg.MaySend() {
		at = time.Now().Add(time.Second)
	} else if it = d.queue.pop(); it != nil {
		if t, v, at = d.app.acquire(it.len(), d.draining); v == granted {
			d.flying[it] = it.oldest()
			return it, t, at, false
		}
		d.queue.pushUrgent(it)
	}
	if at.IsZero() {
		at = time.Now().Add(time.Hour)
	}
	if expiry := time.UnixMilli(d.expiry); d.expiry != never && expiry.Before(at) {
		at = expiry
	}
	// In a drain only the answer to a request on the wire can change what may be tried; the right to
	// send is not waited for.
	return nil, t, at, d.draining && v == away && len(d.flying) == 0
}

// expire settles the events that must leave for their age, now or before the next try.
func (d *Deliverer[R]) expire() {
	now := max(time.Now().UnixMilli(), d.app.nextTryAfter())
	d.mu.Lock()
	if now < d.expiry {
		d.mu.Unlock()
		return
	}
	d.expiry = never
	var gone []*item[R]
	d.queue.each(func(it *item[R]) bool {
		if n := it.expired(now, d.maxAge, d.maxElapsed); n > 0 {
			gone = append(gone, it.part(it.i, it.i+n))
			if it.i += n; it.i == it.j {
				return false
			}
		}
		d.expiry = min(d.expiry, it.expiry(d.maxAge, d.maxElapsed))
		return true
	})
	d.mu.Unlock()
	for _, it := range gone {
		d.finish(it, Outcome{Kind: Expired, Status: it.status})
	}
}

// finish settles all events of it, with the attempts the item counts.
func (d *Deliverer[R]) finish(it *item[R], o Outcome) {
	o.Attempts, o.FirstFailed = it.attempts, it.firstFailed
	d.settle(it.b, it.i, it.j, o)
	if d.app.cfg.Shadow && o.Kind == Delivered {
		d.countShadow(it)
	}
	n, bytes := it.len(), weight(it.b, it.i, it.j)
	it.b.Done(n)
	d.mu.Lock()
	d.open -= n
	d.held -= bytes
	d.mu.Unlock()
}

// countShadow adds a request that was not made to the application's report.
func (d *Deliverer[R]) countShadow(it *item[R]) {
	var n [Purchase + 1]int64
	for k := it.i; k < it.j; k++ {
		n[TypeOf(it.b.Event(k))]++
	}
	d.app.countShadow(it.b.Bytes(it.i, it.j), &n)
}
