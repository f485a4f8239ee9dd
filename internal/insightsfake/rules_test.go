package insightsfake

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ruleCase is one rule with a body that keeps it and one that breaks it. The
// two differ in nothing else.
type ruleCase struct {
	rule      rule
	name      string
	good, bad string // bodies
	says      string // part of the message about the bad one; empty: the rule's own
	lenient   bool   // needs a lenient fake
}

// one is a case about a single event: an attribute with a good and a bad value.
func one(r rule, name string, base map[string]string, attribute, good, bad string) ruleCase {
	return ruleCase{rule: r, name: name, good: batchOf(with(base, attribute, good)), bad: batchOf(with(base, attribute, bad))}
}

func two(r rule, name, good, bad string) ruleCase {
	return ruleCase{rule: r, name: name, good: batchOf(good), bad: batchOf(bad)}
}

func list(n int, element string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

func millis(t time.Time) string { return fmt.Sprint(t.UnixMilli()) }

func says(c ruleCase, text string) ruleCase { c.says = text; return c }

func leniently(c ruleCase) ruleCase { c.lenient = true; return c }

func envelopeCases() []ruleCase {
	v := with(viewed)
	return []ruleCase{
		says(ruleCase{rule: ruleEnvelope, name: "bare array", good: batchOf(v), bad: "[" + v + "]"},
			"Invalid type for field : expected insights.PublicEventsBatch, got array"),
		says(ruleCase{rule: ruleEnvelope, name: "bare string", good: batchOf(v), bad: `"events"`}, "got string"),
		{rule: ruleNoEvents, name: "empty", good: batchOf(v), bad: batchOf()},
		leniently(ruleCase{rule: ruleNoEvents, name: "one bare event", good: batchOf(v), bad: v}),
		{rule: ruleNoEvents, name: "events is null", good: batchOf(v), bad: `{"events":null}`},
		{rule: ruleInvalidPayload, name: "event is null", good: batchOf(v), bad: batchOf("null")},
		{rule: ruleInvalidPayload, name: "event is a number", good: batchOf(v, v), bad: batchOf(v, "1")},
		says(ruleCase{rule: ruleDataType, name: "events is an object", good: batchOf(v), bad: `{"events":` + v + `}`}, "got object"),
		says(ruleCase{rule: ruleTooManyEvents, name: "1,000 events", good: batchOf(strings.Split(strings.TrimSuffix(strings.Repeat(v+"\n", 1000), "\n"), "\n")...),
			bad: batchOf(strings.Split(strings.TrimSuffix(strings.Repeat(v+"\n", 1001), "\n"), "\n")...)}, "Cannot process more than 1000 events in a batch"),
		{rule: ruleStrictUnknown, name: "beside events", good: batchOf(v), bad: `{"events":[` + v + `],"more":1}`},
		{rule: ruleStrictRepeated, name: "events twice", good: batchOf(v), bad: `{"events":[` + v + `],"events":[` + v + `]}`},
	}
}

func typeCases() []ruleCase {
	var all []ruleCase
	for attribute, base := range map[string]map[string]string{
		"eventName": viewed, "eventType": viewed, "eventSubtype": cart, "index": viewed, "userToken": viewed,
		"authenticatedUserToken": with2(viewed, "authenticatedUserToken", `"u"`), "queryID": clickAfter, "currency": cart,
	} {
		for got, bad := range map[string]string{"number": "12", "null": "null", "bool": "true", "array": `["x"]`, "object": "{}"} {
			all = append(all, says(one(ruleDataType, attribute+" "+got, base, attribute, base[attribute], bad),
				"Invalid type for field events."+attribute+": expected string, got "+got))
		}
	}
	item := func(attribute, value string) string {
		return `[{"quantity":1,"price":1,"` + attribute + `":` + value + `}]`
	}
	return append(all,
		says(one(ruleDataType, "objectIDs holds a number", viewed, "objectIDs", `["1"]`, `[1]`), "events.objectIDs: expected string, got number"),
		says(one(ruleDataType, "objectIDs holds null", viewed, "objectIDs", `["1"]`, `["1",null]`), "got null"),
		says(one(ruleDataType, "objectIDs is a string", viewed, "objectIDs", `["1"]`, `"1"`), "expected array, got string"),
		says(one(ruleDataType, "filters is a string", viewFilters, "filters", `["a:b"]`, `"a:b"`), "events.filters: expected array"),
		says(one(ruleDataType, "positions hold a string", clickAfter, "positions", `[1,2]`, `[1,"2"]`), "events.positions: expected integer, got string"),
		says(one(ruleDataType, "positions hold a fraction", clickAfter, "positions", `[1,2]`, `[1,2.0]`), "events.positions: expected int64, got number"),
		says(one(ruleDataType, "positions is a number", clickAfter, "positions", `[1,2]`, `1`), "expected array, got number"),
		says(one(ruleDataType, "timestamp is text", viewed, "timestamp", millis(testNow), `"`+millis(testNow)+`"`), "events.timestamp: expected integer, got string"),
		says(one(ruleDataType, "timestamp has a fraction", viewed, "timestamp", millis(testNow), millis(testNow)+".5"), "expected int64"),
		says(one(ruleDataType, "timestamp has an exponent", viewed, "timestamp", millis(testNow), "1764e9"), "expected int64"),
		says(one(ruleDataType, "timestamp beyond 64 bits", viewed, "timestamp", "9223372036854775807", "9223372036854775808"), "expected int64"),
		says(one(ruleDataType, "value is an array", cart, "value", "39.8", "[39.8]"), "events.value: expected number or string, got array"),
		says(one(ruleDataType, "objectData is an object", with2(cart, "value", ""), "objectData", `[{"quantity":1}]`, `{"quantity":1}`), "events.objectData: expected array, got object"),
		says(one(ruleDataType, "objectData holds a number", with2(cart, "value", ""), "objectData", `[{"quantity":1}]`, `[1]`), "events.objectData: expected object, got number"),
		says(one(ruleDataType, "price is null", with2(cart, "value", ""), "objectData", item("discount", "1"), item("discount", "null")), "events.objectData.discount: expected number or string, got null"),
		says(one(ruleDataType, "quantity is text", with2(cart, "value", ""), "objectData", `[{"quantity":1}]`, `[{"quantity":"1"}]`), "objectData.quantity: expected integer, got string"),
		says(one(ruleDataType, "quantity beyond 32 bits", with2(cart, "value", ""), "objectData", `[{"quantity":2147483647}]`, `[{"quantity":2147483648}]`), "expected int32"),
		says(one(ruleDataType, "queryID of an item is a number", with2(cart, "value", ""), "objectData", item("queryID", `"`+queryA+`"`), item("queryID", "1")), "objectData.queryID: expected string, got number"),
	)
}

// with2 is with for a base of further cases.
func with2(base map[string]string, attribute, value string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, base)
	all[attribute] = value
	return all
}

func namingCases() []ruleCase {
	return []ruleCase{
		one(ruleEventNameRequired, "absent", viewed, "eventName", `"V"`, ""),
		one(ruleEventNameRequired, "empty", viewed, "eventName", `"V"`, `""`),
		one(ruleEventName, "64 characters", viewed, "eventName", quoted(strings.Repeat("x", 64)), quoted(strings.Repeat("x", 65))),
		one(ruleEventName, "first and last character", viewed, "eventName", `" ~"`, `"\u007f"`),
		one(ruleEventName, "refused character amid good ones", viewed, "eventName", `"Vu"`, `"Vü"`),
		one(ruleEventName, "line feed at the end", viewed, "eventName", `"Viewed"`, `"Viewed\n"`),
		one(ruleEventTypeRequired, "absent", viewed, "eventType", `"view"`, ""),
		one(ruleEventType, "unknown", viewed, "eventType", `"view"`, `"views"`),
		one(ruleEventType, "another case", viewed, "eventType", `"view"`, `"View"`),
		one(ruleEventSubtype, "unknown", cart, "eventSubtype", `"addToCart"`, `"addtocart"`),
		one(ruleEventSubtype, "empty", cart, "eventSubtype", `"addToCart"`, `""`),
		one(ruleEventSubtype, "on a view", viewed, "eventSubtype", "", `"purchase"`),
		one(ruleEventSubtype, "on a click", click, "eventSubtype", "", `"addToCart"`),
		one(ruleIndexRequired, "absent", viewed, "index", `"products"`, ""),
		one(ruleIndexRequired, "empty", viewed, "index", `"products"`, `""`),
		one(ruleStrictInstantsearch, "telemetry", viewed, "eventType", `"view"`, `"instantsearch"`),
	}
}

func identityCases() []ruleCase {
	all := []ruleCase{
		one(ruleUserTokenRequired, "absent", viewed, "userToken", `"u"`, ""),
		one(ruleUserTokenRequired, "empty", viewed, "userToken", `"u"`, `""`),
		one(ruleUserToken, "128 characters", viewed, "userToken", quoted(strings.Repeat("x", 128)), quoted(strings.Repeat("x", 129))),
		one(ruleAuthenticatedUserToken, "128 characters", viewed, "authenticatedUserToken", quoted(strings.Repeat("x", 128)), quoted(strings.Repeat("x", 129))),
		one(ruleAuthenticatedUserToken, "empty", viewed, "authenticatedUserToken", "", `""`),
		one(ruleTimestamp, "30 days", viewed, "timestamp", millis(testNow.Add(-defaultMaxAge)), millis(testNow.Add(-defaultMaxAge-time.Millisecond))),
		one(ruleTimestamp, "seconds", viewed, "timestamp", millis(testNow), fmt.Sprint(testNow.Unix())),
		one(ruleTimestamp, "zero", viewed, "timestamp", "", "0"),
		one(ruleTimestamp, "negative", viewed, "timestamp", millis(testNow.Add(time.Hour)), "-"+millis(testNow)),
	}
	for _, bad := range []string{".", "@", ":", "|", " ", "é", "\n", "\x00", ",", "*", "\x7f"} {
		all = append(all,
			one(ruleUserToken, fmt.Sprintf("%q amid good ones", bad), viewed, "userToken", `"azAZ09_=/+-"`, quoted("user"+bad+"1")),
			one(ruleAuthenticatedUserToken, fmt.Sprintf("%q at the end", bad), viewed, "authenticatedUserToken", `"azAZ09_=/+-"`, quoted("user1"+bad)))
	}
	return all
}

func objectCases() []ruleCase {
	many := list(20, `"a"`)
	return []ruleCase{
		one(ruleNoObjectIDsOrFilters, "neither", viewed, "objectIDs", `["a"]`, ""),
		one(ruleNoObjectIDsOrFilters, "no objectID", viewed, "objectIDs", `["a"]`, "[]"),
		one(ruleNoObjectIDsOrFilters, "no filter", viewFilters, "filters", `["a:b"]`, "[]"),
		one(ruleBothDefined, "both", viewed, "filters", "", `["a:b"]`),
		one(ruleBothDefined, "both, filters empty", viewed, "filters", "", `[]`),
		one(ruleTooManyObjectIDs, "20 objectIDs", viewed, "objectIDs", many, list(21, `"a"`)),
		one(ruleTooManyObjectIDs, "many more than are kept", viewed, "objectIDs", many, list(100, `"a"`)),
		one(ruleTooManyFilters, "10 filters", viewFilters, "filters", list(10, `"a:b"`), list(11, `"a:b"`)),
		one(ruleStrictEmptyObjectID, "empty objectID", viewed, "objectIDs", `["a"]`, `["a",""]`),
		one(ruleStrictFilterForm, "no colon", viewFilters, "filters", `["a:b"]`, `["ab"]`),
		one(ruleStrictFilterForm, "colon encoded", viewFilters, "filters", `["a:b"]`, `["a%3Ab"]`),
		one(ruleStrictFilterForm, "second colon", viewFilters, "filters", `["a:b%3Ac"]`, `["a:b:c"]`),
		one(ruleStrictFilterForm, "no attribute", viewFilters, "filters", `["a:b"]`, `[":b"]`),
		one(ruleStrictFilterForm, "no value", viewFilters, "filters", `["a:b"]`, `["a:"]`),
		one(ruleStrictFilterForm, "space", viewFilters, "filters", `["a:b%20c"]`, `["a:b c"]`),
		one(ruleStrictFilterForm, "not ASCII", viewFilters, "filters", `["a:%C3%BC"]`, `["a:ü"]`),
		one(ruleStrictFilterForm, "bare percent sign", viewFilters, "filters", `["a:10%25"]`, `["a:10%"]`),
		one(ruleStrictUnknown, "unknown attribute", viewed, "objectIds", "", `["a"]`),
		one(ruleStrictUnknown, "agentID", viewed, "agentID", "", `"a"`),
		two(ruleStrictRepeated, "attribute twice", with(viewed), strings.Replace(with(viewed), "{", `{"eventName":"Viewed",`, 1)),
	}
}

func queryCases() []ruleCase {
	return []ruleCase{
		one(rulePositionsOnWrongEventType, "view", viewed, "positions", "", "[1,2]"),
		one(rulePositionsOnWrongEventType, "conversion", conversion, "positions", "", "[1,2]"),
		one(rulePositionsOnWrongEventType, "view, empty", viewed, "positions", "", "[]"),
		one(rulePositionsWithoutQueryID, "click", clickAfter, "queryID", quoted(queryA), ""),
		one(rulePositionsWithoutQueryID, "click, empty positions", click, "positions", "", "[]"),
		one(rulePositionsValue, "zero", clickAfter, "positions", "[1,2]", "[1,0]"),
		one(rulePositionsValue, "negative", clickAfter, "positions", "[1,2]", "[-1,2]"),
		one(rulePositionsItems, "absent", clickAfter, "positions", "[1,2]", ""),
		one(rulePositionsItems, "empty", clickAfter, "positions", "[1,2]", "[]"),
		one(rulePositionsItems, "too few", clickAfter, "positions", "[1,2]", "[1]"),
		one(rulePositionsItems, "too many", clickAfter, "positions", "[1,2]", "[1,2,3]"),
		two(rulePositionsItems, "on filters", with(clickFilters), with(clickFilters, "positions", "[1]", "queryID", quoted(queryA))),
		one(ruleQueryID, "31 digits", clickAfter, "queryID", quoted(queryA), quoted(queryA[1:])),
		one(ruleQueryID, "33 digits", clickAfter, "queryID", quoted(queryA), quoted(queryA+"0")),
		one(ruleQueryID, "empty", clickAfter, "queryID", quoted(queryA), `""`),
		one(ruleQueryID, "upper case", clickAfter, "queryID", quoted(queryA), quoted(strings.ToUpper(queryA))),
		one(ruleQueryID, "not hexadecimal", clickAfter, "queryID", quoted(queryA), quoted("g"+queryA[1:])),
		one(ruleQueryID, "conversational id", clickAfter, "queryID", `"message_x"`, `"message_"`),
		one(ruleQueryID, "conversational id, space", clickAfter, "queryID", `"message_!~"`, `"message_ x"`),
		one(ruleQueryID, "conversational id, length", clickAfter, "queryID", quoted("message_"+strings.Repeat("x", 120)), quoted("message_"+strings.Repeat("x", 121))),
		one(ruleQueryID, "on a conversion", conversion, "queryID", quoted(queryA), quoted("x"+queryA)),
		one(ruleStrictQueryIDOnView, "view", viewed, "queryID", "", quoted(queryA)),
		one(ruleStrictQueryIDOnFilters, "click", clickFilters, "queryID", "", quoted(queryA)),
		one(ruleStrictQueryIDOnPurchase, "purchase", purchase, "queryID", "", quoted(queryA)),
		two(ruleStrictSubtypeOnFilters, "purchase", with(conversion, "objectIDs", "", "filters", `["a:b"]`),
			with(conversion, "objectIDs", "", "filters", `["a:b"]`, "eventSubtype", `"purchase"`)),
	}
}

func moneyCases() []ruleCase {
	bare := with2(cart, "value", "")
	item := func(s string) string { return "[{" + s + "}]" }
	return []ruleCase{
		one(ruleObjectDataItems, "too few", purchase, "objectData", `[{"quantity":1},{"quantity":1}]`, `[{"quantity":1}]`),
		one(ruleObjectDataItems, "too many", bare, "objectData", item(`"quantity":1`), `[{"quantity":1},{"quantity":1}]`),
		one(ruleObjectDataItems, "empty", bare, "objectData", "", "[]"),
		leniently(two(ruleObjectDataItems, "empty, with filters", with(clickFilters), with(clickFilters, "objectData", "[]"))),
		one(ruleObjectDataKeys, "unknown key", bare, "objectData", item(`"quantity":1`), item(`"quantity":1,"model":"x"`)),
		one(ruleObjectDataQueryID, "conversational id", bare, "objectData", item(`"queryID":"`+queryB+`"`), item(`"queryID":"message_x"`)),
		one(ruleObjectDataQueryID, "33 digits", bare, "objectData", item(`"queryID":"`+queryB+`"`), item(`"queryID":"`+queryB+`0"`)),
		one(ruleObjectDataQueryID, "upper case", bare, "objectData", item(`"queryID":"`+queryB+`"`), item(`"queryID":"`+strings.ToUpper(queryB)+`"`)),
		one(ruleObjectDataQueryIDPlain, "add to cart without queryID", with2(bare, "objectData", item(`"queryID":"`+queryB+`"`)), "queryID", quoted(queryA), ""),
		one(ruleMoney, "price", bare, "objectData", item(`"price":"1.50"`), item(`"price":"1,50"`)),
		one(ruleMoney, "price empty", bare, "objectData", item(`"price":"1"`), item(`"price":""`)),
		one(ruleMoney, "price with sign of currency", bare, "objectData", item(`"price":"007.5"`), item(`"price":"$7.5"`)),
		one(ruleMoney, "price beyond a double", bare, "objectData", item(`"price":1e308`), item(`"price":1e309`)),
		one(ruleMoney, "discount", bare, "objectData", item(`"discount":"1e1"`), item(`"discount":"1e"`)),
		one(ruleValue, "16 characters", bare, "value", `"39.8000000000000"`, `"39.80000000000000"`),
		one(ruleValue, "not numeric", bare, "value", `"39.8"`, `"39.8 EUR"`),
		one(ruleValue, "empty", bare, "value", "", `""`),
		one(ruleCurrency, "2 letters", cart, "currency", `"eUr"`, `"EU"`),
		one(ruleCurrency, "4 letters", cart, "currency", `"EUR"`, `"EURO"`),
		one(ruleCurrency, "no letters", cart, "currency", `"EUR"`, `"E1R"`),
		one(ruleCurrency, "not ASCII", cart, "currency", `"EUR"`, `"Eü"`),
		one(ruleStrictMoneyPlace, "objectData on a view", with2(viewed, "objectIDs", `["a"]`), "objectData", "", item(`"quantity":1`)),
		one(ruleStrictMoneyPlace, "currency on a click", click, "currency", "", `"EUR"`),
		one(ruleStrictMoneyPlace, "value on a plain conversion", conversion, "value", "", "1"),
		one(ruleStrictNoCurrency, "price", cart, "currency", `"EUR"`, ""),
		two(ruleStrictNoCurrency, "value", with(bare, "objectData", "", "currency", ""), with(bare, "objectData", "", "currency", "", "value", "1")),
		two(ruleStrictNoCurrency, "discount", with(bare, "objectData", item(`"quantity":1`), "currency", ""), with(bare, "objectData", item(`"discount":1`), "currency", "")),
		one(ruleStrictNegative, "price", bare, "objectData", item(`"price":0`), item(`"price":-1`)),
		one(ruleStrictNegative, "discount", bare, "objectData", item(`"discount":"1"`), item(`"discount":"-1"`)),
		one(ruleStrictNegative, "value", with2(bare, "objectData", ""), "value", "1", "-1"),
		one(ruleStrictQuantity, "zero", bare, "objectData", item(`"quantity":1`), item(`"quantity":0`)),
		one(ruleStrictQuantity, "negative", bare, "objectData", item(`"quantity":2147483647`), item(`"quantity":-1`)),
		one(ruleStrictValueSum, "quantity forgotten", cart, "value", `"39.80"`, `"19.90"`),
		one(ruleStrictValueSum, "one cent", purchase, "value", `"10.00"`, `"10.01"`),
	}
}

func allCases() []ruleCase {
	var all []ruleCase
	for _, part := range [][]ruleCase{envelopeCases(), typeCases(), namingCases(), identityCases(), objectCases(), queryCases(), moneyCases()} {
		all = append(all, part...)
	}
	return all
}

func TestEachRuleRefusesWhatBreaksItAndNothingElse(t *testing.T) {
	for _, c := range allCases() {
		t.Run(rules[c.rule].name+"/"+c.name, func(t *testing.T) {
			s := New(Options{Now: frozen, Keep: true, Lenient: c.lenient})
			if w := post(s, c.good); w.Code != http.StatusOK {
				t.Fatalf("the good one: %d %s\n%.500s", w.Code, w.Body, c.good)
			}
			accepted := s.Accepted().Total()
			w := post(s, c.bad)
			if w.Code != http.StatusUnprocessableEntity {
				t.Fatalf("the bad one: %d %s\n%.500s", w.Code, w.Body, c.bad)
			}
			if want := c.says; want == "" {
				if got := message(t, w); got != rules[c.rule].message {
					t.Errorf("message %q: want %q", got, rules[c.rule].message)
				}
			} else if got := message(t, w); !strings.Contains(got, want) {
				t.Errorf("message %q: want it to say %q", got, want)
			}
			if got := s.Stats().RefusedBy; got[rules[c.rule].name] != 1 || len(got) != 1 {
				t.Errorf("counted as %v: want one %s", got, rules[c.rule].name)
			}
			if s.Accepted().Total() != accepted {
				t.Error("something of the bad request was accepted")
			}
		})
	}
}

func TestEachRuleHasACase(t *testing.T) {
	tested := map[rule]bool{ruleRefusedByScript: true} // TestRefuse…
	for _, c := range allCases() {
		tested[c.rule] = true
	}
	names := map[string]bool{}
	for r := noRule + 1; r < ruleCount; r++ {
		if !tested[r] {
			t.Errorf("rule %s has no case", rules[r].name)
		}
		if rules[r].name == "" || names[rules[r].name] {
			t.Errorf("rule %d: name %q is empty or taken", r, rules[r].name)
		}
		names[rules[r].name] = true
	}
}

func TestLenientTakesWhatTheAPITakes(t *testing.T) {
	for _, c := range allCases() {
		name := rules[c.rule].name
		if !strings.HasPrefix(name, "Strict") || c.rule == ruleStrictInstantsearch {
			continue
		}
		if w := post(New(Options{Now: frozen, Lenient: true}), c.bad); w.Code != http.StatusOK {
			t.Errorf("%s/%s: %d %s", name, c.name, w.Code, w.Body)
		}
	}
	if w := post(New(Options{Lenient: true}), batchOf(with(telemetry), with(telemetry, "agentID", `"a"`))); w.Code != http.StatusOK {
		t.Errorf("telemetry: %d %s", w.Code, w.Body)
	}
}

func TestGoodEventsOfEachShape(t *testing.T) {
	s := New(Options{Now: frozen})
	shapes := []map[string]string{viewed, viewFilters, click, clickAfter, clickFilters, conversion, cart, purchase}
	for i, base := range shapes {
		if w := post(s, batchOf(with(base))); w.Code != http.StatusOK || message(t, w) != "OK" {
			t.Errorf("shape %d: %d %s", i, w.Code, w.Body)
		}
	}
	plain := []string{
		with(conversion, "queryID", quoted(queryA)),
		with(conversion, "objectIDs", "", "filters", `["a:b"]`),
		with(cart, "queryID", "", "objectData", "", "value", "", "currency", ""),
		with(cart, "objectData", `[{"queryID":"`+queryB+`"}]`, "value", "3"),
		with(purchase, "objectData", "", "value", "", "currency", ""),
		with(purchase, "value", "99", "objectData", `[{"price":1},{}]`),
		with(viewed, "timestamp", "", "authenticatedUserToken", `"account-1"`),
	}
	for _, e := range plain {
		if w := post(s, batchOf(e)); w.Code != http.StatusOK {
			t.Errorf("%d %s: %s", w.Code, w.Body, e)
		}
	}
}

func TestLimitsAreOptions(t *testing.T) {
	s := New(Options{Now: frozen, MaxEvents: 2, MaxFilters: 12, MaxAge: 4 * 24 * time.Hour})
	v := with(viewed)
	for _, c := range []struct {
		body string
		want int
	}{
		{batchOf(v, v), 200},
		{batchOf(v, v, v), 422},
		{batchOf(with(viewFilters, "filters", list(12, `"a:b"`))), 200},
		{batchOf(with(viewFilters, "filters", list(13, `"a:b"`))), 422},
		{batchOf(with(viewed, "timestamp", millis(testNow.Add(-96*time.Hour)))), 200},
		{batchOf(with(viewed, "timestamp", millis(testNow.Add(-96*time.Hour-time.Millisecond)))), 422},
	} {
		if w := post(s, c.body); w.Code != c.want {
			t.Errorf("%d %s: want %d", w.Code, w.Body, c.want)
		}
	}
	for timestamp, want := range map[string]int{"1": 200, "0": 422, "-1": 422} {
		if w := post(New(Options{MaxAge: -1}), batchOf(with(viewed, "timestamp", timestamp))); w.Code != want {
			t.Errorf("timestamp %s without an age limit: %d, want %d", timestamp, w.Code, want)
		}
	}
}
