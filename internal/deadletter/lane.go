package deadletter

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// maxBatchLetters and maxBatchBytes bound one request; a broker takes about a million bytes by
	// default. A single letter may be larger.
	maxBatchLetters = 1000
	maxBatchBytes   = 512 << 10
	// minBatchBytes is how far a topic with a small limit brings that down.
	minBatchBytes = 16 << 10
	// maxHeldTries bounds how many held letters are refused again in one round.
	maxHeldTries = 16
)

// letter is an encoded dead letter that waits for its acknowledgement. It never changes: a request
// that timed out may still be reading it.
type letter struct {
	message Message
	size    int
	steps   int // of shrink, taken so far
	done    func()
}

// lane writes the letters of one source partition, one request at a time, which keeps their order.
// It lives while it has letters. All fields below the line are guarded by Writer.mu.
type lane struct {
	writer    *Writer
	partition int32
	wake      chan struct{}
	backoff   *backoff.ExponentialBackOff
	most      int // letters in the next request
	mostBytes int // bytes in the next request
	// ---
	queue []*letter // not acknowledged, in order
	held  []*letter // refused for themselves, tried again one by one
	epoch int       // grows with Abandon
}

func newLane(w *Writer, partition int32) *lane {
	return &lane{
		writer:    w,
		partition: partition,
		wake:      make(chan struct{}, 1),
		backoff:   w.pace.newBackoff(),
		most:      maxBatchLetters,
		mostBytes: maxBatchBytes,
	}
}

func (ln *lane) signal() {
	select {
	case ln.wake <- struct{}{}:
	default:
	}
}

// run writes until nothing is left, or until the writer's end.
func (ln *lane) run() {
	ctx := ln.writer.lifetime
	retry := time.NewTimer(ln.writer.pace.held)
	defer retry.Stop()
	for ctx.Err() == nil {
		batch, epoch := ln.next()
		if len(batch) > 0 {
			ln.send(ctx, batch, epoch)
			continue
		}
		if ln.retire() {
			return
		}
		select {
		case <-ln.wake:
		case <-ln.writer.closing:
		case <-ctx.Done():
		case <-retry.C:
			ln.retryHeld(ctx)
			retry.Reset(ln.writer.pace.held)
		}
	}
}

// next returns what the next request carries; the letters stay queued until they are acknowledged.
func (ln *lane) next() (batch []*letter, epoch int) {
	ln.writer.mu.Lock()
	defer ln.writer.mu.Unlock()
	n, size := 0, 0
	for n < len(ln.queue) && n < ln.most {
		if size += ln.queue[n].size; n > 0 && size > ln.mostBytes {
			break
		}
		n++
	}
	return slices.Clone(ln.queue[:n]), ln.epoch
}

// retire ends a lane that has nothing left to do; while the writer closes, held letters are given up.
func (ln *lane) retire() bool {
	w := ln.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(ln.queue) > 0 || len(ln.held) > 0 && !w.closed {
		return false
	}
	delete(w.lanes, ln.partition)
	w.health.ended(ln.partition)
	return true
}

// send makes one request and acts on its outcome.
func (ln *lane) send(ctx context.Context, batch []*letter, epoch int) {
	err := ln.writer.produce(ctx, ln.partition, batch)
	if err != nil && ctx.Err() == nil && ln.writer.cfg.Failed != nil {
		ln.writer.cfg.Failed()
	}
	switch {
	case err == nil:
		ln.backoff.Reset()
		ln.writer.health.recovered(ln.partition)
		ln.most = min(ln.most*2, maxBatchLetters)
		ln.acknowledge(batch, epoch)
	case ctx.Err() != nil:
	case !refusesRecord(err):
		ln.wait(ctx, err)
	case len(batch) > 1:
		ln.narrow(batch, err)
	default:
		ln.refused(ctx, batch[0], epoch, err)
	}
}

// wait sits out a topic or broker that is away.
func (ln *lane) wait(ctx context.Context, err error) {
	ln.writer.health.failed(ln.partition, err)
	timer := time.NewTimer(ln.backoff.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// narrow halves the next request: one record of this one, or all together, were too much.
func (ln *lane) narrow(batch []*letter, err error) {
	ln.most = len(batch) / 2
	if tooLarge(err) {
		size := 0
		for _, one := range batch {
			size += one.size
		}
		ln.mostBytes = max(min(size, ln.mostBytes)/2, minBatchBytes)
	}
}

// refused shortens a letter that the broker does not take for itself, or sets it aside.
func (ln *lane) refused(ctx context.Context, one *letter, epoch int, err error) {
	if ln.shorten(one, epoch, err) {
		return
	}
	held := ln.writer.explain(ctx, one, err)
	w := ln.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if ln.epoch == epoch {
		ln.queue = ln.queue[1:]
		ln.held = append(ln.held, one)
		w.health.hold(one, held)
	}
}

// shorten takes the next step of shrink that helps, and says whether there was one.
func (ln *lane) shorten(one *letter, epoch int, err error) bool {
	shorter := one.shorter()
	if shorter == nil || !tooLarge(err) {
		return false
	}
	w := ln.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if ln.epoch == epoch {
		w.bytes -= int64(one.size - shorter.size)
		ln.queue[0] = shorter
	}
	return true
}

// shorter is the letter after the next step of shrink that saves anything, nil where none does.
func (one *letter) shorter() *letter {
	for step := one.steps + 1; step <= maxShrink; step++ {
		next := *one
		next.steps = step
		next.message.Headers = shrink(one.message.Headers, step)
		if next.size = next.message.Size(); next.size < one.size {
			return &next
		}
	}
	return nil
}

// acknowledge takes written letters off the queue and tells their owners.
func (ln *lane) acknowledge(batch []*letter, epoch int) {
	w := ln.writer
	w.settle.RLock()
	defer w.settle.RUnlock()
	w.mu.Lock()
	current := ln.epoch == epoch
	if current {
		clear(ln.queue[:len(batch)]) // the array behind the queue must not keep them
		ln.queue = ln.queue[len(batch):]
		w.forget(batch)
	}
	w.mu.Unlock()
	if current {
		settle(batch)
	}
}

func settle(batch []*letter) {
	for _, one := range batch {
		one.done()
	}
}

// retryHeld tries held letters again, oldest first. When one is taken the cause may be gone, so it
// goes on; after a few refusals, or when the topic is away, the rest waits for the next round.
func (ln *lane) retryHeld(ctx context.Context) {
	w := ln.writer
	w.mu.Lock()
	held, epoch := slices.Clone(ln.held), ln.epoch
	w.mu.Unlock()
	refusals := 0
	for _, one := range held {
		err := w.produce(ctx, ln.partition, []*letter{one})
		switch {
		case err == nil:
			ln.release(one, epoch)
		case refusesRecord(err):
			if refusals++; refusals == maxHeldTries {
				ln.rotate(refusals, epoch)
				return
			}
		default:
			return
		}
	}
}

// release takes a held letter that was written at last off the lane.
func (ln *lane) release(one *letter, epoch int) {
	w := ln.writer
	w.settle.RLock()
	defer w.settle.RUnlock()
	w.mu.Lock()
	current := ln.epoch == epoch
	if current {
		ln.held = slices.DeleteFunc(ln.held, func(l *letter) bool { return l == one })
		w.forget([]*letter{one})
		w.health.unhold(one)
	}
	w.mu.Unlock()
	if current {
		one.done()
	}
}

// rotate puts the letters that were just refused again behind the others.
func (ln *lane) rotate(n, epoch int) {
	ln.writer.mu.Lock()
	defer ln.writer.mu.Unlock()
	if ln.epoch == epoch {
		ln.held = append(slices.Clone(ln.held[n:]), ln.held[:n]...)
	}
}
