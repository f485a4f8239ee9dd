package consume

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

func TestMessagesArriveInOrderAndTheFrontierIsCommitted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		w.produce("events", 1, numbered("b", 5)...)
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "15 messages", func() bool { return r.count() == 15 })
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 10 && w.committed("events", 1) == 5 })
		commits := c.Stats().Commits
		time.Sleep(time.Minute)
		if n := c.Stats().Commits - commits; n != 0 {
			t.Errorf("%d commits although nothing moved", n)
		}
		c.mustStop(t)
		next := map[int32]int64{}
		for _, s := range r.all() {
			if s.offset != next[s.partition] {
				t.Errorf("offset %d of partition %d came, want %d", s.offset, s.partition, next[s.partition])
			}
			next[s.partition]++
		}
	}, kfake.SeedTopics(2, "events"))
}

func TestRestartResumesAtTheFrontier(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		r := newRecorder()
		r.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset != 4 { // 4 waits for ever
				c.Settle(i)
			}
		}
		c := w.run(w.config("events"), r)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 4 })
		c.mustStop(t)
		if got := w.committed("events", 0); got != 4 {
			t.Fatalf("committed %d, want 4", got)
		}
		r = newRecorder()
		c = w.run(w.config("events"), r)
		r.await(t, "the rest", func() bool { return r.count() == 6 })
		if got := r.all()[0].offset; got != 4 {
			t.Errorf("resumed at %d, want 4", got)
		}
		c.mustStop(t)
		if got := w.committed("events", 0); got != 10 {
			t.Errorf("committed %d after the stop, want 10", got)
		}
	}, kfake.SeedTopics(1, "events"))
}

func TestStopCommitsWhatIsSettledDuringTheDrain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		r := newRecorder()
		var held []*Chunk
		r.policy = func(c *Chunk, i int) {
			if i == 0 {
				held = append(held, c)
			}
		}
		r.onDrain = func(g *Generation, cause error, ctx context.Context) {
			if cause != ErrShutdown {
				t.Errorf("cause %v, want %v", cause, ErrShutdown)
			}
			for _, c := range held {
				c.SettleAll()
			}
		}
		c := w.run(w.config("events"), r)
		r.await(t, "10 messages", func() bool { return r.count() == 10 })
		c.mustStop(t)
		if got := w.committed("events", 0); got != 10 {
			t.Errorf("committed %d, want 10", got)
		}
	}, kfake.SeedTopics(1, "events"))
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	_, err := New(Config{StartOffset: "middle", ShownTopics: []string{"x"}, Budget: 5}, newRecorder(), nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"kafka.brokers", "kafka.group", "kafka.topics", "kafka.shown_topics", "kafka.start_offset", "memory.budget"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

// TestBrokerAwayAtStart: the consumer waits, says so once, is not ready, and starts when it comes back.
func TestBrokerAwayAtStart(t *testing.T) {
	inWorld(t, func(w *world) {
		away := make(chan struct{})
		cfg := w.config("events")
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-away:
				return w.net.DialContext(ctx, network, address)
			default:
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			}
		}
		w.produce("events", 0, "a")
		r := newRecorder()
		c := w.run(cfg, r)
		time.Sleep(time.Minute)
		s := c.Status()
		if s.Ready || s.State != StateConnecting || s.FailingKind != KindAway || s.Error == "" {
			t.Errorf("status while the broker is away: %+v", s)
		}
		if n := c.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
			t.Errorf("%d warnings in a minute, want 1: %v", n, c.logs.All())
		}
		close(away)
		r.await(t, "the message", func() bool { return r.count() == 1 })
		if s := c.Status(); !s.Ready || s.State != StateConsuming {
			t.Errorf("status after it came back: %+v", s)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestStopWhileTheBrokerIsAway ends at once.
func TestStopWhileTheBrokerIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		c := w.run(cfg, newRecorder())
		time.Sleep(10 * time.Second)
		began := time.Now()
		c.mustStop(t)
		if took := time.Since(began); took > time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

func TestErrorsSayWhatTheyAreAndWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		err  error
		on   security
		kind Kind
		says string
	}{
		{fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), security{}, KindAway, "refused"},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), security{}, KindAway, "kafka.tls.enabled"},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), security{tls: true}, KindAway, "plaintext port, set kafka.tls.enabled to false"},
		{fmt.Errorf("reading: %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET}), security{}, KindAway, "TLS port, set kafka.tls.enabled to true"},
		{fmt.Errorf("reading: %w", &net.OpError{Op: "write", Err: syscall.EPIPE}), security{tls: true}, KindAway, "set kafka.tls.enabled to false"},
		{io.EOF, security{tls: true, sasl: true}, KindAway, "plaintext port, set kafka.tls.enabled to false; if it refuses the credentials, check kafka.sasl"},
		{io.EOF, security{sasl: true}, KindAway, "TLS port, set kafka.tls.enabled to true; if it refuses the credentials, check kafka.sasl"},
		{fmt.Errorf("%w: broker appears to be expecting TLS", io.ErrUnexpectedEOF), security{}, KindTLS, "kafka.tls.enabled"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, security{tls: true}, KindTLS, "kafka.tls.enabled to false"},
		{x509.UnknownAuthorityError{}, security{tls: true}, KindTLS, "kafka.tls.ca_file"},
		{fmt.Errorf("x: %w", kafka.SASLAuthenticationFailed), security{}, KindAuth, "kafka.sasl"},
		{kafka.TopicAuthorizationFailed, security{}, KindDenied, "Read"},
		{kafka.GroupAuthorizationFailed, security{group: "g"}, KindDenied, "Read on group g"},
		{denied(kafka.TopicAuthorizationFailed, "topic t", "Describe"), security{}, KindDenied, "Describe on topic t"},
		{kafka.GroupCoordinatorNotAvailable, security{}, KindCoordinator, ""},
		{context.DeadlineExceeded, security{}, KindAway, ""},
		{errors.New("odd"), security{}, KindOther, "odd"},
	} {
		kind, err := classify(tc.err, tc.on)
		if kind != tc.kind || !strings.Contains(err.Error(), tc.says) || !errors.Is(err, tc.err) {
			t.Errorf("%v is %s: %v; want %s that says %q", tc.err, kind, err, tc.kind, tc.says)
		}
	}
}

// TestPlaintextAgainstATLSPort and the next run the handshake for real, since what it gives is the library's.
func TestPlaintextAgainstATLSPort(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.run(w.config("events"), newRecorder())
		time.Sleep(5 * time.Second)
		if s := c.Status(); s.Ready || !strings.Contains(s.Error, "kafka.tls.enabled") {
			t.Errorf("status %+v", s)
		}
		c.mustStop(t)
	}, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}))
}

func TestTLSAgainstAPlaintextPort(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.TLS = &tls.Config{InsecureSkipVerify: true}
		c := w.run(cfg, newRecorder())
		time.Sleep(20 * time.Second)
		if s := c.Status(); s.Ready || !strings.Contains(s.Error, "set kafka.tls.enabled to false") || !strings.Contains(s.Error, w.brokers[0]) {
			t.Errorf("status %+v", s)
		}
		c.mustStop(t)
	})
}

// port is what listens where a broker is looked for: it reads a request and answers with err, or never.
type port struct {
	net.Conn
	err error
}

func (p *port) Read([]byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	return p.Conn.Read(make([]byte, 1)) // until the deadline, or the end
}

func (p *port) Write(b []byte) (int, error) { return len(b), nil }

// TestAPortWhereNoBrokerAnswersIsNamed in the same words by whatever connects first: a worker, a look at
// the group, a reader of topics.
func TestAPortWhereNoBrokerAnswersIsNamed(t *testing.T) {
	const where = "no broker answers at kafka:1, kafka:2, which kafka.brokers names"
	for name, c := range map[string]struct {
		dial, read error
		says       string
	}{
		"nobody listens":   {dial: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, says: "refused"},
		"no such host":     {dial: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "kafka", IsNotFound: true}}, says: "no such host"},
		"it says nothing":  {says: "does Kafka listen there?"},
		"it hangs up":      {read: io.EOF, says: "kafka.tls.enabled"},
		"it resets":        {read: &net.OpError{Op: "read", Err: syscall.ECONNRESET}, says: "kafka.tls.enabled"},
		"it speaks no TLS": {read: tls.RecordHeaderError{Msg: "first record"}, says: "does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cfg := w.config("events")
				cfg.Brokers = []string{"kafka:1", "kafka:2"}
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
					if c.dial != nil {
						return nil, c.dial
					}
					near, _ := net.Pipe()
					return &port{near, c.read}, nil
				}
				check := func(who, said string) {
					t.Helper()
					if _, other := c.read.(tls.RecordHeaderError); strings.Contains(said, where) == other || !strings.Contains(said, c.says) {
						t.Errorf("%s says %q; want %q and %q in it", who, said, where, c.says)
					}
				}
				run := w.run(cfg, newRecorder())
				time.Sleep(20 * time.Second)
				check("the worker", run.Status().Error)
				run.mustStop(t)

				admin, err := NewAdmin(cfg)
				if err != nil {
					t.Fatal(err)
				}
				_, err = admin.Group(context.Background())
				admin.Close()
				check("the look at the group", fmt.Sprint(err))

				log, err := NewLog(cfg.conn(cfg.Topics))
				if err != nil {
					t.Fatal(err)
				}
				_, err = log.Settings(context.Background(), "events", "retention.ms")
				log.Close()
				check("the reader of topics", fmt.Sprint(err))
			})
		})
	}
}

func TestTLSAndSASLWork(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.TLS = &tls.Config{InsecureSkipVerify: true}
		cfg.SASL = plain.Mechanism{Username: "u", Password: "p"}
		c := w.run(cfg, newRecorder())
		c.await(t, "a generation", func() bool { return c.Status().Ready })
		c.mustStop(t)

		cfg.SASL = plain.Mechanism{Username: "u", Password: "wrong"}
		c = w.run(cfg, newRecorder())
		time.Sleep(20 * time.Second)
		if s := c.Status(); s.Ready || !strings.Contains(s.Error, "kafka.sasl") {
			t.Errorf("status with a wrong password %+v", s)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}))
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(200, 0, 0), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestStoreMustBeDurableBeforeACommit: while Sync fails nothing is committed.
func TestStoreMustBeDurableBeforeACommit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 3)...)
		var fail atomic.Bool
		fail.Store(true)
		r := newRecorder()
		r.sync = func() error {
			if fail.Load() {
				return errors.New("disk full")
			}
			return nil
		}
		c := w.run(w.config("events"), r)
		r.await(t, "3 messages", func() bool { return r.count() == 3 })
		time.Sleep(5 * time.Second)
		if got := w.committed("events", 0); got != -1 {
			t.Errorf("committed %d although the store could not sync", got)
		}
		if n := c.said("disk full"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		fail.Store(false)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 3 })
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

func TestAFailingHandlerEndsRunAndKeepsWhatWasSettled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 3)...)
		broken := errors.New("broken")
		h := &failing{recorder: newRecorder(), err: broken}
		cfg := w.config("events")
		c, err := New(cfg, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(context.Background()); !errors.Is(err, broken) {
			t.Errorf("Run: %v, want %v", err, broken)
		}
		if got := w.committed("events", 0); got != 3 {
			t.Errorf("committed %d, want 3", got)
		}
		if info := w.cluster.GroupInfo("g"); len(info.Members) != 0 {
			t.Errorf("the group still has members: %+v", info.Members)
		}
	}, kfake.SeedTopics(1, "events"))
}

// failing serves until three messages are settled and then fails.
type failing struct {
	*recorder
	err error
}

func (f *failing) Serve(ctx context.Context, g *Generation, drain func() (context.Context, context.CancelFunc)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go f.recorder.Serve(ctx, g, drain)
	for f.count() < 3 {
		time.Sleep(time.Millisecond)
	}
	return f.err
}

func TestUntilCaughtUpEndsWithTheCommit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 30)...)
		cfg := w.config("events")
		cfg.UntilCaughtUp = true
		r := newRecorder()
		c := w.run(cfg, r)
		<-c.done
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		if got := w.committed("events", 0); got != 30 || r.count() != 30 {
			t.Errorf("committed %d after %d messages, want 30 and 30", got, r.count())
		}
		// With nothing left to do it ends too.
		c = w.run(cfg, newRecorder())
		<-c.done
		c.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

func TestPauseAndWaitingStopTheFetching(t *testing.T) {
	inWorld(t, func(w *world) {
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })
		p := r.generation().Tasks[0].Partitions[0]
		r.await(t, "the end", p.AtEnd)
		c.Pause("breaker")
		c.Pause("budget")
		time.Sleep(2 * time.Second)
		if p.AtEnd() {
			t.Error("a paused partition counts as read to its end")
		}
		w.produce("events", 0, "a")
		time.Sleep(10 * time.Second)
		c.Resume("breaker")
		time.Sleep(10 * time.Second)
		if n := r.count(); n != 0 {
			t.Errorf("%d messages came while one reason to pause was left", n)
		}
		c.Resume("budget")
		r.await(t, "the message", func() bool { return r.count() == 1 && p.AtEnd() })
		p.SetWaiting(true)
		time.Sleep(2 * time.Second)
		w.produce("events", 0, "b")
		time.Sleep(10 * time.Second)
		if n := r.count(); n != 1 || p.AtEnd() {
			t.Errorf("%d messages, at end %v, while the partition waits", n, p.AtEnd())
		}
		p.SetWaiting(false)
		r.await(t, "the second message", func() bool { return r.count() == 2 && p.AtEnd() })
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}
