package dlq

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/deadletter"
)

// raw writes a record to the dead-letter topic that the worker would not, with the headers of name and value.
func (o *office) raw(headers ...string) {
	o.Helper()
	r := &kgo.Record{Topic: "shop.dead", Partition: 0, Value: []byte("{}")}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: deadletter.Prefix + headers[i], Value: []byte(headers[i+1])})
	}
	if err := o.client.ProduceSync(o.Context(), r).FirstErr(); err != nil {
		o.Fatal(err)
	}
}

func TestADiscardLeavesAloneLettersThatDoNotSayWhichMessageTheyAreOf(t *testing.T) {
	o := newOffice(t)
	o.dead(many(3, o.click)...)
	o.raw("reason", "invalid", "group", "g")
	o.raw("reason", "invalid", "group", "g", "topic", "shop", "partition", "0", "offset", "-1")
	o.raw("reason", "invalid", "group", "g", "topic", "shop", "offset", "0") // of which partition?
	o.raw("reason", "invalid", "group", "g", "topic", "shop", "partition", "zero", "offset", "0")
	plan := func() *Discarding {
		d, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("")})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	pinned := plan()
	if pinned.Count != 3 || pinned.Unreadable != 4 || pinned.OtherGroup != 0 {
		t.Errorf("%+v", pinned)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if done, err := o.desk.Discard(ctx, pinned, "jane", "test orders"); err != nil || done != 3 {
		t.Errorf("%d, %v", done, err)
	}
	if d := plan(); d.Count != 0 || d.Already != 3 || d.Unreadable != 4 {
		t.Errorf("afterwards: %+v", d)
	}
}

// Nobody would ever see such a claim in the topic: it would be waited for in vain.
func TestAClaimOfNoMessageIsRefusedAtOnce(t *testing.T) {
	o := newOffice(t)
	w, err := o.desk.stateWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	states := o.desk.newStates("")
	err = claimAll(ctx, w, states, []claim{
		{source: Coordinates{"shop", 0, 0}, state: decided("", deadletter.StateDiscarded, "jane", "test orders")},
		{source: Coordinates{"shop", 0, -1}, state: decided("", deadletter.StateDiscarded, "jane", "test orders")},
	})
	if err == nil || !strings.Contains(err.Error(), "shop/0/-1") || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := states.read(t.Context(), nil); err != nil || states.Len() != 0 {
		t.Errorf("%d of the claims were written, %v", states.Len(), err)
	}
}
