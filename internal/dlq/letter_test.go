package dlq

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// letterOf is a letter as it comes from the topic.
func letterOf(l *deadletter.Letter) *Letter {
	r := recordFor(deadletter.Encode(l, "g"))
	r.Time = l.Failed.UnixMilli()
	return LetterOf(l.Partition, &r)
}

func recordFor(m deadletter.Message) consume.Record {
	return consume.Record{Offset: 7, Key: m.Key, Value: m.Value, Headers: m.Headers}
}

func TestQuickHeadersAgreeWithTheStrictReading(t *testing.T) {
	full := purchase(3, 5)
	full.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Rule: "r", Message: "m"}
	full.HTTPStatus, full.Attempts = 422, 7
	full.Headers = append(full.Headers, deadletter.Header{Key: deadletter.HeaderReplayCount, Value: []byte("3")}, deadletter.Header{Key: deadletter.HeaderReplayID, Value: []byte("r-1")})
	for _, one := range []*deadletter.Letter{purchase(0, 0), malformed(1, 2), full} {
		l := letterOf(one)
		c, err := l.Context()
		if err != nil {
			t.Fatal(err)
		}
		got := deadletter.Context{Version: 1, Reason: l.Reason(), Stage: l.Stage(), Field: l.Field(), Rule: l.Rule(), Cause: l.Cause(), Message: l.Message(),
			Topic: l.Source().Topic, Partition: l.Source().Partition, Offset: l.Source().Offset, Timestamp: l.Timestamp(), Group: l.Group(),
			HTTPStatus: l.Status(), Attempts: l.Attempts(), FirstFailed: l.FirstFailedAt(), Failed: l.FailedAt(), ReplayID: l.ReplayID(), ReplayCount: l.ReplayCount(), Edited: l.Edited()}
		if !reflect.DeepEqual(&got, c) {
			t.Errorf("got  %+v\nwant %+v", got, *c)
		}
		if again := l.Clone(); !reflect.DeepEqual(again.Headers, l.Headers) || !bytes.Equal(again.Value, l.Value) || again.Cause() != l.Cause() {
			t.Errorf("the clone is %+v", again)
		}
	}
}

func TestInstantsReadAsTheGeneralParserDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")).UTC()
		got, ok := parseInstant([]byte(at.Format(timeLayout)))
		if !ok || !got.Equal(at) {
			t.Fatalf("%s reads as %s, %v", at, got, ok)
		}
	})
	for _, text := range []string{"", "2026-13-01T00:00:00.000Z", "2026-01-01T00:00:00.00xZ", "nonsense"} {
		if at, ok := parseInstant([]byte(text)); ok {
			t.Errorf("%q reads as %s", text, at)
		}
	}
	if at, ok := parseInstant([]byte("2026-08-03T12:00:00+02:00")); !ok || !at.Equal(morning) {
		t.Errorf("%s, %v", at, ok)
	}
}

func TestPayloadsAreReadAsFarAsTheyGo(t *testing.T) {
	for value, want := range map[string]Payload{
		`{"type":"a","userToken":"u","application":"x","authenticatedUserToken":"v","timestamp":1764000000000}`: {
			Type: []byte("a"), User: []byte("u"), Application: []byte("x"), Authenticated: []byte("v"), Timestamp: 1764000000000},
		` { "items" : [ {"type":"inner"} , "}" , [1,2,{}] ] , "type" : "outer" }`: {Type: []byte("outer")},
		`{"n":-1.5e3,"t":true,"type":"a"`:                                         {Type: []byte("a")},
		`{"userToken":"cut off`:                                                   {},
		`{"userToken":"u","broken":}`:                                             {User: []byte("u")},
		`{"userToken":"a\u0041\"","type":"b"}`:                                    {User: []byte(`aA"`), Type: []byte("b")},
		`{"timestamp":"2026-08-03T10:00:00Z"}`:                                    {Timestamp: morning.UnixMilli()},
		`{"timestamp":1764000000}`:                                                {},
		`{"type":3,"userToken":null}`:                                             {},
		`[1]`:                                                                     {},
		``:                                                                        {},
		"\x00\x01":                                                                {},
	} {
		if got := peek([]byte(value)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", value, got, want)
		}
	}
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte(`{"type":"a","userToken":"u\"","timestamp":1764000000000,"x":[{"y":null}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		p := peek(value)
		var whole struct {
			Type json.RawMessage `json:"type"`
		}
		var text string
		if json.Unmarshal(value, &whole) == nil && json.Unmarshal(whole.Type, &text) == nil && p.Type == nil && strings.Count(string(value), "\\") == 0 &&
			strings.Contains(string(value), `"type"`) && whole.Type != nil && string(whole.Type) != "null" {
			t.Fatalf("%q has the type %q, which was not found", value, text)
		}
		l := Letter{Value: value}
		_ = l.Pretty(NewMasker(nil))
	})
}

func TestPrettyMarksTheFieldOrTheNearestAroundIt(t *testing.T) {
	l := letterOf(purchase(0, 0))
	show := func() (text string) {
		for _, line := range l.Pretty(nil) {
			if line.Marked {
				text += ">"
			}
			text += line.Text + "\n"
		}
		return text
	}
	want := `{
  "type": "recommendation.purchased",
  "userToken": "user-0",
  "timestamp": 1785751140000,
  "items": [
    {
      "objectID": "sku-0",
>      "price": "12,90"
    }
  ]
}
`
	if got := show(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	missing := purchase(0, 0)
	missing.Refusal.Field = "items[0].quantity.unit"
	l = letterOf(missing)
	if got := show(); !strings.Contains(got, ">    {\n") {
		t.Errorf("got\n%s", got)
	}
	l = letterOf(malformed(0, 0))
	if got := show(); got != "\x00\x01heartbeat\n" {
		t.Errorf("got %q", got)
	}
	l.Value = []byte{0xFF, 1}
	if got := show(); got != "000000  ff 01\n" {
		t.Errorf("got %q", got)
	}
}

func TestPrettyKeepsEveryToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := drawJSON(t, 3)
		l := Letter{Value: []byte(value)}
		var text strings.Builder
		for _, line := range l.Pretty(nil) {
			text.WriteString(line.Text + "\n")
		}
		var got, want bytes.Buffer
		if err := json.Compact(&got, []byte(text.String())); err != nil {
			t.Fatalf("%s became %s: %v", value, text.String(), err)
		}
		if json.Compact(&want, []byte(value)); got.String() != want.String() {
			t.Fatalf("%s became %s", want.String(), got.String())
		}
	})
}

func drawJSON(t *rapid.T, depth int) string {
	kinds := []string{`1`, `-2.50`, `"a\"b"`, `"{[,:"`, `true`, `null`, `{}`, `[ ]`}
	if depth == 0 || rapid.Bool().Draw(t, "leaf") {
		return rapid.SampledFrom(kinds).Draw(t, "kind")
	}
	var members []string
	array := rapid.Bool().Draw(t, "array")
	for range rapid.IntRange(1, 3).Draw(t, "members") {
		inner := drawJSON(t, depth-1)
		if !array {
			inner = `"k" : ` + inner
		}
		members = append(members, inner)
	}
	if array {
		return "[" + strings.Join(members, " ,") + "]"
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestDeadlinesAreTheEarlierOfAgeAndRetention(t *testing.T) {
	l := letterOf(purchase(0, 0)) // the event is a minute older than the letter
	hour := time.Hour
	for _, c := range []struct {
		age, retention time.Duration
		want           time.Time
	}{
		{hour, 0, morning.Add(hour - time.Minute)}, {0, hour, morning.Add(hour)}, {hour, 2 * hour, morning.Add(hour - time.Minute)},
		{2 * hour, hour, morning.Add(hour)}, {0, 0, time.Time{}},
	} {
		if got := l.Deadline(c.age, c.retention); !got.Equal(c.want) {
			t.Errorf("age %s, retention %s: %s, want %s", c.age, c.retention, got, c.want)
		}
	}
}
