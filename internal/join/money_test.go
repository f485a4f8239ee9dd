package join

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSumsOfMoneyAreExactAndShortest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		price := rapid.StringMatching(`[0-9]{1,12}(\.[0-9]{1,9})?`)
		var sum decimal
		want := new(big.Rat)
		for range rapid.IntRange(1, 20).Draw(t, "items") {
			p := price.Draw(t, "price")
			q := rapid.Uint32Range(1, 1<<31-1).Draw(t, "quantity")
			d := parseDecimal([]byte(p))
			d.mul(uint64(q))
			sum.plus(d)
			r, _ := new(big.Rat).SetString(p)
			want.Add(want, r.Mul(r, new(big.Rat).SetInt64(int64(q))))
		}
		text := string(sum.appendTo(nil))
		got, ok := new(big.Rat).SetString(text)
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("got %s, want %s", text, want.FloatString(9))
		}
		if strings.Contains(text, ".") && (strings.HasSuffix(text, "0") || strings.HasSuffix(text, ".")) {
			t.Fatalf("%s is not the shortest form", text)
		}
		if len(text) > 1 && text[0] == '0' && text[1] != '.' {
			t.Fatalf("%s has a leading zero", text)
		}
	})
}

func TestMoneyText(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "0.0": "0", "00": "0", "1": "1", "10": "10", "1.0": "1", "0.1": "0.1", "0.010": "0.01",
		"19.90": "19.9", "100.00": "100", "007.5": "7.5", "999999999999.999999999": "999999999999.999999999",
	} {
		if got := string(parseDecimal([]byte(in)).appendTo(nil)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
