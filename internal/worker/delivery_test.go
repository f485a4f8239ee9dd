package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
)

func TestFailuresThatPassLoseNothingAndRepeatNothing(t *testing.T) {
	// Each of these answers before the API took anything, so nothing may come twice.
	for name, list := range map[string][]insightsfake.Fault{
		"429 with Retry-After": {{Kind: insightsfake.Status, Status: 429, RetryAfter: insightsfake.Duration(time.Second), Count: 1}},
		"a burst of 5xx":       {{Kind: insightsfake.Status, Status: 503, Count: 5}, {Kind: insightsfake.Status, Status: 500, AfterRequests: 8, Count: 5}},
		"408 and 425":          {{Kind: insightsfake.Status, Status: 408, Count: 2}, {Kind: insightsfake.Status, Status: 425, Count: 2}},
		"connection resets":    {{Kind: insightsfake.Reset, Count: 12}},
		"413 of whole batches": {{Kind: insightsfake.SizeLimit, Bytes: 2000}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.faults(list...)
			w.send(clicks("u", "a", 200)...)
			run := w.start(w.config(func(c *config.Config) { c.Batch.MaxEvents = 50 }))
			s := run.settles(200)
			struck := 0
			for _, f := range w.api.Faults().Faults {
				struck += f.Struck
			}
			if struck < len(list) || s.Delivered != 200 {
				t.Errorf("faults struck %d times, %+v", struck, s)
			}
			run.ready()
			run.stop()
			w.onlyOnce(numbered("a", 200)...)
		})
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Status, Status: 429, RetryAfter: insightsfake.Duration(time.Second), Count: 1})
	w.send(clicks("u", "a", 3)...)
	run := w.start(w.config())
	run.await("the answer 429", func() bool { return w.api.Stats().ByStatus["429"] == 1 })
	began := time.Now()
	run.settles(3)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("tried again after %v, the API wanted 1s", took)
	}
	run.stop()
}

func TestALostAnswerMayRepeatEventsButLosesNone(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.LostAnswer, Count: 1})
	w.send(clicks("u", "a", 20)...)
	run := w.start(w.config())
	run.settles(20)
	run.stop()
	for _, o := range numbered("a", 20) {
		if n := w.accepted()[o]; n < 1 || n > 2 {
			t.Errorf("%s arrived %d times", o, n)
		}
	}
}

func TestOneRefusedEventInABatchHarmsNoOther(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"refused"}})
	records := clicks("u", "a", 300)
	bad := record("u", click("u", "refused"))
	records = slices.Insert(records, 150, bad)
	w.send(records...)
	run := w.start(w.config())
	s := run.settles(301)
	if s.Delivered != 300 || s.DeadLettered[event.Rejected] != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce(numbered("a", 300)...)
	all := w.letters()
	if len(all) != 1 {
		t.Fatalf("%d dead letters", len(all))
	}
	l := all[0]
	checkLetter(t, "refused", &l, bad)
	if l.Reason != event.Rejected || l.Stage != event.StageDeliver || l.HTTPStatus != 422 || l.Attempts < 2 {
		t.Errorf("reason %s, stage %s, status %d, attempts %d", l.Reason, l.Stage, l.HTTPStatus, l.Attempts)
	}
	if !slices.Equal(l.Parts, []deadletter.Part{{Index: 0, Reason: event.Rejected}}) {
		t.Errorf("parts %+v", l.Parts)
	}
	if want := []deadletter.Resolved{{Index: 0, QueryID: query, IndexName: "products", Position: 1}}; !slices.Equal(l.Resolved, want) {
		t.Errorf("resolved %+v, want %+v", l.Resolved, want)
	}
}

func TestOfAMessageThatIsRefusedInPartTheRestStaysDelivered(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"refused"}})
	r := record("u", fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"u","items":[
		{"objectID":"fine","index":"books","queryID":%[1]q},{"objectID":"refused","index":"toys"},{"objectID":"beside","index":"toys","queryID":%[1]q}]}`, query))
	w.send(r)
	run := w.start(w.config())
	s := run.settles(1)
	if s.DeadLettered[event.Rejected] != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce("fine")
	all := w.letters()
	if len(all) != 1 {
		t.Fatalf("%d dead letters", len(all))
	}
	if want := []deadletter.Part{{Index: 1, Reason: event.Rejected}, {Index: 2, Reason: event.Rejected}}; !slices.Equal(all[0].Parts, want) {
		t.Errorf("parts %+v, want %+v", all[0].Parts, want)
	}
	if want := []deadletter.Resolved{{Index: 1, IndexName: "toys"}, {Index: 2, QueryID: query, IndexName: "toys"}}; !slices.Equal(all[0].Resolved, want) {
		t.Errorf("resolved %+v, want %+v", all[0].Resolved, want)
	}
}

func TestAnEventThatIsTooLargeByItselfIsADeadLetter(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.SizeLimit, Bytes: 1000})
	big := record("u", shown("u", time.Now(), strings.Repeat("x", 250), strings.Repeat("y", 250), strings.Repeat("z", 250), strings.Repeat("v", 250)))
	w.send(append(clicks("u", "a", 20), big)...)
	run := w.start(w.config())
	s := run.settles(21)
	if s.DeadLettered[event.TooLarge] != 1 || s.Delivered != 20 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce(numbered("a", 20)...)
}

func TestAnAPIThatRefusesEverythingPausesAndNothingMoreIsDeadLettered(t *testing.T) {
	w := newWorld(t)
	refused := numbered("a", 100)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: refused})
	w.send(clicks("u", "a", 100)...)
	run := w.start(w.config())
	run.unready("insights default: application default is systemic")
	run.saysOnce("delivery is paused")
	if s := run.Ledger().Snapshot(); s.Settled() > 20 || s.InFlight < 80 {
		t.Errorf("%+v", s)
	}
	w.faults()
	s := run.settles(100)
	if s.DeadLettered[event.Rejected] > 20 || s.Delivered < 80 {
		t.Errorf("%+v", s)
	}
	run.ready()
	run.stop()
}

func TestInShadowModeNothingIsSentAndAllIsSettled(t *testing.T) {
	w := newWorld(t)
	w.send(clicks("u", "a", 20)...)
	run := w.start(w.config(func(c *config.Config) {
		c.Delivery.Mode = "shadow"
		c.Insights.Applications = map[string]config.Application{"default": {DefaultIndex: "products"}}
	}))
	run.settles(20)
	run.ready()
	run.stop()
	if n := w.api.Stats().Requests; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// want is what must become of one message.
type want struct {
	name     string
	change   func(*config.Config)
	value    string
	absorbed string // "": none
	letter   string
	objects  []string
}

func TestWhatTheConfigurationSaysOfAMessageHappensToIt(t *testing.T) {
	now := time.Now()
	plainClick := fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"o"}`, now.UnixMilli())
	other := strings.Replace(click("u", "o"), `{`, `{"application":"other",`, 1)
	noDefault := func(c *config.Config) {
		c.Insights.Applications["default"] = config.Application{AppID: "APP1", APIKey: "key-1"}
	}
	two := func(c *config.Config) {
		c.Insights.Applications["other"] = config.Application{AppID: "APP2", APIKey: "key-2", DefaultIndex: "products"}
	}
	for _, c := range []want{
		{name: "a click nobody showed is sent plain", value: plainClick, objects: []string{"o"}},
		{name: "no index to be had", change: noDefault, value: plainClick, letter: "no-index"},
		{name: "on_miss drop", change: func(c *config.Config) { c.Join.OnMiss = "drop" }, value: plainClick, absorbed: "dropped"},
		{name: "on_miss drop before a missing index", change: func(c *config.Config) { noDefault(c); c.Join.OnMiss = "drop" }, value: plainClick, absorbed: "dropped"},
		{name: "on_miss dead-letter", change: func(c *config.Config) { c.Join.OnMiss = "dead-letter" }, value: plainClick, letter: "unmatched"},
		{name: "views are not sent", change: func(c *config.Config) { c.Views.Send = false }, value: shown("u", now, "o"), absorbed: "stored"},
		{name: "views are sent", value: shown("u", now, "o"), objects: []string{"o"}},
		{name: "another group's application", change: func(c *config.Config) { two(c); c.Insights.Only = []string{"default"} }, value: other, absorbed: "other-application"},
		{name: "the group's own application among two", change: func(c *config.Config) { two(c); c.Insights.Only = []string{"other"} }, value: other, objects: []string{"o"}},
		{name: "an application that is not configured", value: other, letter: "unknown-application"},
		{name: "an index that is not allowed", change: func(c *config.Config) {
			c.Insights.Applications["default"] = config.Application{AppID: "APP1", APIKey: "key-1", Indices: []string{"books"}}
		}, value: click("u", "o"), letter: "invalid"},
		{name: "two hours old with a limit of one", change: func(c *config.Config) { c.Delivery.MaxEventAge = time.Hour }, value: shown("u", now.Add(-2*time.Hour), "o"), letter: "too-old"},
		{name: "four minutes ahead", value: shown("u", now.Add(4*time.Minute), "o"), objects: []string{"o"}},
		{name: "six minutes ahead", value: shown("u", now.Add(6*time.Minute), "o"), letter: "future"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.send(record("u", c.value))
			cfg := w.config()
			if c.change != nil {
				c.change(cfg)
			}
			run := w.start(cfg)
			s := run.settles(1)
			run.stop()
			w.onlyOnce(c.objects...)
			for i, n := range s.Absorbed {
				if name := absorption(i); (n == 1) != (name == c.absorbed) {
					t.Errorf("absorbed %s: %d, want %q", name, n, c.absorbed)
				}
			}
			for i, n := range s.DeadLettered {
				if name := event.Reason(i).String(); name != "" && (n == 1) != (name == c.letter) {
					t.Errorf("dead-lettered %s: %d, want %q", name, n, c.letter)
				}
			}
			if all := w.letters(); len(all) > 1 || (len(all) == 1) != (c.letter != "") || len(all) == 1 && all[0].Reason.String() != c.letter {
				t.Errorf("%d dead letters", len(all))
			}
		})
	}
}

func TestAClickTakesWhatItsImpressionSays(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.send(record("u", shown("u", now.Add(-time.Minute), "a", "b", "c")),
		record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"b"}`, now.UnixMilli())),
		record("u", fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"items":[{"objectID":"b"},{"objectID":"elsewhere"}]}`, now.UnixMilli())))
	run := w.start(w.config())
	run.settles(3)
	run.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	found := 0
	for _, e := range w.events {
		switch {
		case e.EventType == "click":
			found++
			if e.QueryID != query || !slices.Equal(e.Positions, []int{2}) || e.Index != "products" {
				t.Errorf("click %+v", e)
			}
		case e.EventSubtype == "purchase":
			found++
			if len(e.ObjectData) != 2 || e.ObjectData[0].QueryID != query || e.ObjectData[1].QueryID != "" || e.QueryID != "" {
				t.Errorf("purchase %+v", e)
			}
		}
	}
	if found != 2 || len(w.events) != 3 {
		t.Errorf("%d events: %+v", len(w.events), w.events)
	}
}

func TestCopiesOfADeliveredMessageAreAbsorbed(t *testing.T) {
	w := newWorld(t)
	w.send(record("u", cart("u", "id-1", "first")), record("u", cart("u", "id-1", "copy")), record("u", cart("u", "id-2", "other")))
	run := w.start(w.config())
	s := run.settles(3)
	if s.Delivered != 2 || s.Absorbed[absorbedAs("duplicate")] != 1 {
		t.Errorf("%+v", s)
	}
	run.await("the commit", func() bool { return w.committed(0) == 3 })
	run.stop()

	w.send(record("u", cart("u", "id-2", "copy-after-restart")))
	run = w.start(w.config())
	s = run.settles(1)
	if s.Absorbed[absorbedAs("duplicate")] != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce("first", "other")
}

func TestACopyOfADeadLetteredMessageGoesItsOwnWay(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"refused"}})
	w.send(record("u", cart("u", "id-1", "refused")), record("u", cart("u", "id-1", "good")), record("u", cart("u", "id-1", "again")))
	run := w.start(w.config())
	s := run.settles(3)
	if s.Delivered != 1 || s.DeadLettered[event.Rejected] != 1 || s.Absorbed[absorbedAs("duplicate")] != 1 {
		t.Errorf("%+v", s)
	}
	run.stop()
	w.onlyOnce("good")
}

func TestTombstonesAndMessagesOfOtherKeysAreNoTrouble(t *testing.T) {
	w := newWorld(t)
	none := &kgo.Record{Topic: topic}
	keyless := record("", click("u", "a"))
	keyless.Key = nil
	w.send(none, keyless)
	run := w.start(w.config())
	s := run.settles(2)
	if s.Absorbed[absorbedAs("tombstone")] != 1 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
	if n := run.Status().Join.NotKeyed; n != 1 {
		t.Errorf("%d messages are counted whose key is not their userToken", n)
	}
	run.stop()
}
