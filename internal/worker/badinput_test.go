package worker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/deadletter"
)

// bad is a message that must become a dead letter.
type bad struct {
	name, value string
	reason      string
	field       string
}

func badMessages() []bad {
	with := func(fields string) string {
		return `{"type":"recommendation.clicked","userToken":"u",` + fields + `}`
	}
	cart := func(item string) string {
		return `{"type":"recommendation.addedToCart","userToken":"u","items":[` + item + `]}`
	}
	huge := strings.Repeat("x", 10<<20)
	return []bad{
		{name: "not JSON", value: "hello", reason: "malformed"},
		{name: "truncated", value: click("u", "o")[:60], reason: "malformed"},
		{name: "invalid UTF-8", value: with("\"objectID\":\"\xff\xfe\""), reason: "malformed"},
		{name: "lone surrogate", value: with(`"objectID":"\ud800"`), reason: "malformed"},
		{name: "deep nesting", value: with(`"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), reason: "malformed"},
		{name: "known key twice", value: with(`"objectID":"a","objectID":"b"`), reason: "malformed"},
		{name: "empty", value: "", reason: "malformed"},
		{name: "an array", value: "[]", reason: "malformed"},
		{name: "10 MB in a field that has a rule", value: with(`"objectID":"` + huge + `"`), reason: "invalid", field: "objectID"},
		{name: "unknown type", value: `{"type":"recommendation.returned","userToken":"u"}`, reason: "unknown-type"},
		{name: "type is no text", value: `{"type":7,"userToken":"u"}`, reason: "invalid", field: "type"},
		{name: "objectID is a number", value: with(`"objectID":7`), reason: "invalid", field: "objectID"},
		{name: "items is an object", value: `{"type":"recommendation.purchased","userToken":"u","items":{}}`, reason: "invalid", field: "items"},
		{name: "seconds for milliseconds", value: with(`"objectID":"a","timestamp":1764000000`), reason: "invalid", field: "timestamp"},
		{name: "price 1e400", value: cart(`{"objectID":"a","price":1e400}`), reason: "invalid", field: "items[0].price"},
		{name: "price NaN", value: cart(`{"objectID":"a","price":"NaN"}`), reason: "invalid", field: "items[0].price"},
		{name: "no user", value: `{"type":"recommendation.clicked","objectID":"a"}`, reason: "invalid", field: "userToken"},
		{name: "an application nobody knows", value: with(`"objectID":"a","application":"shop-9"`), reason: "unknown-application"},
		{name: "an hour ahead", value: with(fmt.Sprintf(`"objectID":"a","timestamp":%d`, time.Now().Add(time.Hour).UnixMilli())), reason: "future"},
		{name: "a week old", value: with(fmt.Sprintf(`"objectID":"a","timestamp":%d`, time.Now().Add(-7*24*time.Hour).UnixMilli())), reason: "too-old"},
	}
}

func TestEveryBadMessageBecomesADeadLetterThatSaysWhyAndHarmsNoOther(t *testing.T) {
	w := newWorld(t)
	all := badMessages()
	var records []*kgo.Record
	for i, m := range all {
		r := record(fmt.Sprintf("key-%d", i), m.value)
		r.Value = []byte(m.value)
		r.Headers = []kgo.RecordHeader{{Key: "trace", Value: []byte{0, 0xff, byte(i)}}, {Key: "empty"}}
		records = append(records, r, record("u", click("u", fmt.Sprintf("good-%d", i))))
	}
	w.send(records...)
	tombstone := record("u", "")
	tombstone.Value = nil
	w.send(tombstone)

	run := w.start(w.config())
	s := run.settles(int64(len(records) + 1))
	if s.Delivered != int64(len(all)) || s.TotalDeadLettered() != int64(len(all)) || s.TotalAbsorbed() != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce(numbered("good", len(all))...)

	byOffset := make(map[int64]letter)
	for _, l := range w.letters() {
		byOffset[l.Context.Offset] = l
	}
	for i, m := range all {
		r := records[2*i]
		l, ok := byOffset[r.Offset]
		if !ok {
			t.Errorf("%s: no dead letter", m.name)
			continue
		}
		checkLetter(t, m.name, &l, r)
		if l.Reason.String() != m.reason || m.field != "" && l.Field != m.field || (m.reason == "invalid" && l.Rule == "") {
			t.Errorf("%s: %s of field %q by rule %q, want %s of %q", m.name, l.Reason, l.Field, l.Rule, m.reason, m.field)
		}
	}
	if len(byOffset) != len(all) {
		t.Errorf("%d dead letters of %d messages", len(byOffset), len(all))
	}
}

// checkLetter holds a dead letter against its message.
func checkLetter(t *testing.T, name string, l *letter, r *kgo.Record) {
	t.Helper()
	if !bytes.Equal(l.Key, r.Key) || !bytes.Equal(l.Value, r.Value) || (l.Value == nil) != (r.Value == nil) {
		t.Errorf("%s: key or value are not the original ones", name)
	}
	for i, h := range r.Headers {
		if i >= len(l.Headers) || l.Headers[i].Key != h.Key || !bytes.Equal(l.Headers[i].Value, h.Value) {
			t.Errorf("%s: the original headers are not the first ones, untouched: %v", name, l.Headers)
			break
		}
	}
	for _, h := range l.Headers[len(r.Headers):] {
		if !strings.HasPrefix(h.Key, deadletter.Prefix) {
			t.Errorf("%s: header %s was not there", name, h.Key)
		}
	}
	c := l.Context
	if c.Topic != r.Topic || c.Partition != r.Partition || c.Timestamp != r.Timestamp.UnixMilli() || c.Group != group {
		t.Errorf("%s: coordinates %s/%d at %d of group %s", name, c.Topic, c.Partition, c.Timestamp, c.Group)
	}
	if since := time.Since(l.Time); since < 0 || since > time.Minute {
		t.Errorf("%s: the dead letter's own timestamp is %v", name, l.Time)
	}
	if c.Message == "" || c.Stage == "" || !strings.HasPrefix(c.Cause, "c1-") || c.Failed.IsZero() || c.FirstFailed.After(c.Failed) {
		t.Errorf("%s: %+v", name, c)
	}
}
