package insights

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDeleteUserAsksOnceAndNamesNeitherKeyNorToken(t *testing.T) {
	const token, key = "user/with+signs=", "secret-key"
	var path, method, sent string
	status := http.StatusNoContent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, method, sent = r.URL.EscapedPath(), r.Method, r.Header.Get("X-Algolia-Api-Key")
		w.WriteHeader(status)
	}))
	d := &Deletion{Base: s.URL, AppID: "APP1", Key: key}
	if err := d.DeleteUser(context.Background(), token); err != nil {
		t.Fatal(err)
	}
	if path != "/1/usertokens/user%2Fwith+signs=" || method != http.MethodDelete || sent != key {
		t.Errorf("%s %s %q", method, path, sent)
	}
	for code, want := range map[int]string{403: "deleteObject", 429: "later", 500: "500"} {
		status = code
		if err := d.DeleteUser(context.Background(), token); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", code, err)
		}
	}
	s.Close()
	err := d.DeleteUser(context.Background(), token)
	if err == nil || strings.Contains(err.Error(), "user") || strings.Contains(err.Error(), key) {
		t.Errorf("nobody answers: %v", err)
	}
}
