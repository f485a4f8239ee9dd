package telemetry

import (
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
	a.HandleAction(http.MethodPost, "/act", "acts", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *calls++ }))
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
