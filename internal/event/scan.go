package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// A word holds eight bytes of a text; these constants put one byte in each of its lanes.
const (
	lanes     = 0x0101010101010101
	highBits  = lanes << 7
	quotes    = lanes * '"'
	slashes   = lanes * '\\'
	printable = lanes * 0x20
)

// scanString finds the end of the JSON string whose first character is at i, after the opening
// quote: the place of the closing quote, or −1 if the string breaks RFC 8259, is not UTF-8, holds
// a lone surrogate or has no end. plain says that it has no escapes, so that its bytes are its value.
//
// It looks at eight bytes at a time. In the lanes below the first byte that is special no borrow
// arises, so the lowest set bit of the mask is exact; those above it may be wrong and are not used.
func scanString(b []byte, i int) (end int, plain bool) {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i : i+8])
		q, s := x^quotes, x^slashes
		mask := ((q-lanes)&^q | (s-lanes)&^s | (x - printable) | x) & highBits
		if mask == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(mask) >> 3
		if b[i] == '"' {
			return i, true
		}
		break
	}
	return scanSpecial(b, i)
}

// scanSpecial is the rest of scanString from a special character on, or from the last few bytes
// of the document on.
func scanSpecial(b []byte, i int) (end int, plain bool) {
	plain = true
	for i < len(b) {
		n := 1
		switch c := b[i]; {
		case c == '"':
			return i, plain
		case c == '\\':
			plain = false
			n = escapeLen(b[i:])
		case c >= utf8.RuneSelf:
			n = runeLen(b[i:])
		case c < 0x20:
			return -1, false
		}
		if n == 0 {
			return -1, false
		}
		i += n
	}
	return -1, false
}

// runeLen is the length of the character that b begins with, or 0 if it is not UTF-8.
func runeLen(b []byte) int {
	if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
		return n
	}
	return 0
}

// escapeLen is the length of the escape that b begins with (a surrogate pair is one escape of
// twelve bytes), or 0 if it is broken.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r, ok := escapedUnit(b)
		switch {
		case !ok, isLowSurrogate(r):
			return 0
		case !isHighSurrogate(r):
			return 6
		}
		if low, ok := escapedUnit(b[6:]); ok && isLowSurrogate(low) {
			return 12
		}
	}
	return 0
}

func isHighSurrogate(r rune) bool { return r >= 0xD800 && r < 0xDC00 }
func isLowSurrogate(r rune) bool  { return r >= 0xDC00 && r < 0xE000 }

// escapedUnit reads the UTF-16 unit of a \uXXXX escape at the beginning of b.
func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		v := hexValue[c]
		if v < 0 {
			return 0, false
		}
		r = r<<4 | rune(v)
	}
	return r, true
}

// hexValue is the value of a hexadecimal digit, −1 for every other byte.
var hexValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range 10 {
		t['0'+i] = int8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = int8(10+i), int8(10+i)
	}
	return t
}()

// appendUnescaped appends the value of a raw string that scanString has accepted.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		n := escapeLen(raw[i:])
		switch c = raw[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := escapedUnit(raw[i:])
			if n == 12 {
				low, _ := escapedUnit(raw[i+6:])
				r = (r-0xD800)<<10 | (low - 0xDC00) + 0x10000
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		i += n
	}
	return dst
}

// skipSpace moves over JSON's white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// scanDigits moves over digits.
func scanDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// scanNumber finds the end of the JSON number at i, or −1 if there is none.
func scanNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := scanDigits(b, i)
	if whole == i || b[i] == '0' && whole > i+1 {
		return -1
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		fraction := scanDigits(b, i+1)
		if fraction == i+1 {
			return -1
		}
		i = fraction
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := scanDigits(b, i)
		if exponent == i {
			return -1
		}
		i = exponent
	}
	return i
}

// scanLiteral finds the end of true, false or null at i, or −1.
func scanLiteral(b []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
			return i + len(word)
		}
	}
	return -1
}
