package insights

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// The beginnings of events by type (insights-api.md, section 3).
var beginnings = [...]string{
	0:         `{"eventType":"","eventName":"`,
	View:      `{"eventType":"view","eventName":"`,
	Click:     `{"eventType":"click","eventName":"`,
	AddToCart: `{"eventType":"conversion","eventSubtype":"addToCart","eventName":"`,
	Purchase:  `{"eventType":"conversion","eventSubtype":"purchase","eventName":"`,
}

// AppendEvent appends e to dst as one JSON object and allocates nothing beyond dst's growth. Fields
// that are nil, lists without elements and a quantity of 0 are left out; eventName, index, userToken
// and timestamp are always written. The output is valid JSON in valid UTF-8 whatever the bytes in e: invalid ones become
// U+FFFD.
func AppendEvent(dst []byte, e *Event) []byte {
	if int(e.Type) < len(beginnings) {
		dst = append(dst, beginnings[e.Type]...)
	} else {
		dst = append(dst, beginnings[0]...)
	}
	dst = appendText(dst, e.EventName)
	dst = appendField(dst, `,"index":"`, e.Index)
	dst = appendField(dst, `,"userToken":"`, e.UserToken)
	if e.AuthenticatedUserToken != nil {
		dst = appendField(dst, `,"authenticatedUserToken":"`, e.AuthenticatedUserToken)
	}
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, e.Timestamp, 10)
	if e.QueryID != nil {
		dst = appendField(dst, `,"queryID":"`, e.QueryID)
	}
	dst = appendStrings(dst, `,"objectIDs":`, e.ObjectIDs)
	dst = appendPositions(dst, e.Positions)
	dst = appendStrings(dst, `,"filters":`, e.Filters)
	dst = appendData(dst, e.Data)
	if e.Currency != nil {
		dst = appendField(dst, `,"currency":"`, e.Currency)
	}
	if e.Value != nil {
		dst = appendField(dst, `,"value":"`, e.Value)
	}
	return append(dst, '}')
}

// appendField writes a field whose value is a string; name ends with the string's opening quote.
func appendField(dst []byte, name string, value []byte) []byte {
	return appendText(append(dst, name...), value)
}

func appendStrings(dst []byte, name string, values [][]byte) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(dst, name...)
	for i, v := range values {
		if i == 0 {
			dst = append(dst, '[', '"')
		} else {
			dst = append(dst, ',', '"')
		}
		dst = appendText(dst, v)
	}
	return append(dst, ']')
}

func appendPositions(dst []byte, positions []int32) []byte {
	if len(positions) == 0 {
		return dst
	}
	dst = append(dst, `,"positions":`...)
	sep := byte('[')
	for _, p := range positions {
		dst = strconv.AppendInt(append(dst, sep), int64(p), 10)
		sep = ','
	}
	return append(dst, ']')
}

func appendData(dst []byte, data []ObjectData) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = append(dst, `,"objectData":`...)
	sep := byte('[')
	for i := range data {
		dst = appendItem(append(dst, sep), &data[i])
		sep = ','
	}
	return append(dst, ']')
}

// appendItem writes one element of objectData.
func appendItem(dst []byte, d *ObjectData) []byte {
	start := len(dst)
	if d.Price != nil {
		dst = appendField(dst, `,"price":"`, d.Price)
	}
	if d.Discount != nil {
		dst = appendField(dst, `,"discount":"`, d.Discount)
	}
	if d.Quantity != 0 {
		dst = append(dst, `,"quantity":`...)
		dst = strconv.AppendInt(dst, int64(d.Quantity), 10)
	}
	if d.QueryID != nil {
		dst = appendField(dst, `,"queryID":"`, d.QueryID)
	}
	if len(dst) == start {
		return append(dst, '{', '}')
	}
	dst[start] = '{' // in place of the first comma
	return append(dst, '}')
}

// appendText writes s as the inside of a JSON string, and the closing quote.
func appendText(dst, s []byte) []byte {
	if plain(s) {
		dst = append(dst, s...)
	} else {
		dst = appendEscaped(dst, s)
	}
	return append(dst, '"')
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain reports whether s is ASCII that JSON takes as it is. It looks at eight bytes at a time, at
// some of the last eight twice.
func plain(s []byte) bool {
	if len(s) < 8 {
		for _, c := range s {
			if c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(s)-8; i += 8 {
		if special(binary.LittleEndian.Uint64(s[i:])) {
			return false
		}
	}
	return !special(binary.LittleEndian.Uint64(s[len(s)-8:]))
}

// special reports whether one of eight bytes is below 0x20, above 0x7F, a quote or a backslash.
func special(w uint64) bool {
	quote, backslash := w^(lows*'"'), w^(lows*'\\')
	return (w|(w-lows*0x20)|((quote-lows)&^quote)|((backslash-lows)&^backslash))&highs != 0
}

const hex = "0123456789abcdef"

func appendEscaped(dst, s []byte) []byte {
	for len(s) > 0 {
		c := s[0]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s)
			dst = utf8.AppendRune(dst, r) // U+FFFD for a byte that is no UTF-8
			s = s[n:]
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
		s = s[1:]
	}
	return dst
}
