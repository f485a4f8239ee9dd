package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/insightsfake"
)

// down is a fault: the API answers 503 to applications, to all if none is named.
func down(applications ...string) insightsfake.Fault {
	return insightsfake.Fault{Kind: insightsfake.Status, Status: 503, Count: 1 << 20, Applications: applications}
}

// pausedFor says whether fetching is paused for a reason that contains the text.
func (r *running) pausedFor(text string) bool {
	return slices.ContainsFunc(r.kafka.Status().Paused, func(why string) bool { return strings.Contains(why, text) })
}

// post asks the admin server to change something.
func (r *running) post(path string) (status int, state pauseState) {
	r.t.Helper()
	res, err := http.Post("http://"+r.admin.Addr().String()+path, "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&state); err != nil {
			r.t.Error(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return res.StatusCode, state
}

func TestFetchingPausesWhileTheOnlyApplicationIsAwayAndGoesOnByItself(t *testing.T) {
	w := newWorld(t)
	w.faults(down())
	run := w.start(w.config())
	w.send(clicks("u", "a", 3)...)
	run.await("the breaker", func() bool { return run.Status().Applications[0].State == insights.StateUnavailable })
	run.await("the pause", func() bool { return run.pausedFor("every application with traffic is away: default (unavailable)") })
	run.await("the gauge", func() bool { return run.scrape()[`eventworker_breaker_open{application="default"}`] == 1 })
	w.send(clicks("u", "b", 5)...)
	if n := run.Ledger().Snapshot().Received; n > 3+5 {
		t.Errorf("%d received", n)
	}
	w.faults()
	run.settles(8)
	run.await("no pause", func() bool { return len(run.kafka.Status().Paused) == 0 })
	if lines := run.lines(); !strings.Contains(lines, "fetching resumed was paused because=every application with traffic is away") {
		t.Errorf("the log does not say what is over:\n%s", lines)
	}
	if n := run.scrape()[`eventworker_breaker_open{application="default"}`]; n != 0 {
		t.Errorf("the gauge of the breaker says %v", n)
	}
	run.stop()
	w.onlyOnce(append(numbered("a", 3), numbered("b", 5)...)...)
}

// twoApplications is a configuration of the applications default and other.
func twoApplications(c *config.Config) {
	c.Insights.Applications["other"] = config.Application{AppID: "APP2", APIKey: "key-2", DefaultIndex: "products"}
}

// ofOther makes messages those of the application other, padded to some size.
func ofOther(message string, pad int) string {
	return strings.Replace(message, "{", fmt.Sprintf(`{"application":"other","padding":%q,`, strings.Repeat("x", pad)), 1)
}

func TestAnApplicationThatIsAwayHoldsUpOthersOnlyBeyondItsShareOfTheBudget(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config(twoApplications, func(c *config.Config) { c.Memory.Budget = 8 << 20; c.Kafka.MaxFetchBytes = 1 << 20 }))
	w.faults(down("APP2"))
	w.send(record("u", ofOther(click("u", "o-0"), 0)))
	run.await("the breaker", func() bool { return run.Status().Applications[1].State == insights.StateUnavailable })
	w.send(clicks("u", "a", 20)...)
	run.await("what is delivered beside it", func() bool { return run.Ledger().Snapshot().Delivered == 20 })
	if run.pausedFor("") {
		t.Errorf("paused: %v", run.kafka.Status().Paused)
	}

	const large = 512 << 10
	for i := 1; i <= 10; i++ { // 5 MiB of 8: the share is 4
		w.send(record("u", ofOther(click("u", fmt.Sprintf("o-%d", i)), large)))
	}
	run.await("the share", func() bool { return run.pausedFor("other (unavailable) is away and holds its share of memory.budget") })
	w.faults()
	run.await("no pause", func() bool { return !run.pausedFor("") })
	run.settles(31)
	run.stop()
	w.onlyOnce(append(numbered("a", 20), numbered("o", 11)...)...)
}

func TestPauseAndResumeByHand(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config(twoApplications))
	run.await("consuming", func() bool { return run.kafka.Status().State == "consuming" })
	if status, s := run.post("/pause"); status != 200 || !slices.Equal(s.Paused, []string{"default", "other"}) || len(s.Running) != 0 {
		t.Errorf("/pause: %d %+v", status, s)
	}
	if !run.pausedFor("by hand") {
		t.Errorf("fetching is not paused: %v", run.kafka.Status().Paused)
	}
	w.send(clicks("u", "a", 3)...)
	if status, s := run.post("/resume?application=other"); status != 200 || !slices.Equal(s.Paused, []string{"default"}) || !slices.Equal(s.Running, []string{"other"}) {
		t.Errorf("/resume of one: %d %+v", status, s)
	}
	w.send(record("u", ofOther(click("u", "o-0"), 0)))
	run.await("the other", func() bool { return run.Ledger().Snapshot().Delivered == 1 })
	if n := w.accepted()["a-0"]; n != 0 {
		t.Error("delivered during a pause")
	}
	if status, s := run.post("/resume"); status != 200 || len(s.Paused) != 0 {
		t.Errorf("/resume: %d %+v", status, s)
	}
	run.settles(4)
	if run.pausedFor("") {
		t.Errorf("still paused: %v", run.kafka.Status().Paused)
	}
	if status, _ := run.post("/pause?application=" + url.QueryEscape("none such")); status != http.StatusNotFound {
		t.Errorf("an application that is not there: %d", status)
	}
	for _, wrong := range []string{"/pause?app=default", "/pause?application=", "/resume?application=other&application=default", "/pause?note=%zz", "/pause?application=default;other",
		"/pause?note=" + strings.Repeat("x", 501)} {
		if status, _ := run.post(wrong); status != http.StatusBadRequest || run.Status().Applications[0].Paused {
			t.Errorf("%s: %d", wrong, status)
		}
	}
	if status, _ := run.post("/pause?application=other&note=a%20bad%20deploy%0a"); status != 200 {
		t.Errorf("/pause with a note: %d", status)
	}
	run.post("/resume")
	audit := run.logs.FilterMessage("audit: POST /pause was called").All()
	if last := line(&audit[len(audit)-1]); !strings.Contains(last, "from=127.0.0.1:") || !strings.Contains(last, "note=a bad deploy\n") || !strings.Contains(last, "application=other") || !strings.Contains(last, "status=200") {
		t.Errorf("the audit line says %s", last)
	}
	if status, _ := run.get("/pause"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /pause: %d", status)
	}
	run.stop()
	w.onlyOnce(append(numbered("a", 3), "o-0")...)
}

func TestTheAgeLimitWinsOverAPauseByHand(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config(twoApplications, func(c *config.Config) { c.Delivery.MaxEventAge = time.Minute }))
	run.post("/pause?application=default")
	for i := range 3 {
		at := time.Now().Add(time.Second - time.Minute).UnixMilli()
		w.send(record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a-%d","index":"products"}`, at, i)))
	}
	s := run.settles(3)
	if s.TotalDeadLettered() != 3 {
		t.Errorf("%+v", s)
	}
	run.stop()
	for _, l := range w.letters() {
		if l.Reason != event.Expired || l.Attempts != 0 {
			t.Errorf("dead letter %+v", l.Context)
		}
	}
}

func TestStopDuringAPauseByHandGivesMessagesBack(t *testing.T) {
	w := newWorld(t)
	run := w.start(w.config(twoApplications))
	run.post("/pause?application=default")
	w.send(clicks("u", "a", 3)...)
	run.await("the messages", func() bool { return run.Ledger().Snapshot().InFlight == 3 })
	run.stop()
	if s := run.Ledger().Snapshot(); s.Released != 3 {
		t.Errorf("%+v", s)
	}
	again := w.start(w.config(twoApplications)) // a pause ends with its process
	again.settles(3)
	again.stop()
	w.onlyOnce(numbered("a", 3)...)
}

func TestKeysOfAnotherConfigurationAreTakenWithoutARestart(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.api.Credentials = map[string][]string{"APP1": {"key-new"}} })
	w.send(clicks("u", "a", 3)...)
	c := w.config(func(c *config.Config) {
		c.Delivery.Backoff.InitialInterval, c.Delivery.Backoff.MaxInterval = 5*time.Minute, 5*time.Minute
	})
	run := w.start(c)
	run.unready("insights default: application default is misconfigured")
	next := w.config()
	next.Insights.Applications = map[string]config.Application{"default": {AppID: "APP1", APIKey: "key-new"}}
	if err := run.ReloadKeys(next); err != nil {
		t.Error(err)
	}
	run.settles(3)
	run.ready()
	next.Insights.Applications = nil
	if err := run.ReloadKeys(next); err == nil || !strings.Contains(err.Error(), "insights.applications.default") {
		t.Errorf("of a configuration without it: %v", err)
	}
	run.stop()
	w.onlyOnce(numbered("a", 3)...)
}

func TestShadowReportIsInTheStatusAndInTheLog(t *testing.T) {
	w := newWorld(t)
	w.send(clicks("u", "a", 3)...)
	run := w.start(w.config(func(c *config.Config) { c.Delivery.Mode = "shadow" }))
	run.settles(3)
	if s := run.Status().Applications[0].Shadow; s == nil || s.Events.Click != 3 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
	run.stop()
	if n := len(w.accepted()); n != 0 || w.api.Stats().Requests != 0 {
		t.Errorf("%d arrived", n)
	}
	if lines := run.lines(); !strings.Contains(lines, "what would have been sent") || !strings.Contains(lines, "click=3") {
		t.Errorf("no report in the log:\n%s", lines)
	}
}
