package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
)

const otherQuery = "00000000000000000000000000000002"

// asked asks the admin server with a JSON body and reads the JSON that it answers.
func asked[T any](r *running, path, body string, want int) (answer T) {
	r.t.Helper()
	status, text := r.act(path, "", body)
	if status != want {
		r.t.Fatalf("%s answers %d, want %d: %s", path, status, want, text)
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		r.t.Fatalf("%s: %v in %s", path, err, text)
	}
	return answer
}

// showing is a list that a user saw with a queryID.
func showing(user, query string, at time.Time, objects ...string) *kgo.Record {
	r := record(user, strings.Replace(shown(user, at, objects...), `"queryID":"43b15df305339e827f0ac0bdc5ebcaa7"`, `"queryID":"`+query+`"`, 1))
	r.Timestamp = time.UnixMilli(at.UnixMilli())
	return r
}

func TestStoreUserShowsTheHistoryAndWhatAnObjectTakes(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config())
	now := time.Now()
	clicked := record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"b"}`, now.Add(-time.Minute).UnixMilli()))
	clicked.Timestamp = now.Add(-time.Minute)
	w.send(showing("u", query, now.Add(-3*time.Hour), "a", "b"), showing("u", otherQuery, now.Add(-2*time.Hour), "a", "c"), clicked)
	run.settles(3)
	h := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"a"}`, 200)
	if len(h.Impressions) != 2 || h.Impressions[0].QueryID != otherQuery || h.Impressions[1].QueryID != query || h.Impressions[0].Topic != topic ||
		strings.Join(h.Impressions[0].ObjectIDs, " ") != "a c" || h.Impressions[1].Index != "products" || !h.Complete {
		t.Errorf("impressions: %+v", h)
	}
	if len(h.Clicks) != 1 || h.Clicks[0].ObjectID != "b" || h.Clicks[0].QueryID != query || h.Clicks[0].Offset != 2 {
		t.Errorf("clicks: %+v", h.Clicks)
	}
	if x := h.Explanation; x == nil || x.QueryID != otherQuery || x.From != "impression" || x.Chosen.Offset != 1 || len(x.PassedOver) != 1 ||
		x.PassedOver[0].Offset != 0 || x.PassedOver[0].Why != "older" {
		t.Errorf("explanation: %+v", x)
	}
	// At the time before the second list only the first answers.
	at := now.Add(-150 * time.Minute).UnixMilli()
	x := asked[UserHistory](run, StoreUserPath, fmt.Sprintf(`{"userToken":"u","objectID":"a","at":%d}`, at), 200).Explanation
	if x.QueryID != query || x.At.UnixMilli() != at || len(x.PassedOver) != 1 || x.PassedOver[0].Why != "after" {
		t.Errorf("at an earlier time: %+v", x)
	}
	if x := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"b"}`, 200).Explanation; x.From != "click" || x.Chosen.Kind != "click" || x.PassedOver[0].Why != "click-first" {
		t.Errorf("a clicked object: %+v", x)
	}
	if x := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"never"}`, 200).Explanation; x.From != "" || x.Chosen != nil || len(x.PassedOver) != 0 {
		t.Errorf("an object that nobody saw: %+v", x)
	}
	// Asking leaves nothing behind.
	before := run.joined.total()
	w.send(record("u", cart("u", "id", "z")))
	run.settles(4)
	if now := run.joined.total(); now.Own != before.Own+1 || now.Impressions != before.Impressions {
		t.Errorf("%+v, before %+v", now, before)
	}
	if h := asked[UserHistory](run, StoreUserPath, `{"userToken":"nobody"}`, 200); len(h.Impressions)+len(h.Clicks) != 0 {
		t.Errorf("%+v", h)
	}
	for _, wrong := range []string{`{}`, `{"userToken":"not valid"}`, `{"userToken":"u","application":"strange"}`, `{"token":"u"}`, `u`, `{"userToken":"u"} and more`, `{"userToken":"u"}{"userToken":"v"}`} {
		if e := asked[AdminError](run, StoreUserPath, wrong, 400); e.Error == "" || strings.Contains(e.Error, "not valid\"") {
			t.Errorf("%s: %+v", wrong, e)
		}
	}
	if status, _ := run.get(StoreUserPath + "?userToken=u"); status != http.StatusMethodNotAllowed {
		t.Errorf("a token in an address: %d", status)
	}
	run.stop()
}

func TestStoreUserIsAnsweredUnderLoadAndSaysWhenThePartitionIsElsewhere(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.partitions = 8 })
	one := w.start(w.config())
	one.ready()
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = w.client.ProduceSync(t.Context(), clicks("v", fmt.Sprint(i), 200)...)
			}
		}
	}()
	for range 20 {
		asked[UserHistory](one, StoreUserPath, `{"userToken":"v"}`, 200)
	}
	close(stop)
	<-sent
	two := w.start(w.config(func(c *config.Config) { c.Store.Path += "-2" }))
	one.await("half of the tasks here, half there", func() bool {
		return len(one.kafka.Status().Partitions) == 8 && len(two.kafka.Status().Partitions) == 8 // two topics
	})
	owners := 0
	for _, run := range []*running{one, two} {
		run.await("a generation", func() bool { g := run.current.Load(); return g != nil && !g.ended() })
		status, body := run.act(StoreUserPath, "", `{"userToken":"v"}`)
		if status == 200 {
			owners++
		} else if status != 404 || !strings.Contains(body, "group show") {
			t.Errorf("%d %s", status, body)
		}
	}
	if owners != 1 {
		t.Errorf("%d workers say that they have the partition", owners)
	}
	two.stop()
	one.stop()
}

func TestForgettingHidesTheUserAlsoAfterTheStoreWasLost(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	run := w.start(cfg)
	now := time.Now()
	w.send(showing("u", query, now.Add(-time.Hour), "a"), showing("v", query, now.Add(-time.Hour), "a"))
	clicked := record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a"}`, now.Add(-time.Minute).UnixMilli()))
	clicked.Timestamp = now.Add(-time.Minute)
	// No impression leads to this click: nobody finds it to remove it, so it must be hidden.
	solo := record("u", click("u", "solo"))
	solo.Timestamp = now.Add(-time.Minute)
	w.send(clicked, solo)
	run.settles(4)
	run.await("the commit", func() bool { return w.committed(0) == 4 })
	if x := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"solo"}`, 200).Explanation; x.From != "click" {
		t.Errorf("before: %+v", x)
	}
	report := asked[ForgetReport](run, ForgetPath, `{"userToken":"u"}`, 200)
	if !report.Remembered || !report.Owner || !report.Settled || report.Impressions != 1 || report.Clicks != 1 {
		t.Errorf("%+v", report)
	}
	if len(report.Remains) < 2 || !strings.HasPrefix(report.Remains[0].Place, "topic ") {
		t.Errorf("what remains: %+v", report.Remains)
	}
	hidden := func(run *running) {
		t.Helper()
		h := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"a"}`, 200)
		if len(h.Impressions)+len(h.Clicks) != 0 || h.Explanation.From != "" || h.Forgotten == nil {
			t.Errorf("still there: %+v", h)
		}
		if h := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"solo"}`, 200); len(h.Clicks) != 0 || h.Explanation.From != "" {
			t.Errorf("a click without an impression is still there: %+v", h)
		}
		if h := asked[UserHistory](run, StoreUserPath, `{"userToken":"v","objectID":"a"}`, 200); len(h.Impressions) != 1 || h.Forgotten != nil {
			t.Errorf("another user: %+v", h)
		}
	}
	hidden(run)
	run.stop()
	for _, e := range run.logs.All() {
		if strings.Contains(line(&e), `"u"`) || strings.Contains(line(&e), "token=u") {
			t.Errorf("the log names the user: %s", line(&e))
		}
	}
	// The segments are lost; everything is read again, but for the user.
	list, err := os.ReadFile(cfg.Store.Path + "/" + forgottenFile)
	if err != nil || strings.Contains(string(list), `"u"`) {
		t.Fatalf("%s %v", list, err)
	}
	if err := os.RemoveAll(cfg.Store.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.Store.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Store.Path+"/"+forgottenFile, list, 0o600); err != nil {
		t.Fatal(err)
	}
	run = w.start(cfg)
	run.await("all read again", func() bool { return run.restored.Load() == 4 && run.restoring() == 0 })
	hidden(run)
	// What the user does from now on counts.
	w.send(showing("u", otherQuery, time.Now(), "a"))
	run.settles(1)
	if h := asked[UserHistory](run, StoreUserPath, `{"userToken":"u","objectID":"a"}`, 200); len(h.Impressions) != 1 || h.Explanation.QueryID != otherQuery {
		t.Errorf("after it was forgotten: %+v", h)
	}
	run.stop()
}

func TestForgettingDropsWhatIsNotReadYetAndWaitsForWhatIsOnItsWay(t *testing.T) {
	w := newWorld(t)
	w.faults(slow(300 * time.Millisecond))
	cfg := w.config(func(c *config.Config) { c.Admin.Token = "t" })
	run := w.start(cfg)
	run.ready()
	w.send(clicks("u", "flying", 1)...)
	run.await("the request on the wire", func() bool { return run.Status().Applications[0].InFlight == 1 })
	if status, _ := run.act(ForgetPath, "", `{"userToken":"u"}`); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	status, body := run.act(ForgetPath, "t", `{"userToken":"u"}`)
	if status != 200 || !strings.Contains(body, `"settled":true`) || w.accepted()["flying-0"] != 1 {
		t.Errorf("%d %s; accepted %v", status, body, w.accepted())
	}
	late := clicks("u", "late", 1) // written late, with a time before
	late[0].Timestamp = time.Now().Add(-time.Hour)
	w.send(late...)
	w.send(clicks("u", "new", 1)...)
	w.faults()
	s := run.settles(3)
	if s.Absorbed[absorbedAs("tombstone")] != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce("flying-0", "new-0")
}

func TestTheListOfForgottenUsersIsDurableAndBounded(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	var f forgotten
	if err := f.open(dir, time.Hour, now); err != nil {
		t.Fatal(err)
	}
	if f.since("u") != 0 {
		t.Error("somebody is forgotten")
	}
	for i, token := range []string{"old", "u", "v"} {
		if err := f.add(now.Add(time.Duration(i-2)*40*time.Minute), token); err != nil {
			t.Fatal(err)
		}
	}
	if f.since("old") != 0 || f.since("u") != now.Add(-40*time.Minute).UnixMilli() {
		t.Error("an entry that nobody needs stays, or one that is needed went")
	}
	var again forgotten
	if err := again.open(dir, time.Hour, now.Add(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if again.since("u") != 0 || again.since("v") != now.UnixMilli() || again.since("w") != 0 {
		t.Error("the file says something else")
	}
	if key := []byte("shop\x00v"); again.sinceKey(key) == 0 || again.sinceKey(append(key, 0, 2, 'x')) == 0 || again.sinceKey([]byte("v")) != 0 {
		t.Error("keys of the user's records are not recognised")
	}
	if err := os.WriteFile(dir+"/"+forgottenFile, []byte("broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.open(dir, time.Hour, now); err == nil {
		t.Error("a broken list is taken: users would come back silently")
	}
}

func TestOtherWorkersLearnWhomToForget(t *testing.T) {
	const states = letters + ".state"
	w := newWorld(t, func(s *setting) { s.topics = []string{topic, letters, replays, states} })
	one := w.start(w.config())
	w.send(showing("u", query, time.Now().Add(-time.Hour), "a"), showing("v", query, time.Now().Add(-time.Hour), "a"))
	one.settles(2)
	one.await("the commit", func() bool { return w.committed(0) == 2 })
	if report := asked[ForgetReport](one, ForgetPath, `{"userToken":"u"}`, 200); !report.Shared || !report.Owner {
		t.Errorf("%+v", report)
	}
	one.stop()
	// Another worker, with an empty store, gets the partition.
	two := w.start(w.config(func(c *config.Config) { c.Store.Path += "-2" }))
	two.await("all read again", func() bool { return two.restored.Load() == 2 && two.restoring() == 0 })
	if h := asked[UserHistory](two, StoreUserPath, `{"userToken":"u"}`, 200); len(h.Impressions) != 0 || h.Forgotten == nil {
		t.Errorf("the history came back: %+v", h)
	}
	if h := asked[UserHistory](two, StoreUserPath, `{"userToken":"v"}`, 200); len(h.Impressions) != 1 {
		t.Errorf("another user: %+v", h)
	}
	two.stop()
}
