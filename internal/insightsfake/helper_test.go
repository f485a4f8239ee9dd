package insightsfake

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	testApp = "TESTAPP001"
	testKey = "search-key"
	queryA  = "43b15df305339e827f0ac0bdc5ebcaa7"
	queryB  = "7dfe2ada7bca48bdd0629649df0bee07"
)

// testNow is the clock of tests that do not wait.
var testNow = time.UnixMilli(1_764_000_000_000)

func frozen() time.Time { return testNow }

// post sends a body with good headers.
func post(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/1/events", strings.NewReader(body))
	r.Header.Set("X-Algolia-Application-Id", testApp)
	r.Header.Set("X-Algolia-API-Key", testKey)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// batchOf puts events, given as JSON objects, into a body.
func batchOf(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

// message reads a JSON answer and checks that it repeats the status.
func message(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Fatalf("content type %q of answer %d: want JSON", got, w.Code)
	}
	var a struct {
		Status  int
		Message string
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("answer %d: %v", w.Code, err)
	}
	if a.Status != w.Code {
		t.Fatalf("the body says %d, the answer is %d", a.Status, w.Code)
	}
	return a.Message
}

// with gives the base event with some attributes replaced or, where the value
// is "", left out. Values are JSON.
func with(base map[string]string, pairs ...string) string {
	all := map[string]string{}
	maps.Copy(all, base)
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	var b strings.Builder
	for k, v := range all {
		if v == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + k + `":` + v)
	}
	return "{" + b.String() + "}"
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Good events of each shape.
var (
	viewed = map[string]string{
		"eventType": `"view"`, "eventName": `"Viewed"`, "index": `"products"`, "userToken": `"user-1"`,
		"timestamp": `1763999999000`, "objectIDs": `["a","b"]`,
	}
	viewFilters = map[string]string{
		"eventType": `"view"`, "eventName": `"Viewed"`, "index": `"products"`, "userToken": `"user-1"`,
		"filters": `["brand:apple"]`,
	}
	click = map[string]string{
		"eventType": `"click"`, "eventName": `"Clicked"`, "index": `"products"`, "userToken": `"user-1"`,
		"objectIDs": `["a","b"]`,
	}
	clickAfter = map[string]string{
		"eventType": `"click"`, "eventName": `"Clicked"`, "index": `"products"`, "userToken": `"user-1"`,
		"objectIDs": `["a","b"]`, "positions": `[1,7]`, "queryID": `"` + queryA + `"`,
	}
	clickFilters = map[string]string{
		"eventType": `"click"`, "eventName": `"Clicked"`, "index": `"products"`, "userToken": `"user-1"`,
		"filters": `["brand:apple"]`,
	}
	conversion = map[string]string{
		"eventType": `"conversion"`, "eventName": `"Converted"`, "index": `"products"`, "userToken": `"user-1"`,
		"objectIDs": `["a","b"]`,
	}
	cart = map[string]string{
		"eventType": `"conversion"`, "eventSubtype": `"addToCart"`, "eventName": `"Added"`, "index": `"products"`, "userToken": `"user-1"`,
		"objectIDs": `["a"]`, "queryID": `"` + queryA + `"`, "currency": `"EUR"`,
		"objectData": `[{"price":"19.90","quantity":2}]`, "value": `"39.80"`,
	}
	purchase = map[string]string{
		"eventType": `"conversion"`, "eventSubtype": `"purchase"`, "eventName": `"Bought"`, "index": `"products"`, "userToken": `"user-1"`,
		"objectIDs": `["a","b"]`, "currency": `"EUR"`,
		"objectData": `[{"price":5,"quantity":1,"discount":0.5,"queryID":"` + queryA + `"},{"price":"2.5","quantity":2}]`, "value": `10`,
	}
	telemetry = map[string]string{
		"eventType": `"instantsearch"`, "eventName": `"Telemetry"`, "userToken": `"user-1"`,
	}
)
