package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eventworker/internal/insightsfake"
	"eventworker/internal/querystore"
	"eventworker/internal/worker"
)

// storeOf makes a folder with a user's impression and click in task 3.
func storeOf(t *testing.T) (dir string, flags []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "queries")
	s, err := querystore.OpenDisk(querystore.Options{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	section, err := s.Open(3)
	if err != nil {
		t.Fatal(err)
	}
	user, source, now := []byte("default\x00user-1234"), section.Source("recommendation-events"), time.Now()
	query := []byte("43b15df305339e827f0ac0bdc5ebcaa7")
	if err := section.AddImpression(user, &querystore.Impression{Time: now.Add(-2 * time.Hour).UnixMilli(), Place: querystore.Place{Source: source, Offset: 7},
		QueryID: query, Index: []byte("products"), Model: []byte("trending"), ObjectIDs: [][]byte{[]byte("sku-1"), []byte("sku-2")}}); err != nil {
		t.Fatal(err)
	}
	if err := section.AddClick(querystore.AppendClickKey(nil, user, []byte("sku-2")), &querystore.Click{Time: now.Add(-time.Hour).UnixMilli(), Place: querystore.Place{Source: source, Offset: 9},
		ObjectID: []byte("sku-2"), QueryID: query, Index: []byte("products")}); err != nil {
		t.Fatal(err)
	}
	if err := section.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return dir, []string{"--set", "store.path=" + dir, "--set", "admin.listen=" + free.Addr().String()}
}

func TestStoreUserOpensTheFolderWhereNoWorkerAnswers(t *testing.T) {
	dir, flags := storeOf(t)
	r := call(t, nil, append([]string{"store", "user", "user-1234", "--object", "sku-2"}, flags...)...)
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{"task 3", "1 impression\n", "products (trending)", "recommendation-events/7", "sku-1 sku-2", "1 remembered click\n", "takes the click of", "passed over: the impression", "a remembered click answers first"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out+r.err, "user-1234") || !strings.Contains(r.err, "read from the folder") {
		t.Errorf("the token is shown, or where this comes from is not:\n%s%s", r.out, r.err)
	}
	r = callIn(t, "user-1234\n", append([]string{"store", "user", "-", "-o", "json", "--show-tokens"}, flags...)...)
	var doc struct {
		UserToken string `json:"userToken"`
		worker.UserHistory
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.UserToken != "user-1234" || len(doc.Impressions) != 1 || doc.Schema != "eventworker.store-user/v1" {
		t.Errorf("%v %+v", err, r)
	}
	valid(t, worker.StoreUserSchema, r.out)
	if r := call(t, nil, append([]string{"store", "user", "user-1234", "--object", "sku-2", "-o", "json"}, flags...)...); r.code != exitOK {
		t.Errorf("%+v", r)
	} else {
		valid(t, worker.StoreUserSchema, r.out)
	}
	if r := call(t, nil, "store", "user", "x", "-o", "help"); r.code != exitOK || r.out != string(worker.StoreUserSchema) {
		t.Errorf("%+v", r)
	}
	// Another process has the folder.
	s, err := querystore.OpenDisk(querystore.Options{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r := call(t, nil, append([]string{"store", "user", "user-1234"}, flags...)...); r.code != exitGuard || !strings.Contains(r.err, "in use by process") || !strings.Contains(r.err, "--admin") {
		t.Errorf("%+v", r)
	}
}

func TestStoreUserAsksEachWorkerWithTheTokenAndNotInTheAddress(t *testing.T) {
	var asked []string
	answer := func(code int, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(content))
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return s
	}
	elsewhere := answer(404, `{"schema":"eventworker.error/v1","error":"this worker does not have the partition"}`)
	here := answer(200, `{"schema":"eventworker.store-user/v1","application":"shop","task":5,"impressions":[],"clicks":[],"complete":true}`)
	env := []string{"EVENTWORKER_ADMIN__TOKEN=s3cret"}
	r := call(t, env, "store", "user", "user-1", "--application", "shop", "--at", "2026-03-01T12:00:00Z", "--admin", elsewhere.Listener.Addr().String(), "--admin", here.URL)
	if r.code != exitOK || !strings.Contains(r.out, "application shop, task 5") {
		t.Errorf("%+v", r)
	}
	if len(asked) != 2 || !strings.HasPrefix(asked[0], `POST /store/user Bearer s3cret {"application":"shop","userToken":"user-1"`) || !strings.Contains(asked[1], `"at":1772366400000`) {
		t.Errorf("%q", asked)
	}
	if r := call(t, env, "store", "user", "user-1", "--admin", elsewhere.URL); r.code != exitGuard || !strings.Contains(r.err, "does not have the partition") {
		t.Errorf("%+v", r)
	}
	refuses := answer(403, "this endpoint answers beyond this machine only where admin.token is set")
	if r := call(t, env, "store", "user", "user-1", "--admin", refuses.URL); r.code != exitFailed || !strings.Contains(r.err, "admin.token") {
		t.Errorf("%+v", r)
	}
}

func TestForgetRemovesReportsAndAsksTheAPI(t *testing.T) {
	dir, flags := storeOf(t)
	api := httptest.NewServer(insightsfake.New(insightsfake.Options{}))
	defer api.Close()
	flags = append(flags, "--set", "insights.endpoint="+api.URL, "--set", "insights.applications.default.app_id=APP1")
	env := []string{"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=key-1"}
	if r := call(t, env, append([]string{"forget", "user-1234"}, flags...)...); r.code != exitUsage || !strings.Contains(r.err, "--confirm") {
		t.Errorf("without a confirmation: %+v", r)
	}
	if r := call(t, env, append([]string{"forget", "user-1234", "--confirm", "user-1235"}, flags...)...); r.code != exitGuard || !strings.Contains(r.err, "nothing was done") {
		t.Errorf("with another token: %+v", r)
	}
	r := call(t, env, append([]string{"forget", "user-1234", "--confirm", "user-1234", "--api"}, flags...)...)
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{"1 impression and 1 click removed", "within 48 hours", "what stays, and for how long", "at most"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out+r.err, "user-1234") || !strings.Contains(r.err, `"action":"forget"`) {
		t.Errorf("the token is shown, or the audit line is missing:\n%s%s", r.out, r.err)
	}
	if r := call(t, env, append([]string{"forget", "user-1234", "--confirm", "user-1234", "--api", "-o", "json"}, flags...)...); r.code != exitOK {
		t.Errorf("once more: %+v", r)
	} else {
		valid(t, worker.ForgottenSchema, r.out)
	}
	if r := call(t, nil, append([]string{"store", "user", "user-1234"}, flags[:4]...)...); !strings.Contains(r.out, "0 impressions") || !strings.Contains(r.out, "0 remembered clicks") {
		t.Errorf("%+v", r)
	}
	if list, err := os.ReadFile(filepath.Join(dir, "forgotten.jsonl")); err != nil || strings.Contains(string(list), "user-1234") {
		t.Errorf("%s %v", list, err)
	}
}
