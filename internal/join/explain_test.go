package join_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// explanations take what the task says of the objects of every message that it decides.
type explanations struct {
	journal
	task *join.Task[uint64]
	of   map[uint64][]join.Explanation
}

func (x *explanations) Encoded(m uint64, n int, claimed bool) {
	x.journal.Encoded(m, n, claimed)
	x.explain(m)
}

func (x *explanations) Absorbed(m uint64, why join.Absorption) {
	x.journal.Absorbed(m, why)
	if why == join.Dropped {
		x.explain(m)
	}
}

func (x *explanations) Refused(m uint64, r *event.Refusal, about join.About) {
	x.journal.Refused(m, r, about)
	if r.Stage == event.StageJoin {
		x.explain(m)
		for i, o := range about.Resolved {
			if e := x.of[m][i]; e.QueryID != o.QueryID || e.Index != o.Index || e.Position != o.Position || e.Object != o.Object {
				x.t.Errorf("message %d: explained as %+v, but resolved as %+v", m, e, o)
			}
		}
	}
}

func (x *explanations) explain(m uint64) {
	list, err := x.task.Explain()
	if err != nil {
		x.t.Fatal(err)
	}
	x.of[m] = list
}

// explain runs messages of one topic, as JSON, through a task and says what is explained of each.
func explain(t *testing.T, c *join.Config, now int64, messages []storefront.Message) *explanations {
	t.Helper()
	store := querystore.NewMemory(querystore.Options{Memory: 64 << 20})
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	x := &explanations{journal: journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}},
		of: map[uint64][]join.Explanation{}}
	x.task = join.NewTask(c, section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, x)
	x.task.Clock(now)
	tell := func(err error) {
		t.Helper()
		for err == nil && len(x.claimed) > 0 {
			m := x.claimed[0]
			x.claimed = x.claimed[1:]
			err = x.task.Outcome(m, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		m := &messages[i]
		x.kept[m.Seq] = join.Message{Offset: int64(i), Time: m.Time, Key: m.Key, Value: m.Value}
		tell(x.task.Handle(0, m.Seq, x.kept[m.Seq]))
	}
	tell(x.task.AtEnd(0, true))
	tell(x.task.Tick(now + time.Hour.Milliseconds()))
	return x
}

func TestExplanationsAgreeWithTheAnswers(t *testing.T) {
	whys, froms := map[join.Why]int{}, map[string]int{}
	for seed := range uint64(2) {
		rules := storefront.DefaultRules()
		rules.Window, rules.ClickWindow = 3*time.Minute, 2*time.Minute
		log, _, c := logOf(t, storefront.Config{Seed: seed, Messages: 4000, Partitions: 1, Users: 30, Late: 0.05, OutOfOrder: 0.2, Skewed: 0.1, Rules: rules})
		x := explain(t, configOf(c.Rules), c.Rules.Now, log[0])
		for m, list := range x.of {
			for _, e := range list {
				froms[e.From]++
				checkExplanation(t, fmt.Sprintf("seed %d, message %d, object %d", seed, m, e.Object), &e, whys)
			}
		}
	}
	for _, from := range []string{"", "message", "click", "impression", "later-impression"} {
		if froms[from] == 0 {
			t.Errorf("no object has its queryID from %q: the traffic is too plain", from)
		}
	}
	for _, why := range []join.Why{join.WhyAfter, join.WhyOutsideWindow, join.WhyOtherIndex, join.WhyOtherModel, join.WhyOtherQueryID, join.WhyClickFirst, join.WhyOlder} {
		if whys[why] == 0 {
			t.Errorf("nothing was passed over for %q: the traffic is too plain", why)
		}
	}
}

func checkExplanation(t *testing.T, what string, e *join.Explanation, whys map[join.Why]int) {
	t.Helper()
	chosen := e.Chosen
	switch e.From {
	case "click", "impression", "later-impression":
		if chosen == nil || chosen.QueryID != e.QueryID || chosen.Click != (e.From == "click") || (chosen.Time > e.At) != (e.From == "later-impression") {
			t.Fatalf("%s: %+v, chosen %+v", what, e, chosen)
		}
	case "message":
		if chosen != nil && (chosen.QueryID != e.QueryID || chosen.Click) {
			t.Fatalf("%s: %+v, chosen %+v", what, e, chosen)
		}
	}
	if (e.Index == "") != (e.IndexFrom == "") {
		t.Fatalf("%s: index %q from %q", what, e.Index, e.IndexFrom)
	}
	for i, c := range e.PassedOver {
		whys[c.Why]++
		relative := c.Why == join.WhyOlder || c.Why == join.WhyClickFirst
		if c.Why == "" || relative && chosen == nil || c.Why == join.WhyClickFirst && !chosen.Click {
			t.Fatalf("%s: candidate %d %+v, chosen %+v", what, i, c, chosen)
		}
		if c.Why == join.WhyOlder && chosen.Time <= e.At && (c.Time > chosen.Time || c.Click != chosen.Click) {
			t.Fatalf("%s: candidate %d %+v is not older than %+v", what, i, c, chosen)
		}
		if i > 0 && c.Time > e.PassedOver[i-1].Time {
			t.Fatalf("%s: candidate %d is newer than the one before it", what, i)
		}
	}
}

const explainedAt = int64(1_764_000_000_000)

// raw makes a message of one user, so many milliseconds after explainedAt.
func raw(seq int, after int64, fields string) storefront.Message {
	kind, rest, _ := bytes.Cut([]byte(fields), []byte(" "))
	value := fmt.Sprintf(`{"type":"recommendation.%s","userToken":"u","timestamp":%d,%s}`, kind, explainedAt+after, rest)
	return storefront.Message{Seq: uint64(seq), Key: []byte("u"), Value: []byte(value), Time: explainedAt + after}
}

func TestEveryReasonForPassingOverIsTold(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%032x", n) }
	shown := func(n int, after int64, more string) storefront.Message {
		return raw(n, after, `shown "index":"products","objectIDs":["a"],"queryID":"`+id(n)+`"`+more)
	}
	rules := storefront.DefaultRules()
	rules.Window, rules.ClickWindow = time.Hour, time.Hour
	for _, c := range []struct {
		name        string
		attribution string
		before      []storefront.Message
		last        string
		from        string
		why         []join.Why
	}{
		{"nothing names it", "", nil, `clicked "index":"products","objectID":"a"`, "", nil},
		{"the newest answers", "", []storefront.Message{shown(1, 0, ""), shown(2, 1, "")}, `clicked "objectID":"a"`, "impression", []join.Why{join.WhyOlder}},
		{"index", "", []storefront.Message{shown(1, 0, "")}, `clicked "index":"products_home","objectID":"a"`, "", []join.Why{join.WhyOtherIndex}},
		{"model", "", []storefront.Message{shown(1, 0, `,"model":"m"`), shown(2, 0, "")}, `clicked "model":"m","objectID":"a"`, "impression", []join.Why{join.WhyOtherModel}},
		{"queryID", "", []storefront.Message{shown(1, 0, ""), shown(2, 0, "")}, `clicked "queryID":"` + id(1) + `","objectID":"a"`, "message", []join.Why{join.WhyOtherQueryID}},
		{"window", "", []storefront.Message{shown(1, -2*3600_000, "")}, `clicked "index":"products","objectID":"a"`, "", []join.Why{join.WhyOutsideWindow}},
		{"click", "", []storefront.Message{shown(1, 0, ""), raw(2, 1, `clicked "objectID":"a"`)}, `purchased "items":[{"objectID":"a"}]`, "click", []join.Why{join.WhyClickFirst}},
		{"older click", "", []storefront.Message{shown(1, 0, ""), raw(2, 1, `clicked "objectID":"a"`), raw(3, 2, `clicked "objectID":"a"`)},
			`purchased "items":[{"objectID":"a"}]`, "click", []join.Why{join.WhyOlder, join.WhyClickFirst}},
		{"attribution", storefront.OnlyShown, []storefront.Message{shown(1, 0, ""), raw(2, 1, `clicked "objectID":"a"`)},
			`purchased "items":[{"objectID":"a"}]`, "impression", []join.Why{join.WhyNotAsked}},
		{"a click is no candidate of a click", "", []storefront.Message{shown(1, 0, ""), raw(2, 1, `clicked "objectID":"a"`)}, `clicked "objectID":"a"`, "impression", nil},
		{"skew", "", []storefront.Message{shown(1, 1500, ""), shown(2, 3000, ""), shown(3, 3001, "")}, `clicked "index":"products","objectID":"a"`,
			"later-impression", []join.Why{join.WhyAfter, join.WhyOlder}},
		{"after", "", []storefront.Message{shown(1, 500, ""), shown(2, 1500, "")}, `clicked "index":"products","objectID":"a"`, "impression", []join.Why{join.WhyAfter}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rules
			if c.attribution != "" {
				r.Attribution = c.attribution
			}
			messages := slices.Concat(c.before, []storefront.Message{raw(100, 1000, c.last)})
			got := explain(t, configOf(r), explainedAt+60_000, messages).of[100]
			if len(got) != 1 || got[0].From != c.from {
				t.Fatalf("got %+v, want one from %q", got, c.from)
			}
			var why []join.Why
			for _, p := range got[0].PassedOver {
				why = append(why, p.Why)
			}
			if fmt.Sprint(why) != fmt.Sprint(c.why) {
				t.Errorf("passed over for %v, want %v", why, c.why)
			}
		})
	}
}

func TestImpressionsBeyondTheNewestAreToldOf(t *testing.T) {
	messages := []storefront.Message{raw(0, -1000, `shown "index":"products","objectIDs":["a"],"queryID":"`+fmt.Sprintf("%032x", 1)+`"`)}
	for n := 1; n <= 250; n++ {
		messages = append(messages, raw(n, int64(n), `shown "index":"products","objectIDs":["b"],"queryID":"`+fmt.Sprintf("%032x", n)+`"`))
	}
	messages = append(messages, raw(1000, 1000, `addedToCart "index":"products","items":[{"objectID":"a"},{"objectID":"b"}]`))
	got := explain(t, configOf(storefront.DefaultRules()), explainedAt+60_000, messages).of[1000]
	if len(got) != 2 || got[0].Chosen != nil || len(got[0].PassedOver) != 1 || got[0].PassedOver[0].Why != join.WhyNotNewest {
		t.Fatalf("%+v", got)
	}
	if b := got[1]; b.Chosen == nil || b.Chosen.Offset != 250 || len(b.PassedOver) != 20 || b.More != 229 {
		t.Errorf("chosen %+v, %d passed over and %d more", b.Chosen, len(b.PassedOver), b.More)
	}
}
