package event

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func mustDecode(t testing.TB, d *Decoder, value []byte) *Event {
	t.Helper()
	ev := new(Event)
	if r := d.Decode(value, ev); r != nil {
		t.Fatalf("%v\nof %q", r, value)
	}
	return ev
}

func TestTypesAreReadAsTheyAreWritten(t *testing.T) {
	for typ, name := range map[Type]string{Shown: "shown", Clicked: "clicked", AddedToCart: "addedToCart", Purchased: "purchased"} {
		if typ.Name() != name || typ.String() != "recommendation."+name {
			t.Errorf("%d is %s, %s", typ, typ.Name(), typ)
		}
		if got, ok := ParseType(typ.String()); !ok || got != typ {
			t.Errorf("%s is read as %v, %v", typ, got, ok)
		}
	}
	for _, name := range []string{"", "shown", "recommendation.", "recommendation.Shown"} {
		if got, ok := ParseType(name); ok {
			t.Errorf("%q is read as %v", name, got)
		}
	}
	if Type(0).String() != "" || Type(99).String() != "" {
		t.Error("no type has a name")
	}
}

func TestDecodingTheMixAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	messages := [][]byte{benchShown(r, 10, 21), benchClicked(r), benchBought(r, "addedToCart"), benchBought(r, "purchased"), benchRecommend(r),
		[]byte(`{"type":"recommendation.clicked","userToken":"jane@example.com","queryID":"43B15DF305339E827F0AC0BDC5EBCAA7","objectID":"sk\u00fc"}`)}
	d := NewDecoder(Options{HashTokens: true})
	var ev Event
	if n := testing.AllocsPerRun(100, func() {
		for _, m := range messages {
			if refusal := d.Decode(m, &ev); refusal != nil {
				t.Fatal(refusal)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTokensAreHashedOnlyWhereTheyMustBe(t *testing.T) {
	message := func(token string) []byte {
		return fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":%q,"authenticatedUserToken":%q,"objectID":"a"}`, token, token)
	}
	d := NewDecoder(Options{HashTokens: true})
	for token, hashed := range map[string]bool{
		"user-1": false, strings.Repeat("u", 128): false, strings.Repeat("u", 129): true, "jane@example.com": true, "Jürgen": true,
	} {
		want := token
		if hashed {
			want = fmt.Sprintf("%x", sha256.Sum256([]byte(token)))
		}
		ev := mustDecode(t, d, message(token))
		if string(ev.UserToken) != want || string(ev.AuthenticatedUserToken) != want {
			t.Errorf("%s became %s, %s; wanted %s", token, ev.UserToken, ev.AuthenticatedUserToken, want)
		}
	}
	var ev Event
	if r := d.Decode(message(""), &ev); r == nil || r.Rule != "userToken.length" {
		t.Errorf("an empty token gives %v", r)
	}
}

func TestHashedTokenIsComparedWithTheRequests(t *testing.T) {
	message := func(token string) []byte {
		return fmt.Appendf(nil, `{"type":"recommendation.shown","recommend":{"request":{"requests":[{"indexName":"i","model":"m","queryParameters":{"userToken":%q}}]},"response":{"results":[{"hits":[]}]}},"userToken":"jane@example.com"}`, token)
	}
	d := NewDecoder(Options{HashTokens: true})
	if ev := mustDecode(t, d, message("jane@example.com")); !ev.TokenMismatch {
		t.Error("a request with the token that is not sent counts as the same user")
	}
	if ev := mustDecode(t, d, message(fmt.Sprintf("%x", sha256.Sum256([]byte("jane@example.com"))))); ev.TokenMismatch {
		t.Error("a request with the hashed token counts as another user")
	}
}

func TestRefusalsNeverRepeatTokens(t *testing.T) {
	const secret = "s3cret@shop"
	d := NewDecoder(Options{})
	for _, value := range []string{
		`{"type":"recommendation.clicked","userToken":"` + secret + `","objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":"u","authenticatedUserToken":"` + secret + `","objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":"` + strings.Repeat(secret[:5], 40) + `","objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":["` + secret + `"],"objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":31337,"objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":"` + secret + "\xff" + `","objectID":"a"}`,
		`{"type":"recommendation.clicked","userToken":"` + secret,
		`{"type":"recommendation.clicked","` + secret + `":{"` + secret + `":1,}}`,
		`{"type":"recommendation.shown","userToken":"u","recommend":{"request":{"requests":[{"indexName":"i","model":"m","queryParameters":{"userToken":31337}}]},"response":{}}}`,
	} {
		var ev Event
		r := d.Decode([]byte(value), &ev)
		if r == nil {
			t.Errorf("accepted %s", value)
			continue
		}
		for _, part := range []string{"s3cre", "cret", "31337"} {
			if strings.Contains(r.Error()+r.Rule, part) {
				t.Errorf("%v repeats %q", r, part)
			}
		}
	}
}

func TestRefusedMessagesKeepTypeAndApplication(t *testing.T) {
	d := NewDecoder(Options{})
	for value, want := range map[string]Event{
		`{"type":"recommendation.clicked","userToken":5,"objectID":"a","application":"shop-\u0064e"}`: {Type: Clicked, Application: []byte("shop-de")},
		`{"type":"recommendation.purchased","userToken":"u","items":[{"objectID":"a"},1]}`:            {Type: Purchased},
		`{"application":"shop-de","type":"recommendation.bought"}`:                                    {Application: []byte("shop-de")},
		`{"application":5,"userToken":"u"}`:                                                           {},
		`{"application":"shop-de","type":"recommendation.clicked"`:                                    {},
	} {
		ev := Event{Type: Shown, UserToken: []byte("old"), Items: make([]Item, 3)}
		if d.Decode([]byte(value), &ev) == nil {
			t.Errorf("accepted %s", value)
		}
		if got, want := dump(&ev), dump(&want); got != want {
			t.Errorf("%s\nleaves %s\nwanted %s", value, got, want)
		}
	}
}

func TestHugeMessagesAreJudgedAndNotRemembered(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	escaped := strings.Repeat(`\n`, 5<<20)
	d := NewDecoder(Options{})
	for value, rule := range map[string]string{
		`{"type":"recommendation.clicked","userToken":"u","objectID":"` + long + `"}`:                                       "objectID.length",
		`{"type":"recommendation.clicked","userToken":"u","objectID":"` + escaped + `"}`:                                    "objectID.length",
		`{"type":"` + long + `","userToken":"u"}`:                                                                           "type.known",
		`{"type":"recommendation.clicked","userToken":"` + long + `","objectID":"a"}`:                                       "userToken.length",
		`{"type":"recommendation.clicked","userToken":"u","objectID":"` + long:                                              "json.truncated",
		`{"type":"recommendation.clicked","userToken":"u","objectID":"a","note":"` + long + `","more":"` + escaped + `"}`:   "",
		`{"type":"recommendation.clicked","userToken":"u","facets":[{"facetName":"` + escaped + `","facetValue":"a"}]}`:     "",
		`{"type":"recommendation.shown","userToken":"u","objectIDs":["` + strings.Repeat(`a","`, 2<<20) + `"]}`:             "objectIDs.count",
		`{"type":"recommendation.purchased","userToken":"u","items":[` + strings.Repeat(`{"objectID":"a"},`, 1<<18) + `1]}`: "items.count",
		`{"type":"recommendation.clicked","userToken":"u","objectID":"a","note":` + strings.Repeat("[", 10<<20):             "json.depth",
	} {
		var ev Event
		r := d.Decode([]byte(value), &ev)
		if r == nil {
			r = new(Refusal)
		}
		if r.Rule != rule || len(r.Message) > 1024 {
			t.Errorf("%.80s…: refused by %q, wanted %q; %d bytes of message", value, r.Rule, rule, len(r.Message))
		}
	}
	mustDecode(t, d, []byte(`{"type":"recommendation.clicked","userToken":"u","objectID":"a"}`))
	if cap(d.bytes) > maxKeptBytes || cap(d.texts) > maxKeptTexts || cap(d.requests) > maxRequests*2 {
		t.Errorf("the decoder keeps %d bytes, %d texts, %d requests", cap(d.bytes), cap(d.texts), cap(d.requests))
	}
}

// An event's texts stay as they are while the decoder's memory grows under them.
func TestTextsSurviveTheGrowthOfTheDecodersMemory(t *testing.T) {
	var ids, value bytes.Buffer
	for i := range 500 {
		fmt.Fprintf(&ids, `,"\u0061-%d"`, i)
	}
	fmt.Fprintf(&value, `{"type":"recommendation.shown","userToken":"\u0075ser","objectIDs":[%s],"queryID":"ABCDEF0123456789ABCDEF0123456789"}`, ids.Bytes()[1:])
	ev := mustDecode(t, NewDecoder(Options{}), value.Bytes())
	if string(ev.UserToken) != "user" || string(ev.Lists[0].QueryID) != "abcdef0123456789abcdef0123456789" || len(ev.Lists[0].ObjectIDs) != 500 {
		t.Errorf("decoded %s", dump(ev))
	}
	for i, id := range ev.Lists[0].ObjectIDs {
		if want := fmt.Sprintf("a-%d", i); string(id) != want {
			t.Fatalf("objectID %d is %s", i, id)
		}
	}
}

func TestEventsCanBeReused(t *testing.T) {
	d := NewDecoder(Options{})
	var ev Event
	for _, e := range append(examples(t), examples(t)...) {
		refusal := d.Decode(e.value, &ev)
		fresh := new(Event)
		again := NewDecoder(Options{}).Decode(e.value, fresh)
		if (refusal == nil) != (again == nil) || dump(&ev) != dump(fresh) {
			t.Errorf("%s: a used event gives\n%sa fresh one\n%s", e.name, dump(&ev), dump(fresh))
		}
	}
}
