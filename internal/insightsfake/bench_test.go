package insightsfake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// thousand is a full request: seven views of 20 objects, two clicks and one purchase of
// three items, in turn.
func thousand() string {
	var events []string
	for i := range 1000 {
		token := quoted(fmt.Sprintf("user-%d", i*7919))
		switch {
		case i%10 < 7:
			events = append(events, with(viewed, "userToken", token, "objectIDs", list(20, `"sku-12345678"`)))
		case i%10 < 9:
			events = append(events, with(clickAfter, "userToken", token, "timestamp", millis(testNow), "objectIDs", `["sku-12345678"]`, "positions", "[3]"))
		default:
			events = append(events, with(purchase, "userToken", token, "timestamp", millis(testNow), "objectIDs", `["a","b","c"]`,
				"objectData", `[{"price":"19.90","quantity":2,"queryID":"`+queryA+`"},{"price":"5","quantity":1},{"price":"0.10","quantity":1}]`, "value", `"44.90"`))
		}
	}
	return batchOf(events...)
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkRequest serves requests of 1,000 events, without HTTP itself.
func BenchmarkRequest(b *testing.B) {
	body := thousand()
	for _, c := range []struct {
		name string
		opts Options
	}{
		{"count", Options{Now: frozen}},
		{"keep", Options{Now: frozen, Keep: true}},
		{"whole", Options{Now: frozen, Keep: true, OnAccept: func(string, []Event) {}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := New(c.opts)
			r := httptest.NewRequest(http.MethodPost, "/1/events", nil)
			r.Header.Set("X-Algolia-Application-Id", testApp)
			r.Header.Set("X-Algolia-API-Key", testKey)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = int64(len(body))
			reader := strings.NewReader(body)
			r.Body = http.NoBody
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				reader.Reset(body)
				r.Body = nopCloser{reader}
				if s.ServeHTTP(w, r); w.status != 200 {
					b.Fatal(w.status)
				}
			}
			b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// BenchmarkDigest is what a simulator pays for each event it expects.
func BenchmarkDigest(b *testing.B) {
	e := Event{EventType: "click", EventName: "Clicked", Index: "products", UserToken: "user-1", Timestamp: 1, QueryID: queryA, ObjectIDs: []string{"a"}, Positions: []int{3}}
	b.ReportAllocs()
	for b.Loop() {
		e.Digest()
	}
}
