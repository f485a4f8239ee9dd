package worker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/config"
)

// leaderAway restarts a worker with unsettled messages while the leader does not tell its offsets: what
// was shown before must still answer.
func leaderAway(t *testing.T, kind string) {
	w := newWorld(t)
	cfg := w.config(func(c *config.Config) {
		c.Store.Kind = kind
		c.Join.Wait = 2 * time.Second
		c.DrainTimeout = 300 * time.Millisecond
	})
	run := w.start(cfg)
	w.send(record("u", shown("u", time.Now().Add(-time.Minute), "a")))
	run.settles(1)
	run.await("commit", func() bool { return w.committed(0) == 1 })
	w.faults(slow(time.Hour))
	w.send(record("u", shown("u", time.Now().Add(-time.Minute), "b")))
	run.await("received", func() bool { return run.Ledger().Snapshot().Received == 2 })
	run.cancel()
	<-run.done
	w.faults()

	// a leader election during the next start: NOT_LEADER for the first ListOffsets of the partition
	var n atomic.Int32
	w.cluster.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if n.Load() >= 6 {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		hit := false
		for _, rt := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition = rp.Partition
				sp.Offset = 0
				if rt.Topic == topic {
					hit = true
					sp.ErrorCode = kerr.NotLeaderForPartition.Code
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		if !hit {
			return nil, nil, false
		}
		n.Add(1)
		return resp, nil, true
	})
	run = w.start(cfg)
	// the click comes after both were shown
	w.send(record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a"}`, time.Now().UnixMilli())))
	run.settles(2)
	run.stop()
	w.mu.Lock()
	last := w.events[len(w.events)-1]
	w.mu.Unlock()
	if n.Load() == 0 {
		t.Error("the leader told its offsets all the time")
	}
	if last.QueryID == "" && !strings.Contains(fmt.Sprintf("%+v", last), query) {
		t.Error("the click lost its queryID")
	}
}

func TestALeaderThatIsAwayAtAnAssignmentCostsNoHistory(t *testing.T) {
	for _, kind := range []string{"disk", "memory"} {
		t.Run(kind, func(t *testing.T) { leaderAway(t, kind) })
	}
}
