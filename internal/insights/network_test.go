package insights

import (
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestRedirectIsNotFollowedAndNobodyElseGetsTheKey(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		a := against(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/1/events", status) })
		var wrong *MisconfiguredError
		if err := sendOne(t, a); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "redirects") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestEndpointMayBeAnIPv6Address(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Logf("this machine has no IPv6: only the address is tested: %v", err)
		if u, err := endpointURL("https://[2001:db8::1]:8443", ""); err != nil || u.Host != "[2001:db8::1]:8443" {
			t.Errorf("%v, %v", u, err)
		}
		return
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	s.Start()
	defer s.Close()
	if err := sendOne(t, application(t, func(c *ApplicationConfig) { c.Endpoint = "http://" + l.Addr().String() })); err != nil {
		t.Error(err)
	}
}

// childEndpoint tells a child process of the tests that it is one, and where to send an event.
const childEndpoint = "INSIGHTS_TEST_ENDPOINT"

// tunnel is a proxy that connects whatever is asked for to one server.
func tunnel(t *testing.T, target string, asked *atomic.Value) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("X-Algolia-Api-Key") != "" {
			t.Errorf("the proxy got %s %s with %v", r.Method, r.URL, r.Header)
			return
		}
		asked.Store(r.Host)
		up, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			io.Copy(up, down)
			up.Close()
		}()
		io.Copy(down, up)
		down.Close()
	}))
	t.Cleanup(s.Close)
	return s
}

// The proxy and the authorities are those of the environment, which a process reads once: a child
// process sends the event.
func TestProxyAndPrivateAuthorityOfTheEnvironmentAreUsed(t *testing.T) {
	if endpoint := os.Getenv(childEndpoint); endpoint != "" {
		if err := sendOne(t, application(t, func(c *ApplicationConfig) { c.Endpoint = endpoint })); err != nil {
			t.Fatal(err)
		}
		return
	}
	var key, asked atomic.Value
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { key.Store(r.Header.Get("X-Algolia-Api-Key")) }))
	api.StartTLS()
	defer api.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := tunnel(t, api.Listener.Addr().String(), &asked)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	child.Env = append(os.Environ(), childEndpoint+"=https://example.com", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "SSL_CERT_FILE="+authority)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if key.Load() != testKey || asked.Load() != "example.com:443" {
		t.Errorf("the API got the key %v, the proxy was asked for %v", key.Load(), asked.Load())
	}
}
