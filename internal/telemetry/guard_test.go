package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// acting is an admin server with one action, of which calls are counted; nothing is served over the network.
func acting(t *testing.T, listen, token string) (a *Admin, calls *int, logs *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	a, err := NewAdmin(AdminOptions{Listen: listen, Gather: NewMetrics().Registry, Health: NewHealth(), Log: zap.New(core), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	calls = new(int)
	a.HandleAction(Action{Method: http.MethodPost, Path: "/act", About: "acts"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *calls++ }))
	return a, calls, logs
}

func TestActionsAreProtectedByTokenOrByTheLoopbackAddress(t *testing.T) {
	const token = "t0ken"
	for _, c := range []struct {
		listen, token, host, authorization string
		want                               int
	}{
		{"127.0.0.1:0", "", "127.0.0.1:9402", "", 200},
		{"127.0.0.1:0", "", "localhost:9402", "", 200},
		{"127.0.0.1:0", "", "[::1]:9402", "", 200},
		{"127.0.0.1:0", "", "rebound.example:9402", "", 403},
		{"127.0.0.1:0", "", "127.0.0.1.example", "", 403},
		{"0.0.0.0:0", "", "127.0.0.1:9402", "", 403},
		{"0.0.0.0:0", "", "worker-1:9402", "Bearer t0ken", 403},
		{"0.0.0.0:0", token, "worker-1:9402", "Bearer t0ken", 200},
		{"0.0.0.0:0", token, "worker-1:9402", "bearer t0ken", 200},
		{"0.0.0.0:0", token, "worker-1:9402", "", 401},
		{"0.0.0.0:0", token, "worker-1:9402", "Bearer t0ke", 401},
		{"0.0.0.0:0", token, "worker-1:9402", "Bearer t0kens", 401},
		{"0.0.0.0:0", token, "worker-1:9402", "Basic t0ken", 401},
		{"0.0.0.0:0", token, "worker-1:9402", "t0ken", 401},
		{"127.0.0.1:0", token, "127.0.0.1:9402", "", 401},
	} {
		a, calls, _ := acting(t, c.listen, c.token)
		r := httptest.NewRequest(http.MethodPost, "http://"+c.host+"/act", nil)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		a.mux.ServeHTTP(w, r)
		if w.Code != c.want || (*calls == 1) != (c.want == 200) {
			t.Errorf("%+v: %d %s, called %d times", c, w.Code, w.Body, *calls)
		}
		if c.want != 200 && !strings.Contains(w.Body.String(), "admin.token") {
			t.Errorf("%+v: the answer does not name the setting: %s", c, w.Body)
		}
	}
}

func TestProbesMetricsAndStatusNeedNoToken(t *testing.T) {
	a, _, _ := acting(t, "0.0.0.0:0", "t0ken")
	for _, path := range []string{"/livez", "/metrics", "/statusz", "/"} {
		w := httptest.NewRecorder()
		a.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://worker-1:9402"+path, nil))
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestAnUnprotectedServerBeyondThisMachineSaysSoOnce(t *testing.T) {
	for listen, want := range map[string]int{"127.0.0.1:0": 0, "0.0.0.0:0": 1} {
		_, _, logs := acting(t, listen, "")
		if n := logs.FilterMessageSnippet("admin.token").Len(); n != want {
			t.Errorf("%s: said %d times, want %d", listen, n, want)
		}
	}
	if _, _, logs := acting(t, "0.0.0.0:0", "t0ken"); logs.Len() != 0 {
		t.Error("it warns although there is a token")
	}
}

func TestAnotherTokenHoldsAtOnce(t *testing.T) {
	a, calls, _ := acting(t, "127.0.0.1:0", "old")
	a.SetToken("new")
	for _, token := range []string{"old", "new"} {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/act", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		a.mux.ServeHTTP(httptest.NewRecorder(), r)
	}
	if *calls != 1 {
		t.Errorf("called %d times, want once", *calls)
	}
}

func TestLivezSaysWhatDoesNotMove(t *testing.T) {
	alive := true
	base, c := serve(t, AdminOptions{Live: func() (bool, []string) { return alive, []string{"events/3 has not moved"} }})
	if answer, body := get(t, c, base+"/livez", ""); answer.StatusCode != 200 || body != "ok\n" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
	alive = false
	if answer, body := get(t, c, base+"/livez", ""); answer.StatusCode != 503 || body != "not alive\nevents/3 has not moved\n" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

// acts calls an action with a body of a kind.
func acts(a *Admin, target, kind, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+target, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	a.mux.ServeHTTP(w, r)
	return w
}

func TestActionsTakeWhatTheyKnowAndNothingElse(t *testing.T) {
	a, plain, _ := acting(t, "127.0.0.1:0", "")
	named, told := 0, 0
	a.HandleAction(Action{Method: http.MethodPost, Path: "/named", Parameters: []string{"application", ParameterNote}}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.FormValue("application") == "default" {
			named++
		}
	}))
	a.HandleAction(Action{Method: http.MethodPost, Path: "/told", JSON: true}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) == "{}" {
			told++
		}
	}))
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		target, kind, body string
		want               int
		says               string
	}{
		{"/act", "", "", 200, ""},
		{"/act?x=1", "", "", 400, "takes none"},
		{"/act?", "", "", 200, ""},
		{"/act", form, "x=1", 400, "takes none"},
		{"/named?application=default", "", "", 200, ""},
		{"/named", form, "application=default", 200, ""},
		{"/named", form + "; charset=utf-8", "application=default", 200, ""},
		{"/named?application=default", form, "", 200, ""},
		{"/named?app=default", "", "", 400, `no parameter "app"; /named takes application, note`},
		{"/named?application=", "", "", 400, "application is empty"},
		{"/named?application", "", "", 400, "application is empty"},
		{"/named?application=%20", "", "", 400, "application is empty"},
		{"/named?application=default", form, "application=default", 400, "2 times"},
		{"/named?application=default;x", "", "", 400, "cannot be read"},
		{"/named", "application/json", `{"application":"default"}`, 400, "as a form"},
		{"/named", "", "application=default", 400, "as a form"},
		{"/named", form, `{"application":"default"}`, 400, "no parameter"},
		{"/told", "application/json", "{}", 200, ""},
		{"/told", form, "{}", 200, ""},
		{"/told?userToken=u", "", "{}", 400, "takes none"},
	} {
		*plain, named, told = 0, 0, 0
		w := acts(a, c.target, c.kind, c.body)
		if calls := *plain + named + told; w.Code != c.want || !strings.Contains(w.Body.String(), c.says) || (calls == 1) != (c.want == 200) {
			t.Errorf("%+v: %d %s, called %d times", c, w.Code, w.Body, calls)
		}
	}
}

func TestActionsLeaveAnAuditLine(t *testing.T) {
	a, _, logs := acting(t, "127.0.0.1:0", "")
	a.HandleAction(Action{Method: http.MethodPost, Path: "/named", Parameters: []string{"application", ParameterNote}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
	}))
	acts(a, "/named?application=default&note=why", "", "")
	list := logs.FilterMessage("audit: POST /named was called").All()
	if len(list) != 1 {
		t.Fatalf("%d lines", len(list))
	}
	said := list[0].ContextMap()
	if said["application"] != "default" || said[ParameterNote] != "why" || said[KeyStatus] != int64(http.StatusConflict) || said[KeyFrom] != "192.0.2.1:1234" {
		t.Errorf("%v", said)
	}
	a.SetToken("t0ken")
	acts(a, "/named?note=refused", "", "")
	if n := logs.FilterMessageSnippet("audit").Len(); n != 1 {
		t.Errorf("a call that is not allowed leaves a line: anybody could fill the log: %d", n)
	}
}
