package storefront

import (
	"strconv"
	"strings"
)

// spoiled is a message that the contract refuses, written out. $T is a userToken, $S a timestamp,
// $Q a queryID, $O an objectID.
type spoiled struct{ reason, value string }

const valid = `"userToken":"$T","timestamp":$S`

// spoils are messages that section 1 of the contract refuses, for each kind of fault one.
var spoils = []spoiled{
	{"malformed", ""},
	{"malformed", " \n"},
	{"malformed", "null"},
	{"malformed", `"recommendation.clicked"`},
	{"malformed", `42`},
	{"malformed", `[{"type":"recommendation.clicked",` + valid + `,"objectID":"$O"}]`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O"`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O",}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O"} {}`},
	{"malformed", `{'type':'recommendation.clicked','userToken':'$T','objectID':'$O'}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":$O}`},
	{"malformed", `{"type":"recommendation.clicked","userToken":"$T","timestamp":0$S,"objectID":"$O"}`},
	{"malformed", `{"type":"recommendation.addedToCart",` + valid + `,"items":[{"objectID":"$O","price":NaN}]}`},
	{"malformed", "\xef\xbb\xbf" + `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"` + "\xff\xfe" + `"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"` + "a\tb" + `"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"\ud83d"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"\ude00\ud83d"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","objectID":"sku-1"}`},
	{"malformed", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","extra":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`},

	{"unknown-type", `{"type":"recommendation.viewed",` + valid + `,"objectIDs":["$O"]}`},
	{"unknown-type", `{"type":"Recommendation.Clicked",` + valid + `,"objectID":"$O"}`},
	{"unknown-type", `{"type":"","userToken":"$T"}`},
	{"unknown-type", `{"type":"order.created","order":{"total":3}}`},

	{"invalid", `{}`},
	{"invalid", `{"Type":"recommendation.clicked",` + valid + `,"objectID":"$O"}`},
	{"invalid", `{"type":7,` + valid + `,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","timestamp":$S,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"","timestamp":$S,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":12,"timestamp":$S,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"jane@example.com","timestamp":$S,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"` + strings.Repeat("x", 129) + `","timestamp":$S,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"authenticatedUserToken":"a|b","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"$T","timestamp":1764000000,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"$T","timestamp":$S.5,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"$T","timestamp":1.764e12,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"$T","timestamp":"yesterday","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked","userToken":"$T","timestamp":"$S","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"eventName":"Größe gewählt","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"eventName":"` + strings.Repeat("n", 65) + `","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"id":"` + strings.Repeat("i", 257) + `","objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"application":3,"objectID":"$O"}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":123}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":""}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","objectIDs":["$O"]}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","position":0}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","position":1.0}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","position":2147483648}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectIDs":["$O","sku-1"],"positions":[1]}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectIDs":["$O"` + strings.Repeat(`,"x"`, 20) + `]}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","queryID":17}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"objectID":"$O","index":""}`},
	{"invalid", `{"type":"recommendation.clicked",` + valid + `,"facets":[{"facetName":"brand"}]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"products"}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"products","objectIDs":[]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"products","objectIDs":["$O",4]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"products","objectIDs":["a"` + strings.Repeat(`,"x"`, 1000) + `]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"products","queryID":"$Q","positionOffset":-1,"objectIDs":["$O"]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"` + strings.Repeat("i", 257) + `","objectIDs":["$O"]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"lists":[]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"lists":[{"index":"products","queryID":"$Q"}]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"recommend":{"request":{"requests":[{"indexName":"products","model":"trending-items","threshold":0}]}}}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"recommend":[]}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"request":{"requests":[{"indexName":"products","model":"trending-items"}]},"response":{"results":[{"hits":[]}]}}`},
	{"invalid", `{"type":"recommendation.shown",` + valid + `,"index":"another_shop","queryID":"$Q","objectIDs":["$O"]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"currency":"EUR"}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"items":[]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"items":["$O"]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"items":[{"price":"1.50"}]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"currency":"EUR","items":[{"objectID":"$O","price":"-1"}]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"currency":"EUR","items":[{"objectID":"$O","price":1e2}]}`},
	{"invalid", `{"type":"recommendation.addedToCart",` + valid + `,"currency":"EUR","items":[{"objectID":"$O","price":"19,90"}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"currency":"EUR","items":[{"objectID":"$O","price":"123456789012.1234"}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"currency":"EUR","items":[{"objectID":"$O","price":true}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"items":[{"objectID":"$O","quantity":0}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"items":[{"objectID":"$O","quantity":1.5}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"items":[{"objectID":"$O","quantity":"2"}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"items":[{"objectID":"$O","discount":"1."}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"value":"a lot","items":[{"objectID":"$O"}]}`},
	{"invalid", `{"type":"recommendation.purchased",` + valid + `,"items":[{"objectID":"$O","queryID":null}]}`},
}

// poison is the next message that does not go through: all reasons take their turns.
func (g *Generator) poison(now int64) *said {
	g.poisoned++
	user := int(g.userDraw.Uint64())
	switch turn := g.poisoned % 12; turn {
	case 0:
		return &said{tombstone: true, userToken: g.visitor(user).token}
	case 1:
		s := g.page(user, now)
		if g.chance(0.5) {
			s = g.click(arrival{user: user, origin: s}, now)
		}
		s.application = "nobody"
		return s
	case 2:
		return g.atAnotherTime(user, now, futureBy.Milliseconds())
	case 3:
		return g.atAnotherTime(user, now, -(g.config.Rules.MaxEventAge + tooOldBy).Milliseconds())
	case 4:
		return g.withoutIndex(user, now)
	case 5:
		return g.refusedByAPI(user, now)
	}
	return g.spoil(user, now)
}

// spoil writes one of the spoils, in turn.
func (g *Generator) spoil(user int, now int64) *said {
	fault := spoils[g.spoiled*7%len(spoils)]
	g.spoiled++
	token := g.visitor(user).token
	raw := strings.NewReplacer("$T", token, "$S", strconv.FormatInt(now, 10), "$Q", g.queryID(), "$O", g.object()).Replace(fault.value)
	return &said{refusal: fault.reason, userToken: token, style: style{raw: raw, isRaw: true}}
}

// atAnotherTime is a good message of a time that is out of bounds. Shown ones leave their impression.
func (g *Generator) atAnotherTime(user int, now, by int64) *said {
	s := g.page(user, now)
	switch g.random.IntN(3) {
	case 1:
		s = g.click(arrival{user: user, origin: s}, now)
	case 2:
		s = g.buy(arrival{user: user, origin: s}, now)
	}
	s.recordTime = 0
	s.timestamp = now + by
	return s
}

// withoutIndex is a message for the application that has no default index.
func (g *Generator) withoutIndex(user int, now int64) *said {
	page := g.page(user, now)
	if page.form == recommendForm {
		page.form = listsForm
	}
	for i := range page.lists {
		page.lists[i].index = ""
		page.lists[i].facets = nil
		if page.lists[i].objectIDs == nil {
			page.lists[i].objectIDs = []string{g.object()}
		}
	}
	if page.form == facetsForm {
		page.form = flatForm
	}
	s := page
	if g.chance(0.6) {
		s = g.begin(new(said), user, clicked, now)
		s.objects = []object{{id: "organic-" + strconv.FormatUint(g.random.Uint64()>>44, 10)}}
	}
	s.application = "outlet"
	return s
}

// refusedByAPI is a message of which the API refuses an event, though the contract does not.
func (g *Generator) refusedByAPI(user int, now int64) *said {
	bad := "sku-0"
	if refused := g.config.Rules.RefusedObjects; len(refused) > 0 {
		bad = refused[g.random.IntN(len(refused))]
	}
	switch g.random.IntN(3) {
	case 0:
		s := g.begin(new(said), user, shown, now)
		s.form = flatForm
		s.lists = []list{g.list(s, models[0])}
		s.lists[0].objectIDs = append(s.lists[0].objectIDs, bad)
		return s
	case 1:
		s := g.begin(new(said), user, clicked, now)
		s.index = g.index(s)
		s.objects = []object{{id: bad}}
		return s
	}
	s := g.buy(arrival{user: user, origin: g.page(user, now)}, now)
	s.items[len(s.items)/2].objectID = bad
	return s
}
