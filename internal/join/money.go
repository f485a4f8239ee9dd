package join

import (
	"math/bits"

	"eventworker/internal/insights"
)

// A decimal is an exact non-negative decimal: value / 10^scale. 128 bits hold Σ price × quantity of
// one event: prices have at most 12+9 digits (< 2^70), quantities 31 bits, an event 20 items.
type decimal struct {
	hi, lo uint64
	scale  int
}

// maxMoney is the most characters that the API takes for an amount in a string (insights-api.md, section 2).
const maxMoney = 16

// parseDecimal reads text of the form that the decoder admits: digits, perhaps a point and digits.
func parseDecimal(s []byte) decimal {
	var d decimal
	point := false
	for _, c := range s {
		if c == '.' {
			point = true
			continue
		}
		d.mul(10)
		d.add(decimal{lo: uint64(c - '0')})
		if point {
			d.scale++
		}
	}
	return d
}

func (d *decimal) mul(n uint64) {
	carry, lo := bits.Mul64(d.lo, n)
	_, hi := bits.Mul64(d.hi, n)
	d.lo, d.hi = lo, hi+carry
}

// add adds another value of the same scale.
func (d *decimal) add(o decimal) {
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, o.lo, 0)
	d.hi, _ = bits.Add64(d.hi, o.hi, carry)
}

// plus adds a value of any scale up to 9.
func (d *decimal) plus(o decimal) {
	for d.scale < o.scale {
		d.mul(10)
		d.scale++
	}
	for o.scale < d.scale {
		o.mul(10)
		o.scale++
	}
	d.add(o)
}

func (d *decimal) equal(o decimal) bool {
	a, b := *d, o
	for a.scale < b.scale {
		a.mul(10)
		a.scale++
	}
	for b.scale < a.scale {
		b.mul(10)
		b.scale++
	}
	return a.hi == b.hi && a.lo == b.lo
}

// divmod10 divides by ten and gives the remainder.
func (d *decimal) divmod10() byte {
	hi, rem := d.hi/10, d.hi%10
	lo, rem := bits.Div64(rem, d.lo, 10)
	d.hi, d.lo = hi, lo
	return byte(rem)
}

// appendTo writes the shortest text of the value: no trailing zeros after the point, no bare point.
func (d decimal) appendTo(dst []byte) []byte {
	var buf [48]byte
	i := len(buf)
	for n := 0; n <= d.scale || d.hi|d.lo != 0; n++ {
		if n == d.scale && i < len(buf) {
			i--
			buf[i] = '.'
		}
		digit := d.divmod10()
		if digit == 0 && n < d.scale && i == len(buf) {
			continue // a trailing zero of the fraction
		}
		i--
		buf[i] = '0' + digit
	}
	return append(dst, buf[i:]...)
}

// validCurrency says whether the API takes a currency: three ASCII letters (insights-api.md, section 2).
func validCurrency(c []byte) bool {
	if len(c) != 3 {
		return false
	}
	for _, b := range c {
		if b |= 0x20; b < 'a' || b > 'z' {
			return false
		}
	}
	return true
}

// endCart gives the event its value, exact or not at all, and encodes it
// (docs/contract.md, section 3).
func (t *Task[M]) endCart() {
	b, e := &t.build, &t.build.event
	if e.Currency != nil {
		if sum, priced := total(e.Data); priced {
			b.money = sum.appendTo(b.money)
		} else if own := t.f.ev.Value; own != nil && len(e.ObjectIDs) == len(t.f.resolved) {
			b.money = parseDecimal(own).appendTo(b.money) // the only event of its message
		}
		switch {
		case len(b.money) > maxMoney:
			t.Counters.ValueTooLong++
		case len(b.money) > 0:
			e.Value = b.money
		}
	}
	t.end()
}

// total is Σ price × quantity; priced says whether every item has a price.
func total(data []insights.ObjectData) (sum decimal, priced bool) {
	for i := range data {
		if data[i].Price == nil {
			return sum, false
		}
		d := parseDecimal(data[i].Price)
		d.mul(uint64(data[i].Quantity))
		sum.plus(d)
	}
	return sum, true
}

// judgeMoney counts what the message said of money and the events cannot.
func (t *Task[M]) judgeMoney(currency bool) {
	ev := &t.f.ev
	var sum decimal
	priced, amounts := true, ev.Value != nil
	for i := range ev.Items {
		it := &ev.Items[i]
		amounts = amounts || it.Price != nil || it.Discount != nil
		if it.Price == nil {
			priced = false
		} else if priced && ev.Value != nil {
			d := parseDecimal(it.Price)
			d.mul(uint64(it.Quantity))
			sum.plus(d)
		}
	}
	switch {
	case !currency && amounts:
		t.Counters.NoCurrency++
	case currency && ev.Value != nil && priced && !sum.equal(parseDecimal(ev.Value)):
		t.Counters.ValueDiffers++
	}
}
