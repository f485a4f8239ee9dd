package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"eventworker/internal/config"
	"eventworker/internal/join"
	"eventworker/internal/telemetry"
)

// objectsOf makes what a task would have counted.
func objectsOf(clicked, carts, bought [2]int64) *join.Health {
	h := &join.Health{}
	for kind, n := range [...][2]int64{clicked, carts, bought} {
		h.Count(kind, n)
	}
	return h
}

// Each cause is named where it is the likely one, and nothing is named where all is well.
func TestTheLikelyCauseOfMissingAttributionIsNamed(t *testing.T) {
	well := [2]int64{200, 1800}
	for _, c := range []struct {
		name     string
		counters join.Counters
		health   *join.Health
		want     []string
	}{
		{"all is well", join.Counters{Lists: 3000, ShownMessages: 3000, Impressions: 3000, Shown: 5000, Plain: 600}, objectsOf(well, well, well), nil},
		{"little was seen", join.Counters{Lists: 900, ViewsOnly: 900, Plain: 500}, objectsOf([2]int64{500, 0}, [2]int64{}, [2]int64{}), nil},
		{"clickAnalytics is off", join.Counters{Lists: 3000, ViewsOnly: 2900, Impressions: 100, ShownMessages: 3000, Shown: 900, Plain: 300}, objectsOf(well, well, well), []string{"views_only"}},
		{"off everywhere", join.Counters{Lists: 3000, ViewsOnly: 3000, ShownMessages: 3000, Plain: 6000}, objectsOf([2]int64{2000, 0}, [2]int64{2000, 0}, [2]int64{2000, 0}), []string{"views_only"}},
		{"tokens differ", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, TokenMismatches: 700, Shown: 900}, objectsOf(well, well, well), []string{"token_mismatch"}},
		{"no shown messages", join.Counters{Plain: 3000}, objectsOf([2]int64{1500, 0}, [2]int64{0, 0}, [2]int64{1500, 0}), []string{"nothing_shown"}},
		{"purchases have another token", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, Plain: 2400}, objectsOf(well, well, [2]int64{2000, 1}), []string{"purchases_keyed_otherwise"}},
		{"carts hold variants", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, Plain: 2400}, objectsOf(well, [2]int64{2000, 1}, well), []string{"carts_keyed_otherwise"}},
		{"clicks have another token", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, Plain: 2400}, objectsOf([2]int64{2000, 1}, well, well), []string{"clicks_keyed_otherwise"}},
		{"a placement is not told of", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, Plain: 2400}, objectsOf([2]int64{1200, 800}, well, well), []string{"clicks_never_shown"}},
		{"ids are cut off", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, MalformedQueryIDs: 2000}, objectsOf(well, well, well), []string{"malformed_query_id"}},
		{"ids of all lists are cut off", join.Counters{Lists: 1500, ShownMessages: 1500, MalformedQueryIDs: 1500, Plain: 6000}, objectsOf([2]int64{6000, 0}, [2]int64{}, [2]int64{}), []string{"malformed_query_id"}},
		{"clocks differ", join.Counters{Lists: 3000, Impressions: 3000, ShownMessages: 3000, Shown: 3000, Skewed: 2000}, objectsOf(well, well, well), []string{"skewed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAttribution(join.NewIndexes(nil), telemetry.NewMetrics())
			a.take(c.health)
			core, logs := observer.New(zapcore.WarnLevel)
			a.look(time.Now(), c.counters, zap.New(core))
			var named, said []string
			for _, s := range a.suspects() {
				named = append(named, s.Cause)
			}
			for _, e := range logs.All() {
				said = append(said, e.ContextMap()["cause"].(string))
			}
			if !slices.Equal(named, c.want) || !slices.Equal(said, c.want) {
				t.Errorf("named %v, said %v, want %v", named, said, c.want)
			}
		})
	}
}

func TestACauseIsSaidOnceAnHourAtMostAndTakenBack(t *testing.T) {
	a := newAttribution(join.NewIndexes(nil), telemetry.NewMetrics())
	core, logs := observer.New(zapcore.WarnLevel)
	log, now := zap.New(core), time.Now()
	c := join.Counters{}
	more := func(after time.Duration, viewsOnly int64) {
		c.Lists, c.ViewsOnly, c.Impressions = c.Lists+2000, c.ViewsOnly+viewsOnly, c.Impressions+2000-viewsOnly
		now = now.Add(after)
		a.look(now, c, log)
	}
	for range 10 {
		more(time.Minute, 1900)
	}
	if n := logs.Len(); n != 1 || len(a.suspects()) != 1 {
		t.Errorf("said %d times in ten minutes, %d suspects", n, len(a.suspects()))
	}
	more(time.Hour, 1900)
	if n := logs.Len(); n != 2 {
		t.Errorf("said %d times in an hour", n)
	}
	more(time.Minute, 0)
	if len(a.suspects()) != 0 {
		t.Errorf("it is well, and suspected: %+v", a.suspects())
	}
}

func TestAttributionIsCountedInMetricsAndStatus(t *testing.T) {
	w := newWorld(t)
	r := w.start(w.config())
	at := time.Now().Add(-20 * time.Second)
	w.send(record("u", shown("u", at, "a")), record("u", `{"type":"recommendation.clicked","userToken":"u","objectIDs":["a","b"]}`))
	r.settles(2)
	s := r.scrape()
	for sample, want := range map[string]float64{
		`eventworker_attributed_objects_total{index="products",model="none",result="matched",type="clicked"}`: 1,
		`eventworker_attributed_objects_total{index="products",model="none",result="plain",type="clicked"}`:   1,
		`eventworker_match_age_seconds_count{by="impression"}`:                                                1,
		`eventworker_attribution_trouble{cause="views_only"}`:                                                 0,
	} {
		if got, ok := s[sample]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", sample, got, ok, want)
		}
	}
	if o := r.Status().Join.Objects; len(o) != 1 || o[0] != (AttributedObjects{Type: "clicked", Model: "none", Index: "products", Matched: 1, Plain: 1}) {
		t.Errorf("the status says %+v", o)
	}
}

// enough is more messages than a cause of trouble is judged by.
const enough = troubleLeast + 500

// spoilt are enough messages of half a minute ago, each of an object of its own.
func spoilt(user, format string) (list []*kgo.Record) {
	at := time.Now().Add(-30 * time.Second)
	for i := range enough {
		list = append(list, &kgo.Record{Topic: topic, Key: []byte(user), Timestamp: at, Value: fmt.Appendf(nil, format, user, at.UnixMilli(), i)})
	}
	return list
}

const (
	clickNumber = `{"type":"recommendation.clicked","userToken":%q,"timestamp":%d,"objectID":"a-%d"}`
	cutOff      = `{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"index":"products","queryID":"43b15df3","objectIDs":["a-%d"]}`
)

// names fails unless exactly this cause is named of what came so far.
func (r *running) names(cause string) {
	r.t.Helper()
	r.attribution.look(time.Now(), r.joined.total(), zap.NewNop())
	if s := r.attribution.suspects(); len(s) != 1 || s[0].Cause != cause {
		r.t.Errorf("named %+v, want %s; objects %+v", s, cause, r.Status().Join.Objects)
	}
}

func TestThatNothingIsShownIsNamedWhateverBecomesOfMisses(t *testing.T) {
	for _, miss := range []string{"send", "drop", "dead-letter"} {
		t.Run(miss, func(t *testing.T) {
			w := newWorld(t)
			r := w.start(w.config(func(c *config.Config) { c.Join.OnMiss = miss }))
			w.send(spoilt("u", clickNumber)...)
			r.settles(enough)
			r.names("nothing_shown")
		})
	}
}

func TestMissesThatAreRefusedForWantOfAnIndexAreMisses(t *testing.T) {
	w := newWorld(t)
	r := w.start(w.config(func(c *config.Config) {
		c.Insights.Applications = map[string]config.Application{"default": {AppID: "APP1", APIKey: "key-1"}}
	}))
	at := time.Now().Add(-time.Minute)
	w.send(record("u", shown("u", at, "a")), record("u", fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a"}`, at.UnixMilli()+1000)))
	w.send(spoilt("other", clickNumber)...)
	if s := r.settles(2 + enough); s.Delivered != 2 {
		t.Errorf("%d messages are delivered", s.Delivered)
	}
	r.names("clicks_keyed_otherwise")
}

func TestMalformedQueryIDsAreNotTakenForClickAnalyticsOff(t *testing.T) {
	w := newWorld(t)
	r := w.start(w.config())
	w.send(spoilt("u", cutOff)...)
	r.settles(enough)
	r.names("malformed_query_id")
}
