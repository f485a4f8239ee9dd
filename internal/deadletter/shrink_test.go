package deadletter

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"eventworker/internal/event"
)

// crowded is a letter whose context takes far more than its record.
func crowded(value []byte) *Letter {
	l := rejected()
	l.Value = value
	l.Refusal.Field = hex.EncodeToString(noise(250))
	l.Refusal.Message = "é" + hex.EncodeToString(noise(900))[900:]
	for i := range 100 {
		l.Parts = append(l.Parts, Part{i, event.Rejected})
		l.Resolved = append(l.Resolved, Resolved{Index: i, QueryID: hex.EncodeToString(noise(16 * (i + 1))[16*i:]), IndexName: "products", Position: 1})
	}
	return l
}

// Whatever the topic takes, the record comes through whole, and what every dead letter must say is
// there: only context is given up, the more the less room there is.
func TestWithLessRoomContextIsGivenUpAndNeverTheRecord(t *testing.T) {
	value := noise(2500)
	whole := Encode(crowded(value), "g")
	least := len(value)
	for _, h := range shrink(whole.Headers, maxShrink) {
		least += len(h.Key) + len(h.Value) + headerOverhead
	}
	contexts := map[int]bool{}
	for limit := whole.Size() + 200; limit > least+400; limit -= 200 {
		r := limited(t, limit)
		r.put(0, 7, func(l *Letter) { *l = *crowded(value); l.Partition, l.Offset = 0, 7 })
		r.wait()
		records := r.read()
		if len(records) != 1 {
			t.Fatalf("limit %d: %d records", limit, len(records))
		}
		one := records[0]
		if !bytes.Equal(one.Value, value) || !bytes.Equal(one.Key, rejected().Key) || !reflect.DeepEqual(Originals(one.Headers), rejected().Headers) {
			t.Errorf("limit %d: the record is not what it was", limit)
		}
		c, err := Decode(one.Headers)
		if err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		if c.Reason != event.Rejected || c.Topic != "recommendation-events" || c.Offset != 7 || c.HTTPStatus != 422 || c.Message == "" || c.Cause == "" {
			t.Errorf("limit %d: %+v", limit, c)
		}
		size := 0
		for _, h := range one.Headers {
			size += len(h.Key) + len(h.Value)
		}
		contexts[size] = true
	}
	if len(contexts) < 3 {
		t.Errorf("the context had only the sizes %v", contexts)
	}
}

// Where even that does not fit, nothing is written, and the state says where the original lies, how
// large the letter is and which setting to raise.
func TestALetterThatStillDoesNotFitSaysWhereTheOriginalLies(t *testing.T) {
	r := limited(t, 3000)
	r.writer.Put(crowded(noise(4000)), func() { t.Error("it was written") })
	eventually(t, "the letter is not held", func() bool { return r.heldLetters() == 1 })
	_, why := r.writer.Healthy()
	for _, part := range []string{"recommendation-events partition 3 offset 18112", "takes ", "bytes", "max.message.bytes is 3000", "raise"} {
		if !strings.Contains(why, part) {
			t.Errorf("%q is missing in: %s", part, why)
		}
	}
	if records := r.read(); len(records) != 0 {
		t.Errorf("%d records were written", len(records))
	}
}
