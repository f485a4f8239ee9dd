package event

import "math"

// integer reads an integer of digits only at i, from least to most.
func (d *Decoder) integer(i int, notInteger, outOfRange rule, least, most int64) (n int64, next int) {
	b := d.b
	next = i
	for next < len(b) && isDigit(b[next]) {
		n = n*10 + int64(b[next]-'0')
		next++
	}
	overflow := next-i > maxSafeDigits && !fitsInt64(b[i:next])
	switch {
	case next == i || b[i] == '0' && next > i+1:
		return 0, d.fail(notInteger, i)
	case next < len(b) && (b[next] == '.' || b[next]|0x20 == 'e'):
		return 0, d.fail(notInteger, i)
	case overflow || n < least || n > most:
		return 0, d.failCount(outOfRange, i, 0, int(most))
	}
	return n, next
}

// maxSafeDigits is how many digits any integer may have that surely fits into an int64.
const maxSafeDigits = 18

func fitsInt64(digits []byte) bool {
	n := int64(0)
	for _, c := range digits {
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			return false
		}
		n = n*10 + digit
	}
	return true
}

// The form of decimals.
const (
	maxDecimalWhole    = 12
	maxDecimalFraction = 9
	maxDecimalText     = 16
)

// decimal reads a decimal at i, a number or a text, and returns its text.
func (d *Decoder) decimal(i int, notDecimal rule) (v []byte, next int) {
	b := d.b
	if i < len(b) && b[i] == '"' {
		v, next = d.text(i, notDecimal)
		if next >= 0 && (len(v) == 0 || decimalLen(v) != len(v)) {
			return nil, d.fail(notDecimal, i)
		}
		return v, next
	}
	if i >= len(b) {
		return nil, d.fail(notDecimal, i)
	}
	n := decimalLen(b[i:])
	switch {
	case n == 0, n > 1 && b[i] == '0' && isDigit(b[i+1]):
		return nil, d.fail(notDecimal, i)
	case i+n < len(b) && (isDigit(b[i+n]) || b[i+n] == '.' || b[i+n]|0x20 == 'e'):
		return nil, d.fail(notDecimal, i)
	}
	return b[i : i+n : i+n], i + n
}

// decimalLen is the length of the longest decimal that b begins with, or 0 if that is longer than
// allowed or there is none.
func decimalLen(b []byte) int {
	whole := scanDigits(b, 0)
	if whole == 0 || whole > maxDecimalWhole {
		return 0
	}
	n := whole
	if n < len(b) && b[n] == '.' {
		fraction := scanDigits(b, n+1) - (n + 1)
		if fraction == 0 || fraction > maxDecimalFraction {
			return 0
		}
		n += 1 + fraction
	}
	if n > maxDecimalText {
		return 0
	}
	return n
}
