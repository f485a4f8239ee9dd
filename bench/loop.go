package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// loop is what most teams write by hand: a group Reader, encoding/json, batches of a thousand,
// eight requests at a time, a commit when they are through, and a map for the join. It is correct
// in good weather and as fast as it gets without turning into something else: requests and commits
// run beside the reading, and a batch is encoded where it is sent.
type loop struct {
	reader *kafka.Reader
	url    string
	client *http.Client
	store  *impressions

	mu    sync.Mutex
	batch *pending
	ready chan *pending // to the senders
	order chan *pending // to the committer
}

// pending is a batch on its way.
type pending struct {
	events []any
	last   map[int]kafka.Message // by partition
	sent   chan struct{}         // closed when the API has taken it
}

const (
	loopBatch    = 1000
	loopInFlight = 8
	loopLinger   = time.Second
	mostEvents   = 2 // of one message of this traffic
)

// runLoop is the role of the loop.
func runLoop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("loop", flag.ExitOnError)
	broker := flags.String("broker", "", "")
	topic := flags.String("topic", "", "")
	group := flags.String("group", "", "")
	url := flags.String("url", "", "")
	metrics := flags.String("metrics", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l := &loop{
		reader: kafka.NewReader(kafka.ReaderConfig{Brokers: []string{*broker}, GroupID: *group, Topic: *topic, StartOffset: kafka.FirstOffset,
			MinBytes: 10 << 10, MaxBytes: 10 << 20, MaxWait: 500 * time.Millisecond, QueueCapacity: 1000, CommitInterval: time.Second}),
		url:    *url + "/1/events",
		client: &http.Client{Timeout: 10 * time.Second, Transport: transport()},
		store:  newImpressions(),
		batch:  newPending(),
		ready:  make(chan *pending, loopInFlight),
		order:  make(chan *pending, 4*loopInFlight),
	}
	listener, err := net.Listen("tcp", *metrics)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: promhttp.Handler()}
	defer server.Close()
	go func() { _ = server.Serve(listener) }()
	fmt.Println("ready")
	ctx, cancel := untilStopped(ctx)
	defer cancel()
	return l.run(ctx)
}

func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = loopInFlight
	return t
}

func newPending() *pending {
	return &pending{events: make([]any, 0, loopBatch), last: make(map[int]kafka.Message), sent: make(chan struct{})}
}

func (l *loop) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.read(ctx) })
	g.Go(func() error { return l.linger(ctx) })
	g.Go(func() error { return l.commit(ctx) })
	for range loopInFlight {
		g.Go(func() error { return l.send(ctx) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, l.reader.Close())
}

// read decodes and joins message by message.
func (l *loop) read(ctx context.Context) error {
	for {
		m, err := l.reader.FetchMessage(ctx)
		if err != nil {
			return err
		}
		var raw rawMessage
		if err := json.Unmarshal(m.Value, &raw); err != nil {
			fmt.Fprintln(os.Stderr, "loop: skipped a message:", err)
			continue
		}
		events := l.store.join(&raw)
		l.mu.Lock()
		l.batch.events = append(l.batch.events, events...)
		l.batch.last[m.Partition] = kafka.Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}
		full := len(l.batch.events) > loopBatch-mostEvents
		l.mu.Unlock()
		if full {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// linger sends what has waited for long enough.
func (l *loop) linger(ctx context.Context) error {
	ticker := time.NewTicker(loopLinger)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// flush hands the batch on, in the order of the log.
func (l *loop) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.batch
	if len(p.last) == 0 {
		return nil
	}
	l.batch = newPending()
	for _, to := range []chan *pending{l.order, l.ready} {
		select {
		case to <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// send posts batches, again and again until they are taken.
func (l *loop) send(ctx context.Context) error {
	for {
		var p *pending
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p = <-l.ready:
		}
		body, err := json.Marshal(map[string]any{"events": p.events})
		if err != nil {
			return err
		}
		for err := l.post(ctx, body); err != nil; err = l.post(ctx, body) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Fprintln(os.Stderr, "loop:", err)
			time.Sleep(time.Second)
		}
		close(p.sent)
	}
}

func (l *loop) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Algolia-Application-Id", appID)
	req.Header.Set("X-Algolia-API-Key", apiKey)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// commit commits batches in the order of the log, once they are sent.
func (l *loop) commit(ctx context.Context) error {
	for {
		var p *pending
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p = <-l.order:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.sent:
		}
		messages := make([]kafka.Message, 0, len(p.last))
		for _, m := range p.last {
			messages = append(messages, m)
		}
		if err := l.reader.CommitMessages(ctx, messages...); err != nil {
			return err
		}
	}
}
