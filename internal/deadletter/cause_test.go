package deadletter

import (
	"fmt"
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"eventworker/internal/event"
)

func TestBareWordsReplacesValuesAndKeepsWords(t *testing.T) {
	for _, one := range []struct{ in, want string }{
		{"", ""},
		{"OK", "OK"},
		{"The objectIDs field is required.", "The objectIDs field is required"},
		{"The 'objectIDs' field isn't valid", "The # field isn't valid"},
		{`userToken "user-1234" doesn't match`, "userToken # doesn't match"},
		{"too many objectIDs: [1, 2, 3], at most 20", "too many objectIDs: [#], at most #"},
		{"events[3].objectIDs must hold 1 to 20", "events[#].objectIDs must hold # to #"},
		{"events.12.price", "events.#.price"},
		{"price 19.90 is no decimal", "price # is no decimal"},
		{"timestamp=1764000000000 is 2026-08-03T10:00:00.123Z ago", "timestamp=# is # ago"},
		{"2026-08-03 10:00:00 expired", "# expired"},
		{"queryID 43b15df305339e827f0ac0bdc5ebcaa7 unknown", "queryID # unknown"},
		{"queryID deadbeefcafe unknown", "queryID # unknown"},
		{"see https://example.com/a?b=c(d).", "see #(d"},
		{"see <https://example.com/a/b> for help", "see <#> for help"},
		{"  two\n\tlines  ", "two lines"},
		{"an unclosed \"quote", "an unclosed quote"},
		{"it's “quoted text” here", "it's # here"},
		{"sku-1/sku-2", "#"},
		{"bad \xff byte", "bad \uFFFD byte"},
		{"wait ... what?", "wait ... what"},
	} {
		if got := bareWords(one.in); got != one.want {
			t.Errorf("bareWords(%q) = %q, want %q", one.in, got, one.want)
		}
	}
}

func TestBareFieldRemovesIndexes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "price": "price", "items[3].price": "items[].price", "a[1][22].b[0]": "a[][].b[]",
		"items[]": "items[]", "items[x].p": "items[x].p", "items[1": "items[1", "items[": "items[",
	} {
		if got := BareField(in); got != want {
			t.Errorf("BareField(%q) = %q, want %q", in, got, want)
		}
	}
}

// refusalKinds are refusals that need different remedies, as functions of what differs between two
// messages of the same kind.
var refusalKinds = []func(id string, n int) *Letter{
	func(_ string, n int) *Letter { return invalid(fmt.Sprintf("items[%d].price", n), "price.decimal") },
	func(_ string, n int) *Letter { return invalid(fmt.Sprintf("items[%d].price", n), "price.length") },
	func(_ string, n int) *Letter { return invalid(fmt.Sprintf("items[%d].discount", n), "price.decimal") },
	func(string, int) *Letter { return invalid("price", "price.decimal") },
	func(id string, n int) *Letter { return refusedByAPI(422, `objectID "%s" at %d is invalid`, id, n) },
	func(id string, n int) *Letter { return refusedByAPI(400, `objectID "%s" at %d is invalid`, id, n) },
	func(id string, n int) *Letter { return refusedByAPI(422, `objectIDs %s: at most %d`, id, n) },
	func(id string, n int) *Letter {
		return refusedByAPI(422, `events[%[2]d].userToken=%[1]s is unknown`, id, n)
	},
	func(id string, n int) *Letter { return refusedByAPI(422, `see https://example.com/%s?n=%d`, id, n) },
	func(id string, n int) *Letter {
		l := refusedByAPI(422, `objectID "%s" at %d is invalid`, id, n)
		l.Type = "recommendation.clicked"
		return l
	},
	func(id string, n int) *Letter {
		l := refusedByAPI(422, `objectID "%s" at %d is invalid`, id, n)
		l.Application = "outlet"
		return l
	},
}

func invalid(field, rule string) *Letter {
	return &Letter{Refusal: event.Refusal{Reason: event.Invalid, Stage: event.StageValidate, Field: field, Rule: rule}}
}

func refusedByAPI(status int, format, id string, n int) *Letter {
	return &Letter{
		Refusal:    event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Message: "as " + id},
		HTTPStatus: status, APIWords: fmt.Sprintf(format, id, n), Type: "recommendation.purchased", Application: "default",
	}
}

func TestCauseIsTheSameForAllIdsAndAmountsAndDiffersByRule(t *testing.T) {
	id := rapid.OneOf(
		rapid.StringMatching(`sku-[0-9]{1,6}`),
		rapid.StringMatching(`[0-9a-f]{8,32}`),
		rapid.StringMatching(`[A-Z]{4}[0-9][0-9A-Z]{10}`),
		rapid.StringMatching(`user_[0-9]+@shop`),
	)
	want := make([]string, len(refusalKinds))
	owner := map[string]int{}
	for kind, letter := range refusalKinds {
		want[kind] = Cause(letter("sku-1", 1))
		if other, taken := owner[want[kind]]; taken {
			t.Errorf("kinds %d and %d share %s", other, kind, want[kind])
		}
		owner[want[kind]] = kind
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.IntRange(0, len(refusalKinds)-1).Draw(t, "kind")
		l := refusalKinds[kind](id.Draw(t, "id"), rapid.IntRange(0, 1e9).Draw(t, "n"))
		l.Offset, l.Attempts = rapid.Int64().Draw(t, "offset"), rapid.Int().Draw(t, "attempts")
		if got := Cause(l); got != want[kind] {
			t.Fatalf("kind %d: %s, want %s; words %q", kind, got, want[kind], bareWords(l.APIWords))
		}
	})
}

// TestCauseStays pins the algorithm: dead letters of different versions of the program must meet.
func TestCauseStays(t *testing.T) {
	for want, l := range map[string]*Letter{
		"c1-79488488": {},
		"c1-8d5c84ab": invalid("items[3].price", "price.decimal"),
		"c1-08468b49": refusedByAPI(422, `objectID "%s" at %d is invalid`, "x", 1),
	} {
		if got := Cause(l); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func FuzzCause(f *testing.F) {
	f.Add("items[1].price", "it's 'a' \"b\" https://c.d/e f1 [2] 3.4")
	shape := regexp.MustCompile(`^c1-[0-9a-f]{8}$`)
	f.Fuzz(func(t *testing.T, field, words string) {
		l := invalid(field, "r")
		l.APIWords = words
		if c := Cause(l); !shape.MatchString(c) {
			t.Fatal(c)
		}
		once := bareWords(words)
		if len(once) > maxWords+len(value) {
			t.Fatalf("%d bytes of words", len(once))
		}
	})
}
