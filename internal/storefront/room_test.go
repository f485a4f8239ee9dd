package storefront

import (
	"fmt"
	"slices"
	"testing"

	"eventworker/internal/insightsfake"

	"pgregory.net/rapid"
)

// The truth uses its room again for each message; what it hands out stays as it is.
func TestVerdictsAreTheCalleesToKeep(t *testing.T) {
	c := testConfig(8000)
	var kept []*Verdict
	truth := truthOf(t, c, func(v *Verdict) { kept = append(kept, v) })
	quiet := truthOf(t, c, nil)
	events := 0
	for _, v := range kept {
		for i := range v.Events {
			events++
			e := expectation{v.Events[i].Digest(), uint32(v.Seq)}
			if !slices.Contains(truth.expected.of(e.digest), e) || !slices.Contains(quiet.expected.of(e.digest), e) {
				t.Fatalf("seed %d: message %d has an event that it must not give: %+v", c.Seed, v.Seq, v.Events[i])
			}
		}
		if quiet.codes[v.Seq] != codeOf(v.Outcome, v.Reason) {
			t.Fatalf("seed %d: message %d is %s %s, and unheard %d", c.Seed, v.Seq, v.Outcome, v.Reason, quiet.codes[v.Seq])
		}
	}
	if events != truth.expected.len() || events != quiet.expected.len() {
		t.Errorf("seed %d: %d events in verdicts, %d and %d expected", c.Seed, events, truth.expected.len(), quiet.expected.len())
	}
}

func TestTotalsAreExactWhateverTheirSize(t *testing.T) {
	large := insightsfake.ObjectData{Price: "999999999", Quantity: 18} // one fits 64 bits, two do not
	if sum, _ := total([]insightsfake.ObjectData{large, large}); sum != "35999999964" {
		t.Errorf("two large prices give %s", sum)
	}
	rapid.Check(t, func(t *rapid.T) {
		price := rapid.OneOf(rapid.StringMatching(`[0-9]{1,12}(\.[0-9]{1,3})?`), rapid.StringMatching(`[0-9]{1,6}(\.[0-9]{1,9})?`))
		data := make([]insightsfake.ObjectData, rapid.IntRange(1, 20).Draw(t, "items"))
		for i := range data {
			data[i].Price = price.Draw(t, "price")
			data[i].Quantity = rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(1, 1<<31-1)).Draw(t, "quantity")
		}
		sum, complete := total(data)
		if want := bigTotal(data); !complete || sum != want {
			t.Fatalf("%+v: %q, want %q", data, sum, want)
		}
	})
}

func TestArrivalsComeByTimeThenByOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h arrivals
		var want []arrival
		tie := uint64(0)
		for _, at := range rapid.SliceOf(rapid.Int64Range(-1, 20)).Draw(t, "times") {
			if at >= 0 { // one comes
				tie++
				a := arrival{at: at, tie: tie}
				h.push(a)
				want = append(want, a)
				continue
			}
			if len(want) == 0 {
				continue
			}
			first := slices.MinFunc(want, func(a, b arrival) int {
				if a.before(&b) {
					return -1
				}
				return 1
			})
			want = slices.DeleteFunc(want, func(a arrival) bool { return a == first })
			if got := h.pop(); got != first {
				t.Fatalf("got %+v, want %+v", got, first)
			}
		}
		if len(h) != len(want) {
			t.Fatalf("%d are left, want %d", len(h), len(want))
		}
	})
}

func TestViewsHaveNoRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.StringMatching(`[ab]{0,2}|[ab]{2}same-end`)).Draw(t, "list")
		before := slices.Clone(list)
		var want []string
		for _, s := range list {
			if !slices.Contains(want, s) {
				want = append(want, s)
			}
		}
		var b builder
		if got := b.unique(list); !slices.Equal(got, want) || !slices.Equal(list, before) {
			t.Fatalf("%q gives %q, want %q", before, got, want)
		}
	})
}

func TestNamesStandForOneTextEach(t *testing.T) {
	n := newNames()
	if n.of("") != 0 || n.known("new") != noName {
		t.Error("the empty text has a number, a new one none")
	}
	numbers := map[string]name{}
	for round := range 2 {
		for i := range 50_000 { // more than are remembered, many of one rough hash
			s := fmt.Sprintf("%d-sku-%d", i, i%100+100)
			id := n.of(s)
			if round > 0 && id != numbers[s] || n.known(s) != id || n.text[id] != s {
				t.Fatalf("%s is %d, was %d", s, id, numbers[s])
			}
			numbers[s] = id
		}
	}
	list := n.all([]string{"7-sku-107", "one more"})
	n.all([]string{"another"})
	if list[0] != numbers["7-sku-107"] || n.text[list[1]] != "one more" {
		t.Errorf("a list of names is %v", list)
	}
}
