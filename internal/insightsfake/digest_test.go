package insightsfake

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anEvent draws an event that a strict fake accepts.
func anEvent() *rapid.Generator[Event] {
	return rapid.Custom(func(t *rapid.T) Event {
		e := Event{
			EventName: rapid.StringMatching(`[ -~]{1,64}`).Draw(t, "eventName"),
			Index:     rapid.StringN(1, 20, -1).Draw(t, "index"),
			UserToken: rapid.StringMatching(`[A-Za-z0-9_=/+-]{1,128}`).Draw(t, "userToken"),
			Timestamp: testNow.UnixMilli() - rapid.Int64Range(0, 1_000_000_000).Draw(t, "age"),
		}
		if rapid.Bool().Draw(t, "authenticated") {
			e.AuthenticatedUserToken = rapid.StringMatching(`[a-z0-9]{1,8}`).Draw(t, "authenticatedUserToken")
		}
		shape := rapid.SampledFrom([]string{"view", "click", "clickAfter", "filters", "conversion", "addToCart", "purchase"}).Draw(t, "shape")
		n := rapid.IntRange(1, 20).Draw(t, "objects")
		if shape == "filters" {
			e.EventType = rapid.SampledFrom([]string{"view", "click", "conversion"}).Draw(t, "eventType")
			e.Filters = rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}:[a-z0-9%]{0}[A-Z]{1,5}(%2[0-9A-F])?`), 1, 10).Draw(t, "filters")
			return e
		}
		e.ObjectIDs = rapid.SliceOfN(rapid.StringN(1, 12, -1), n, n).Draw(t, "objectIDs")
		query := rapid.StringMatching(`[0-9a-f]{32}`)
		switch shape {
		case "view", "click", "conversion":
			e.EventType = shape
		case "clickAfter":
			e.EventType = "click"
			e.QueryID = query.Draw(t, "queryID")
			e.Positions = rapid.SliceOfN(rapid.IntRange(1, 1<<31-1), n, n).Draw(t, "positions")
		default:
			e.EventType, e.EventSubtype, e.Currency = "conversion", shape, "EUR"
			if shape == "addToCart" && rapid.Bool().Draw(t, "after search") {
				e.QueryID = query.Draw(t, "queryID")
			}
			e.ObjectData = rapid.SliceOfN(anItem(shape == "purchase"), n, n).Draw(t, "objectData")
		}
		return e
	})
}

func anItem(query bool) *rapid.Generator[ObjectData] {
	return rapid.Custom(func(t *rapid.T) ObjectData {
		money := rapid.StringMatching(`(0|[1-9][0-9]{0,6})(\.[0-9]{1,4})?`)
		var d ObjectData
		if rapid.Bool().Draw(t, "priced") {
			d.Price = money.Draw(t, "price")
		}
		if rapid.Bool().Draw(t, "discounted") {
			d.Discount = money.Draw(t, "discount")
		}
		if rapid.Bool().Draw(t, "counted") {
			d.Quantity = rapid.IntRange(1, 1<<31-1).Draw(t, "quantity")
		}
		if query && rapid.Bool().Draw(t, "found") {
			d.QueryID = rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "queryID")
		}
		return d
	})
}

// scribe writes events as JSON, and nothing the same way twice.
type scribe struct{ r *rand.Rand }

func (s scribe) space() string {
	return []string{"", "", "", " ", "\n", "\t ", "\r\n"}[s.r.IntN(7)]
}

func (s scribe) text(v string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range v {
		switch {
		case c > 0xffff && s.r.IntN(3) == 0:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		case c == '/' && s.r.IntN(2) == 0:
			b.WriteString(`\/`)
		case c < 0x20 || c == '"' || c == '\\' || c <= 0xffff && s.r.IntN(8) == 0:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// decimal writes a decimal by its value: as number or text, with more zeros,
// with an exponent.
func (s scribe) decimal(v string) string {
	switch s.r.IntN(3) {
	case 0:
		if !strings.Contains(v, ".") {
			v += "."
		}
		v += strings.Repeat("0", 1+s.r.IntN(2))
	case 1:
		if whole, fraction, ok := strings.Cut(v, "."); ok {
			v = strings.TrimLeft(whole+fraction, "0")
			if v == "" {
				v = "0"
			}
			v += "e-" + strconv.Itoa(len(fraction))
		} else {
			v += "E+0"
		}
	}
	if s.r.IntN(2) == 0 {
		return `"` + v + `"`
	}
	return v
}

func (s scribe) array(elements []string) string {
	var b strings.Builder
	b.WriteString("[" + s.space())
	for i, e := range elements {
		if i > 0 {
			b.WriteString(s.space() + "," + s.space())
		}
		b.WriteString(e)
	}
	b.WriteString(s.space() + "]")
	return b.String()
}

func (s scribe) object(members map[string]string) string {
	var all []string
	for k, v := range members {
		all = append(all, s.text(k)+s.space()+":"+s.space()+v)
	}
	slices.Sort(all)
	s.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	a := s.array(all)
	return "{" + a[1:len(a)-1] + "}"
}

func (s scribe) event(e *Event) string {
	m := map[string]string{}
	for k, v := range map[string]string{
		"eventType": e.EventType, "eventSubtype": e.EventSubtype, "eventName": e.EventName, "index": e.Index,
		"userToken": e.UserToken, "authenticatedUserToken": e.AuthenticatedUserToken, "queryID": e.QueryID, "currency": e.Currency,
	} {
		if v != "" {
			m[k] = s.text(v)
		}
	}
	if e.Timestamp != 0 {
		m["timestamp"] = strconv.FormatInt(e.Timestamp, 10)
	}
	if e.Value != "" {
		m["value"] = s.decimal(e.Value)
	}
	lists := map[string][]string{}
	for _, id := range e.ObjectIDs {
		lists["objectIDs"] = append(lists["objectIDs"], s.text(id))
	}
	for _, f := range e.Filters {
		lists["filters"] = append(lists["filters"], s.text(f))
	}
	for _, p := range e.Positions {
		lists["positions"] = append(lists["positions"], strconv.Itoa(p))
	}
	for _, d := range e.ObjectData {
		lists["objectData"] = append(lists["objectData"], s.item(d))
	}
	for k, v := range lists {
		m[k] = s.array(v)
	}
	return s.object(m)
}

func (s scribe) item(d ObjectData) string {
	m := map[string]string{}
	if d.Price != "" {
		m["price"] = s.decimal(d.Price)
	}
	if d.Discount != "" {
		m["discount"] = s.decimal(d.Discount)
	}
	if d.Quantity != 0 {
		m["quantity"] = strconv.Itoa(d.Quantity)
	}
	if d.QueryID != "" {
		m["queryID"] = s.text(d.QueryID)
	}
	return s.object(m)
}

func aScribe(t *rapid.T) scribe {
	return scribe{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "hand"), 0))}
}

func TestDigestOfAnEventIsThatOfAnyJSONFormOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(anEvent(), 1, 3).Draw(t, "events")
		s := New(Options{Now: frozen, Keep: true, KeepEvents: 2})
		hand := aScribe(t)
		want := map[Digest]int{}
		for range 2 {
			var bodies []string
			for i := range events {
				bodies = append(bodies, hand.event(&events[i]))
				want[events[i].Digest()]++
			}
			if w := post(s, hand.object(map[string]string{"events": hand.array(bodies)})); w.Code != http.StatusOK {
				t.Fatalf("%d %s: %s", w.Code, w.Body, bodies)
			}
		}
		got := map[Digest]int{}
		s.Accepted().Each(func(d Digest, n int) { got[d] = n })
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("accepted %v: want %v", got, want)
		}
		recent := s.Recent()
		last := events[max(0, len(events)-2):]
		for i := range last {
			if e := recent[len(recent)-len(last)+i]; e.Digest() != last[i].Digest() {
				t.Fatalf("kept %+v: want %+v", e, last[i])
			}
		}
	})
}

// change is one way to make another event of an event.
type change struct {
	name string
	make func(*Event)
}

func changes(e *Event) []change {
	all := []change{
		{"eventType", func(e *Event) { e.EventType += "x" }},
		{"eventSubtype", func(e *Event) { e.EventSubtype += "x" }},
		{"eventName", func(e *Event) { e.EventName += " " }},
		{"index", func(e *Event) { e.Index += "x" }},
		{"userToken", func(e *Event) { e.UserToken += "x" }},
		{"tokens swapped", func(e *Event) {
			e.UserToken, e.AuthenticatedUserToken = e.AuthenticatedUserToken, e.UserToken
		}},
		{"authenticatedUserToken", func(e *Event) { e.AuthenticatedUserToken += "x" }},
		{"timestamp", func(e *Event) { e.Timestamp++ }},
		{"no timestamp", func(e *Event) { e.Timestamp = 0 }},
		{"queryID", func(e *Event) { e.QueryID += "0" }},
		{"currency", func(e *Event) { e.Currency += "x" }},
		{"value", func(e *Event) { e.Value = "0" }},
		{"agentID", func(e *Event) { e.AgentID = "x" }},
		{"another objectID", func(e *Event) { e.ObjectIDs = append(e.ObjectIDs, "") }},
		{"objectIDs as filters", func(e *Event) { e.ObjectIDs, e.Filters = e.Filters, e.ObjectIDs }},
		{"another position", func(e *Event) { e.Positions = append(e.Positions, 1) }},
		{"another filter", func(e *Event) { e.Filters = append(e.Filters, "") }},
		{"another item", func(e *Event) { e.ObjectData = append(e.ObjectData, ObjectData{}) }},
	}
	if len(e.ObjectIDs) > 0 {
		all = append(all,
			change{"objectID", func(e *Event) { e.ObjectIDs[0] += "x" }},
			change{"boundary of objectIDs", func(e *Event) {
				e.ObjectIDs = append([]string{"", e.ObjectIDs[0]}, e.ObjectIDs[1:]...)
			}},
			change{"objectIDs turned", func(e *Event) { e.ObjectIDs = append(e.ObjectIDs[1:], e.ObjectIDs[0]+"y") }})
	}
	if len(e.Positions) > 0 {
		all = append(all, change{"position", func(e *Event) { e.Positions[0]++ }})
	}
	for i := range e.ObjectData {
		d := func(e *Event) *ObjectData { return &e.ObjectData[i] }
		all = append(all,
			change{"price", func(e *Event) { d(e).Price += "1" }},
			change{"discount", func(e *Event) { d(e).Discount += "1" }},
			change{"quantity", func(e *Event) { d(e).Quantity++ }},
			change{"queryID of an item", func(e *Event) { d(e).QueryID += "0" }},
			change{"discount as price", func(e *Event) { d(e).Price, d(e).Discount = d(e).Discount, d(e).Price+"1" }})
	}
	return all
}

func TestAnyChangeOfAFieldChangesTheDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anEvent().Draw(t, "event")
		seen := map[Digest]string{e.Digest(): "the event itself"}
		for _, c := range changes(&e) {
			other := e
			other.ObjectIDs, other.Positions = slices.Clone(e.ObjectIDs), slices.Clone(e.Positions)
			other.Filters, other.ObjectData = slices.Clone(e.Filters), slices.Clone(e.ObjectData)
			c.make(&other)
			if c.name != "price" && c.name != "discount" && reflect.DeepEqual(e, other) {
				continue
			}
			d := other.Digest()
			if same, ok := seen[d]; ok && same == "the event itself" {
				t.Fatalf("%s: the digest stays the same", c.name)
			}
		}
	})
}

func TestBoundariesAreNotLost(t *testing.T) {
	seen := map[Digest]int{}
	for i, e := range []Event{
		{ObjectIDs: []string{"ab", "c"}},
		{ObjectIDs: []string{"a", "bc"}},
		{ObjectIDs: []string{"abc"}},
		{Filters: []string{"abc"}},
		{ObjectData: []ObjectData{{Price: "1"}, {Quantity: 1}}},
		{ObjectData: []ObjectData{{Price: "1", Quantity: 1}, {}}},
		{ObjectData: []ObjectData{{}, {Price: "1", Quantity: 1}}},
		{ObjectData: []ObjectData{{Price: "1", Discount: "2"}}},
		{ObjectData: []ObjectData{{Price: "2", Discount: "1"}}},
		{ObjectData: []ObjectData{{Price: "12"}}},
		{Positions: []int{1, 2}},
		{Positions: []int{12}},
		{UserToken: "a", AuthenticatedUserToken: "b"},
		{UserToken: "ab"},
		{Index: "a", UserToken: "b"},
	} {
		if other, ok := seen[e.Digest()]; ok {
			t.Errorf("events %d and %d have the same digest", other, i)
		}
		seen[e.Digest()] = i
	}
}

func TestDecimalsAreComparedByValue(t *testing.T) {
	same := [][]string{
		{"19.9", "19.90", "19.900", "019.9", "1.99e1", "199e-1", "0.199E+2"},
		{"0", "0.0", "-0", "0e5", "000", "-0.00e-3"},
		{"10", "10.0", "1e1", "1e+1", "0.1e2"},
		{"1", "1.0", "1e0"},
		{"-1", "-1.0"},
		{"100000000000000000000000.1", "100000000000000000000000.10"},
		{"100000000000000000000000.2"},
		{"0.1"}, {"0.01", "1e-2"}, {"1e308"}, {"1e-308"},
		{"1e309"}, {"1,5"}, {"1."}, {".5"}, {"+1"}, {" 1"}, {"0x1"}, {"-"}, {"1e"}, {"NaN"}, {""},
	}
	of := func(v string) Digest { return (&Event{Value: v}).Digest() }
	first := map[Digest]string{}
	for _, forms := range same {
		d := of(forms[0])
		if other, ok := first[d]; ok {
			t.Errorf("%q has the digest of %q", forms[0], other)
		}
		first[d] = forms[0]
		for _, form := range forms[1:] {
			if of(form) != d {
				t.Errorf("%q has not the digest of %q", form, forms[0])
			}
		}
	}
}

func TestParseDigestReadsString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Digest{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		if got, err := ParseDigest(d.String()); err != nil || got != d {
			t.Fatalf("%v, %v: want %v", got, err, d)
		}
	})
	for _, bad := range []string{"", "12", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
