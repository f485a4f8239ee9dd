package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// healthServer is an admin server that is ready from its nth answer on.
func healthServer(t *testing.T, readyFrom int32) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch {
		case r.URL.Path == "/livez":
			fmt.Fprintln(w, "ok")
		case r.URL.Path == "/stats":
			fmt.Fprint(w, "{\n}\n")
		case r.URL.Path != "/readyz":
			http.NotFound(w, r)
		case n < readyFrom:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "not ready\nkafka: no broker answers\n")
		default:
			fmt.Fprintln(w, "ready")
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), asked
}

func TestHealthFailsUntilTheWorkerIsReadyAndNamesWhatIsMissing(t *testing.T) {
	address, _ := healthServer(t, 2)
	r := call(t, nil, "health", "--admin", address)
	if r.code != exitFailed || r.out != "" || !strings.Contains(r.err, "503") || !strings.Contains(r.err, "kafka: no broker answers") {
		t.Errorf("not ready: %+v", r)
	}
	if r = call(t, nil, "health", "--admin", address); r.code != exitOK || r.out != "ready\n" || r.err != "" {
		t.Errorf("ready: %+v", r)
	}
}

func TestHealthWaitsForAWorkerThatStarts(t *testing.T) {
	address, asked := healthServer(t, 3)
	if r := call(t, nil, "health", "--admin", "http://"+address+"/", "--wait", "1m"); r.code != exitOK || r.out != "ready\n" {
		t.Errorf("%+v", r)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestHealthAsksWhatItIsTold(t *testing.T) {
	address, _ := healthServer(t, 1000)
	for _, args := range [][]string{{"--live", "--admin", address}, {"--admin", "http://" + address + "/stats"}} {
		if r := call(t, nil, append([]string{"health"}, args...)...); r.code != exitOK || r.out != "ok\n" {
			t.Errorf("%v: %+v", args, r)
		}
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if r := call(t, nil, "health", "--admin", closed.URL); r.code != exitFailed || !strings.Contains(r.err, "does not answer") {
		t.Errorf("nobody listens: %+v", r)
	}
	for _, wrong := range []string{"ftp://x", "http://", "http://a b"} {
		if r := call(t, nil, "health", "--admin", wrong); r.code != exitUsage {
			t.Errorf("--admin %s: %+v", wrong, r)
		}
	}
}

func TestHealthAsksWhereTheConfigurationSaysThatTheWorkerListens(t *testing.T) {
	address, asked := healthServer(t, 1)
	_, port, _ := strings.Cut(address, ":")
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("admin: {listen: '0.0.0.0:"+port+"', token: t}\nkafka: {brokers: [a:1]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := "EVENTWORKER_KAFKA__COMMIT_INTERVAL=soon"
	for name, c := range map[string]struct{ env, args []string }{
		"by the environment, whatever else is wrong": {[]string{"EVENTWORKER_ADMIN__LISTEN=" + address, broken}, nil},
		"by the environment as a group":              {[]string{"EVENTWORKER_ADMIN={listen: '" + address + "'}"}, nil},
		"on all addresses":                           {[]string{"EVENTWORKER_ADMIN__LISTEN=:" + port}, nil},
		"by the file":                                {nil, []string{"-c", file}},
		"by --set":                                   {[]string{"EVENTWORKER_ADMIN__LISTEN=127.0.0.1:1"}, []string{"--set", "admin.listen=" + address}},
		"the flag wins over all":                     {[]string{"EVENTWORKER_ADMIN__LISTEN=127.0.0.1:1"}, []string{"--admin", address, "-c", "no such file"}},
	} {
		before := asked.Load()
		if r := call(t, c.env, append([]string{"health"}, c.args...)...); r.code != exitOK || asked.Load() != before+1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for value, want := range map[string]string{"": "admin.listen is empty", "127.0.0.1:0": "admin.listen is 127.0.0.1:0"} {
		if r := call(t, []string{"EVENTWORKER_ADMIN__LISTEN=" + value}, "health"); r.code != exitFailed || !strings.Contains(r.err, want) {
			t.Errorf("listen %q: %+v", value, r)
		}
	}
	if r := call(t, nil, "health", "-c", "no such file"); r.code != exitUsage {
		t.Errorf("a file that is not there: %+v", r)
	}
}

func TestAnAddressOfAllInterfacesIsReachedOnTheLoopbackOne(t *testing.T) {
	for listen, want := range map[string]string{
		":9402": "127.0.0.1:9402", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1", "10.0.0.7:1": "10.0.0.7:1", "worker:1": "worker:1", "[fe80::1]:1": "[fe80::1]:1",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s is reached at %s, want %s", listen, got, want)
		}
	}
}
