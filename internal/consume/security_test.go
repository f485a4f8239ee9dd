package consume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"
)

// credentials make a SASL mechanism of Kafka's name.
func credentials(t *testing.T, method, user, password string) sasl.Mechanism {
	t.Helper()
	var m sasl.Mechanism
	var err error
	switch method {
	case "PLAIN":
		m = plain.Mechanism{Username: user, Password: password}
	case "SCRAM-SHA-256":
		m, err = scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		m, err = scram.Mechanism(scram.SHA512, user, password)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEachSASLMechanismWorksAndAWrongPasswordIsNamed(t *testing.T) {
	for _, method := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cfg := w.config("events")
				cfg.SASL = credentials(t, method, "u", "p")
				c := w.run(cfg, newRecorder())
				c.await(t, "a generation", func() bool { return c.Status().Ready })
				c.mustStop(t)
				cfg.SASL = credentials(t, method, "u", "wrong")
				c = w.run(cfg, newRecorder())
				time.Sleep(20 * time.Second)
				if s := c.Status(); s.Ready || !strings.Contains(s.Error, "check kafka.sasl") {
					t.Errorf("with a wrong password: %s (%s), ready %v", s.Error, s.FailingKind, s.Ready)
				}
				c.mustStop(t)
			}, kfake.SeedTopics(1, "events"), kfake.EnableSASL(), kfake.Superuser(method, "u", "p"))
		})
	}
}

func TestWhatAnACLDeniesIsNamedWithResourceAndOperation(t *testing.T) {
	allow := func(resource kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
	}
	readGroup := allow(kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationRead)
	readTopic := allow(kmsg.ACLResourceTypeTopic, "events", kmsg.ACLOperationRead)
	for _, c := range []struct {
		name, says string
		acls       []kfake.ACL
	}{
		{"nothing is missing", "", []kfake.ACL{readGroup, readTopic}},
		{"the topic", "Describe on topic events", []kfake.ACL{readGroup}},
		{"reading the topic", "Read on topic events", []kfake.ACL{readGroup, allow(kmsg.ACLResourceTypeTopic, "events", kmsg.ACLOperationDescribe)}},
		{"the group", "Read on group g", []kfake.ACL{readTopic}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cfg := w.config("events")
				cfg.SASL = credentials(t, "PLAIN", "u", "p")
				run := w.run(cfg, newRecorder())
				time.Sleep(time.Minute)
				s := run.Status()
				said := s.Error
				for _, p := range s.Partitions {
					said += " " + p.Error
				}
				if s.Ready != (c.says == "") || !strings.Contains(said, c.says) {
					t.Errorf("ready %v, says %q, want %q", s.Ready, said, c.says)
				}
				run.mustStop(t)
			}, kfake.SeedTopics(1, "events"), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "u", "p", c.acls...))
		})
	}
}

// TestTopicsWhoseRetentionMayNotBeAskedForAreNamed while those of the other topics are told.
func TestTopicsWhoseRetentionMayNotBeAskedForAreNamed(t *testing.T) {
	describe := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "open", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribeConfigs, Allow: true}
	inWorld(t, func(w *world) {
		cfg := w.config("open", "closed")
		cfg.SASL = credentials(t, "PLAIN", "u", "p")
		c, err := New(cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.connections.closeAll()
		defer c.transport.CloseIdleConnections()
		list, err := c.Retentions(context.Background(), []string{"closed", "open"})
		var denied *DeniedError
		if len(list) != 1 || list[0].Topic != "open" || !errors.As(err, &denied) || denied.Resource != "topic closed" || denied.Operation != "DescribeConfigs" {
			t.Errorf("%+v, %v", list, err)
		}
	}, kfake.SeedTopics(1, "open", "closed"), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "u", "p", describe))
}

// mortal is a connection that its broker ends when its session has run out, as brokers with
// connections.max.reauth.ms do where a client does not authenticate anew: at the next request.
type mortal struct {
	net.Conn
	until time.Time
}

func (m *mortal) Write(b []byte) (int, error) {
	if time.Now().After(m.until) {
		m.Conn.Close() // the answer to this request is the end of the connection
	}
	return m.Conn.Write(b)
}

// TestConnectionsThatBrokersEndForReauthenticationAreReplaced: each costs a rebalance at most, and
// nothing is lost or repeated.
func TestConnectionsThatBrokersEndForReauthenticationAreReplaced(t *testing.T) {
	const life, minutes = 45 * time.Second, 10
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.SASL = credentials(t, "PLAIN", "u", "p")
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &mortal{conn, time.Now().Add(life)}, nil
		}
		r := newRecorder()
		c := w.run(cfg, r)
		producer := w.client(kgo.SASL(saslplain.Auth{User: "u", Pass: "p"}.AsMechanism()))
		defer producer.Close()
		for i := range minutes * 60 {
			if err := producer.ProduceSync(context.Background(), &kgo.Record{Topic: "events", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		r.await(t, "the last message", func() bool { return r.count() >= minutes*60 })
		r.await(t, "readiness", func() bool { return c.Status().Ready }) // a connection may just be ending
		times := map[string]int{}
		for _, m := range r.all() {
			times[m.value]++
		}
		for value, n := range times {
			if n != 1 {
				t.Errorf("message %s came %d times", value, n)
			}
		}
		if n := c.Stats().Generations; n < 2 || n > 1+int64(minutes*time.Minute/life) {
			t.Errorf("%d generations in %d minutes, with connections that live %v", n, minutes, life)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"))
}
