package worker

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/join"
)

// A dead letter that is replayed comes back with headers that say where it was read first, what the join had
// found, and which of its parts were not delivered. What becomes of it is noted in the state topic.

// lifeBefore is what a record's headers say of its first life, nil if it is read for the first time. Headers
// that cannot be read count for nothing.
func lifeBefore(headers []consume.Header) *deadletter.Context {
	for i := range headers {
		if strings.HasPrefix(headers[i].Key, deadletter.Prefix) {
			c, err := deadletter.DecodeReplayed(headers)
			if err != nil {
				return nil
			}
			return c
		}
	}
	return nil
}

// replayedOf is what the join must know of a record's first life; nil: nothing.
func replayedOf(rec *consume.Record) *join.Replayed {
	c := lifeBefore(rec.Headers)
	if c == nil {
		return nil
	}
	r := &join.Replayed{Topic: c.Topic, Partition: c.Partition, Offset: c.Offset, Time: rec.Time}
	for _, p := range c.Parts { // in order of their index
		if n := len(r.Parts); n == 0 || r.Parts[n-1] != p.Index {
			r.Parts = append(r.Parts, p.Index)
		}
	}
	for _, o := range c.Resolved {
		if o.QueryID != "" && !event.ValidQueryID([]byte(o.QueryID)) {
			r.Resolved = nil // not the worker's words: looked up anew
			break
		}
		r.Resolved = append(r.Resolved, join.Resolved{Object: o.Index, QueryID: o.QueryID, Index: o.IndexName, Position: o.Position})
	}
	return r
}

// toMessage gives the join a record, with the times of its first life if it is a replayed one.
func toMessage(rec *consume.Record) join.Message {
	m := join.Message{Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
	if len(rec.Headers) > 0 {
		m.Time, m.Replay = firstLife(rec), replayedOf(rec)
	}
	return m
}

// inherit gives the dead letter of a replayed message what an earlier one said of its parts: those that were
// delivered then stay delivered.
func inherit(l *deadletter.Letter) {
	c := lifeBefore(l.Headers)
	if c == nil {
		return
	}
	l.Resolved = c.Resolved
	for _, p := range c.Parts {
		l.Parts = append(l.Parts, deadletter.Part{Index: p.Index, Reason: l.Refusal.Reason})
	}
}

// openStates makes the writer of what becomes of replayed messages.
func (w *Worker) openStates(secure *tls.Config, mechanism sasl.Mechanism) {
	k := &w.cfg.Kafka
	w.states = deadletter.NewStateWriter(deadletter.Config{Brokers: k.Brokers, Topic: k.DeadLetterTopic, ClientID: k.ClientID,
		TLS: secure, SASL: mechanism, Dial: w.opts.Dial, CreateTopic: k.CreateTopics}, w.log.Named("deadletter"))
}

// closeStates waits for what is to be noted until ctx is done.
func (w *Worker) closeStates(ctx context.Context) {
	if w.states != nil {
		w.states.Close(ctx)
	}
}

// noteReplay notes what became of a message, if it was a replayed one. It does not wait.
func (w *Worker) noteReplay(headers []consume.Header, outcome string) {
	if len(headers) == 0 || w.states == nil {
		return
	}
	if c := lifeBefore(headers); c != nil {
		w.states.Put(deadletter.StateKey(c.Topic, c.Partition, c.Offset), deadletter.Settled(c.ReplayID, outcome, time.Now()).Encode())
	}
}

// absorbedOutcome is what the state topic says of an absorbed message; false: nothing, an earlier owner of the
// partition knew.
func absorbedOutcome(why join.Absorption) (outcome string, known bool) {
	switch why {
	case join.Duplicate:
		return deadletter.OutcomeDuplicate, true
	case join.SettledBefore:
		return "", false
	}
	return deadletter.OutcomeAbsorbed, true
}
