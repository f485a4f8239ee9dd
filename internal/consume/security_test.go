package consume

import (
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
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
