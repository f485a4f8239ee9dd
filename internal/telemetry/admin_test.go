package telemetry

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts an admin server that ends with the test.
func serve(t *testing.T, o AdminOptions) (base string, client *http.Client) {
	t.Helper()
	if o.Gather == nil {
		o.Gather = NewMetrics().Registry
	}
	if o.Health == nil {
		o.Health = NewHealth()
	}
	o.Listen, o.Log = "127.0.0.1:0", zap.NewNop()
	a, err := NewAdmin(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + a.Addr().String(), &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url, accept string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestReadyzListsEveryConditionThatFails(t *testing.T) {
	h := NewHealth("group", "store", "api")
	base, c := serve(t, AdminOptions{Health: h})
	h.Set("group", true, "ignored")
	h.Set("api default", false, "401: the key is refused")
	answer, body := get(t, c, base+"/readyz", "")
	if want := "not ready\nstore: not yet known\napi: not yet known\napi default: 401: the key is refused\n"; answer.StatusCode != 503 || body != want {
		t.Errorf("%d %q, want 503 %q", answer.StatusCode, body, want)
	}
	answer, body = get(t, c, base+"/readyz", "application/json")
	if answer.StatusCode != 503 || !strings.Contains(body, `"ready": false`) {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	h.Set("store", true, "")
	h.Set("api", true, "")
	h.Remove("api default")
	if answer, body := get(t, c, base+"/readyz", ""); answer.StatusCode != 200 || body != "ready\n" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
	if answer, _ := get(t, c, base+"/livez", ""); answer.StatusCode != 200 {
		t.Errorf("livez: %d", answer.StatusCode)
	}
}

func TestHealthWithoutConditionsIsNotReady(t *testing.T) {
	if ready, _ := NewHealth().Ready(); ready {
		t.Error("ready although nothing was said")
	}
}

type testStatus struct {
	State      string          `json:"state"`
	Partitions []testPartition `json:"partitions"`
	Nested     map[string]any  `json:"nested"`
}

type testPartition struct {
	Topic string `json:"topic"`
	Lag   int64  `json:"lag"`
}

func TestStatuszIsAPageForBrowsersAndJSONForPrograms(t *testing.T) {
	h := NewHealth("a")
	base, c := serve(t, AdminOptions{Health: h, Version: "v1", Status: func() any {
		return testStatus{"<script>alert(1)</script>", []testPartition{{"events", 9007199254740993}, {"more", 0}}, map[string]any{"list": []int{1, 2}, "none": nil}}
	}})
	for accept, page := range map[string]bool{
		"":                 false,
		"*/*":              false,
		"application/json": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"application/json;q=0.5,text/html;q=0.4":                          false,
		"application/json;q=0.4,text/html;q=0.5":                          true,
		"garbage,;q=":                                                     false,
	} {
		answer, body := get(t, c, base+"/statusz", accept)
		kind := answer.Header.Get("Content-Type")
		if page != strings.HasPrefix(kind, "text/html") {
			t.Errorf("Accept %q: got %s", accept, kind)
		}
		if page {
			for _, want := range []string{"&lt;script&gt;alert(1)", `<th scope="col">lag</th>`, "<td>9007199254740993</td>", "✗ not ready", "1, 2"} {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q:\n%s", want, body)
				}
			}
		} else if doc := map[string]any{}; json.Unmarshal([]byte(body), &doc) != nil || doc["schema"] != "eventworker.status/v1" {
			t.Errorf("no status document: %s", body)
		}
	}
	for format, want := range map[string]string{"json": "application/json", "html": "text/html", "": "text/html"} {
		if answer, _ := get(t, c, base+"/statusz?format="+format, "text/html"); !strings.HasPrefix(answer.Header.Get("Content-Type"), want) {
			t.Errorf("?format=%s gives %s", format, answer.Header.Get("Content-Type"))
		}
	}
	if answer, _ := get(t, c, base+"/statusz?format=html", "application/json"); !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		t.Error("?format=html gives no page")
	}
	if answer, body := get(t, c, base+"/statusz?format=xml", ""); answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "json or html") {
		t.Errorf("?format=xml: %d %s", answer.StatusCode, body)
	}
}

func TestIndexListsEveryEndpoint(t *testing.T) {
	base, c := serve(t, AdminOptions{})
	_, body := get(t, c, base+"/", "text/html")
	for _, path := range []string{"metrics", "livez", "readyz", "statusz"} {
		if !strings.Contains(body, `href="`+path+`"`) {
			t.Errorf("the index lacks %s", path)
		}
		if answer, _ := get(t, c, base+"/"+path, ""); answer.StatusCode >= 500 && path != "readyz" || answer.StatusCode == 404 {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
	if answer, _ := get(t, c, base+"/style.css", ""); answer.StatusCode != 200 {
		t.Error("no style sheet")
	}
	if answer, body := get(t, c, base+"/robots.txt", ""); answer.StatusCode != 200 || body != "User-agent: *\nDisallow: /\n" {
		t.Errorf("robots.txt: %d %q", answer.StatusCode, body)
	}
	if answer, _ := get(t, c, base+"/nothing", ""); answer.StatusCode != 404 {
		t.Error("unknown paths are not 404")
	}
}

func TestIndexNamesActionsWithoutALink(t *testing.T) {
	a, _, _ := acting(t, "127.0.0.1:0", "")
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	a.mux.ServeHTTP(w, r)
	if body := w.Body.String(); !strings.Contains(body, `<th scope="row">/act</th><td>POST: acts</td>`) || strings.Contains(body, `href="act"`) {
		t.Errorf("the index says:\n%s", body)
	}
}

func TestProfilesOnlyWhereAsked(t *testing.T) {
	for _, enabled := range []bool{false, true} {
		base, c := serve(t, AdminOptions{PProf: enabled})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap"} {
			if answer, _ := get(t, c, base+path, ""); (answer.StatusCode == 200) != enabled {
				t.Errorf("pprof %t: %s answers %d", enabled, path, answer.StatusCode)
			}
		}
		if answer, body := get(t, c, base+"/debug/pprof/cmdline", ""); answer.StatusCode != 404 || strings.Contains(body, "test") {
			t.Errorf("pprof %t: the command line, which may hold a key, is shown: %d %q", enabled, answer.StatusCode, body)
		}
	}
}

func TestOtherMethodsAreRefusedAndHeadersProtect(t *testing.T) {
	base, c := serve(t, AdminOptions{})
	answer, err := c.Post(base+"/statusz", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", answer.StatusCode)
	}
	if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("CSP %q", csp)
	}
}

func TestActionsOfOtherSitesAreRefused(t *testing.T) {
	a, err := NewAdmin(AdminOptions{Listen: "127.0.0.1:0", Gather: NewMetrics().Registry, Health: NewHealth(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	calls := 0
	a.HandleAction(Action{Method: http.MethodPost, Path: "/pause", About: "stops fetching"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	for site, want := range map[string]int{"cross-site": 0, "same-origin": 1} {
		calls = 0
		r, _ := http.NewRequest(http.MethodPost, "http://localhost/pause", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		a.mux.ServeHTTP(discard{http.Header{}}, r)
		if calls != want {
			t.Errorf("%s: called %d times, want %d", site, calls, want)
		}
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestTakenOrWrongAddressIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "address already in use",
		"192.0.2.1:9402":  "cannot assign requested address",
	} {
		_, err := NewAdmin(AdminOptions{Listen: address})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "admin.listen") || strings.Count(err.Error(), address) != 1 {
			t.Errorf("%s: %v, want %q and the setting's name in it", address, err, want)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bounded(inner, 1)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Error("a second connection was accepted while the first was open")
	case <-time.After(20 * time.Millisecond): // nothing can signal that nothing happens
	}
	first.Close()
	first.Close() // closing twice frees one slot
	second := <-accepted
	second.Close()
	l.Close()
	if _, more := <-accepted; more {
		t.Error("accepted after Close")
	}
}

func TestConnectionsWithoutARequestMakeRoomForProbes(t *testing.T) {
	for name, sends := range map[string]string{
		"silent": "", "half a request": "GET /livez HT", "idle": "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		base, c := serve(t, AdminOptions{})
		address := strings.TrimPrefix(base, "http://")
		for range adminConnections {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if _, err := io.WriteString(conn, sends); err != nil {
				t.Fatal(err)
			}
			if name == "idle" {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := probe(t, c, base); err != nil {
			t.Errorf("%s connections keep a probe out: %v", name, err)
		}
	}
}

// probe asks /livez in less time than a connection may take to say what it wants.
func probe(t *testing.T, c *http.Client, base string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), adminReadHeader/2)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/livez", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func TestShutdownEndsIdleConnections(t *testing.T) {
	base, c := serve(t, AdminOptions{}) // its cleanup waits for Run; goleak sees what stays
	get(t, c, base+"/livez", "")
}
