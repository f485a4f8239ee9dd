package consume

import (
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// counts are the partitions of topics, 0 for those that do not exist.
func (w *world) counts(topics ...string) (counts []int) {
	for _, topic := range topics {
		if info := w.cluster.TopicInfo(topic); info != nil {
			counts = append(counts, len(w.cluster.PartitionInfos(topic)))
		} else {
			counts = append(counts, 0)
		}
	}
	return counts
}

func TestMissingTopicsAreCreatedWithAsManyPartitionsAsThoseThatExist(t *testing.T) {
	for _, c := range []struct {
		name string
		seed []kfake.Opt
		want int
	}{
		{"one exists", []kfake.Opt{kfake.SeedTopics(5, "clicks")}, 5},
		{"none exists", []kfake.Opt{kfake.DefaultNumPartitions(7)}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cfg := w.config("clicks", "shown")
				cfg.ReplayTopic = "replay"
				cfg.CreateTopics = []string{"shown", "clicks", "replay", "dead"}
				ra, rb := newRecorder(), newRecorder()
				a, b := w.run(cfg, ra), w.run(cfg, rb)
				ra.await(t, "both at work", func() bool { return len(assigned(ra)) > 0 && len(assigned(rb)) > 0 })
				for i, n := range w.counts("clicks", "shown", "replay", "dead") {
					if n != c.want {
						t.Errorf("topic %d has %d partitions, want %d", i, n, c.want)
					}
				}
				a.mustStop(t)
				b.mustStop(t)
			}, c.seed...)
		})
	}
}

func TestARefusedCreationIsSaidAndTheRestIsRead(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			res := req.ResponseKind().(*kmsg.CreateTopicsResponse)
			for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
				rt := kmsg.NewCreateTopicsResponseTopic()
				rt.Topic, rt.ErrorCode = topic.Topic, kerr.TopicAuthorizationFailed.Code
				res.Topics = append(res.Topics, rt)
			}
			return res, nil, true
		})
		cfg := w.config("events")
		cfg.CreateTopics = []string{"events", "dead"}
		w.produce("events", 0, numbered("m", 3)...)
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "the messages", func() bool { return r.count() == 3 })
		time.Sleep(time.Minute)
		if n := c.said("Create on topic dead"); n != 1 {
			t.Errorf("said %d times that the topic cannot be created, want once", n)
		}
		if s := c.Status(); !s.Ready {
			t.Errorf("not ready, although all input topics are read: %+v", s)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

func TestDeniedNamesResourceAndOperation(t *testing.T) {
	err := denied(kafka.GroupAuthorizationFailed, "group g", "Read")
	var d *DeniedError
	if !errors.As(err, &d) || d.Resource != "group g" || d.Operation != "Read" || !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("denied gives %v", err)
	}
	if err := denied(kafka.LeaderNotAvailable, "topic t", "Read"); err != kafka.LeaderNotAvailable {
		t.Errorf("another code becomes %v", err)
	}
}
