package insights

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// keys is the part of the API that knows keys.
func keys(t *testing.T, answer func(w http.ResponseWriter, key string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.URL.Path, "/1/keys/")
		if !ok || r.Method != http.MethodGet || r.Header.Get("X-Algolia-Application-Id") != "APPID12345" || r.Header.Get("X-Algolia-Api-Key") != key {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		answer(w, key)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestRightsOfAKeyAreRead(t *testing.T) {
	at := keys(t, func(w http.ResponseWriter, _ string) {
		io.WriteString(w, `{"value":"x","createdAt":1,"acl":["search","browse"],"validity":3600,"indexes":[]}`)
	})
	got, err := ReadRights(t.Context(), "APPID12345", testKey, at, nil)
	want := Rights{ACL: []string{"search", "browse"}, ExpiresIn: time.Hour}
	if err != nil || !reflect.DeepEqual(got, want) || !got.MaySend() {
		t.Errorf("%+v, %v", got, err)
	}
	if (Rights{ACL: []string{"browse", "searching"}}).MaySend() {
		t.Error("a key without search may send")
	}
}

func TestKeyWithOddCharactersArrivesAsItIs(t *testing.T) {
	const odd = "a/b?c%d#e+f=="
	at := keys(t, func(w http.ResponseWriter, key string) {
		if key != odd {
			t.Errorf("key %q", key)
		}
		io.WriteString(w, `{"acl":[]}`)
	})
	if _, err := ReadRights(t.Context(), "APPID12345", odd, at, nil); err != nil {
		t.Error(err)
	}
}

func TestFailuresToReadRightsSayWhatTheyAreAndNeverShowTheKey(t *testing.T) {
	for _, c := range []struct {
		status        int
		body          string
		misconfigured bool
	}{
		{401, `{"message":"Invalid key ` + testKey + `"}`, true},
		{403, `{"message":"Invalid Application-ID or API key"}`, true},
		{404, testKey, true},
		{302, "", true},
		{418, "", true},
		{429, testKey, false},
		{503, "", false},
		{200, "<html>" + testKey, false},
		{200, `{"status":"fine"}`, false},
	} {
		at := keys(t, func(w http.ResponseWriter, _ string) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		_, err := ReadRights(t.Context(), "APPID12345", testKey, at, nil)
		var wrong *MisconfiguredError
		var passing *RetryableError
		if errors.As(err, &wrong) != c.misconfigured || errors.As(err, &passing) == c.misconfigured {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		}
		if strings.Contains(err.Error(), testKey) {
			t.Errorf("the key is in %q", err)
		}
	}
	refused := httptest.NewServer(nil)
	refused.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		_, err := ReadRights(ctx, "APPID12345", testKey, refused.URL, nil)
		if r := (*RetryableError)(nil); !errors.As(err, &r) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%v", err)
		}
	}
	spilling := tripper(func(r *http.Request) (*http.Response, error) {
		return nil, errors.New("could not get " + r.URL.String())
	})
	if _, err := ReadRights(t.Context(), "APPID12345", "k/e y"[:3]+"+"+testKey, "", spilling); err == nil || strings.Contains(err.Error(), testKey) {
		t.Errorf("%v", err)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRightsAreAskedOfTheApplicationsHostAndNoOther(t *testing.T) {
	var asked string
	ask := func(appID, key, endpoint string) error {
		asked = ""
		_, err := ReadRights(t.Context(), appID, key, endpoint, tripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.Scheme + "://" + r.URL.Host
			return nil, io.EOF
		}))
		return err
	}
	ask("APPID12345", testKey, "")
	if asked != "https://APPID12345.algolia.net" {
		t.Errorf("asked %s", asked)
	}
	for _, c := range [][3]string{
		{"", testKey, ""}, {"APPID1234", testKey, ""}, {"APPID123456", testKey, ""}, {"evil.com/#", testKey, ""}, {"APPID1234.", testKey, ""},
		{"APPID12345", "", ""}, {"APPID12345", "a b", ""}, {"APPID12345", testKey, "http://example.com"}, {"APPID12345", testKey, "://"},
	} {
		if err := ask(c[0], c[1], c[2]); err == nil || asked != "" || strings.Contains(err.Error(), testKey) {
			t.Errorf("%q: asked %q, %v", c, asked, err)
		}
	}
}
