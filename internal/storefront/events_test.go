package storefront

import (
	"strings"
	"testing"
	"time"
)

func TestIndexIsFoundOrTheMessageIsADeadLetter(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "own, then the impression's, then the default one",
			log: []string{
				`0 shown {"queryID":"qA","objectIDs":["a"]}`,
				`1 shown {"index":"products_home","queryID":"qB","objectIDs":["b"]}`,
				`9 clicked {"objectIDs":["a","b","x"]}`,
				`9 clicked {"index":"products_home","objectIDs":["a","b"]}`,
				`9 clicked {"facets":[{"facetName":"f","facetValue":"v"}]}`},
			want: []string{"view products a", "view products_home b", "click products/qA a@1; click products_home/qB b@1; click products x",
				"click products_home a; click products_home/qB b@1", "click products f:v"}},
		{name: "without a default one misses have none",
			log: []string{
				`0 shown {"index":"o","queryID":"qA","objectIDs":["a"],"application":"outlet"}`,
				`9 clicked {"objectID":"a","application":"outlet"}`,
				`9 clicked {"objectID":"x","application":"outlet"}`,
				`9 clicked {"objectID":"x","application":"outlet","index":"p"}`,
				`9 clicked {"application":"outlet","facets":[{"facetName":"f","facetValue":"v"}]}`,
				`9 purchased {"application":"outlet","items":[{"objectID":"a"},{"objectID":"x"}]}`,
				`9 purchased {"application":"outlet","items":[{"objectID":"a"},{"objectID":"x","index":"p"}]}`,
				`9 purchased {"application":"outlet","items":[{"objectID":"a","queryID":"qF"}]}`},
			want: []string{"view o a", "click o/qA a@1", "no-index", "click p x", "no-index", "no-index",
				"purchase o a×1/qA; purchase p x×1", "no-index"}},
		{name: "a shown message without one leaves no impression",
			log: []string{
				`0 shown {"lists":[{"index":"o","queryID":"qA","objectIDs":["a"]},{"queryID":"qB","objectIDs":["b"]}],"application":"outlet"}`,
				`9 clicked {"objectID":"a","application":"outlet","index":"o"}`},
			want: []string{"no-index", "click o a"}},
	})
}

func TestOnMissDecidesOverWhatDidNotMatch(t *testing.T) {
	log := []string{
		`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
		`9 clicked {"objectID":"x"}`,
		`9 clicked {"objectIDs":["x","a"]}`,
		`9 clicked {"objectID":"a","queryID":"qF"}`,
		`9 clicked {"objectID":"a","queryID":"qF","position":1}`,
		`9 clicked {"objectID":"x","application":"outlet"}`,
		`9 clicked {"facets":[{"facetName":"f","facetValue":"v"}]}`,
		`9 purchased {"items":[{"objectID":"x"}]}`,
		`9 purchased {"items":[{"objectID":"x"},{"objectID":"y","queryID":"qF"}]}`,
	}
	on := func(what string) func(*Rules) { return func(r *Rules) { r.OnMiss = what } }
	runScenarios(t, []scenario{
		{name: "send", rules: on(OnMissSend), log: log, want: []string{"*", "click products x", "click products x; click products/qA a@1", "click products a",
			"click products/qF a@1", "no-index", "click products f:v", "purchase products x×1", "purchase products x×1 y×1/qF"}},
		{name: "dead-letter", rules: on(OnMissDeadLetter), log: log, want: []string{"*", "unmatched", "click products x; click products/qA a@1", "unmatched",
			"click products/qF a@1", "no-index", "click products f:v", "unmatched", "purchase products x×1 y×1/qF"}},
		{name: "drop, before a missing index matters", rules: on(OnMissDrop), log: log, want: []string{"*", "dropped", "click products x; click products/qA a@1", "dropped",
			"click products/qF a@1", "dropped", "click products f:v", "dropped", "purchase products x×1 y×1/qF"}},
	})
}

func TestCopiesAreAbsorbed(t *testing.T) {
	short := func(r *Rules) { r.DedupeWindow = time.Second }
	runScenarios(t, []scenario{
		{name: "after the first was delivered, by application, type and id",
			log: []string{
				`0 purchased {"id":"1","items":[{"objectID":"x"}],"index":"products","queryID":"qA"}`,
				`0@900 purchased {"id":"1","items":[{"objectID":"x"}],"index":"products","queryID":"qA"}`,
				`1 purchased {"id":"2","items":[{"objectID":"x"}]}`,
				`2 addedToCart {"id":"1","items":[{"objectID":"x"}]}`,
				`3 purchased {"id":"1","items":[{"objectID":"x"}],"application":"outlet","index":"o"}`,
				`4 purchased {"items":[{"objectID":"x"}]}`,
				`4 purchased {"items":[{"objectID":"x"}]}`,
				`0@990 purchased {"id":"1","items":[{"objectID":"x"}],"index":"products","queryID":"qA"}`},
			want: []string{"purchase products x×1/qA", "duplicate", "purchase products x×1", "addToCart products x×1", "purchase o x×1",
				"purchase products x×1", "purchase products x×1", "duplicate"}},
		{name: "a copy waits for the first that waits",
			log: []string{
				`100 purchased {"id":"1","items":[{"objectID":"a"}]}`,
				`100@110 purchased {"id":"1","items":[{"objectID":"a"}]}`,
				`50@150 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`100@160 purchased {"id":"1","items":[{"objectID":"a"}]}`},
			want: []string{"purchase products a×1/qA", "duplicate", "*", "duplicate"}},
		{name: "a copy of what became a dead letter goes its own way",
			log: []string{
				`100 purchased {"id":"1","items":[{"objectID":"a"}],"application":"outlet"}`,
				`9000 clicked {"objectID":"z","userToken":"w"}`,
				`50@9001 shown {"index":"o","queryID":"qA","objectIDs":["a"],"application":"outlet"}`,
				`100@9002 purchased {"id":"1","items":[{"objectID":"a"}],"application":"outlet"}`,
				`100@9003 purchased {"id":"1","items":[{"objectID":"a"}],"application":"outlet"}`},
			want: []string{"no-index", "*", "*", "purchase o a×1/qA", "duplicate"}},
		{name: "so does one of what the API refuses",
			log: []string{
				`0 purchased {"id":"1","items":[{"objectID":"refused-1"}]}`,
				`0 purchased {"id":"1","items":[{"objectID":"refused-1"}]}`},
			want: []string{"rejected [0]", "rejected [0]"}},
		{name: "within dedupe.window of event time", rules: short,
			log: []string{
				`0 purchased {"id":"1","items":[{"objectID":"x"}]}`,
				`1000 purchased {"id":"1","items":[{"objectID":"x"}]}`,
				`0 purchased {"id":"2","items":[{"objectID":"x"}]}`,
				`1001 purchased {"id":"2","items":[{"objectID":"x"}]}`},
			want: []string{"purchase products x×1", "duplicate", "purchase products x×1", "purchase products x×1"}},
		{name: "not for types that dedupe.types leaves out",
			log: []string{
				`0 clicked {"id":"1","objectID":"x"}`,
				`0 clicked {"id":"1","objectID":"x"}`},
			want: []string{"click products x", "click products x"}},
	})
}

func TestMoneyNeedsACurrency(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "with none or a bad one only quantities are left",
			log: []string{
				`0 purchased {"items":[{"objectID":"x","price":"1.50","discount":1,"quantity":2}],"value":3}`,
				`1 purchased {"currency":"EURO","items":[{"objectID":"x","price":"1.50","quantity":2}],"value":3}`,
				`2 addedToCart {"currency":"E1R","items":[{"objectID":"x","price":"1.50"}]}`,
				`3 purchased {"currency":"eur","items":[{"objectID":"x","price":"1.50","discount":1,"quantity":2}]}`},
			want: []string{"purchase products x×2", "purchase products x×2", "addToCart products x×1", "purchase products x×2:1.50-1 eur =3"}},
		{name: "value is the exact sum of the part",
			log: []string{
				`0 purchased {"currency":"EUR","items":[{"objectID":"x","price":0.1},{"objectID":"y","price":"0.2"}]}`,
				`1 purchased {"currency":"EUR","items":[{"objectID":"x","price":"19.90","quantity":2},{"objectID":"y","price":5}],"value":"1"}`,
				`2 purchased {"currency":"EUR","items":[{"objectID":"x","price":"0"}]}`,
				`3 purchased {"currency":"EUR","items":[{"objectID":"x","price":"100"}]}`},
			want: []string{"purchase products x×1:0.1 y×1:0.2 EUR =0.3", "purchase products x×2:19.90 y×1:5 EUR =44.8",
				"purchase products x×1:0 EUR =0", "purchase products x×1:100 EUR =100"}},
		{name: "the message's own where an item lacks a price and there is one event",
			log: []string{
				`0 purchased {"currency":"EUR","value":"9.95","items":[{"objectID":"x","price":"1"},{"objectID":"y"}]}`,
				`1 purchased {"currency":"EUR","items":[{"objectID":"x","price":"1"},{"objectID":"y"}]}`,
				`2 purchased {"currency":"EUR","value":9,"items":[{"objectID":"x","price":"1"},{"objectID":"y","index":"products_home"}]}`,
				`3 purchased {"currency":"EUR","value":9,"items":[{"objectID":"x"}]}`},
			want: []string{"purchase products x×1:1 y×1 EUR =9.95", "purchase products x×1:1 y×1 EUR",
				"purchase products x×1:1 EUR =1; purchase products_home y×1 EUR", "purchase products x×1 EUR =9"}},
		{name: "one that is too long is left out, and not replaced",
			log: []string{
				`0 purchased {"currency":"EUR","value":"7","items":[{"objectID":"x","price":"99999999.9999999","quantity":1000000007}]}`,
				`1 purchased {"currency":"EUR","items":[{"objectID":"x","price":"123456.123456789"}]}`},
			want: []string{"purchase products x×1000000007:99999999.9999999 EUR", "purchase products x×1:123456.123456789 EUR =123456.123456789"}},
		{name: "the parts of a long order each have their own",
			log: []string{
				`0 purchased {"currency":"EUR","items":[` + numbered(`{"objectID":"o#","price":"1.25"}`, 1, 41) + `]}`,
				`1 addedToCart {"currency":"EUR","items":[` + numbered(`{"objectID":"o#","price":"1.25"}`, 1, 20) + `]}`},
			want: []string{"purchase products " + many("o#×1:1.25", 1, 20) + " EUR =25; purchase products " + many("o#×1:1.25", 21, 40) +
				" EUR =25; purchase products o41×1:1.25 EUR =1.25", "addToCart products " + many("o#×1:1.25", 1, 20) + " EUR =25"}},
		{name: "an order over several indices is one event each, in order",
			log: []string{
				`0 purchased {"currency":"EUR","items":[{"objectID":"a","price":1},{"objectID":"b","price":2,"index":"products_home"},{"objectID":"c","price":3}]}`},
			want: []string{"purchase products a×1:1 c×1:3 EUR =4; purchase products_home b×1:2 EUR =2"}},
	})
}

func TestViewsAreOfEachList(t *testing.T) {
	recommend := func(results string) string {
		return `"userToken":"u","recommend":{"request":{"requests":[{"indexName":"products","model":"related-products","objectID":"z","threshold":0,` +
			`"queryParameters":{"clickAnalytics":true,"userToken":"other"}},{"indexName":"products_home","model":"trending-facets","facetName":"brand"}]},` +
			`"response":{"results":[` + results + `]}}`
	}
	runScenarios(t, []scenario{
		{name: "20 objects each, without repeats",
			log: []string{`0 shown {"index":"products","queryID":"qA","objectIDs":["o1",` + numbered(`"o#"`, 1, 41) + `]}`},
			want: []string{"view products " + many("o#", 1, 20) + "; view products " + many("o#", 21, 40) +
				"; view products o41"}},
		{name: "10 filters each",
			log: []string{`0 shown {"index":"products","facets":[` + numbered(`{"facetName":"f","facetValue":"#"}`, 1, 11) + `]}`},
			want: []string{"view products " + many("f:#", 1, 10) +
				"; view products f:11"}},
		{name: "of a Recommend answer as it is",
			log: []string{
				`0 shown {` + recommend(`{"queryID":"qA","hits":[{"objectID":"a","name":"A","price":3,"nested":{"objectID":1}},{"objectID":"b"}]},{"hits":[{"facetName":"brand","facetValue":"A&B","_score":3}]}`) + `}`,
				`9 clicked {"objectID":"b"}`,
				`9 clicked {"objectID":"b","model":"related-products"}`,
				`9 clicked {"objectID":"b","model":"trending-items"}`},
			want: []string{"view products a b; view products_home brand:A%26B", "click products/qA b@2", "click products/qA b@2", "click products b"}},
		{name: "of which an empty one is absorbed",
			log:  []string{`0 shown {` + recommend(`{"queryID":"qA","hits":[]},{"hits":[]}`) + `}`},
			want: []string{"stored"}},
		{name: "or none with views.send off", rules: func(r *Rules) { r.SendViews = false },
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`0 shown {"index":"products","facets":[{"facetName":"f","facetValue":"v"}]}`,
				`9 clicked {"objectID":"a"}`},
			want: []string{"stored", "stored", "click products/qA a@1"}},
	})
}

func TestRefusalsComeInOrderOfPrecedence(t *testing.T) {
	hour := time.Hour.Milliseconds()
	runScenarios(t, []scenario{
		{name: "malformed, unknown-type, invalid, unknown-application, future, too-old, no-index",
			rules: func(r *Rules) { r.MaxEventAge, r.Now = time.Hour, base+hour+1000 },
			log: []string{
				`raw:{"type":"recommendation.viewed","type":"recommendation.viewed"}`,
				`0 viewed {"userToken":"@"}`,
				`0 clicked {"userToken":"@","objectID":"a","application":"nobody"}`,
				`999999999 clicked {"objectID":"a","application":"nobody"}`,
				`999999999 clicked {"objectID":"a","application":"outlet"}`,
				`0 clicked {"objectID":"a","application":"outlet"}`,
				`1000 clicked {"objectID":"a","application":"outlet"}`,
				`3901001 clicked {"objectID":"a","index":"products"}`,
				`3901000 clicked {"objectID":"a","index":"products"}`},
			want: []string{"malformed", "unknown-type", "invalid", "unknown-application", "future", "too-old", "no-index", "future", "click products a"}},
		{name: "a shown message out of bounds leaves its impression, others leave nothing",
			rules: func(r *Rules) { r.MaxEventAge, r.Now = time.Hour, base+hour+1000 },
			log: []string{
				`999 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`999999999@1000 shown {"index":"products","queryID":"qB","objectIDs":["b"]}`,
				`999 clicked {"objectID":"c","index":"products","queryID":"qC","position":1}`,
				`1100 clicked {"objectIDs":["a","b"]}`,
				`1200 addedToCart {"items":[{"objectID":"c"}]}`},
			want: []string{"too-old", "future", "too-old", "click products/qA a@1; click products/qB b@1", "addToCart products c×1"}},
		{name: "what the API refuses of a message is named, the rest arrives",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":[` + numbered(`"o#"`, 1, 20) + `,"refused-1"]}`,
				`1 clicked {"objectIDs":["x","refused-2","o3"]}`,
				`2 purchased {"items":[` + numbered(`{"objectID":"p#"}`, 1, 20) + `,{"objectID":"refused-1"},{"objectID":"p21"}]}`,
				`3 addedToCart {"index":"products","items":[{"objectID":"refused-3","queryID":"qF"}]}`},
			want: []string{"rejected [] view products " + many("o#", 1, 20), "rejected [0 1] click products/qA o3@3",
				"rejected [20 21] purchase products " + many("p#×1", 1, 20), "rejected [0]"}},
	})
}

func TestTombstonesAndEmptyValuesDiffer(t *testing.T) {
	truth := NewTruth(DefaultRules())
	got := map[uint64]string{}
	truth.OnVerdict = func(v *Verdict) { got[v.Seq] = v.Reason }
	truth.Add(&Message{Seq: 0, Time: base})
	truth.Add(&Message{Seq: 1, Time: base, Value: []byte{}})
	truth.Seal()
	if got[0] != "tombstone" || got[1] != "malformed" {
		t.Errorf("a null value is %q, an empty one %q", got[0], got[1])
	}
}

func TestPartitionsKnowNothingOfEachOther(t *testing.T) {
	rules := DefaultRules()
	rules.Now = base
	truth := NewTruth(rules)
	got := map[uint64]string{}
	truth.OnVerdict = func(v *Verdict) { got[v.Seq] = renderVerdict(v) }
	add := func(seq int, partition int32, text string) {
		m := messageOf(t, seq, text)
		m.Partition = partition
		truth.Add(m)
	}
	add(0, 0, `100 clicked {"objectID":"a"}`)
	add(1, 1, `90000 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`)
	add(2, 0, `50@200 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`)
	truth.Seal()
	if want := "click products/qA a@1"; got[0] != want {
		t.Errorf("got %s, want %s: progress and history are a partition's own", got[0], want)
	}
}

func TestEventsCarryWhatTheMessageSays(t *testing.T) {
	rules := DefaultRules()
	rules.Now = base + 1000
	rules.HashTokens = true
	var got []Verdict
	truth := NewTruth(rules)
	truth.OnVerdict = func(v *Verdict) { got = append(got, *v) }
	first := messageOf(t, 0, `500@700 clicked {"objectID":"a","queryID":"qA","index":"products","position":1,"eventName":"Own","authenticatedUserToken":"acc"}`)
	second := messageOf(t, 1, `@800 clicked {"objectID":"a","queryID":"qA","index":"products","position":1,"userToken":"jane@example.com"}`)
	third := messageOf(t, 2, `@900 clicked {"objectID":"a","queryID":"qA","index":"products","position":1}`)
	third.Headers = []Header{{"eventworker.dlq.timestamp", []byte("1764000000123")}}
	ahead := messageOf(t, 3, `1300@950 clicked {"objectID":"a","queryID":"qA","index":"products","position":1}`)
	for _, m := range []*Message{first, second, third, ahead} {
		truth.Add(m)
	}
	truth.Seal()
	if len(got) != 4 {
		t.Fatalf("%d verdicts, want 4", len(got))
	}
	e := got[0].Events[0]
	if e.EventName != "Own" || e.AuthenticatedUserToken != "acc" || e.UserToken != "u" || e.Timestamp != base+500 {
		t.Errorf("first: %+v", e)
	}
	e = got[1].Events[0]
	if e.EventName != "Recommended Product Clicked" || e.AuthenticatedUserToken != "" || e.Timestamp != base+800 ||
		len(e.UserToken) != 64 || !strings.HasPrefix(e.UserToken, "8c87b489ce35cf2e") {
		t.Errorf("second: %+v", e)
	}
	if e = got[2].Events[0]; e.Timestamp != 1764000000123 {
		t.Errorf("third: %d, want the time of its first life", e.Timestamp)
	}
	if e = got[3].Events[0]; e.Timestamp != base+1000 {
		t.Errorf("a time ahead of now: %d, want now", e.Timestamp)
	}
}
