package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/consume"
	"eventworker/internal/event"
	"eventworker/internal/telemetry"
)

// What is known of a message beside the count in progress.left.
const (
	parkedBit = 1 << 27 // its dead letter is on its way
	waitsBit  = 1 << 28 // it waits in the join
	// claimedBit: the task wants to know its outcome. It stands here and not in a set of its own because a
	// message that waited is encoded while senders already finish others of its chunk.
	claimedBit = 1 << 30
	takenBit   = 1 << 29 // an operator took it out of delivery: outcomes of its events change nothing
)

// why says what the oldest unsettled message of a partition waits for.
func (w *Worker) why(_ *consume.Partition, o *consume.Oldest) string {
	p, _ := o.Chunk.Tagged().(*progress)
	if p == nil {
		return "its task has not come to it yet" + w.storeTrouble(o.Chunk.Partition.ID)
	}
	left := p.left[o.Index].Load()
	switch {
	case left&parkedBit != 0:
		return "its dead letter is not acknowledged yet" + w.letterTrouble()
	case left&leftMask != 0:
		return fmt.Sprintf("delivery: no outcome yet for %d of its events%s", left&leftMask, w.deliveryTrouble())
	case left&waitsBit != 0:
		return "the join: it waits for the log to say more, or for the outcome of a copy of it"
	}
	return "its task works on it" + w.storeTrouble(o.Chunk.Partition.ID)
}

func (w *Worker) storeTrouble(task int32) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing[task]; err != nil {
		return "; the store refuses effects: " + err.Error()
	}
	return ""
}

func (w *Worker) letterTrouble() string {
	if ok, why := w.letters.Healthy(); !ok {
		return "; " + why
	}
	return ""
}

// deliveryTrouble names the applications that do not take events now.
func (w *Worker) deliveryTrouble() (text string) {
	for _, a := range w.apps {
		if a == nil {
			continue
		}
		if err := a.Ready(); err != nil {
			text += "; " + err.Error()
		} else if s := a.Status(); s.Why != "" {
			text += fmt.Sprintf("; application %s is %s: %s", a.Name(), s.State, s.Why)
		}
	}
	return text
}

// SkipPath is where the admin server takes the order to dead-letter the one message that holds up a
// partition: POST with topic (if there are several), partition and offset.
const SkipPath = "/partitions/skip"

// SkipAnswer is the JSON that it answers with.
type SkipAnswer struct {
	Schema    string `json:"schema"` // eventworker.skip/v1
	Done      bool   `json:"done"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"` // -1, like Offset: the call named none
	Offset    int64  `json:"offset"`
	// Message says what happened or why nothing did.
	Message string `json:"message"`
}

// skipTimeout bounds how long a task may take to hear of the order.
const skipTimeout = 10 * time.Second

// handleSkip answers 200 when the dead letter is on its way, 409 when the message is not the oldest
// unsettled one or cannot be taken from what works on it, 400 for a wrong call.
func (w *Worker) handleSkip(rw http.ResponseWriter, r *http.Request) {
	answer := SkipAnswer{Schema: "eventworker.skip/v1", Topic: r.FormValue("topic")}
	if answer.Topic == "" && len(w.cfg.Kafka.Topics) == 1 {
		answer.Topic = w.cfg.Kafka.Topics[0]
	}
	partition, offset := count(r.FormValue("partition"), 32), count(r.FormValue("offset"), 64)
	answer.Partition, answer.Offset = int32(partition), offset
	code := http.StatusOK
	switch {
	case answer.Topic == "" || partition < 0 || offset < 0:
		code, answer.Message = http.StatusBadRequest, "want topic (where there are several), partition and offset, both numbers from 0"
	default:
		ctx, cancel := context.WithTimeout(r.Context(), skipTimeout)
		defer cancel()
		if err := w.Skip(ctx, answer.Topic, answer.Partition, answer.Offset); err != nil {
			code, answer.Message = http.StatusConflict, err.Error()
		} else {
			answer.Done = true
			answer.Message = fmt.Sprintf("%s/%d, offset %d: its dead letter is on its way", answer.Topic, answer.Partition, answer.Offset)
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(answer) // a reader that went away is no failure of ours
}

// count reads a number from 0 that fits into so many bits; -1: it is none.
func count(text string, bits int) int64 {
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// Skip dead-letters the oldest unsettled message of a partition, whose offset must be the one given, so
// that the frontier can move on. Requests with its events that are on their way are not called back.
func (w *Worker) Skip(ctx context.Context, topic string, partition int32, offset int64) error {
	g, r, p := w.findPartition(topic, partition)
	if p == nil {
		return fmt.Errorf("this worker does not have %s/%d: ask the one that eventworker group show names as its owner", topic, partition)
	}
	oldest, ok := p.Oldest()
	switch {
	case !ok:
		return fmt.Errorf("nothing of %s/%d that was fetched is unsettled", topic, partition)
	case oldest.Offset != offset:
		return fmt.Errorf("the oldest unsettled message of %s/%d is the one at %d, not at %d", topic, partition, oldest.Offset, offset)
	}
	batch, _ := oldest.Chunk.Tagged().(*progress)
	if batch == nil {
		return errors.New(w.why(p, &oldest) + ": it can be dead-lettered once the task has read it")
	}
	m := message{batch, uint32(oldest.Index)}
	done, err := g.skipDelivery(m)
	if !done && err == nil {
		done, err = r.skipWaiting(ctx, m)
	}
	if err == nil && !done {
		err = errors.New(w.why(p, &oldest) + ": it cannot be taken from there")
	}
	if err == nil {
		w.log.Warn("dead-lettered by hand: it was the oldest unsettled message of its partition", telemetry.Topic(topic), telemetry.Partition(partition),
			zap.Int64("offset", offset), zap.Time("since", oldest.Since))
	}
	return err
}

func (w *Worker) findPartition(topic string, partition int32) (*generation, *runner, *consume.Partition) {
	g := w.current.Load()
	if g == nil || g.ended() {
		return nil, nil, nil
	}
	for _, r := range g.runners {
		for _, p := range r.source.Partitions {
			if p.Topic == topic && p.ID == partition {
				return g, r, p
			}
		}
	}
	return nil, nil, nil
}

const (
	skipRule = "operator.skip"
	skipText = "an operator had this message dead-lettered because it held up its partition"
)

// skipDelivery takes a message out of delivery and parks it; false: it is not being delivered.
func (g *generation) skipDelivery(m message) (done bool, err error) {
	for {
		left := m.batch.left[m.i].Load()
		switch {
		case left&(parkedBit|takenBit) != 0:
			return false, errors.New("it is being dead-lettered already")
		case left&leftMask == 0:
			return false, nil
		case m.batch.left[m.i].CompareAndSwap(left, left|takenBit):
			// From here on no outcome settles the message, so its record stays until the letter is acknowledged.
			letter := newLetter(m, event.Refusal{Reason: event.Expired, Stage: event.StageDeliver, Rule: skipRule, Message: skipText})
			letter.Type, letter.Application = g.w.describe(letter.Value)
			if m.batch.isClaimed(m.i) {
				m.batch.run.tell(outcome{m, false})
			}
			g.park(m, letter)
			return true, nil
		}
	}
}

// skipOrder asks the task's goroutine to dead-letter a message that waits.
type skipOrder struct {
	m    message
	done chan bool
}

func (r *runner) skipWaiting(ctx context.Context, m message) (done bool, err error) {
	order := skipOrder{m, make(chan bool, 1)}
	select {
	case r.skips <- order:
	case <-ctx.Done():
		return false, errors.New("its task does not answer: it waits for the store, or for memory")
	}
	select {
	case done := <-order.done:
		return done, nil
	case <-ctx.Done():
		return false, errors.New("its task does not answer in time; look at /statusz whether it is done")
	}
}

// skip carries out an order; an error of the store is tried again.
func (r *runner) skip(ctx context.Context, order skipOrder) error {
	waited := false
	err := r.retry(ctx, func() (err error) {
		waited, err = r.task.Skip(order.m, event.Expired, skipRule, skipText)
		return err
	})
	r.flush()
	order.done <- waited
	return err
}
