package event

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// verdict judges a message in layers, the plain way.
func verdict(value []byte, hash bool) (Reason, *Event) {
	o, ok := judge(value)
	if !ok {
		return Malformed, nil
	}
	v, _ := o.get("type")
	name, isText := v.(string)
	if !isText {
		return Invalid, nil
	}
	typ, known := ParseType(name)
	if !known {
		return UnknownType, nil
	}
	doc := plain(o)
	if hash {
		hideTokens(doc.(map[string]any))
	}
	if err := compiled()[typ].Validate(doc); err != nil {
		return Invalid, nil
	}
	return NoReason, reading(o, typ, hash)
}

// hideTokens makes tokens that will be hashed pass the schema, which is written for tokens: reject.
func hideTokens(doc map[string]any) {
	for _, name := range []string{"userToken", "authenticatedUserToken"} {
		if s, ok := doc[name].(string); ok && s != "" {
			doc[name] = "hashed"
		}
	}
}

// compare holds the decoder against the verdict.
func compare(t *testing.T, d *Decoder, value []byte) {
	t.Helper()
	want, event := verdict(value, d.opts.HashTokens)
	var ev Event
	refusal := d.Decode(value, &ev)
	got := NoReason
	if refusal != nil {
		got = refusal.Reason
		checkRefusal(t, refusal)
	}
	if got != want {
		t.Fatalf("the decoder says %q (%v), judge and schema say %q\nof %q", got, refusal, want, value)
	}
	if want == NoReason {
		if got, want := dump(&ev), dump(event); got != want {
			t.Fatalf("decoded\n%s\nread the plain way\n%s\nof %q", got, want, value)
		}
	}
}

// checkRefusal holds a refusal to its promises.
func checkRefusal(t *testing.T, r *Refusal) {
	t.Helper()
	if r.Rule == "" || r.Message == "" || len(r.Message) > 1024 || !utf8.ValidString(r.Message) || !utf8.ValidString(r.Field) {
		t.Errorf("refusal lacks something or says too much: %+v", *r)
	}
	if (r.Reason == Malformed) != (r.Stage == StageDecode) || (r.Reason == Malformed) != strings.HasPrefix(r.Rule, "json.") {
		t.Errorf("refusal contradicts itself: %+v", *r)
	}
	if r.Reason != Malformed && r.Field == "" {
		t.Errorf("refusal without a field: %+v", *r)
	}
}

// FuzzDecode holds decoder, schemas and encoding/json/v2 together on any input.
func FuzzDecode(f *testing.F) {
	for _, e := range examples(f) {
		if len(e.value) < 2000 {
			f.Add(e.value)
		}
	}
	reject, hash := NewDecoder(Options{}), NewDecoder(Options{HashTokens: true})
	f.Fuzz(func(t *testing.T, value []byte) {
		compare(t, reject, value)
		compare(t, hash, value)
	})
}
