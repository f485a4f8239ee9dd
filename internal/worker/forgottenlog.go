package worker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// What one worker was told to forget the others learn from the state topic, which is compacted: each entry
// of the list is a record there, under forgetKey and the hash. They are read before what a store lacks is
// read again, at each assignment, so that history cannot come back with a partition that moves.

// forgetKey begins the keys of such records; no key of a dead letter's state begins so.
const forgetKey = "forget:"

// forgetState is the value of such a record.
type forgetState struct {
	V  int   `json:"v"` // 1
	At int64 `json:"at"`
}

// learning bounds how often and how long the state topic is read.
type learning struct {
	mu   sync.Mutex
	at   time.Time
	said bool
}

const (
	learnEvery   = 5 * time.Second
	learnTimeout = 20 * time.Second
)

// shareForgotten writes the entries of tokens to the state topic.
func (w *Worker) shareForgotten(ctx context.Context, at time.Time, tokens ...string) error {
	value, err := json.Marshal(forgetState{1, at.UnixMilli()})
	if err != nil {
		return err
	}
	var records []deadletter.StateRecord
	for _, token := range tokens {
		h := hashToken(token)
		records = append(records, deadletter.StateRecord{Key: forgetKey + hex.EncodeToString(h[:]), Value: value})
	}
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	return w.states.Write(ctx, records)
}

// learnForgotten reads what other workers were told. Where the topic is missing nobody was told anything.
// Where it cannot be read the worker goes on with what it knows, and says so.
func (w *Worker) learnForgotten() {
	l := &w.learning
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) < learnEvery {
		return
	}
	entries, err := w.readForgotten()
	if err == nil {
		err = w.forgotten.merge(entries)
	}
	if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
		if !l.said {
			w.log.Warn("what other workers were told to forget cannot be learned; what this one was told counts", zap.Error(err))
		}
		l.said = true
		return
	}
	l.at, l.said = time.Now(), false
}

func (w *Worker) readForgotten() (map[tokenHash]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), learnTimeout)
	defer cancel()
	topic := deadletter.StateTopic(w.cfg.Kafka.DeadLetterTopic)
	log, err := consume.NewLog(w.connection)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	bounds, err := log.Bounds(ctx, topic)
	if err != nil {
		return nil, err
	}
	entries := make(map[tokenHash]int64)
	for _, b := range bounds {
		_, err := log.Read(ctx, consume.LogRange{Topic: topic, Partition: b.Partition, From: b.Start, To: b.End}, func(records []consume.Record, _ int64) error {
			for i := range records {
				note(entries, &records[i])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// note takes a record of the state topic, if it is one of these; others are passed over.
func note(entries map[tokenHash]int64, r *consume.Record) {
	digits, ok := strings.CutPrefix(string(r.Key), forgetKey)
	var h tokenHash
	var s forgetState
	if !ok || len(digits) != 2*len(h) || json.Unmarshal(r.Value, &s) != nil || s.V != 1 {
		return
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err == nil {
		entries[h] = max(entries[h], s.At)
	}
}

// rewindAll is rewind, once it is known who was forgotten.
func (w *Worker) rewindAll(t *consume.Task, want func(*consume.Partition, consume.Rewind)) error {
	w.learnForgotten()
	return w.rewind(t, want)
}
