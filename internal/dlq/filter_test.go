package dlq

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"eventworker/internal/consume"
)

func TestUnknownKeysAndValuesAreRefusedWithTheNearest(t *testing.T) {
	for query, want := range map[string]string{
		"raeson:invalid":      "did you mean reason?",
		"reason:invald":       "did you mean invalid?",
		"stage:delivr":        "did you mean deliver?",
		"bogus-thing:1":       "known: reason, stage",
		"invalid":             "text:invalid",
		"reason:":             "wants a value",
		"cause:9f2ab01c":      "c1-9f2ab01c",
		"status:17":           "422 or 4xx",
		"replays:!2":          ">=",
		"offsets:1200":        "3:1200-1300",
		"offsets:3:9-2":       "3:1200-1300",
		"partition:x":         "no partition",
		"since:1764000540":    "13: milliseconds",
		"since:yesterday":     "RFC 3339",
		"-since:2h":           "cannot be negated",
		"parts:reject":        "did you mean rejected?",
		`text:"half`:          "within quotes",
		"header:=x":           "NAME=VALUE",
		"reason:invalid,,bad": "wants a value",
	} {
		_, err := ParseQuery(query)
		var call *CallError
		if !errors.As(err, &call) || !strings.Contains(err.Error(), want) || call.Try == "" {
			t.Errorf("%s: %v, want a word about %q", query, err, want)
		}
	}
}

// Flags, queries and URLs mean the same, and the canonical text reads back as itself.
func TestOneFilterWhateverItIsWrittenAs(t *testing.T) {
	now := time.Date(2026, 8, 3, 12, 0, 0, 0, time.UTC)
	flags := new(Filter)
	for _, one := range [][2]string{{"text", `"a b",c`}, {"since", "2h"}, {"reason", "rejected,invalid,invalid"}, {"offsets", "3:5-end,-10"}} {
		if err := flags.Add(one[0], one[1], false, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := flags.Add("app", "outlet", true, now); err != nil {
		t.Fatal(err)
	}
	query := new(Filter)
	if err := query.AddQuery(`-app:outlet reason:invalid,rejected since:2026-08-03T10:00:00Z text:c,"a b" offsets:-10,3:5:end`, now); err != nil {
		t.Fatal(err)
	}
	address, err := ParseValues(url.Values{"-app": {"outlet"}, "reason": {"rejected,invalid"}, "q": {`since:2h offsets:-10,3:5-end`}, "text": {`c,"a b"`}}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `reason:invalid,rejected offsets:-10,3:5-end -app:outlet text:"a b",c since:2026-08-03T10:00:00.000Z`
	for i, f := range []*Filter{flags, query, address} {
		if f.String() != want {
			t.Errorf("%d: %s, want %s", i, f, want)
		}
	}
}

func TestCanonicalTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := new(Filter)
		for range rapid.IntRange(0, 4).Draw(t, "clauses") {
			key := rapid.SampledFrom([]string{"text", "user", "app", "topic", "header"}).Draw(t, "key")
			value := rapid.StringMatching(`[a-z ,"\\:-]{1,8}`).Draw(t, "value")
			if strings.TrimSpace(value) == "" || value[0] == '=' {
				continue
			}
			if err := f.Add(key, quoteValue(value), rapid.Bool().Draw(t, "not"), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		again, err := ParseQuery(f.String())
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if again.String() != f.String() {
			t.Fatalf("%s became %s", f, again)
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	f.Add(`reason:invalid -cause:c1-9f2ab01c text:"a \" b" offsets:3:1-2,-5`)
	f.Fuzz(func(t *testing.T, query string) {
		one, err := ParseQuery(query)
		if err != nil {
			return
		}
		again, err := ParseQuery(one.String())
		if err != nil || again.String() != one.String() {
			t.Fatalf("%q is %q, which is %q (%v)", query, one, again, err)
		}
	})
}

// Offsets that are taken and left out are those that arithmetic on sets of numbers gives.
func TestNarrowedRangesAreTheOffsetsThatMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := new(Filter)
		for range rapid.IntRange(0, 3).Draw(t, "clauses") {
			var values []string
			for range rapid.IntRange(1, 3).Draw(t, "values") {
				from := rapid.Int64Range(0, 12).Draw(t, "from")
				r := OffsetRange{Partition: rapid.Int32Range(-1, 1).Draw(t, "partition"), From: from, To: from + rapid.Int64Range(0, 5).Draw(t, "length")}
				values = append(values, r.String())
			}
			if err := f.Add("offsets", strings.Join(values, ","), rapid.Bool().Draw(t, "not"), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		got := map[int64]int{}
		for _, r := range f.narrow(Range{0, 2, 11}, consume.LogBounds{Partition: 0, Start: 0, End: 11}) {
			for o := r.From; o < r.To; o++ {
				got[o]++
			}
		}
		for o := range int64(14) {
			want := 0
			if o >= 2 && o < 11 && f.Match(&Letter{Offset: o, peeked: true}) {
				want = 1
			}
			if got[o] != want {
				t.Fatalf("%s: offset %d is read %d times, want %d", f, o, got[o], want)
			}
		}
	})
}

func TestAddressesReadBack(t *testing.T) {
	for _, text := range []string{"3:18112", "events/3/991", "a.b-c_d/0/0"} {
		a, err := ParseAddress(text)
		if err != nil || a.String() != text {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "3", "3:", ":1", "-1:2", "1:-2", "a/b/c", "/1/2", "a/1", "a/1/2/3"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is %v", text, a)
		}
	}
}
