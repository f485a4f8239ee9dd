package insightsfake

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call sends a request whose headers and path a test wants to choose.
func send(h http.Handler, method, path, body string, headers map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for k, v := range map[string]string{
		"X-Algolia-Application-Id": testApp, "X-Algolia-API-Key": testKey, "Content-Type": "application/json",
	} {
		r.Header.Set(k, v)
	}
	for k, v := range headers {
		r.Header.Del(k)
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestCredentials(t *testing.T) {
	some := Options{Now: frozen, Credentials: map[string][]string{testApp: {"old-key", testKey}, "OTHERAPP01": {"other-key"}}}
	for _, c := range []struct {
		name    string
		opts    Options
		headers map[string]string
		want    int
	}{
		{"any", Options{Now: frozen}, nil, 200},
		{"any, no application", Options{Now: frozen}, map[string]string{"X-Algolia-Application-Id": ""}, 401},
		{"any, no key", Options{Now: frozen}, map[string]string{"X-Algolia-API-Key": ""}, 401},
		{"known", some, nil, 200},
		{"second key", some, map[string]string{"X-Algolia-API-Key": "old-key"}, 200},
		{"unknown key", some, map[string]string{"X-Algolia-API-Key": "search-keyx"}, 401},
		{"key of another application", some, map[string]string{"X-Algolia-API-Key": "other-key"}, 401},
		{"unknown application", some, map[string]string{"X-Algolia-Application-Id": "NOSUCHAPP1"}, 401},
		{"no key", some, map[string]string{"X-Algolia-API-Key": ""}, 401},
	} {
		s := New(c.opts)
		w := send(s, http.MethodPost, "/1/events", batchOf(with(viewed)), c.headers)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
		if got := message(t, w); c.want == 401 && got != "Invalid credentials" {
			t.Errorf("%s: %q", c.name, got)
		}
		if accepted := s.Stats().Events.Accepted; (accepted == 1) != (c.want == 200) {
			t.Errorf("%s: %d accepted", c.name, accepted)
		}
	}
}

func TestPathsAndMethods(t *testing.T) {
	s := New(Options{Now: frozen})
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/1/events", 200},
		{"POST", "/1/events/", 404},
		{"POST", "//1/events", 404},
		{"POST", "/2/events", 404},
		{"POST", "/1/event", 404},
		{"POST", "/", 404},
		{"POST", "/1/usertokens", 404},
		{"GET", "/1/events", 405},
		{"PUT", "/1/events", 405},
		{"HEAD", "/1/events", 405},
		{"POST", "/1/usertokens/u", 405},
		{"POST", "/stats", 405},
		{"PUT", "/reset", 405},
		{"POST", "/faults", 405},
		{"PUT", "/accepted", 405},
		{"GET", "/accepted", 404},
	} {
		w := send(s, c.method, c.path, batchOf(with(viewed)), nil)
		if w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
		message(t, w)
		if c.want == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
	}
}

func TestDeleteUserToken(t *testing.T) {
	s := New(Options{})
	for _, c := range []struct {
		token string
		key   string
		want  int
	}{
		{"user-1", "k", 204}, {"a%2Fb=", "k", 204}, {"a@b", "k", 422}, {"", "k", 422}, {strings.Repeat("x", 129), "k", 422}, {"user-1", "", 401},
	} {
		w := send(s, http.MethodDelete, "/1/usertokens/"+c.token, "", map[string]string{"X-Algolia-API-Key": c.key})
		if w.Code != c.want {
			t.Errorf("%q: %d, want %d", c.token, w.Code, c.want)
		}
		if c.want == 204 && w.Body.Len() > 0 {
			t.Errorf("%q: a body", c.token)
		}
	}
	if got := s.Stats().TokensDeleted; got != 2 {
		t.Errorf("%d counted", got)
	}
}

func TestContentTypeAndEncoding(t *testing.T) {
	s := New(Options{Now: frozen})
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"Content-Type", "application/json", 200},
		{"Content-Type", "application/json; charset=utf-8", 200},
		{"Content-Type", "Application/JSON;charset=UTF-8", 200},
		{"Content-Type", "application/json; charset=latin1", 400},
		{"Content-Type", "text/plain", 400},
		{"Content-Type", "application/x-ndjson", 400},
		{"Content-Type", "", 400},
		{"Content-Encoding", "identity", 200},
		{"Content-Encoding", "gzip", 400},
	} {
		if w := send(s, http.MethodPost, "/1/events", batchOf(with(viewed)), map[string]string{c.header: c.value}); w.Code != c.want {
			t.Errorf("%s %q: %d, want %d", c.header, c.value, w.Code, c.want)
		}
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, batchOf(with(viewed)))
	z.Close()
	if w := send(s, http.MethodPost, "/1/events", zipped.String(), nil); w.Code != 400 {
		t.Errorf("gzip without a word of it: %d", w.Code)
	}
}

func TestMalformedJSONIs400AsHTML(t *testing.T) {
	v := with(viewed)
	for _, body := range []string{
		"", " ", "{", `{"events":[`, `{"events":[` + v + `]`, batchOf(v) + "x", batchOf(v) + batchOf(v), batchOf(v, ""),
		`{"events":[` + v + `,]}`, `{"events":[` + v + `],}`, `{events:[]}`, `{'events':[]}`, `{"events":[{]}}`, `[`, `nul`, `01`,
		strings.Replace(batchOf(v), "Viewed", "View\xffed", 1), strings.Replace(batchOf(v), "Viewed", "View\ned", 1),
		strings.Replace(batchOf(v), "Viewed", `\ud800`, 1), strings.Replace(batchOf(v), "Viewed", `\x41`, 1),
		batchOf(`{"eventType":"no such type"}`) + "]", // malformed wins over what breaks a rule before it
		`{"events":1}}`, `{"events":[` + v + " " + v + `]}`, `{"events":[]"more":1}`,
		strings.Replace(batchOf(v), "Viewed", "\\u0041\xff", 1), strings.Replace(batchOf(v), "[\"a\",", "[\"a\" ", 1), `{"a":01}`, "\xef\xbb\xbf" + batchOf(v), batchOf(v) + "\x00",
	} {
		s := New(Options{Now: frozen})
		w := post(s, body)
		if w.Code != 400 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(w.Body.String(), "<html>") {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
		if st := s.Stats(); st.Events.Accepted != 0 || st.ByStatus["400"] != 1 {
			t.Errorf("%q: %+v", body, st)
		}
	}
}

func TestBodiesFromTwoMillionBytesOnAre413(t *testing.T) {
	body := batchOf(with(viewed))
	padded := func(n int) string { return body + strings.Repeat(" ", n-len(body)) }
	s := New(Options{Now: frozen})
	for _, c := range []struct{ size, want int }{{1_999_999, 200}, {2_000_000, 413}, {2_000_001, 413}, {5_000_000, 413}} {
		w := post(s, padded(c.size))
		if w.Code != c.want {
			t.Errorf("%d bytes: %d, want %d", c.size, w.Code, c.want)
		}
		message(t, w)
	}
	// Without a Content-Length, over a real connection.
	web := httptest.NewServer(s)
	defer web.Close()
	for _, c := range []struct{ size, want int }{{1_999_999, 200}, {2_000_000, 413}, {10_000_000, 413}} {
		r, err := http.NewRequest(http.MethodPost, web.URL+"/1/events", io.MultiReader(strings.NewReader(padded(c.size))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"X-Algolia-Application-Id": {testApp}, "X-Algolia-Api-Key": {testKey}, "Content-Type": {"application/json"}}
		answer, err := web.Client().Do(r)
		if err != nil {
			t.Fatalf("%d bytes in pieces: %v", c.size, err)
		}
		answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%d bytes in pieces: %d, want %d", c.size, answer.StatusCode, c.want)
		}
	}
}

func TestTheRestOfABodyThatIsTooLargeIsRead(t *testing.T) {
	var sc scratch
	body := strings.NewReader(strings.Repeat("x", 3_000_000))
	if tooLarge, err := sc.receive(body, -1, 2_000_000); !tooLarge || err != nil || body.Len() != 0 || len(sc.body) != 2_000_000 {
		t.Errorf("%v, %v, %d bytes left, %d held", tooLarge, err, body.Len(), len(sc.body))
	}
	endless := io.LimitReader(zeros{}, 1<<40)
	if tooLarge, err := sc.receive(endless, -1, 2_000_000); !tooLarge || err != nil || cap(sc.body) > 4_000_000 {
		t.Errorf("%v, %v, room for %d bytes", tooLarge, err, cap(sc.body))
	}
	broken := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := sc.receive(broken, 10, 2_000_000); err == nil {
		t.Error("a body that breaks off is no error")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestOneBadEventRefusesTheWholeRequestAndOnlyTheFirstProblemIsNamed(t *testing.T) {
	good, noIndex, badToken := with(viewed), with(viewed, "index", ""), with(click, "userToken", `"a@b"`)
	for _, c := range []struct {
		name string
		body string
		want rule
	}{
		{"last", batchOf(good, good, badToken), ruleUserToken},
		{"first of two", batchOf(good, noIndex, badToken), ruleIndexRequired},
		{"the other order", batchOf(badToken, good, noIndex), ruleUserToken},
		{"two in one event", batchOf(with(viewed, "index", "", "userToken", `"a@b"`)), ruleIndexRequired},
		// A typed decoder meets wrong types before anyone looks at rules.
		{"wrong type after a broken rule", batchOf(noIndex, with(click, "userToken", "1")), ruleDataType},
	} {
		s := New(Options{Now: frozen, Keep: true, KeepEvents: 10})
		w := post(s, c.body)
		if w.Code != 422 {
			t.Fatalf("%s: %d", c.name, w.Code)
		}
		text := message(t, w)
		if want := rules[c.want].message; want != "" && text != want {
			t.Errorf("%s: %q, want %q", c.name, text, want)
		}
		if strings.ContainsAny(text, "[]") {
			t.Errorf("%s: %q may name a place", c.name, text)
		}
		st := s.Stats()
		if st.Events.Accepted != 0 || st.Events.Refused != int64(strings.Count(c.body, "eventType")) || s.Accepted().Total() != 0 || len(s.Recent()) != 0 {
			t.Errorf("%s: something was taken: %+v", c.name, st.Events)
		}
		if !reflect.DeepEqual(st.RefusedBy, map[string]int64{rules[c.want].name: 1}) {
			t.Errorf("%s: %v", c.name, st.RefusedBy)
		}
	}
}

func TestStatsAddUp(t *testing.T) {
	s := New(Options{Now: frozen, Keep: true})
	post(s, batchOf(with(viewed), with(viewed), with(clickAfter)))
	post(s, batchOf(with(viewed), with(purchase), with(cart), with(conversion)))
	post(s, batchOf(with(viewed), with(viewed, "index", "")))
	post(s, "{")
	send(s, "GET", "/1/events", "", nil)
	send(s, "GET", "/nowhere", "", nil)
	send(s, "DELETE", "/1/usertokens/u", "", nil)

	w := send(s, "GET", "/stats", "", nil)
	var st Stats
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	want := Stats{
		Since: testNow, Requests: 7, BodyBytes: st.BodyBytes, TokensDeleted: 1,
		ByStatus:  map[string]int64{"200": 2, "422": 1, "400": 1, "405": 1, "404": 1, "204": 1},
		RefusedBy: map[string]int64{"IndexRequired": 1},
		Faults:    map[string]int64{},
		Events: EventStats{
			Accepted: 7, Refused: 2, LargestOK: 4, Kept: true, Distinct: 5, Duplicates: 2,
			ByType:           map[string]int64{"view": 3, "click": 1, "conversion": 1, "addToCart": 1, "purchase": 1},
			ByApplication:    map[string]int64{testApp: 7},
			WithoutTimestamp: 4, WithQueryID: 3, WithPositions: 1,
		},
	}
	st.Since = testNow // the zone is lost in JSON
	if !reflect.DeepEqual(st, want) {
		t.Errorf("got  %+v\nwant %+v", st, want)
	}
}

func TestApplicationsInStatsAreBounded(t *testing.T) {
	s := New(Options{Now: frozen})
	for i := range maxApplications + 5 {
		send(s, "POST", "/1/events", batchOf(with(viewed)), map[string]string{"X-Algolia-Application-Id": fmt.Sprint("APP", i)})
	}
	by := s.Stats().Events.ByApplication
	if len(by) != maxApplications+1 || by[otherApplications] != 5 {
		t.Errorf("%d applications, %d events of others", len(by), by[otherApplications])
	}
}

func TestConcurrentRequestsLoseNothing(t *testing.T) {
	s := New(Options{Now: frozen, Keep: true, KeepEvents: 5, OnAccept: func(string, []Event) {}})
	const workers, rounds = 8, 25
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for j := range rounds {
				post(s, batchOf(with(viewed, "eventName", quoted(fmt.Sprint(i, " ", j))), with(purchase)))
				s.Stats()
				s.Recent()
				s.Accepted().Each(func(Digest, int) {})
			}
		})
	}
	all.Wait()
	e := s.Stats().Events
	if e.Accepted != 2*workers*rounds || e.Distinct != workers*rounds+1 || e.Duplicates != workers*rounds-1 {
		t.Errorf("%+v", e)
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	s := New(Options{Now: frozen})
	script := `{"seed":3,"faults":[{"kind":"status","status":503,"count":2}]}`
	if w := send(s, "PUT", "/faults", script, nil); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := post(s, batchOf(with(viewed))); w.Code != 503 {
		t.Errorf("%d: want the fault", w.Code)
	}
	got, err := ParseFaults(send(s, "GET", "/faults", "", nil).Body.Bytes())
	want := Faults{Seed: 3, Faults: []Fault{{Kind: Status, Status: 503, Count: 2, Struck: 1}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v: want %+v", got, err, want)
	}
	for _, bad := range []string{"", "[]", `{"faults":[{"kind":"status","status":503}]}`, script + "x"} {
		if w := send(s, "PUT", "/faults", bad, nil); w.Code != 422 || message(t, w) == "" {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	if w := send(s, "PUT", "/faults", strings.Repeat(" ", maxScriptBytes+1), nil); w.Code != 413 {
		t.Errorf("a script that is too large: %d", w.Code)
	}
	if w := post(s, batchOf(with(viewed))); w.Code != 503 {
		t.Errorf("%d: a bad script must leave the good one", w.Code)
	}
	send(s, "POST", "/reset", "", nil)
	if w := post(s, batchOf(with(viewed))); w.Code != 200 || s.Stats().Requests != 1 {
		t.Errorf("%d: reset must leave no fault and no count", w.Code)
	}
}
