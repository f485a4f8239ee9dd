package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Bounds of texts (docs/contract.md, section 1).
const (
	maxTextBytes  = 256 // objectID, model, orderID, index, id, analytics tags
	maxTokenBytes = 128
	maxNameBytes  = 64  // eventName
	maxQueryBytes = 128 // a message_ id
)

// unescape returns the value of a raw text with escapes, in the Decoder's memory.
func (d *Decoder) unescape(raw []byte) []byte {
	start := len(d.bytes)
	d.bytes = appendUnescaped(d.bytes, raw)
	return d.bytes[start:len(d.bytes):len(d.bytes)]
}

// text reads a text of any length at i.
func (d *Decoder) text(i int, notText rule) (v []byte, next int) {
	b := d.b
	if i >= len(b) || b[i] != '"' {
		return nil, d.fail(notText, i)
	}
	end, plain := scanString(b, i+1)
	if end < 0 {
		return nil, d.failString(i)
	}
	v = b[i+1 : end]
	if !plain {
		v = d.unescape(v)
	}
	return v, end + 1
}

// bounded reads a text of least to most bytes.
func (d *Decoder) bounded(i int, notText, length rule, least, most int) (v []byte, next int) {
	if v, next = d.text(i, notText); next >= 0 && (len(v) < least || len(v) > most) {
		return nil, d.failCount(length, i, len(v), most)
	}
	return v, next
}

// tokenByte tells the characters of user tokens: what the Insights API takes.
var tokenByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=/+-") {
		t[c] = true
	}
	return t
}()

// token reads a user token, hashed if it must be and may be.
func (d *Decoder) token(i int, notText, length, characters rule) (v []byte, next int) {
	v, next = d.text(i, notText)
	switch {
	case next < 0:
		return nil, next
	case len(v) == 0:
		return nil, d.fail(length, i)
	case tokenFits(v):
		if len(v) <= maxTokenBytes {
			return v, next
		}
		if !d.opts.HashTokens {
			return nil, d.fail(length, i)
		}
	case !d.opts.HashTokens:
		return nil, d.fail(characters, i)
	}
	sum := sha256.Sum256(v)
	start := len(d.bytes)
	d.bytes = hex.AppendEncode(d.bytes, sum[:])
	return d.bytes[start:len(d.bytes):len(d.bytes)], next
}

func tokenFits(v []byte) bool {
	for _, c := range v {
		if !tokenByte[c] {
			return false
		}
	}
	return true
}

// eventName reads the name of an event: 1 to 64 characters from space to tilde.
func (d *Decoder) eventName(i int) (v []byte, next int) {
	if v, next = d.bounded(i, ruleEventNameText, ruleEventNameLength, 1, maxNameBytes); next < 0 {
		return nil, next
	}
	for _, c := range v {
		if c < 0x20 || c > 0x7E {
			return nil, d.fail(ruleEventNameCharacters, i)
		}
	}
	return v, next
}

const messagePrefix = "message_"

// queryID judges the text of a queryID: 32 hexadecimal digits, in lower case, or a message_ id
// (insights-api.md, section 6); nil for anything else.
func (d *Decoder) queryID(v []byte) []byte {
	switch {
	case len(v) == 32 && isLowerHex(v):
		return v
	case len(v) == 32 && isHex(v):
		start := len(d.bytes)
		for _, c := range v {
			d.bytes = append(d.bytes, c|0x20) // digits have this bit already
		}
		return d.bytes[start:len(d.bytes):len(d.bytes)]
	case validMessageID(v):
		return v
	}
	return nil
}

// ValidQueryID says whether a queryID can be sent as it is: 32 lower-case hexadecimal digits, or a message_ id.
func ValidQueryID(v []byte) bool { return len(v) == 32 && isLowerHex(v) || validMessageID(v) }

func validMessageID(v []byte) bool {
	if len(v) <= len(messagePrefix) || len(v) > maxQueryBytes || string(v[:len(messagePrefix)]) != messagePrefix {
		return false
	}
	for _, c := range v {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

// knownQueryID is queryID of a message's text, counting what is malformed. A nil text is none.
func (d *Decoder) knownQueryID(v []byte, ev *Event) []byte {
	if v == nil {
		return nil
	}
	id := d.queryID(v)
	if id == nil {
		ev.MalformedQueryIDs++
	}
	return id
}

// setQueryID gives a list the queryID of a message's text. A nil text is none.
func (d *Decoder) setQueryID(l *List, v []byte, ev *Event) {
	l.QueryID = d.knownQueryID(v, ev)
	l.MalformedID = v != nil && l.QueryID == nil
}

// isLowerHex says whether all of 32 bytes are lower-case hexadecimal digits, eight at a time.
// For ASCII x, the high bit of x + (0x80 − n) says x ≥ n; no lane carries into the next.
func isLowerHex(v []byte) bool {
	bad := uint64(0)
	for i := 0; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		low := x &^ highBits
		digit := (low + lanes*(0x80-'0')) &^ (low + lanes*(0x80-('9'+1)))
		letter := (low + lanes*(0x80-'a')) &^ (low + lanes*(0x80-('f'+1)))
		bad |= ^(digit | letter) | x
	}
	return bad&highBits == 0
}

func isHex(v []byte) bool {
	for _, c := range v {
		if hexValue[c] < 0 {
			return false
		}
	}
	return true
}

// ValidToken says whether a user token can be sent as it is (docs/contract.md, section 1).
func ValidToken(token string) bool {
	return len(token) > 0 && len(token) <= maxTokenBytes && tokenFits([]byte(token))
}
