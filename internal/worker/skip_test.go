package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
)

// skip asks the admin server to dead-letter a message.
func (r *running) skip(query string) (status int, a SkipAnswer) {
	r.t.Helper()
	res, err := http.Post("http://"+r.admin.Addr().String()+SkipPath+"?"+query, "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, a
}

// blocks says what holds up the input partition, as /statusz tells it.
func (r *running) blocks() (offset int64, why string) {
	for _, p := range r.Status().Kafka.Partitions {
		if p.Topic == topic && p.Oldest != nil {
			return p.Oldest.Offset, p.Oldest.Why
		}
	}
	return -1, ""
}

// TestTheOneMessageThatHoldsUpAPartitionCanBeDeadLettered while it is being delivered, and while it
// waits in the join.
func TestTheOneMessageThatHoldsUpAPartitionCanBeDeadLettered(t *testing.T) {
	for _, c := range []struct {
		name, stage, why string
		message          func() *kgo.Record
		set              func(*config.Config)
		faults           []insightsfake.Fault
	}{
		{"in delivery", "deliver", "delivery: no outcome yet for 1 of its events", func() *kgo.Record { return record("u", cart("u", "id-1", "stuck")) }, func(c *config.Config) {
			c.Batch.MaxEvents = 1
			c.Delivery.Timeout = time.Minute
		}, []insightsfake.Fault{{Kind: insightsfake.Latency, Delay: insightsfake.Duration(time.Minute), Count: 1}}},
		{"in the join", "join", "the join", func() *kgo.Record {
			return record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"stuck"}`, time.Now().UnixMilli()))
		}, func(c *config.Config) { c.Join.Wait, c.Join.AllowedLateness = time.Hour, time.Hour }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.faults(c.faults...)
			run := w.start(w.config(c.set))
			w.send(c.message())
			run.await("the message that is stuck", func() bool {
				offset, why := run.blocks()
				struck := len(c.faults) == 0 || w.api.Faults().Faults[0].Struck > 0 // it is this one's request
				return offset == 0 && strings.HasPrefix(why, c.why) && struck
			})
			w.send(clicks("v", "a", 20)...)
			run.await("the others", func() bool { return run.Ledger().Snapshot().Delivered == 20 })

			if status, a := run.skip("partition=0&offset=3"); status != http.StatusConflict || !strings.Contains(a.Message, "is the one at 0, not at 3") {
				t.Errorf("another offset: %d %+v", status, a)
			}
			if status, a := run.skip("partition=7&offset=0"); status != http.StatusConflict || !strings.Contains(a.Message, "does not have") {
				t.Errorf("another worker's partition: %d %+v", status, a)
			}
			if status, _ := run.skip("partition=0"); status != http.StatusBadRequest {
				t.Errorf("without an offset: %d", status)
			}
			for _, wrong := range []string{"partition=0&offset=99999999999999999999", "partition=0&offset=-1", "partition=4294967296&offset=0", "partition=x&offset=0"} {
				if status, a := run.skip(wrong); status != http.StatusBadRequest || a.Done || a.Offset > 0 || a.Partition > 0 {
					t.Errorf("%s: %d %+v", wrong, status, a)
				}
			}
			if n := len(w.letters()); n != 0 {
				t.Fatalf("%d dead letters before anything was skipped", n)
			}
			if status, a := run.skip("partition=0&offset=0"); status != http.StatusOK || !a.Done {
				t.Fatalf("skip: %d %+v", status, a)
			}
			run.await("the commit", func() bool { return w.committed(0) == 21 })
			list := w.letters()
			if len(list) != 1 || list[0].Context.Offset != 0 || list[0].Context.Rule != skipRule || string(list[0].Context.Stage) != c.stage {
				t.Errorf("dead letters: %+v", list)
			}
			if s := run.Ledger().Snapshot(); s.Delivered != 20 || s.TotalDeadLettered() != 1 {
				t.Errorf("the account says %+v", s)
			}
			w.faults()
			run.stop()
		})
	}
}
