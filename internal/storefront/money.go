package storefront

import (
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"eventworker/internal/insightsfake"
)

const maxValueChars = 16

// setValue gives a part its value: the sum where all its items have a price; else the message's own
// where the message gives this one event only.
func setValue(b *built, s *said, alone bool) {
	sum, complete := total(b.ObjectData)
	switch {
	case complete && len(sum) <= maxValueChars:
		b.Value = sum
	case !complete && alone:
		b.Value = s.value
	}
}

// total is Σ price × quantity in exact decimals, without needless zeros; complete says whether all
// items have a price.
func total(data []insightsfake.ObjectData) (sum string, complete bool) {
	for i := range data {
		if data[i].Price == "" {
			return "", false
		}
	}
	if units, fits := smallTotal(data); fits {
		fraction := strconv.FormatUint(units%billion+billion, 10)[1:] // with its leading zeros
		return tidy(strconv.FormatUint(units/billion, 10) + "." + fraction), true
	}
	return bigTotal(data), true
}

// tidy removes the needless zeros of a decimal with a point.
func tidy(decimal string) string {
	return strings.TrimRight(strings.TrimRight(decimal, "0"), ".")
}

func bigTotal(data []insightsfake.ObjectData) string {
	var all big.Rat
	for i := range data {
		var price big.Rat
		price.SetString(data[i].Price)
		all.Add(&all, price.Mul(&price, new(big.Rat).SetInt64(int64(data[i].Quantity))))
	}
	return tidy(all.FloatString(9))
}

const billion = 1_000_000_000

// smallTotal is the total in billionths if all of it fits 64 bits, as sums of money do.
func smallTotal(data []insightsfake.ObjectData) (units uint64, fits bool) {
	for i := range data {
		price, small := billionths(data[i].Price)
		high, product := bits.Mul64(price, uint64(data[i].Quantity))
		units += product
		if !small || high > 0 || units < product {
			return 0, false
		}
	}
	return units, true
}

// billionths are those of a decimal of at most nine digits on either side of the point.
func billionths(decimal string) (units uint64, fits bool) {
	whole, fraction, _ := strings.Cut(decimal, ".")
	if len(whole) > 9 || len(fraction) > 9 {
		return 0, false
	}
	for i := range len(whole) {
		units = units*10 + uint64(whole[i]-'0')
	}
	for i := range 9 {
		units *= 10
		if i < len(fraction) {
			units += uint64(fraction[i] - '0')
		}
	}
	return units, true
}

func validCurrency(s string) bool { return len(s) == 3 && letters.all(s) }
