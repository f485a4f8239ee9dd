package insightsfake

import "encoding/binary"

// maxExponent bounds the exponent of a decimal, as that of a float64 does.
const maxExponent = 308

// decimal is a number as it was written: value = digits × 10^exponent, where
// the digits are those of whole and then those of fraction.
type decimal[T text] struct {
	negative        bool
	whole, fraction T
	exponent        int
}

// parseDecimal reads -? digits [. digits] [e|E [+-] digits]. That is JSON's
// number, and leading zeros, which nobody forbids in a string.
func parseDecimal[T text](s T) (d decimal[T], ok bool) {
	if len(s) > 0 && s[0] == '-' {
		d.negative, s = true, s[1:]
	}
	n := digitsOf(s)
	if n == 0 {
		return d, false
	}
	d.whole, s = s[:n], s[n:]
	if len(s) > 0 && s[0] == '.' {
		s = s[1:]
		if n = digitsOf(s); n == 0 {
			return d, false
		}
		d.fraction, s = s[:n], s[n:]
	}
	if len(s) > 0 && (s[0] == 'e' || s[0] == 'E') {
		if d.exponent, ok = parseExponent(s[1:]); !ok {
			return d, false
		}
		s = s[:0]
	}
	return d, len(s) == 0
}

func parseExponent[T text](s T) (int, bool) {
	sign := 1
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	if len(s) == 0 || digitsOf(s) != len(s) {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if n = n*10 + int(s[i]-'0'); n > maxExponent {
			return 0, false
		}
	}
	return sign * n, true
}

func digitsOf[T text](s T) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// appendDecimal adds a decimal by its value: without leading and trailing
// zeros, without a sign on zero. What is no decimal, which only a caller of
// [Event.Digest] can have, is added as the text it is.
func appendDecimal[T text](b []byte, tag byte, s T) []byte {
	if len(s) == 0 {
		return b
	}
	d, ok := parseDecimal(s)
	if !ok {
		return appendText(append(b, tag), tagEnd, s)
	}
	b = append(b, tag, 1)
	start := len(b)
	b = append(b, d.whole...)
	b = append(b, d.fraction...)
	exponent := d.exponent - len(d.fraction)
	zeros := 0
	for start+zeros < len(b) && b[start+zeros] == '0' {
		zeros++
	}
	b = append(b[:start], b[start+zeros:]...)
	for len(b) > start && b[len(b)-1] == '0' {
		b = b[:len(b)-1]
		exponent++
	}
	if len(b) == start {
		exponent, d.negative = 0, false
	}
	if d.negative {
		b = append(b, '-')
	}
	// What follows is no digit, so the digits need no length.
	return binary.AppendVarint(append(b, tagEnd), int64(exponent))
}
