package dlq

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEditsChangeWhatTheySayAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct{ edit, in, want string }{
		"replace":            {`[{"op":"replace","path":"/type","value":"recommendation.clicked"}]`, `{"type":"click","x":1.50}`, `{"type":"recommendation.clicked","x":1.50}`},
		"add":                {`[{"op":"add","path":"/type","value":"a"}]`, `{"z":1,"a":{"k": 1e5}}`, `{"z":1,"a":{"k":1e5},"type":"a"}`},
		"merge":              {`{"application":"outlet","old":null}`, `{"old":1,"price":19.90,"big":12345678901234567890}`, `{"price":19.90,"big":12345678901234567890,"application":"outlet"}`},
		"star":               {`[{"op":"replace","path":"/items/*/quantity","value":1}]`, `{"items":[{"quantity":0},{"price":"1"},{"quantity":0}]}`, `{"items":[{"quantity":1},{"price":"1"},{"quantity":1}]}`},
		"add star":           {`[{"op":"add","path":"/items/*/quantity","value":1}]`, `{"items":[{"a":1},{}]}`, `{"items":[{"a":1,"quantity":1},{"quantity":1}]}`},
		"remove star":        {`[{"op":"remove","path":"/tags/*"}]`, `{"tags":[1,2,3]}`, `{"tags":[]}`},
		"remove member star": {`[{"op":"remove","path":"/items/*/price"}]`, `{"items":[{"price":1},{"o":2,"price":3}]}`, `{"items":[{},{"o":2}]}`},
		"test first":         {`[{"op":"test","path":"/type","value":"a"},{"op":"remove","path":"/b"}]`, `{"type":"a","b":1}`, `{"type":"a"}`},
		"prices":             {`[{"op":"rewrite","path":"/items/*/price","match":"^([0-9]+),([0-9]+)$","with":"$1.$2"}]`, `{"items":[{"price":"19,90"},{"price":"3.10"},{"price":7.00}]}`, `{"items":[{"price":"19.90"},{"price":"3.10"},{"price":7.00}]}`},
		"seconds":            {`[{"op":"rewrite","path":"/timestamp","match":"^[0-9]{10}$","with":"${0}000"}]`, `{"timestamp":1764000000}`, `{"timestamp":1764000000000}`},
		"text to number":     {`[{"op":"rewrite","path":"/timestamp","match":"^[0-9]{13}$","with":"$0","as":"number"}]`, `{"timestamp":"1764000000000"}`, `{"timestamp":1764000000000}`},
		"number to text":     {`[{"op":"rewrite","path":"/id","match":"^.*$","with":"$0","as":"string"}]`, `{"id":17}`, `{"id":"17"}`},
		"html is kept":       {`[{"op":"add","path":"/a","value":"<&>"}]`, `{"b":"<b>","c":"\u003cc>"}`, `{"b":"<b>","c":"\u003cc>","a":"<&>"}`},
		"escaped pointer":    {`[{"op":"remove","path":"/a~1b"}]`, `{"a/b":1,"a":2}`, `{"a":2}`},
		"star is a name":     {`[{"op":"remove","path":"/*"}]`, `{"*":1,"a":2}`, `{"a":2}`},
	} {
		e, err := ParseEdit([]byte(c.edit))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		in := []byte(c.in)
		got, err := e.Apply(in)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
		if string(in) != c.in {
			t.Errorf("%s: the original became %s", name, in)
		}
	}
}

func TestEditsThatDoNotFitLeaveTheMessage(t *testing.T) {
	for _, c := range [][2]string{
		{`[{"op":"replace","path":"/type","value":1}]`, `{}`},
		{`[{"op":"test","path":"/type","value":"b"},{"op":"remove","path":"/type"}]`, `{"type":"a"}`},
		{`[{"op":"remove","path":"/items/*/price"}]`, `{"items":[{}]}`},
		{`[{"op":"remove","path":"/items/-1"}]`, `{"items":[1]}`},
		{`[{"op":"rewrite","path":"/p","match":"x","with":"y"}]`, `{"p":"z"}`},
		{`[{"op":"rewrite","path":"/p","match":"1","with":"y"}]`, `{"p":1}`},
		{`[{"op":"rewrite","path":"/p","match":".*","with":"y"}]`, `{"p":[1]}`},
		{`{"a":1}`, `{`}, {`{"a":1}`, ``}, {`{"a":1}`, `[1]`}, {`[{"op":"add","path":"/a","value":1}]`, "\xff"},
	} {
		e, err := ParseEdit([]byte(c[0]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Apply([]byte(c[1])); !errors.Is(err, ErrMissed) {
			t.Errorf("%s on %s gives %s, %v", c[0], c[1], got, err)
		}
	}
}

func TestWrongEditsAreRefusedWithTheirOperation(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "no JSON", `"a"`: "neither", `[]`: "no operation", `[1]`: "no JSON Patch",
		`[{"op":"remove","path":"/a"},{"op":"delete","path":"/a"}]`: `operation 2 of the edit: unknown op "delete"`,
		`[{"op":"remove"}]`:                                                         "path is missing",
		`[{"op":"remove","path":"a"}]`:                                              "does not begin with /",
		`[{"op":"add","path":"/a"}]`:                                                "wants a value",
		`[{"op":"move","path":"/a/*","from":"/b"}]`:                                 "takes no *",
		`[{"op":"rewrite","path":"/a","match":"(","with":""}]`:                      "match",
		`[{"op":"rewrite","path":"/a","match":"x","with":"y","as":"bool"}]`:         "as wants",
		`[{"op":"add","path":"/a","value":"` + strings.Repeat("x", MaxEdit) + `"}]`: "at most",
	} {
		if _, err := ParseEdit([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func TestTheDigestOfAnEditIgnoresWhiteSpace(t *testing.T) {
	a, _ := ParseEdit([]byte(`[{"op":"remove","path":"/a"}]`))
	b, _ := ParseEdit([]byte("[ {\n\"op\": \"remove\", \"path\":\"/a\"} ]\n"))
	c, _ := ParseEdit([]byte(`[{"op":"remove","path":"/b"}]`))
	if a.Digest() != b.Digest() || a.Digest() == c.Digest() || len(a.Digest()) != 16 {
		t.Error(a.Digest(), b.Digest(), c.Digest())
	}
}

// TestAnEditKeepsNumbersAsTheyWereWritten holds every number that an edit does not touch to its text.
func TestAnEditKeepsNumbersAsTheyWereWritten(t *testing.T) {
	e, err := ParseEdit([]byte(`[{"op":"add","path":"/items/0/objectID","value":"sku-<1>"}]`))
	if err != nil {
		t.Fatal(err)
	}
	merge, err := ParseEdit([]byte(`{"currency":"EUR"}`))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		in := fmt.Sprintf(`{"z":%s,"items":[{"price":%s,"unknown":[%s]}],"a":%s}`, number, number, number, number)
		for _, edit := range []*Edit{e, merge} {
			out, err := edit.Apply([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(out), ":"+number) + strings.Count(string(out), "["+number); n != 4 {
				t.Fatalf("%s became %s", in, out)
			}
			if bytes.Index(out, []byte(`"z"`)) > bytes.Index(out, []byte(`"a"`)) {
				t.Fatalf("the order changed: %s", out)
			}
		}
	})
}

// TestAnEditThatIsTakenForHarmlessIsHarmless holds what is said of an edit without a message to what it does
// to messages.
func TestAnEditThatIsTakenForHarmlessIsHarmless(t *testing.T) {
	message := []byte(`{"type":"t","userToken":"u","queryID":"q","objectIDs":["a"],"currency":"EUR","other":[1,{"objectID":"x"}],"items":[{"objectID":"a","price":"1"},{"objectID":"b","price":"2","index":"i"}],"lists":[{"index":"i"}]}`)
	path := rapid.SampledFrom([]string{"/items", "/items/0", "/items/*", "/items/-", "/items/0/price", "/items/*/price", "/items/1/index", "/items/*/objectID",
		"/currency", "/other", "/other/0", "/other/*", "/queryID", "/userToken", "/objectIDs", "/objectIDs/0", "/lists/0/index", "/new"})
	rapid.Check(t, func(t *rapid.T) {
		var text string
		switch op := rapid.SampledFrom([]string{"add", "remove", "replace", "rewrite", "copy", "merge"}).Draw(t, "op"); op {
		case "rewrite":
			text = fmt.Sprintf(`[{"op":"rewrite","path":%q,"match":"^.*$","with":"9"}]`, path.Draw(t, "path"))
		case "copy":
			text = fmt.Sprintf(`[{"op":"copy","from":"/currency","path":%q}]`, strings.ReplaceAll(path.Draw(t, "path"), "*", "0"))
		case "merge":
			text = fmt.Sprintf(`{%q:9}`, strings.Split(path.Draw(t, "path"), "/")[1])
		default:
			text = fmt.Sprintf(`[{"op":%q,"path":%q,"value":9}]`, op, path.Draw(t, "path"))
		}
		e, err := ParseEdit([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Apply(message)
		if err != nil || e.touch {
			return
		}
		if changes := Diff(message, out, nil); touchesJoin(changes) {
			t.Fatalf("%s: %v", text, changes)
		}
	})
	for text, want := range map[string]bool{`{"currency":"EUR"}`: false, `{"items":null}`: true, `[{"op":"remove","path":"/items"}]`: true,
		`[{"op":"replace","path":"/items/*/price","value":"1"}]`: false, `[{"op":"remove","path":"/items/*"}]`: true} {
		if e, err := ParseEdit([]byte(text)); err != nil || e.touch != want {
			t.Errorf("%s: %v, %v", text, e, err)
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add(`[{"op":"rewrite","path":"/a/*/b","match":"1","with":"2"}]`, `{"a":[{"b":"1"}]}`)
	f.Add(`[{"op":"add","path":"/a/-","value":1},{"op":"copy","from":"/a","path":"/b"}]`, `{"a":[]}`)
	f.Add(`{"a":{"b":null}}`, `{"a":{"b":1,"c":2}}`)
	f.Fuzz(func(t *testing.T, edit, value string) {
		e, err := ParseEdit([]byte(edit))
		if err != nil {
			return
		}
		out, err := e.Apply([]byte(value))
		if err == nil && !json.Valid(out) {
			t.Errorf("%q", out)
		}
		Diff([]byte(value), out, nil)
	})
}

func TestADiffNamesPlacesAndMasksTokens(t *testing.T) {
	mask := NewMasker([]byte("key"))
	jane, john := mask.Token([]byte("jane")), mask.Token([]byte("john"))
	got := Diff([]byte(`{"userToken":"jane","items":[{"price":"1,0"},{"price":2}],"t":"<a>","gone":1,"who":{"userToken":"jane"}}`),
		[]byte(`{"userToken":"john","items":[{"price":"1.0"},{"price":2.0}],"t":"\u003ca>","new":[1],"who":7}`), mask)
	want := []Change{
		{"userToken", `"` + jane + `"`, `"` + john + `"`}, {"items[0].price", `"1,0"`, `"1.0"`}, {"items[1].price", "2", "2.0"},
		{"gone", "1", ""}, {"who", `{"userToken":"` + jane + `"}`, "7"}, {"new", "", "[1]"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
