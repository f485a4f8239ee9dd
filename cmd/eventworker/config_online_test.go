package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// keyServer is the part of Algolia's API that knows keys; it counts everything else.
func keyServer(t *testing.T, acl map[string]string) (url string, others *int) {
	t.Helper()
	others = new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.URL.Path, "/1/keys/")
		if !ok || r.Method != http.MethodGet {
			*others++
		}
		switch list, known := acl[r.Header.Get("X-Algolia-Application-Id")+" "+key]; {
		case list == "down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case known:
			fmt.Fprintf(w, `{"value":%q,"acl":[%s],"validity":0}`, key, list)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message":"Invalid Application-ID or API key %s","status":403}`, key)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, others
}

const onlineConfig = `insights:
  only: [eu, us, bad]
  applications:
    eu: {app_id: APPIDEU123, api_key: key-of-eu}
    us: {app_id: APPIDUS123, api_key: key-of-us}
    bad: {app_id: SHORT, api_key: key-of-bad}
    other: {app_id: APPIDOTHER}
`

func TestConfigCheckOnlineSaysWhetherEachKeyMaySend(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": onlineConfig})
	url, others := keyServer(t, map[string]string{"APPIDEU123 key-of-eu": `"search","browse"`, "APPIDUS123 key-of-us": `"browse"`})
	check := func(args ...string) result {
		return call(t, nil, append([]string{"config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", url}, args...)...)
	}
	r := check()
	want := `application bad: app_id is not an application id: these have 10 letters and digits
application eu: the key has the right search: events can be sent with it
application us: the key lacks the right search, without which no event can be sent; it has browse
`
	if r.code != exitUsage || r.out != want || !strings.Contains(r.err, "Error: 2 applications cannot deliver\n") {
		t.Errorf("%+v", r)
	}
	r = check("--output", "json")
	valid(t, configCheckSchema, r.out)
	var doc checked
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.OK || len(doc.Applications) != 3 || !doc.Applications[1].OK || doc.Applications[2].OK {
		t.Errorf("%v in %s", err, r.out)
	}
	if r := check("--set", "insights.only=eu"); r.code != exitOK {
		t.Errorf("of an application that can deliver: %+v", r)
	}
	if *others > 0 {
		t.Errorf("%d requests for something else", *others)
	}
}

func TestConfigCheckOnlineShowsNoKey(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": onlineConfig})
	url, _ := keyServer(t, nil)
	for _, output := range []string{"text", "json"} {
		r := call(t, nil, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", url, "-o", output)
		if r.code != exitUsage || strings.Contains(r.out+r.err, "key-of") {
			t.Errorf("%+v", r)
		}
	}
	if r := call(t, nil, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", "http://127.0.0.1:1"); strings.Contains(r.out+r.err, "key-of") {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckOnlineThatCannotAskFails(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": onlineConfig})
	url, _ := keyServer(t, map[string]string{"APPIDEU123 key-of-eu": "down"})
	r := call(t, nil, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", url, "--set", "insights.only=eu")
	if r.code != exitFailed || !strings.Contains(r.err, "application eu: ") || !strings.Contains(r.err, "503") {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckOnlineDoesNotAskWithAWrongConfiguration(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": brokenConfig})
	if r := call(t, nil, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", "http://127.0.0.1:1"); r.code != exitUsage || strings.Contains(r.out, "application default:") {
		t.Errorf("%+v", r)
	}
	if r := call(t, nil, "config", "check", "--online", "--for-run=false"); r.code != exitUsage {
		t.Errorf("without the keys that are to be asked for: %+v", r)
	}
}

func TestConfigCheckOnlineSaysThatRedisIsAway(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": onlineConfig})
	url, _ := keyServer(t, map[string]string{"APPIDEU123 key-of-eu": `"search"`})
	r := call(t, []string{"EVENTWORKER_STORE__REDIS__PASSWORD=secret-of-redis"}, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", url, "--set", "insights.only=eu",
		"--set", "store.kind=redis", "--set", "store.redis.addresses=127.0.0.1:1")
	if r.code != exitFailed || !strings.Contains(r.out, "store redis: querystore: redis: connect: ") || strings.Contains(r.out+r.err, "secret-of-redis") {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckOnlineAsksRedisAndLeavesNothingThere(t *testing.T) {
	server := realtest.OwnRedis(t)
	inDir(t, map[string]string{"c.yaml": onlineConfig})
	url, _ := keyServer(t, map[string]string{"APPIDEU123 key-of-eu": `"search"`})
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	check := func() (doc checked, code int) {
		t.Helper()
		r := call(t, nil, "config", "check", "-c", "c.yaml", "--online", "--keys-endpoint", url, "--set", "insights.only=eu",
			"--set", "store.kind=redis", "--set", "store.redis.addresses="+server.Addr, "-o", "json")
		valid(t, configCheckSchema, r.out)
		if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.Store == nil {
			t.Fatalf("%v in %+v", err, r)
		}
		return doc, r.code
	}
	if doc, code := check(); code != exitOK || !doc.OK || !doc.Store.OK {
		t.Errorf("one that can serve: %d %+v", code, doc.Store)
	}
	if n, err := c.DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Errorf("the check left %d keys (%v)", n, err)
	}
	if err := c.HSet(t.Context(), "eventworker:store", "group", "others", "layout", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if doc, code := check(); code != exitUsage || doc.OK || !strings.Contains(doc.Store.Message, `"others"`) {
		t.Errorf("a prefix of others: %d %+v", code, doc.Store)
	}
	if err := c.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	if doc, code := check(); code != exitUsage || doc.OK || !strings.Contains(doc.Store.Message, "noeviction") {
		t.Errorf("one that evicts: %d %+v", code, doc.Store)
	}
}
