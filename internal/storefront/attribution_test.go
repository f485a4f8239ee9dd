package storefront

import (
	"fmt"
	"testing"
	"time"
)

func TestClickTakesTheNewestImpression(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "of those that list the object",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a","b"]}`,
				`10 shown {"index":"products","queryID":"qB","objectIDs":["c","b"]}`,
				`15 shown {"index":"products","queryID":"qC","objectIDs":["c"]}`,
				`20 clicked {"objectID":"b"}`},
			want: []string{"view products a b", "view products c b", "view products c", "click products/qB b@2"}},
		{name: "by event time, not by place",
			log: []string{
				`10 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`5@11 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`,
				`20 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qA a@1"}},
		{name: "of equal times the higher place",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`0 shown {"index":"products","queryID":"qB","objectIDs":["x","a"]}`,
				`0 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qB a@2"}},
		{name: "of one message the first list",
			log: []string{
				`0 shown {"lists":[{"index":"products","queryID":"qA","objectIDs":["x","a"]},{"index":"products","queryID":"qB","objectIDs":["a"]}]}`,
				`9 clicked {"objectID":"a"}`},
			want: []string{"view products x a; view products a", "click products/qA a@2"}},
		{name: "the first occurrence gives the position, plus the offset",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","positionOffset":20,"objectIDs":["x","a","a"]}`,
				`9 clicked {"objectID":"a"}`},
			want: []string{"view products x a", "click products/qA a@22"}},
		{name: "of the index and model that it names",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","model":"bought-together","objectIDs":["a"]}`,
				`1 shown {"index":"products_home","queryID":"qB","model":"related-products","objectIDs":["a"]}`,
				`2 shown {"index":"products","queryID":"qC","objectIDs":["a"]}`,
				`9 clicked {"objectID":"a","model":"bought-together"}`,
				`9 clicked {"objectID":"a","index":"products_home"}`,
				`9 clicked {"objectID":"a","index":"products_home","model":"bought-together"}`},
			want: []string{"*", "*", "*", "click products/qA a@1", "click products_home/qB a@1", "click products_home a"}},
		{name: "of its own user and application",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`1 shown {"index":"products","queryID":"qB","objectIDs":["a"],"userToken":"w"}`,
				`2 shown {"index":"products","queryID":"qC","objectIDs":["a"],"application":"outlet"}`,
				`9 clicked {"objectID":"a","application":"default"}`,
				`9 clicked {"objectID":"a","application":"outlet"}`},
			want: []string{"*", "*", "*", "click products/qA a@1", "click products/qC a@1"}},
		{name: "but lists without a queryID, or with a malformed one, are views only",
			log: []string{
				`0 shown {"index":"products","objectIDs":["a"]}`,
				`1 shown {"index":"products","queryID":"43b15df305339e827f0ac0bdc5ebcaa","objectIDs":["a"]}`,
				`9 clicked {"objectID":"a"}`},
			want: []string{"view products a", "view products a", "click products a"}},
		{name: "whose queryID is lower-cased",
			log: []string{
				`0 shown {"index":"products","queryID":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","objectIDs":["a"]}`,
				`9 clicked {"objectID":"a"}`},
			want: []string{"*", "click products/qA a@1"}},
		{name: "by the earlier of message and record time",
			log: []string{
				`5000@100 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`150 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`,
				`@200 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qB a@1"}},
	})
}

func TestWindowsHaveTheirEdges(t *testing.T) {
	short := func(r *Rules) { r.Window, r.ClickWindow = time.Second, time.Second }
	runScenarios(t, []scenario{
		{name: "join.window counts its edge in", rules: short,
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`1000 clicked {"objectID":"a"}`,
				`1001 clicked {"objectID":"a"}`},
			want: []string{"*", "click products/qA a@1", "click products a"}},
		{name: "join.click_window counts its edge in", rules: short,
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`10 clicked {"objectID":"a"}`,
				`1010 addedToCart {"items":[{"objectID":"a"}]}`,
				`1011 addedToCart {"items":[{"objectID":"a"}]}`},
			want: []string{"*", "*", "addToCart products/qA a×1", "addToCart products a×1"}},
		{name: "only the newest 200 impressions count", log: append(impressions(0, 199, 0),
			`9000 clicked {"objectID":"o0"}`, `9000 clicked {"objectID":"o1"}`),
			want: append(stars(200), "click products/q0 o0@1", "click products/00000000000000000000000000000001 o1@1")},
		{name: "the 201st does not", log: append(impressions(0, 200, 0),
			`9000 clicked {"objectID":"o0"}`, `9000 clicked {"objectID":"o1"}`),
			want: append(stars(201), "click products o0", "click products/00000000000000000000000000000001 o1@1")},
		{name: "of the time of the event", log: append(impressions(0, 300, 0),
			`199@9000 clicked {"objectID":"o0"}`, `200@9000 clicked {"objectID":"o0"}`),
			want: append(stars(301), "click products/q0 o0@1", "click products o0")},
		{name: "an own queryID finds no older one either", log: append(impressions(0, 200, 0),
			`9000 clicked {"objectID":"o0","queryID":"00000000000000000000000000000000"}`),
			want: append(stars(201), "click products o0")},
	})
}

// impressions are those of objects o#, one a millisecond, each with a queryID of its own.
func impressions(from, to int, at int) (log []string) {
	for i := from; i <= to; i++ {
		log = append(log, fmt.Sprintf(`%d shown {"index":"products","queryID":"%032d","objectIDs":["o%d"]}`, at+i, i, i))
	}
	return log
}

func stars(n int) (want []string) {
	for range n {
		want = append(want, "*")
	}
	return want
}

func TestSkewHelpsWhereNothingEarlierAnswers(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "up to its edge",
			log: []string{
				`3000 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`1000@3100 clicked {"objectID":"a"}`,
				`999@3100 clicked {"objectID":"a"}`},
			want: []string{"*", "click products/qA a@1", "click products a"}},
		{name: "the earliest within it",
			log: []string{
				`700 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`,
				`600@710 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`500@720 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qA a@1"}},
		{name: "of equal times the higher place, of that the first list",
			log: []string{
				`600 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`600 shown {"lists":[{"index":"products","queryID":"qB","objectIDs":["x","a"]},{"index":"products","queryID":"qC","objectIDs":["a"]}]}`,
				`500@720 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qB a@2"}},
		{name: "an earlier impression beats it",
			log: []string{
				`400 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`501 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`,
				`500@720 clicked {"objectID":"a"}`},
			want: []string{"*", "*", "click products/qA a@1"}},
		{name: "what skew answers stays open for as long as a miss",
			log: []string{
				`600 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`500@650 clicked {"objectID":"a"}`,
				`5499 shown {"index":"products","queryID":"qC","objectIDs":["z"],"userToken":"w"}`,
				`400@5500 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"*", "click products/qB a@1", "*", "*"}},
		{name: "and no longer",
			log: []string{
				`600 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`500@650 clicked {"objectID":"a"}`,
				`5500 shown {"index":"products","queryID":"qC","objectIDs":["z"],"userToken":"w"}`,
				`400@5500 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"*", "click products/qA a@1", "*", "*"}},
		{name: "the larger of skew and allowed lateness is the patience",
			rules: func(r *Rules) { r.AllowedLateness = 500 * time.Millisecond },
			log: []string{
				`600 clicked {"objectID":"a"}`,
				`2599 shown {"index":"products","queryID":"qC","objectIDs":["z"],"userToken":"w"}`,
				`599@2600 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"click products/qA a@1", "*", "*"}},
	})
}

func TestMissWaitsForWhatIsLate(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "and becomes a match",
			log: []string{
				`100 clicked {"objectID":"a"}`,
				`5099 clicked {"objectID":"z","userToken":"w"}`,
				`50@5100 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"click products/qA a@1", "click products z", "*"}},
		{name: "until the partition was read to its time and the allowed lateness",
			log: []string{
				`100 clicked {"objectID":"a"}`,
				`5100 clicked {"objectID":"z","userToken":"w"}`,
				`50@5101 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`5102 clicked {"objectID":"a"}`},
			want: []string{"click products a", "*", "*", "click products/qA a@1"}},
		{name: "of what comes late the newest counts, not what came first",
			log: []string{
				`100 clicked {"objectID":"a"}`,
				`50@150 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`60@160 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"click products/qB a@1", "*", "*"}},
		{name: "a message waits as a whole and is looked up anew",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`100 clicked {"objectIDs":["a","x"]}`,
				`50@150 shown {"index":"products","queryID":"qB","objectIDs":["y","a"]}`,
				`90@160 shown {"index":"products","queryID":"qC","objectIDs":["x"]}`},
			want: []string{"*", "click products/qB a@2; click products/qC x@1", "*", "*"}},
		{name: "what does not move the progress does not end the wait",
			log: []string{
				`100 clicked {"objectID":"a"}`,
				`900000000@9000 shown {"index":"products","queryID":"qB","objectIDs":["z"],"userToken":"w"}`,
				`9000 clicked {"objectID":""}`,
				`9000 viewed {"objectID":"z"}`,
				`9000 clicked {"objectID":"z","index":"another"}`,
				`raw:nothing`,
				`50@9001 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"click products/qA a@1", "future", "invalid", "unknown-type", "invalid", "malformed", "*"}},
		{name: "a message for an unknown application ends it",
			log: []string{
				`100 clicked {"objectID":"a"}`,
				`9000 clicked {"objectID":"z","application":"nobody"}`,
				`50@9001 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"click products a", "unknown-application", "*"}},
		{name: "a copy that is absorbed ends it",
			log: []string{
				`0 addedToCart {"id":"1","index":"products","queryID":"qA","items":[{"objectID":"z"}]}`,
				`100 clicked {"objectID":"a"}`,
				`9000 addedToCart {"id":"1","index":"products","queryID":"qA","items":[{"objectID":"z"}]}`,
				`50@9001 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"*", "click products a", "duplicate", "*"}},
		{name: "a late message's own wait may be over when it is read",
			log: []string{
				`9000 clicked {"objectID":"z","userToken":"w"}`,
				`100@9001 clicked {"objectID":"a"}`,
				`50@9002 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"*", "click products a", "*"}},
		{name: "what became final is decided in order of event times",
			log: []string{
				`0 shown {"index":"products_home","queryID":"qA","objectIDs":["a"]}`,
				`300 addedToCart {"items":[{"objectID":"b"}]}`,
				`200@310 clicked {"objectID":"b","queryID":"qF","position":3}`,
				`9000 clicked {"objectID":"z","userToken":"w"}`},
			want: []string{"*", "addToCart products/qF b×1", "click products/qF b@3", "*"}},
	})
}

func TestClickKeepsWhatItKnows(t *testing.T) {
	shownAB := `0 shown {"index":"products_home","queryID":"qA","model":"related-products","objectIDs":["a","b"]}`
	runScenarios(t, []scenario{
		{name: "own positions win over those of the look-up",
			log:  []string{shownAB, `9 clicked {"objectID":"b","position":9}`, `9 clicked {"objectIDs":["b","a"],"positions":[5,6]}`},
			want: []string{"*", "click products_home/qA b@9", "click products_home/qA b@5 a@6"}},
		{name: "own positions are worth nothing without a queryID",
			log:  []string{`9 clicked {"objectID":"b","position":9}`},
			want: []string{"click products b"}},
		{name: "a click that is complete has nothing to wait for",
			log: []string{
				`100 clicked {"objectID":"b","queryID":"qF","position":3,"index":"products"}`,
				`50@150 shown {"index":"products_home","queryID":"qF","objectIDs":["b"]}`},
			want: []string{"click products/qF b@3", "*"}},
		{name: "an own queryID takes its position from its own impression, whatever else is named",
			log: []string{shownAB,
				`1 shown {"index":"products","queryID":"qB","objectIDs":["b"]}`,
				`9 clicked {"objectID":"b","queryID":"qA"}`,
				`9 clicked {"objectID":"b","queryID":"qA","index":"products","model":"looking-similar"}`},
			want: []string{"*", "*", "click products_home/qA b@2", "click products/qA b@2"}},
		{name: "an own queryID that is not known is left out where a position lacks",
			log:  []string{shownAB, `9 clicked {"objectID":"b","queryID":"qF"}`, `9 clicked {"objectID":"b","queryID":"qF","index":"products_home"}`},
			want: []string{"*", "click products b", "click products_home b"}},
		{name: "and kept where there is one",
			log:  []string{shownAB, `9 clicked {"objectID":"b","queryID":"qF","position":4}`},
			want: []string{"*", "click products/qF b@4"}},
		{name: "only that object is plain",
			log:  []string{shownAB, `9 clicked {"objectIDs":["x","b"],"queryID":"qA"}`},
			want: []string{"*", "click products x; click products_home/qA b@2"}},
		{name: "skew does not help an own queryID",
			log: []string{
				`600 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`500@610 clicked {"objectID":"a","queryID":"qA"}`},
			want: []string{"*", "click products a"}},
		{name: "it waits for its impression like any other",
			log: []string{
				`100 clicked {"objectID":"a","queryID":"qA"}`,
				`110 clicked {"objectID":"a","queryID":"qA","position":8}`,
				`50@150 shown {"index":"products_home","queryID":"qA","objectIDs":["x","a"]}`},
			want: []string{"click products_home/qA a@2", "click products_home/qA a@8", "*"}},
		{name: "upper case is lowered, what is malformed is absent",
			log: []string{shownAB,
				`9 clicked {"objectID":"b","position":3,"queryID":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
				`9 clicked {"objectID":"b","queryID":"no-id"}`,
				`9 clicked {"objectID":"b","queryID":""}`},
			want: []string{"*", "click products_home/qA b@3", "click products_home/qA b@2", "click products_home/qA b@2"}},
		{name: "message_ ids are kept with a position",
			log:  []string{shownAB, `9 clicked {"objectID":"b","position":3,"queryID":"message_1"}`, `9 clicked {"objectID":"b","queryID":"message_1"}`},
			want: []string{"*", "click products/message_1 b@3", "click products b"}},
		{name: "objects are gathered by index and queryID, in order of the message",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a","b"]}`,
				`1 shown {"index":"products_home","queryID":"qB","objectIDs":["c"]}`,
				`9 clicked {"objectIDs":["b","x","c","y","a"]}`},
			want: []string{"*", "*", "click products/qA b@2 a@1; click products x y; click products_home/qB c@1"}},
		{name: "facets need no queryID",
			log:  []string{`9 clicked {"index":"products","facets":[{"facetName":"price range","facetValue":"10% & more"},{"facetName":"a:b","facetValue":"ü/+~"}]}`},
			want: []string{"click products price%20range:10%25%20%26%20more a%3Ab:%C3%BC%2F%2B~"}},
	})
}

func TestItemsAreAttributedInTheirOrder(t *testing.T) {
	shownThenClicked := []string{
		`0 shown {"index":"products_home","queryID":"qA","objectIDs":["a","b"]}`,
		`10 clicked {"objectID":"b"}`,
		`20 shown {"index":"products","queryID":"qB","model":"related-products","objectIDs":["b"]}`,
	}
	with := func(more ...string) []string { return append(append([]string(nil), shownThenClicked...), more...) }
	want := func(more ...string) []string { return append([]string{"*", "*", "*"}, more...) }
	mode := func(m string) func(*Rules) { return func(r *Rules) { r.Attribution = m } }
	runScenarios(t, []scenario{
		{name: "a remembered click beats a newer impression and gives its index",
			log:  with(`30 addedToCart {"items":[{"objectID":"b"}]}`, `30 purchased {"items":[{"objectID":"b"},{"objectID":"a"}]}`),
			want: want("addToCart products_home/qA b×1", "purchase products_home b×1/qA a×1/qA")},
		{name: "mode shown leaves clicks out", rules: mode(OnlyShown),
			log: with(`30 addedToCart {"items":[{"objectID":"b"}]}`), want: want("addToCart products/qB b×1")},
		{name: "mode clicked leaves impressions out", rules: mode(OnlyClicked),
			log: with(`30 addedToCart {"items":[{"objectID":"b"},{"objectID":"a"}]}`), want: want("addToCart products_home/qA b×1; addToCart products a×1")},
		{name: "a named index binds the click, a model does not",
			log: with(`30 addedToCart {"items":[{"objectID":"b","index":"products"}]}`,
				`30 addedToCart {"index":"products","items":[{"objectID":"b"}]}`,
				`30 addedToCart {"items":[{"objectID":"b","model":"related-products"}]}`),
			want: want("addToCart products/qB b×1", "addToCart products/qB b×1", "addToCart products_home/qA b×1")},
		{name: "a model binds the look-up",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","model":"bought-together","objectIDs":["a"]}`,
				`1 shown {"index":"products","queryID":"qB","model":"related-products","objectIDs":["a"]}`,
				`9 addedToCart {"items":[{"objectID":"a","model":"bought-together"}]}`},
			want: []string{"*", "*", "addToCart products/qA a×1"}},
		{name: "the item's own queryID, else the message's, before all else",
			log: with(`30 addedToCart {"queryID":"qC","items":[{"objectID":"b","queryID":"qD"},{"objectID":"x"}]}`,
				`30 addedToCart {"items":[{"objectID":"b","queryID":"malformed"}]}`,
				`30 addedToCart {"queryID":"qC","items":[{"objectID":"b","queryID":"malformed"}]}`),
			want: want("addToCart products/qD b×1; addToCart products/qC x×1", "addToCart products_home/qA b×1", "addToCart products/qC b×1")},
		{name: "an own queryID takes its index from its impression, and waits for it",
			log: with(`30 addedToCart {"items":[{"objectID":"b","queryID":"qA"}]}`,
				`40 addedToCart {"items":[{"objectID":"c","queryID":"qC"}]}`,
				`35@45 shown {"index":"products_fashion","queryID":"qC","objectIDs":["c"]}`),
			want: want("addToCart products_home/qA b×1", "addToCart products_fashion/qC c×1", "*")},
		{name: "the newest click, of equal times the higher place",
			log: []string{
				`10 clicked {"objectID":"a","queryID":"qA","position":1,"index":"products"}`,
				`20 clicked {"objectID":"a","queryID":"qC","position":1,"index":"products"}`,
				`20 clicked {"objectID":"a","queryID":"qB","position":1,"index":"products"}`,
				`30 addedToCart {"items":[{"objectID":"a"}]}`,
				`15@40 addedToCart {"items":[{"objectID":"a"}]}`},
			want: []string{"*", "*", "*", "addToCart products/qB a×1", "addToCart products/qA a×1"}},
		{name: "a plain click is not remembered, nor is one that became a dead letter",
			log: []string{
				`10 clicked {"objectID":"a"}`,
				`20 clicked {"objectID":"a","queryID":"qA","position":1,"application":"outlet"}`,
				`9000 purchased {"items":[{"objectID":"a"}]}`,
				`9000 purchased {"items":[{"objectID":"a"}],"application":"outlet","index":"o"}`},
			want: []string{"click products a", "no-index", "purchase products a×1", "purchase o a×1"}},
		{name: "attributed and organic items share a purchase",
			log:  with(`30 purchased {"items":[{"objectID":"b"},{"objectID":"x"}],"index":"products_home"}`),
			want: want("purchase products_home b×1/qA x×1")},
		{name: "but not an add-to-cart",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a","b"]}`,
				`9 addedToCart {"items":[{"objectID":"a"},{"objectID":"x"},{"objectID":"b"},{"objectID":"y","queryID":"qC"}]}`},
			want: []string{"*", "addToCart products/qA a×1 b×1; addToCart products x×1; addToCart products/qC y×1"}},
	})
}

func TestMessageIDsDoNotReachPurchases(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "an own one gives way to the look-up, or to the message's queryID",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`9 purchased {"items":[{"objectID":"a","queryID":"message_1"}]}`,
				`9 purchased {"queryID":"message_1","items":[{"objectID":"a"}]}`,
				`9 purchased {"queryID":"qC","items":[{"objectID":"a","queryID":"message_1"}]}`,
				`9 addedToCart {"queryID":"message_1","index":"products","items":[{"objectID":"a"}]}`},
			want: []string{"*", "purchase products a×1/qA", "purchase products a×1/qA", "purchase products a×1/qC", "addToCart products/message_1 a×1"}},
		{name: "one of a remembered click makes the item plain, with the click's index, and matched",
			rules: func(r *Rules) { r.OnMiss = OnMissDeadLetter },
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`5 clicked {"objectID":"a","queryID":"message_1","position":1,"index":"products_home"}`,
				`9 purchased {"items":[{"objectID":"a"}]}`,
				`9 addedToCart {"items":[{"objectID":"a"}]}`},
			want: []string{"*", "click products_home/message_1 a@1", "purchase products_home a×1", "addToCart products_home/message_1 a×1"}},
	})
}

func TestItemsWaitForEarlierClicks(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "that still wait, which changes nothing of what they see",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`100 clicked {"objectID":"x"}`,
				`200 addedToCart {"items":[{"objectID":"a"}]}`,
				`150@250 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"*", "click products x", "addToCart products/qA a×1", "*"}},
		{name: "and take what the click ends with",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`100 clicked {"objectID":"a","model":"looking-similar"}`,
				`200 addedToCart {"items":[{"objectID":"a"}]}`,
				`90@250 shown {"index":"products","queryID":"qB","model":"looking-similar","objectIDs":["a"]}`,
				`95@260 shown {"index":"products","queryID":"qC","objectIDs":["a"]}`},
			want: []string{"*", "click products/qB a@1", "addToCart products/qB a×1", "*", "*"}},
		{name: "but not for later ones, other users' ones, or where clicks are left out",
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`201@201 clicked {"objectID":"x"}`,
				`100@202 clicked {"objectID":"x","userToken":"w"}`,
				`200@203 addedToCart {"items":[{"objectID":"a"}]}`,
				`150@250 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"*", "*", "*", "addToCart products/qA a×1", "*"}},
		{name: "not at all in mode shown", rules: func(r *Rules) { r.Attribution = OnlyShown },
			log: []string{
				`0 shown {"index":"products","queryID":"qA","objectIDs":["a"]}`,
				`100 clicked {"objectID":"x"}`,
				`200 addedToCart {"items":[{"objectID":"a"}]}`,
				`150@250 shown {"index":"products","queryID":"qB","objectIDs":["a"]}`},
			want: []string{"*", "*", "addToCart products/qA a×1", "*"}},
		{name: "a click of the same time holds even if it was read later",
			log: []string{
				`200 addedToCart {"items":[{"objectID":"a"},{"objectID":"b"}]}`,
				`200 clicked {"objectID":"a","queryID":"qF","position":3}`,
				`9000 clicked {"objectID":"z","userToken":"w"}`,
				`150@9001 shown {"index":"products","queryID":"qB","objectIDs":["b"]}`},
			want: []string{"addToCart products/qF a×1; addToCart products b×1", "click products/qF a@3", "*", "*"}},
		{name: "an item with its own queryID takes nothing from clicks and does not wait",
			log: []string{
				`0 shown {"index":"products_home","queryID":"qA","objectIDs":["a"]}`,
				`100 clicked {"objectID":"x"}`,
				`200 addedToCart {"queryID":"qA","items":[{"objectID":"a"}]}`,
				`150@250 shown {"index":"products_fashion","queryID":"qA","objectIDs":["a"]}`},
			want: []string{"*", "*", "addToCart products_home/qA a×1", "*"}},
	})
}
