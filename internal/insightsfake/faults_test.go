package insightsfake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func faulty(t *testing.T, opts Options, script string) *Server {
	t.Helper()
	s := New(opts)
	f, err := ParseFaults([]byte(script))
	if err == nil {
		err = s.SetFaults(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// statuses sends good requests, one after the other.
func statuses(s *Server, n int) (all []int) {
	for range n {
		all = append(all, post(s, batchOf(with(viewed, "timestamp", ""))).Code)
	}
	return all
}

func same(t *testing.T, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("answers %v: want %v", got, want)
		}
	}
}

func TestTheDocumentedScriptIsValid(t *testing.T) {
	const script = `{
	  "seed": 7,
	  "faults": [
	    {"kind": "latency", "delay": "50ms", "jitter": "20ms", "for": "1m"},
	    {"kind": "status", "status": 429, "retry_after": "2s", "count": 3},
	    {"kind": "status", "status": 429, "retry_after": "2s", "retry_after_date": true, "after": "10s", "count": 1},
	    {"kind": "status", "status": 503, "after_requests": 100, "count": 5},
	    {"kind": "reset", "probability": 0.1, "count": 10},
	    {"kind": "lost-answer", "after_requests": 20, "count": 2},
	    {"kind": "late-answer", "delay": "15s", "count": 1},
	    {"kind": "slow-body", "delay": "3s", "count": 1},
	    {"kind": "revoked", "keys": ["old-key"], "after": "5s", "for": "10s"},
	    {"kind": "refuse", "object_ids": ["sku-13"], "for": "1h"},
	    {"kind": "size-limit", "bytes": 100000, "for": "30s"}
	  ]
	}`
	f, err := ParseFaults([]byte(script))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Kind]bool{}
	for _, fault := range f.Faults {
		seen[fault.Kind] = true
	}
	if len(seen) != len(uses) {
		t.Errorf("the example has %d kinds of %d", len(seen), len(uses))
	}
}

func TestAScriptThatMakesNoSenseIsRefusedWithItsPlace(t *testing.T) {
	for fault, says := range map[string]string{
		`{"kind":"status","status":503}`:                                              "no end",
		`{"kind":"storm","count":1}`:                                                  "unknown kind",
		`{"count":1}`:                                                                 "unknown kind",
		`{"kind":"status","count":1}`:                                                 "status must be",
		`{"kind":"status","status":600,"count":1}`:                                    "status must be",
		`{"kind":"status","status":503,"count":-1,"for":"1s"}`:                        "negative",
		`{"kind":"status","status":503,"count":1,"after":"-1s"}`:                      "negative",
		`{"kind":"status","status":429,"count":1,"retry_after_date":true}`:            "retry_after",
		`{"kind":"status","status":429,"count":1,"probability":1.5}`:                  "probability",
		`{"kind":"latency","count":1}`:                                                "delay is missing",
		`{"kind":"latency","delay":"1s","jitter":"2s","count":1}`:                     "jitter",
		`{"kind":"latency","delay":"2h","count":1}`:                                   "delay",
		`{"kind":"latency","delay":"1 second","count":1}`:                             "duration",
		`{"kind":"latency","delay":5,"count":1}`:                                      "delay",
		`{"kind":"reset","delay":"1s","count":1}`:                                     "delay does not belong",
		`{"kind":"revoked","status":503,"count":1}`:                                   "401 or 403",
		`{"kind":"refuse","count":1}`:                                                 "object_ids",
		`{"kind":"size-limit","count":1}`:                                             "bytes",
		`{"kind":"size-limit","bytes":-5,"count":1}`:                                  "bytes",
		`{"kind":"reset","count":1,"cuont":2}`:                                        "cuont",
		`{"kind":"reset","count":1,"retry_after":"1s","retry_after_date":true}`:       "does not belong",
		`{"kind":"slow-body","delay":"1s","count":1,"object_ids":["a"],"keys":["k"]}`: "keys does not belong",
	} {
		_, err := ParseFaults([]byte(`{"faults":[{"kind":"reset","count":1},` + fault + `]}`))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "faults") {
			t.Errorf("%s: %v, want it to say %q", fault, err, says)
		}
	}
	if err := (Faults{Faults: make([]Fault, maxFaults+1)}).Validate(); err == nil {
		t.Error("too many faults are valid")
	}
	if err := New(Options{}).SetFaults(Faults{Faults: []Fault{{Kind: Reset}}}); err == nil {
		t.Error("SetFaults took a fault without an end")
	}
}

func TestLatencyWaitsWithinItsBoundsAndAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, Options{}, `{"faults":[
			{"kind":"latency","delay":"1s","count":1},
			{"kind":"latency","delay":"100ms","jitter":"40ms","for":"1h"}]}`)
		seen := map[time.Duration]bool{}
		for i := range 50 {
			start := time.Now()
			same(t, statuses(s, 1), 200)
			took := time.Since(start)
			if i == 0 {
				took -= time.Second
			}
			if took < 60*time.Millisecond || took > 140*time.Millisecond {
				t.Fatalf("request %d took %v", i, took)
			}
			seen[took] = true
		}
		if len(seen) < 10 {
			t.Errorf("%d different delays: no jitter", len(seen))
		}
		if got := s.Stats().Faults["latency"]; got != 51 {
			t.Errorf("struck %d times", got)
		}
	})
}

func TestAClientThatGoesAwayDuringTheDelayLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var armed atomic.Bool
	s := faulty(t, Options{Keep: true, Now: func() time.Time {
		if armed.Load() { // asked when the request has been read, before the delay
			cancel()
		}
		return time.Now()
	}}, `{"faults":[{"kind":"latency","delay":"1h","count":1}]}`)
	armed.Store(true)
	web := httptest.NewServer(s)
	defer web.Close()
	if _, err := request(ctx, t, web); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v: want the client's own end", err)
	}
	web.Close() // waits for the handler
	if st := s.Stats(); st.Abandoned != 1 || st.Events.Accepted != 0 || st.Requests != 1 {
		t.Errorf("%+v", st)
	}
}

func TestStatusCountsAndWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, Options{Keep: true}, `{"faults":[
			{"kind":"status","status":503,"after_requests":1,"count":2},
			{"kind":"status","status":500,"after":"10s","for":"5s"},
			{"kind":"status","status":404,"after":"1m","count":1}]}`)
		same(t, statuses(s, 5), 200, 503, 503, 200, 200)
		time.Sleep(10*time.Second - 1)
		same(t, statuses(s, 1), 200)
		time.Sleep(time.Nanosecond)
		same(t, statuses(s, 3), 500, 500, 500)
		time.Sleep(5*time.Second - 1)
		same(t, statuses(s, 1), 500)
		time.Sleep(time.Nanosecond)
		same(t, statuses(s, 1), 200)
		time.Sleep(time.Hour)
		same(t, statuses(s, 2), 404, 200)
		if got := s.Accepted().Total(); got != 6 {
			t.Errorf("%d accepted: want those that were answered 200", got)
		}
	})
}

func TestRetryAfterInSecondsAndAsDate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)
	s := faulty(t, Options{Now: func() time.Time { return now }}, `{"faults":[
		{"kind":"status","status":429,"retry_after":"1500ms","count":1},
		{"kind":"status","status":503,"retry_after":"90s","retry_after_date":true,"count":1},
		{"kind":"status","status":429,"count":1}]}`)
	for _, want := range []string{"2", "Sun, 01 Mar 2026 12:01:31 GMT", ""} {
		w := post(s, batchOf(with(viewed)))
		if got := w.Header().Get("Retry-After"); got != want || w.Code < 400 {
			t.Errorf("%d, Retry-After %q: want %q", w.Code, got, want)
		}
	}
}

func TestOther2xxTakesTheEventsAnd3xxDoesNot(t *testing.T) {
	s := faulty(t, Options{Keep: true, Now: frozen}, `{"faults":[
		{"kind":"status","status":202,"count":1},{"kind":"status","status":307,"after_requests":1,"count":1},
		{"kind":"status","status":204,"after_requests":2,"count":1}]}`)
	w := post(s, batchOf(with(viewed)))
	if w.Code != 202 || s.Accepted().Total() != 1 || message(t, w) == "" {
		t.Errorf("%d, %d accepted", w.Code, s.Accepted().Total())
	}
	w = post(s, batchOf(with(viewed)))
	if w.Code != 307 || s.Accepted().Total() != 1 || w.Header().Get("Location") != "/1/events" {
		t.Errorf("%d, %d accepted", w.Code, s.Accepted().Total())
	}
	if w = post(s, "{"); w.Code != 400 {
		t.Errorf("a 2xx for a bad request: %d", w.Code)
	}
	if w = post(s, batchOf(with(viewed))); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%d: the fault must wait for a good request", w.Code)
	}
}

// request sends a good request over a real connection.
func request(ctx context.Context, t *testing.T, web *httptest.Server) (string, error) {
	t.Helper()
	answer, err := web.Client().Do(newRequest(ctx, t, web))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return strconv.Itoa(answer.StatusCode) + " " + string(b), err
}

func newRequest(ctx context.Context, t *testing.T, web *httptest.Server) *http.Request {
	t.Helper()
	body := strings.NewReader(batchOf(with(viewed, "timestamp", "")))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+"/1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	r.GetBody = nil // so that the client does not try again by itself
	r.Header = http.Header{"X-Algolia-Application-Id": {testApp}, "X-Algolia-Api-Key": {testKey}, "Content-Type": {"application/json"}}
	return r
}

func TestResetAndLostAnswerCutTheConnection(t *testing.T) {
	for _, c := range []struct {
		kind     string
		accepted int64
	}{{"reset", 0}, {"lost-answer", 1}} {
		for _, secure := range []string{"http", "https", "http/2"} {
			t.Run(c.kind+" "+secure, func(t *testing.T) {
				s := faulty(t, Options{Keep: true}, `{"faults":[{"kind":"`+c.kind+`","count":1}]}`)
				web := httptest.NewUnstartedServer(s)
				web.EnableHTTP2 = secure == "http/2"
				if secure == "http" {
					web.Start()
				} else {
					web.StartTLS()
				}
				defer web.Close()
				_, err := request(context.Background(), t, web)
				if err == nil {
					t.Fatal("the request was answered")
				}
				if secure != "http/2" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v: want a connection reset", err)
				}
				if got := s.Accepted().Total(); got != c.accepted {
					t.Errorf("%d accepted, want %d", got, c.accepted)
				}
				if answer, err := request(context.Background(), t, web); err != nil || answer != "200 "+jsonOK {
					t.Errorf("the next request: %q, %v", answer, err)
				}
				st := s.Stats()
				if st.Reset+st.AnswersLost != 1 || st.AnswersLost != c.accepted || st.Requests != 2 || st.ByStatus["200"] != 1 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

func TestALostAnswerWaitsForARequestThatIsTaken(t *testing.T) {
	s := faulty(t, Options{Keep: true}, `{"faults":[{"kind":"lost-answer","count":1}]}`)
	if w := post(s, "{"); w.Code != 400 {
		t.Fatalf("%d", w.Code)
	}
	if got := s.Faults().Faults[0].Struck; got != 0 {
		t.Errorf("struck %d times", got)
	}
}

func TestLateAnswerTakesTheEventsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, Options{Keep: true}, `{"faults":[{"kind":"late-answer","delay":"15s","count":1}]}`)
		done := make(chan int)
		go func() { done <- statuses(s, 1)[0] }()
		synctest.Wait()
		if got := s.Accepted().Total(); got != 1 {
			t.Errorf("%d accepted before the answer", got)
		}
		start := time.Now()
		if got := <-done; got != 200 || time.Since(start) != 15*time.Second {
			t.Errorf("%d after %v", got, time.Since(start))
		}
	})
}

func TestAClientThatDoesNotWaitForALateAnswerHasItsEventsTaken(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := faulty(t, Options{Keep: true, OnAccept: func(string, []Event) { cancel() }}, `{"faults":[{"kind":"late-answer","delay":"1h","count":1}]}`)
	web := httptest.NewServer(s)
	defer web.Close()
	if _, err := request(ctx, t, web); err == nil {
		t.Fatal("answered")
	}
	web.Close()
	if st := s.Stats(); st.AnswersLost != 1 || st.Events.Accepted != 1 || st.Abandoned != 0 {
		t.Errorf("%+v", st)
	}
}

// paced notes when what is written to it was written.
type paced struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (p *paced) Write(b []byte) (int, error) {
	p.at = append(p.at, time.Now())
	return p.ResponseRecorder.Write(b)
}

func TestSlowBodySendsTheFirstByteAtOnceAndTheRestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, Options{}, `{"faults":[{"kind":"slow-body","delay":"3s","count":1}]}`)
		w := &paced{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/1/events", strings.NewReader("{"))
		r.Header = http.Header{"X-Algolia-Application-Id": {testApp}, "X-Algolia-Api-Key": {testKey}, "Content-Type": {"application/json"}}
		s.ServeHTTP(w, r)
		if w.Body.String() != htmlBadRequest || !w.Flushed || len(w.at) != 2 || w.at[1].Sub(w.at[0]) != 3*time.Second {
			t.Errorf("%q, written at %v", w.Body, w.at)
		}
	})
}

func TestAClientMayLeaveInTheMiddleOfASlowBody(t *testing.T) {
	s := faulty(t, Options{}, `{"faults":[{"kind":"slow-body","delay":"1h","count":1}]}`)
	web := httptest.NewServer(s)
	defer web.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := newRequest(ctx, t, web)
	answer, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(answer.Body, first); err != nil || answer.StatusCode != 200 {
		t.Fatalf("%d, %v", answer.StatusCode, err)
	}
	cancel()
	if _, err := io.ReadAll(answer.Body); err == nil {
		t.Error("the body came to its end")
	}
}

func TestRevokedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty(t, Options{}, `{"faults":[
			{"kind":"revoked","keys":["`+testKey+`"],"after":"1s","for":"1s"},
			{"kind":"revoked","status":403,"applications":["OTHERAPP01"],"for":"1h"}]}`)
		with := func(h map[string]string) int {
			return send(s, "POST", "/1/events", batchOf(with(viewed, "timestamp", "")), h).Code
		}
		got := []int{with(nil)}
		time.Sleep(time.Second)
		got = append(got, with(nil), with(map[string]string{"X-Algolia-API-Key": "new-key"}), with(map[string]string{"X-Algolia-Application-Id": "OTHERAPP01", "X-Algolia-API-Key": "k"}))
		time.Sleep(time.Second)
		same(t, append(got, with(nil)), 200, 401, 200, 403, 200)
	})
}

func TestRefuseRefusesRequestsWithTheseObjects(t *testing.T) {
	s := faulty(t, Options{Now: frozen, Keep: true}, `{"faults":[{"kind":"refuse","object_ids":["x","b"],"count":2}]}`)
	good, bad := with(viewed, "objectIDs", `["a"]`), with(viewed)
	for i, c := range []struct {
		body string
		want int
	}{
		{batchOf(good), 200}, {batchOf(good, bad), 422}, {batchOf(good, good), 200}, {batchOf(bad), 422}, {batchOf(bad, good), 200},
	} {
		if w := post(s, c.body); w.Code != c.want {
			t.Errorf("request %d: %d, want %d", i, w.Code, c.want)
		}
	}
	if st := s.Stats(); st.RefusedBy["RefusedByScript"] != 2 || st.Faults["refuse"] != 2 || st.Events.Accepted != 5 {
		t.Errorf("%+v", st)
	}
	// A rule that an earlier event breaks comes first.
	s = faulty(t, Options{Now: frozen}, `{"faults":[{"kind":"refuse","object_ids":["b"],"count":2}]}`)
	post(s, batchOf(with(viewed, "index", ""), bad))
	if st := s.Stats(); st.RefusedBy["IndexRequired"] != 1 || st.Faults["refuse"] != 0 {
		t.Errorf("%+v", st)
	}
}

func TestSizeLimitHalvesDownToWhatFits(t *testing.T) {
	e := with(viewed)
	limit := len(batchOf(e, e)) + 1
	s := faulty(t, Options{Now: frozen}, `{"faults":[{"kind":"size-limit","bytes":`+strconv.Itoa(limit)+`,"for":"1h"}]}`)
	var got []int
	for _, body := range []string{batchOf(e, e, e, e), batchOf(e, e, e), batchOf(e, e), batchOf(e, e) + " "} {
		got = append(got, post(s, body).Code)
	}
	same(t, got, 413, 413, 200, 413)
}

func TestTheSameSeedStrikesTheSameRequests(t *testing.T) {
	run := func(seed string) (all []int) {
		s := faulty(t, Options{Now: frozen}, `{"seed":`+seed+`,"faults":[{"kind":"status","status":503,"probability":0.3,"for":"1h"}]}`)
		return statuses(s, 200)
	}
	first := run("1")
	same(t, run("1"), first...)
	struck := 0
	for _, status := range first {
		if status == 503 {
			struck++
		}
	}
	if struck < 30 || struck > 90 {
		t.Errorf("struck %d of 200 with probability 0.3", struck)
	}
	other := run("2")
	for i := range other {
		if other[i] != first[i] {
			return
		}
	}
	t.Error("another seed strikes the same requests")
}
