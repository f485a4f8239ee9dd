package insights

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func texts(s ...string) [][]byte {
	out := make([][]byte, len(s))
	for i := range s {
		out[i] = []byte(s[i])
	}
	return out
}

// The events of the benchmarks and golden tests, by shape.
var shapes = map[string]*Event{
	"view": {
		Type: View, EventName: []byte("Recommended Products Viewed"), Index: []byte("products"), UserToken: []byte("user-1234"),
		Timestamp: 1764000000000, ObjectIDs: texts("sku-1", "sku-2"),
	},
	"view of facets": {
		Type: View, EventName: []byte("Seen"), Index: []byte("products"), UserToken: []byte("user-1234"),
		Timestamp: 1764000000000, Filters: texts("brand:Apple%20Inc"),
	},
	"click": {
		Type: Click, EventName: []byte("Recommended Product Clicked"), Index: []byte("products"), UserToken: []byte("user-1234"),
		AuthenticatedUserToken: []byte("account-9"), Timestamp: 1764000004000, QueryID: []byte("43b15df305339e827f0ac0bdc5ebcaa7"),
		ObjectIDs: texts("sku-2"), Positions: []int32{2},
	},
	"purchase": {
		Type: Purchase, EventName: []byte("Bought"), Index: []byte("products"), UserToken: []byte("user-1234"),
		Timestamp: 1764000090000, ObjectIDs: texts("sku-2", "sku-9", "sku-7"), Currency: []byte("EUR"), Value: []byte("44.80"),
		Data: []ObjectData{
			{Price: []byte("19.90"), Discount: []byte("1"), Quantity: 2, QueryID: []byte("43b15df305339e827f0ac0bdc5ebcaa7")},
			{Price: []byte("5")},
			{},
		},
	},
	"add to cart": {
		Type: AddToCart, EventName: []byte("Added"), Index: []byte("products"), UserToken: []byte("user-1234"),
		Timestamp: 1764000090000, ObjectIDs: texts("sku-2"), QueryID: []byte("43b15df305339e827f0ac0bdc5ebcaa7"),
		Data: []ObjectData{{Quantity: 1}},
	},
}

func TestAppendEventWritesEachShape(t *testing.T) {
	want := map[string]string{
		"view":           `{"eventType":"view","eventName":"Recommended Products Viewed","index":"products","userToken":"user-1234","timestamp":1764000000000,"objectIDs":["sku-1","sku-2"]}`,
		"view of facets": `{"eventType":"view","eventName":"Seen","index":"products","userToken":"user-1234","timestamp":1764000000000,"filters":["brand:Apple%20Inc"]}`,
		"click":          `{"eventType":"click","eventName":"Recommended Product Clicked","index":"products","userToken":"user-1234","authenticatedUserToken":"account-9","timestamp":1764000004000,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7","objectIDs":["sku-2"],"positions":[2]}`,
		"purchase":       `{"eventType":"conversion","eventSubtype":"purchase","eventName":"Bought","index":"products","userToken":"user-1234","timestamp":1764000090000,"objectIDs":["sku-2","sku-9","sku-7"],"objectData":[{"price":"19.90","discount":"1","quantity":2,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7"},{"price":"5"},{}],"currency":"EUR","value":"44.80"}`,
		"add to cart":    `{"eventType":"conversion","eventSubtype":"addToCart","eventName":"Added","index":"products","userToken":"user-1234","timestamp":1764000090000,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7","objectIDs":["sku-2"],"objectData":[{"quantity":1}]}`,
	}
	for name, e := range shapes {
		if got := string(AppendEvent([]byte("kept "), e)); got != "kept "+want[name] {
			t.Errorf("%s\ngot  %s\nwant kept %s", name, got, want[name])
		}
	}
}

func TestAppendEventOfAnUnknownTypeIsStillJSON(t *testing.T) {
	for typ := range 256 {
		if data := AppendEvent(nil, &Event{Type: EventType(typ)}); !json.Valid(data) {
			t.Fatalf("type %d: %s", typ, data)
		}
	}
}

// Whatever the bytes, the string is valid JSON in valid UTF-8 and means what encoding/json makes of
// the same bytes.
func FuzzAppendTextAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range []string{"", "sku-1", "a\"b", `back\slash`, "tab\tnewline\n\r\x00\x1f\x7f", "Grüße", "日本語 0123456789",
		"\xff", "12345678\xffabc", "\xed\xa0\x80", "1234567\"", "12345678\x01", "\u2028", "😀", "\xf0\x9f\x98"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got := appendText([]byte{'"'}, s)
		if !utf8.Valid(got) {
			t.Fatalf("%q gives invalid UTF-8: %q", s, got)
		}
		var mine, judge string
		if err := json.Unmarshal(got, &mine); err != nil {
			t.Fatalf("%q gives %q: %v", s, got, err)
		}
		data, _ := json.Marshal(string(s))
		json.Unmarshal(data, &judge)
		if mine != judge {
			t.Fatalf("%q means %q, want %q", s, mine, judge)
		}
	})
}

func TestEveryCharacterIsEscapedAtEveryPlace(t *testing.T) {
	for c := range 256 {
		for at := range 17 {
			s := []byte(strings.Repeat("x", 17))
			s[at] = byte(c)
			var got string
			data := appendText([]byte{'"'}, s)
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			if want := strings.ToValidUTF8(string(s), "\ufffd"); got != want {
				t.Fatalf("%q means %q", data, got)
			}
		}
	}
}

func TestAppendEventDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for name, e := range shapes {
		if n := testing.AllocsPerRun(100, func() { dst = AppendEvent(dst[:0], e) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestEncodedFilterIsWhatEncodeURIComponentMakes(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"brand", "Apple", "brand:Apple"},
		{"discount", "10%", "discount:10%25"},
		{"a:b", "c:d", "a%3Ab:c%3Ad"},
		{"Größe", "x y+z/ü&?=#", "Gr%C3%B6%C3%9Fe:x%20y%2Bz%2F%C3%BC%26%3F%3D%23"},
		{"-_.!~*'()", "AZaz09", "-_.!~*'():AZaz09"},
		{"", "", ":"},
		{"😀", "\"\\\n", "%F0%9F%98%80:%22%5C%0A"},
	} {
		if got := string(EncodedFilter(nil, []byte(c.name), []byte(c.value))); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.name, c.value, got, c.want)
		}
	}
}

func TestRoundTripOfAnEvent(t *testing.T) {
	var got struct {
		EventType, EventSubtype, EventName, Index, UserToken, AuthenticatedUserToken, QueryID, Currency, Value string

		Timestamp  int64
		ObjectIDs  []string
		Positions  []int32
		ObjectData []struct {
			Price, Discount, QueryID string
			Quantity                 int32
		}
	}
	e := shapes["purchase"]
	if err := json.Unmarshal(AppendEvent(nil, e), &got); err != nil {
		t.Fatal(err)
	}
	if got.EventType != "conversion" || got.EventSubtype != "purchase" || got.Timestamp != e.Timestamp ||
		!reflect.DeepEqual(got.ObjectIDs, []string{"sku-2", "sku-9", "sku-7"}) || got.ObjectData[0].Quantity != 2 {
		t.Errorf("%+v", got)
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	many := *shapes["view"]
	many.ObjectIDs = nil
	for i := range 20 {
		many.ObjectIDs = append(many.ObjectIDs, fmt.Appendf(nil, "sku-%07d", i))
	}
	accents := *shapes["click"]
	accents.ObjectIDs = texts("Größe-1234-日本語")
	for name, e := range map[string]*Event{
		"view20": &many, "click": shapes["click"], "purchase3": shapes["purchase"], "click-non-ascii": &accents,
	} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendEvent(dst[:0], e)
			}
			b.SetBytes(int64(len(dst)))
		})
	}
}
