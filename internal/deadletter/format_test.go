package deadletter

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"eventworker/internal/event"
)

var (
	firstFailure = time.Date(2026, 8, 3, 10, 0, 0, 123e6, time.UTC)
	lastFailure  = time.Date(2026, 8, 3, 10, 4, 5, 0, time.UTC)
)

// rejected is a letter with everything in it.
func rejected() *Letter {
	return &Letter{
		Topic: "recommendation-events", Partition: 3, Offset: 18112, Timestamp: 1764000000000,
		Key: []byte("user-1234"), Value: []byte(`{"type":"recommendation.purchased"}`),
		Headers: []Header{header("traceparent", []byte("00-aa-bb-01")), header("a", nil), header("a", []byte{}), header("a", []byte{0xFF, 0})},
		Refusal: event.Refusal{
			Reason: event.Rejected, Stage: event.StageDeliver, Rule: "api.rejected",
			Message: "the API refused event 2 of 3",
		},
		Type: "recommendation.purchased", Application: "default", HTTPStatus: 422, Attempts: 4,
		APIWords:    "The 'objectIDs' field is invalid",
		FirstFailed: firstFailure, Failed: lastFailure,
		Parts: []Part{{4, event.TooLarge}, {2, event.Rejected}, {0, event.Rejected}},
		Resolved: []Resolved{
			{Index: 0, QueryID: "43b15df305339e827f0ac0bdc5ebcaa7", IndexName: "products", Position: 3},
			{Index: 1, IndexName: "products"},
		},
		Traceparent: "00-cc-dd-01",
	}
}

func header(key string, value []byte) Header { return Header{Key: key, Value: value} }

func show(headers []Header) string {
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&b, "%s=%s\n", h.Key, h.Value)
	}
	return b.String()
}

func TestEncodeWritesTheHeadersOfTheContract(t *testing.T) {
	m := Encode(rejected(), "eventworker")
	want := `eventworker.dlq.version=1
eventworker.dlq.reason=rejected
eventworker.dlq.stage=deliver
eventworker.dlq.cause=c1-20439ece
eventworker.dlq.rule=api.rejected
eventworker.dlq.message=the API refused event 2 of 3 (the API: The 'objectIDs' field is invalid)
eventworker.dlq.topic=recommendation-events
eventworker.dlq.partition=3
eventworker.dlq.offset=18112
eventworker.dlq.timestamp=1764000000000
eventworker.dlq.group=eventworker
eventworker.dlq.http-status=422
eventworker.dlq.attempts=4
eventworker.dlq.first-failed-at=2026-08-03T10:00:00.123Z
eventworker.dlq.failed-at=2026-08-03T10:04:05.000Z
eventworker.dlq.parts={"too-large":[4],"rejected":[0,2]}
eventworker.dlq.resolved=[{"object":0,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7","index":"products","position":3},{"object":1,"queryID":null,"index":"products"}]
eventworker.dlq.traceparent=00-cc-dd-01
`
	if got := show(m.Headers[4:]); got != want {
		t.Errorf("headers:\n%s\nwant:\n%s", got, want)
	}
}

func TestEncodeLeavesTheRecordUntouchedAndSharesNoMemory(t *testing.T) {
	l := rejected()
	want := rejected()
	m := Encode(l, "g")
	for _, b := range [][]byte{l.Key, l.Value, l.Headers[0].Value, l.Headers[3].Value} {
		for i := range b {
			b[i] = 'x'
		}
	}
	if !bytes.Equal(m.Key, want.Key) || !bytes.Equal(m.Value, want.Value) {
		t.Errorf("key %q value %q", m.Key, m.Value)
	}
	if got := m.Headers[:4]; !reflect.DeepEqual(got, want.Headers) {
		t.Errorf("headers %q, want %q", got, want.Headers)
	}
	if own := Originals(m.Headers); !reflect.DeepEqual(own, want.Headers) {
		t.Errorf("Originals gives %q, want %q", own, want.Headers)
	}
}

func TestEncodeKeepsNullApartFromEmpty(t *testing.T) {
	for _, one := range []struct{ key, value []byte }{{nil, nil}, {[]byte{}, []byte{}}, {nil, []byte{}}, {[]byte{}, nil}} {
		m := Encode(&Letter{Key: one.key, Value: one.value}, "g")
		if (m.Key == nil) != (one.key == nil) || (m.Value == nil) != (one.value == nil) {
			t.Errorf("key %#v value %#v became %#v and %#v", one.key, one.value, m.Key, m.Value)
		}
	}
}

func TestRequiredHeadersAreAlwaysThere(t *testing.T) {
	for reason := event.NoReason + 1; reason < event.NumReasons; reason++ {
		m := Encode(&Letter{Timestamp: -1, Refusal: event.Refusal{Reason: reason, Stage: event.StageDecode}}, "")
		c, err := Decode(m.Headers)
		if err != nil {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		if c.Timestamp != -1 || c.FirstFailed.IsZero() || !c.Failed.Equal(c.FirstFailed) {
			t.Errorf("%s: %+v", reason, c)
		}
	}
}

func TestAReplayedRecordKeepsItsFirstLife(t *testing.T) {
	l := rejected()
	first, err := Decode(Encode(l, "g").Headers)
	if err != nil {
		t.Fatal(err)
	}
	again := rejected()
	again.Topic, again.Partition, again.Offset, again.Timestamp = "replay", 7, 99, 1764099999999
	again.Headers = first.ReplayHeaders(l.Headers, "r-1", 2, "sha256:abcd")
	again.Refusal = event.Refusal{Reason: event.TooOld, Stage: event.StageEncode, Message: "four days old"}
	again.FirstFailed, again.Failed = lastFailure.Add(time.Hour), lastFailure.Add(2*time.Hour)
	again.HTTPStatus, again.Attempts, again.Parts, again.Resolved = 0, 0, nil, nil

	m := Encode(again, "other")
	c, err := Decode(m.Headers)
	if err != nil {
		t.Fatal(err)
	}
	want := &Context{
		Version: 1, Reason: event.TooOld, Stage: event.StageEncode, Cause: Cause(again),
		Message: "four days old (the API: The 'objectIDs' field is invalid)",
		Topic:   l.Topic, Partition: l.Partition, Offset: l.Offset, Timestamp: l.Timestamp,
		Group: "other", FirstFailed: firstFailure, Failed: lastFailure.Add(2 * time.Hour),
		ReplayID: "r-1", ReplayCount: 2, Edited: "sha256:abcd", Traceparent: "00-cc-dd-01",
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if m.Partition != l.Partition || m.Offset != l.Offset || m.Topic != l.Topic {
		t.Errorf("the message goes by %s %d %d", m.Topic, m.Partition, m.Offset)
	}
	seen := map[string]int{}
	for _, h := range m.Headers {
		if strings.HasPrefix(h.Key, Prefix) {
			if seen[h.Key]++; seen[h.Key] > 1 {
				t.Errorf("%s is there twice", h.Key)
			}
		}
	}
	if own := Originals(m.Headers); !reflect.DeepEqual(own, l.Headers) {
		t.Errorf("original headers %q, want %q", own, l.Headers)
	}
}

func TestAReplayedRecordCarriesWhatTheWorkerNeeds(t *testing.T) {
	l := rejected()
	first, err := Decode(Encode(l, "g").Headers)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeReplayed(first.ReplayHeaders(l.Headers, "r-1", 1, ""))
	if err != nil {
		t.Fatal(err)
	}
	if c.ReplayID != "r-1" || c.ReplayCount != 1 || c.Topic != l.Topic || c.Offset != l.Offset || c.Timestamp != l.Timestamp {
		t.Errorf("%+v", c)
	}
	if want := []Part{{0, event.Rejected}, {2, event.Rejected}, {4, event.TooLarge}}; !reflect.DeepEqual(c.Parts, want) {
		t.Errorf("parts %v, want %v", c.Parts, want)
	}
	if !reflect.DeepEqual(c.Resolved, l.Resolved) {
		t.Errorf("resolved %v, want %v", c.Resolved, l.Resolved)
	}
}

func TestForeignDeadLetterHeadersCannotSpoilALetter(t *testing.T) {
	l := rejected()
	l.Headers = []Header{
		header(HeaderTopic, []byte("elsewhere")), header(HeaderPartition, []byte("-1")), header(HeaderOffset, []byte("1")),
		header(HeaderTimestamp, []byte("1")), header(HeaderFirstFailed, []byte("yesterday")), header(HeaderReplayCount, []byte("many")),
		header(Prefix+"unknown", nil),
	}
	c, err := Decode(Encode(l, "g").Headers)
	if err != nil {
		t.Fatal(err)
	}
	if c.Topic != l.Topic || c.Partition != l.Partition || c.Offset != l.Offset || !c.FirstFailed.Equal(firstFailure) || c.ReplayCount != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	good := Encode(rejected(), "g").Headers
	if _, err := Decode([]Header{header("a", nil)}); !errors.Is(err, ErrNoContext) {
		t.Errorf("a plain record: %v", err)
	}
	for _, one := range []struct {
		header, value string
		missing       bool
	}{
		{header: HeaderVersion, value: "2"},
		{header: HeaderVersion, missing: true},
		{header: HeaderReason, value: "bored"},
		{header: HeaderStage, value: "bed"},
		{header: HeaderPartition, value: "2147483648"},
		{header: HeaderOffset, value: "-1"},
		{header: HeaderOffset, missing: true},
		{header: HeaderTimestamp, value: "now"},
		{header: HeaderFailed, value: "now"},
		{header: HeaderAttempts, missing: true},
		{header: HeaderHTTPStatus, missing: true},
		{header: HeaderCause, missing: true},
		{header: HeaderParts, value: `{"bored":[1]}`},
		{header: HeaderParts, value: `{"rejected":[-1]}`},
		{header: HeaderResolved, value: `[{"object":-1}]`},
		{header: HeaderResolved, value: `{`},
	} {
		var headers []Header
		for _, h := range good {
			if h.Key != one.header {
				headers = append(headers, h)
			} else if !one.missing {
				headers = append(headers, header(h.Key, []byte(one.value)))
			}
		}
		_, err := Decode(headers)
		var format *FormatError
		if !errors.As(err, &format) || format.Header != one.header {
			t.Errorf("%s=%q: %v", one.header, one.value, err)
		}
	}
}

func TestOfAHeaderThatIsThereTwiceTheLastCounts(t *testing.T) {
	headers := Encode(rejected(), "g").Headers
	headers = append(headers, header(HeaderGroup, []byte("second")))
	c, err := Decode(headers)
	if err != nil || c.Group != "second" {
		t.Errorf("group %q, %v", c.Group, err)
	}
}

func TestShrinkGivesUpOnlyWhatIsOptional(t *testing.T) {
	l := rejected()
	l.Refusal.Message = strings.Repeat("é", 600)
	full := Encode(l, "g")
	size := full.Size()
	for step := 1; step <= maxShrink; step++ {
		m := full
		m.Headers = shrink(full.Headers, step)
		if m.Size() >= size {
			t.Errorf("step %d: %d bytes, not less than %d", step, m.Size(), size)
		}
		size = m.Size()
		c, err := Decode(m.Headers)
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if !utf8.ValidString(c.Message) {
			t.Errorf("step %d cuts a rune: %q", step, c.Message)
		}
		if !reflect.DeepEqual(Originals(m.Headers), l.Headers) {
			t.Errorf("step %d touches the record's own headers", step)
		}
		if (len(c.Parts) > 0) != (step < 3) || (len(c.Resolved) > 0) != (step < 2) {
			t.Errorf("step %d: parts %v resolved %v", step, c.Parts, c.Resolved)
		}
	}
	if len(full.Headers) != 22 {
		t.Errorf("shrink changed the message it was given: %d headers", len(full.Headers))
	}
}

func TestCutEndsBetweenRunes(t *testing.T) {
	for _, one := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"}, {"abc", 2, "ab"}, {"aé", 2, "a"}, {"aé", 3, "aé"}, {"\xff\xff", 3, "\uFFFD"}, {"a\xffb", 4, "a\uFFFD"}, {"日本", 5, "日"}, {"日", 0, ""},
	} {
		if got := cut(one.in, one.limit); got != one.want {
			t.Errorf("cut(%q, %d) = %q, want %q", one.in, one.limit, got, one.want)
		}
	}
}

// TestSizeIsNeverBelowTheWire compares with the record format of Kafka, varints and all.
func TestSizeIsNeverBelowTheWire(t *testing.T) {
	varint := func(n int) int {
		size := 1
		for v := uint64(n) << 1; v >= 0x80; v >>= 7 {
			size++
		}
		return size
	}
	rapid.Check(t, func(t *rapid.T) {
		m := Encode(drawLetter(t), "g")
		wire := 1 + 10 + 5 + varint(len(m.Key)) + len(m.Key) + varint(len(m.Value)) + len(m.Value) + varint(len(m.Headers))
		for _, h := range m.Headers {
			wire += varint(len(h.Key)) + len(h.Key) + varint(len(h.Value)) + len(h.Value)
		}
		wire += varint(wire)
		if m.Size() < wire {
			t.Fatalf("Size %d, on the wire %d", m.Size(), wire)
		}
	})
}

func drawBytes(t *rapid.T, name string) []byte {
	if rapid.Bool().Draw(t, name+" null") {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name)
}

func drawLetter(t *rapid.T) *Letter {
	l := &Letter{
		Topic:     rapid.StringMatching(`[a-z.-]{1,20}`).Draw(t, "topic"),
		Partition: rapid.Int32Min(0).Draw(t, "partition"),
		Offset:    rapid.Int64Min(0).Draw(t, "offset"),
		Timestamp: rapid.Int64Min(-1).Draw(t, "timestamp"),
		Key:       drawBytes(t, "key"),
		Value:     drawBytes(t, "value"),
		Refusal: event.Refusal{
			Reason:  event.Reason(rapid.IntRange(1, int(event.NumReasons)-1).Draw(t, "reason")),
			Stage:   rapid.SampledFrom([]event.Stage{event.StageDecode, event.StageValidate, event.StageJoin, event.StageEncode, event.StageDeliver}).Draw(t, "stage"),
			Field:   rapid.StringMatching(`([a-z]{1,8}(\[[0-9]{1,3}\])?){0,3}`).Draw(t, "field"),
			Rule:    rapid.StringMatching(`[a-z.]{0,12}`).Draw(t, "rule"),
			Message: rapid.StringN(0, 300, 1000).Draw(t, "message"),
		},
		HTTPStatus:  rapid.SampledFrom([]int{0, 400, 422, 413}).Draw(t, "status"),
		Attempts:    rapid.IntRange(0, 1000).Draw(t, "attempts"),
		FirstFailed: time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "first failed")).UTC(),
		Failed:      time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "failed")).UTC(),
	}
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		l.Headers = append(l.Headers, header(rapid.SampledFrom([]string{"", "a", "traceparent", "ü"}).Draw(t, "name"), drawBytes(t, "header")))
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "objects") {
		if rapid.Bool().Draw(t, "dead") {
			l.Parts = append(l.Parts, Part{i, event.Reason(rapid.IntRange(1, int(event.NumReasons)-1).Draw(t, "part"))})
		}
		l.Resolved = append(l.Resolved, Resolved{
			Index: i, QueryID: rapid.SampledFrom([]string{"", "43b15df305339e827f0ac0bdc5ebcaa7"}).Draw(t, "queryID"),
			IndexName: rapid.StringN(0, 20, 60).Draw(t, "index"), Position: rapid.Int32Min(0).Draw(t, "position"),
		})
	}
	return l
}

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLetter(t)
		m := Encode(l, "group")
		c, err := Decode(m.Headers)
		if err != nil {
			t.Fatal(err)
		}
		want := &Context{
			Version: Version, Reason: l.Refusal.Reason, Stage: l.Refusal.Stage, Field: l.Refusal.Field, Rule: l.Refusal.Rule,
			Cause: Cause(l), Message: cut(l.Refusal.Message, maxMessage), Topic: l.Topic, Partition: l.Partition, Offset: l.Offset,
			Timestamp: l.Timestamp, Group: "group", HTTPStatus: l.HTTPStatus, Attempts: l.Attempts,
			FirstFailed: l.FirstFailed, Failed: l.Failed, Parts: l.Parts, Resolved: l.Resolved,
		}
		if !reflect.DeepEqual(c, want) {
			t.Fatalf("got  %+v\nwant %+v", c, want)
		}
		if !bytes.Equal(m.Key, l.Key) || !bytes.Equal(m.Value, l.Value) || (m.Key == nil) != (l.Key == nil) || (m.Value == nil) != (l.Value == nil) {
			t.Fatalf("key %q value %q", m.Key, m.Value)
		}
		if got := m.Headers[:len(l.Headers)]; len(got) > 0 && !reflect.DeepEqual(got, l.Headers) {
			t.Fatalf("headers %q, want %q", got, l.Headers)
		}
	})
}

// FuzzDecode holds that no headers make Decode panic, and that what it accepts survives a second
// round through ReplayHeaders.
func FuzzDecode(f *testing.F) {
	for _, h := range Encode(rejected(), "g").Headers {
		f.Add(h.Key, h.Value)
	}
	f.Add(HeaderParts, []byte(`{"rejected":[0,0,1],"expired":[]}`))
	f.Add(HeaderResolved, []byte(`[{"object":1,"queryID":"","position":1e1}]`))
	good := Encode(rejected(), "g").Headers
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		headers := slices.Concat(good, []Header{header(key, value)})
		c, err := Decode(headers)
		if err != nil {
			return
		}
		again, err := DecodeReplayed(c.ReplayHeaders(Originals(headers), "id", 1, c.Edited))
		if err != nil {
			t.Fatalf("%v after %+v", err, c)
		}
		if again.Topic != c.Topic || again.Partition != c.Partition || again.Offset != c.Offset || again.Timestamp != c.Timestamp ||
			!reflect.DeepEqual(again.Parts, c.Parts) || again.Edited != c.Edited {
			t.Fatalf("got  %+v\nwant %+v", again, c)
		}
	})
}
