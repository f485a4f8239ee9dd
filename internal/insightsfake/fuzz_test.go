package insightsfake

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func nested(open, end string, depth int) string {
	return strings.Repeat(open, depth) + "[]" + strings.Repeat(end, depth)
}

// FuzzEvents: whatever the body, the fake answers as the API may, calls
// malformed exactly what is no JSON, and takes all of a request or nothing.
func FuzzEvents(f *testing.F) {
	for _, c := range allCases() {
		if len(c.bad) < 10_000 {
			f.Add(c.good, c.lenient)
			f.Add(c.bad, true)
		}
	}
	for _, body := range []string{
		`{"events":[{"eventName":"\ud83d\ude00\u0041\/"}]}`, `{"events":[{"objectData":[{"price":1e-7}]}]}`,
		nested("[", "]", 9999), nested("[", "]", 10000), nested(`{"a":`, "}", 9999), nested(`{"a":`, "}", 10000),
		strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
		`{"\u0065vents":[{}]}`, `{"events":[{"timestamp":-0}]}`, "\"\xed\xa0\x80\"", `"\udc00"`, `"\ud800\u0041"`, "1e5", "-", "2.", "truex",
	} {
		f.Add(body, false)
	}
	strict, lenient := New(Options{Now: frozen, Keep: true}), New(Options{Now: frozen, Keep: true, Lenient: true})
	f.Fuzz(func(t *testing.T, body string, leniently bool) {
		s := strict
		if leniently {
			s = lenient
		}
		s.Reset()
		w := post(s, body)
		st := s.Stats()
		if isJSON := jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true)); isJSON == (w.Code == 400) {
			t.Fatalf("answered %d; JSON: %v", w.Code, isJSON)
		}
		switch w.Code {
		case 200:
			if st.Events.Accepted == 0 || s.Accepted().Total() != st.Events.Accepted {
				t.Fatalf("200 with %+v", st.Events)
			}
		case 400, 422:
			if st.Events.Accepted != 0 || s.Accepted().Total() != 0 {
				t.Fatalf("%d with %+v", w.Code, st.Events)
			}
		default:
			t.Fatalf("answered %d", w.Code)
		}
		if w.Code == 422 && message(t, w) == "" {
			t.Fatal("422 without a message")
		}
	})
}

// FuzzFaults: any script is either refused or can be set and shown again.
func FuzzFaults(f *testing.F) {
	f.Add(`{"seed":1,"faults":[{"kind":"status","status":429,"retry_after":"2s","count":3}]}`)
	f.Add(`{"faults":[{"kind":"refuse","object_ids":["a"],"for":"1h","probability":1e-9}]}`)
	f.Fuzz(func(t *testing.T, script string) {
		s := New(Options{Now: frozen})
		put := send(s, "PUT", "/faults", script, nil)
		if put.Code != 200 && put.Code != 422 && put.Code != 413 {
			t.Fatalf("answered %d", put.Code)
		}
		if put.Code == 200 {
			if _, err := ParseFaults(send(s, "GET", "/faults", "", nil).Body.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
