package insights

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"eventworker/internal/batch"
)

// send makes one request with the item, or with a few of its events if t is for a probe, settles what
// has an outcome now, and puts the rest back into the queue.
func (d *Deliverer[R]) send(ctx context.Context, it *item[R], t ticket) {
	defer poke(d.wake)
	i, j := d.carried(it, t)
	sent := it.part(i, j)
	if tooLarge := d.tooLarge(sent); tooLarge != nil {
		d.app.release(t)
		d.land(it, sent, d.refusedForSize(sent, tooLarge), false)
		return
	}
	if t.probe > 0 {
		d.app.reloadKey()
	}
	started := time.Now().UnixMilli()
	var span Span
	if d.cfg.Span != nil {
		span = d.cfg.Span(it.b.Entries[i:j], sent.attempts+1)
	}
	requests, err := d.app.client.send(ctx, it.b.Part(i, j), sent.attempts+1, d.mayRepeat(sent))
	sent.count(requests, started, err)
	if span != nil {
		span.EndRequest(sent.status, failureKind(err))
	}
	rest, again := d.judge(t, sent, err)
	d.land(it, sent, rest, again)
}

// count notes requests that carried the item, the first of which began at started.
func (it *item[R]) count(requests int, started int64, err error) {
	it.attempts += requests
	if it.firstTry == 0 {
		it.firstTry = started
	}
	if it.firstFailed == 0 && (err != nil || requests > 1) {
		it.firstFailed = started
	}
	it.status = statusOf(err)
}

// failureKind is resultOf for failures, empty for none.
func failureKind(err error) string {
	if err == nil {
		return ""
	}
	return resultOf(err)
}

func statusOf(err error) int {
	switch e := err.(type) {
	case nil:
		return 200
	case *RetryableError:
		return e.Status
	case *RejectedError:
		return e.Status
	case *TooLargeError:
		return e.Status
	case *MisconfiguredError:
		return e.Status
	default:
		return 0
	}
}

// judge settles those events of sent that have an outcome. rest are parts of it that have not and
// are to be tried on their own; again says that sent has to be tried again, when others have been,
// as it is or in the parts of rest.
func (d *Deliverer[R]) judge(t ticket, sent *item[R], err error) (rest []*item[R], again bool) {
	alone := sent.len() == 1
	var message uint64
	if alone {
		message = d.message(sent)
	}
	hold := d.app.conclude(t, err, alone, message)
	switch e := err.(type) {
	case nil:
		d.finish(sent, Outcome{Kind: Delivered, Status: 200})
		return nil, false
	case *RejectedError:
		if !alone {
			return d.halves(sent), false
		}
		if hold {
			return nil, true
		}
		d.finish(sent, Outcome{Kind: Rejected, Status: e.Status, Words: e.Words})
		return nil, false
	case *TooLargeError:
		return d.refusedForSize(sent, e), false
	case *RetryableError:
		if e.MayHaveBeenTaken && !d.mayRepeat(sent) {
			return d.withoutPurchases(sent, e), false
		}
		d.app.cfg.Observer.retry(sent.len())
		if e.TimedOut && sent.len() >= 2*shrinkLeast {
			return d.halves(sent), true
		}
	}
	return nil, true
}

// shrinkLeast is the smallest part into which a batch is halved because it timed out: a slow line may
// not carry a large body within delivery.timeout, and would never carry it.
const shrinkLeast = 50

// land puts back what has no outcome: rest and those events of it that sent did not carry, at the
// front of the queue, or, if sent has to be tried again, it at the end, so that a batch that fails by
// itself does not keep others from being tried.
func (d *Deliverer[R]) land(it, sent *item[R], rest []*item[R], again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.flying, it)
	if again {
		d.putBack(it, sent, rest)
		return
	}
	for _, part := range slices.Backward(rest) {
		d.enqueue(part, true)
	}
	if sent.j < it.j {
		d.enqueue(it.part(sent.j, it.j), true)
	}
	if it.i < sent.i {
		d.enqueue(it.part(it.i, sent.i), true)
	}
}

// putBack puts an item at the end of the queue, whose part sent has failed; the lock is held.
func (d *Deliverer[R]) putBack(it, sent *item[R], rest []*item[R]) {
	switch {
	case sent.len() < it.len(): // a probe
		rest = []*item[R]{it}
	case len(rest) == 0:
		sent.cursor = it.cursor
		rest = []*item[R]{sent}
	}
	for _, part := range rest {
		d.enqueue(part, false)
	}
}

// halves splits an item of two events or more, between messages where that costs no request more: a message
// of which one half was taken and the other given up is delivered again as a whole. No half is larger than
// the power of two below n, as many requests as that find a bad event among n.
func (d *Deliverer[R]) halves(it *item[R]) []*item[R] {
	n := it.len()
	middle, most := it.i+n/2, 1<<(bits.Len(uint(n-1))-1)
	at := middle
	for k := range most - n/2 + 1 {
		if up := middle + k; d.begins(it.b, up) {
			at = up
			break
		}
		if down := middle - k; it.j-down <= most && d.begins(it.b, down) {
			at = down
			break
		}
	}
	return []*item[R]{it.part(it.i, at), it.part(at, it.j)}
}

// begins says whether event k of a batch, not its first, is the first of a message.
func (d *Deliverer[R]) begins(b *batch.Batch[R], k int) bool {
	return d.cfg.Together == nil || !d.cfg.Together(b.Entries[k-1].Ref, b.Entries[k].Ref)
}

// carried is the range of events that a request with the ticket t carries: all, or a few of them for
// a probe, other ones each time, and whole messages where they fit.
func (d *Deliverer[R]) carried(it *item[R], t ticket) (i, j int) {
	if t.probe == 0 {
		return it.i, it.j
	}
	i = it.cursor
	if i < it.i || i >= it.j {
		i = it.i
	}
	j = min(i+t.probe, it.j)
	for k := j; k > i && j < it.j; k-- {
		if d.begins(it.b, k) {
			j = k
			break
		}
	}
	it.cursor = j
	return i, j
}

// tooLarge says whether the item's body cannot be sent at all.
func (d *Deliverer[R]) tooLarge(it *item[R]) *TooLargeError {
	size := it.b.Bytes(it.i, it.j)
	if size <= d.cfg.MaxBytes {
		return nil
	}
	return &TooLargeError{Words: fmt.Sprintf("the event makes a request body of %d bytes; at most %d can be sent", size, d.cfg.MaxBytes)}
}

// refusedForSize halves the item, or settles the event that is too large by itself.
func (d *Deliverer[R]) refusedForSize(it *item[R], e *TooLargeError) []*item[R] {
	if it.len() > 1 {
		return d.halves(it)
	}
	d.finish(it, Outcome{Kind: TooLarge, Status: e.Status, Words: e.Words})
	return nil
}

// mayRepeat says whether the item may be sent once more at once, though the first request may have
// been taken.
func (d *Deliverer[R]) mayRepeat(it *item[R]) bool {
	if !d.cfg.DeadLetterAmbiguous {
		return true
	}
	for k := it.i; k < it.j; k++ {
		if d.isPurchase(&it.b.Entries[k]) {
			return false
		}
	}
	return true
}

// withoutPurchases settles the purchases among sent as ambiguous, and returns the other events, if
// there are any, as a batch of their own.
func (d *Deliverer[R]) withoutPurchases(sent *item[R], e *RetryableError) (rest []*item[R]) {
	others := sent.b.Select(sent.i, sent.j, func(en *batch.Entry[R]) bool { return !d.isPurchase(en) })
	if others != nil {
		it := *sent
		it.b, it.i, it.j, it.cursor = others, 0, len(others.Entries), 0
		rest = []*item[R]{&it}
		d.app.cfg.Observer.retry(it.len())
	}
	o := Outcome{Kind: Ambiguous, Status: e.Status, Words: e.Words}
	for i := sent.i; i < sent.j; {
		purchase := d.isPurchase(&sent.b.Entries[i])
		j := i + 1
		for j < sent.j && d.isPurchase(&sent.b.Entries[j]) == purchase {
			j++
		}
		if purchase {
			d.finish(sent.part(i, j), o)
		} else {
			sent.b.Done(j - i) // they live on in others
		}
		i = j
	}
	return rest
}

func (d *Deliverer[R]) isPurchase(e *batch.Entry[R]) bool {
	return d.cfg.IsPurchase != nil && d.cfg.IsPurchase(e.Ref)
}

func (d *Deliverer[R]) message(it *item[R]) uint64 {
	e := &it.b.Entries[it.i]
	if d.cfg.Message == nil {
		return uint64(it.i)
	}
	return d.cfg.Message(e.Ref)
}
