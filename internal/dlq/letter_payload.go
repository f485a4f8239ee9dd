package dlq

import (
	"bytes"
	"encoding/json"
	"time"
)

// Payload is what the value of a dead letter says of itself, as far as it can be read: the value may
// break any rule. The slices point into the value, unless it has escapes.
type Payload struct {
	// Type, Application, User and Authenticated are nil where the field is missing or no text.
	Type, Application, User, Authenticated []byte
	// Timestamp is the message's own, in milliseconds; 0: none, or none that can be read.
	Timestamp int64

	// inside are the texts in a token that is an array or an object, which it must not be.
	inside [][]byte
}

// peek reads the fields that filters and deadlines need from the top level of an object. It reads no
// further than it must and gives what it found where the text stops making sense.
func peek(value []byte) (p Payload) {
	t := tolerant{b: value}
	t.space()
	if !t.take('{') {
		return p
	}
	for left := 5; left > 0; {
		t.space()
		name, ok := t.text()
		if !ok {
			return p
		}
		t.space()
		if !t.take(':') {
			return p
		}
		t.space()
		start := t.i
		if !t.skip() {
			return p
		}
		if p.set(name, value[start:t.i]) {
			left--
		}
		t.space()
		if !t.take(',') {
			return p
		}
	}
	return p
}

// peekTime reads the message's own timestamp, and no further: scans reckon the deadline of every letter.
func peekTime(value []byte) int64 {
	t := tolerant{b: value}
	t.space()
	if !t.take('{') {
		return 0
	}
	for {
		t.space()
		name, ok := t.text()
		if !ok {
			return 0
		}
		t.space()
		if !t.take(':') {
			return 0
		}
		t.space()
		start := t.i
		if !t.skip() {
			return 0
		}
		if string(name) == "timestamp" {
			return timestamp(value[start:t.i])
		}
		t.space()
		if !t.take(',') {
			return 0
		}
	}
}

// set takes a field's value, and says whether it was one of those looked for.
func (p *Payload) set(name, value []byte) bool {
	var to *[]byte
	switch string(name) {
	case "type":
		to = &p.Type
	case "application":
		to = &p.Application
	case "userToken":
		to = &p.User
	case "authenticatedUserToken":
		to = &p.Authenticated
	case "timestamp":
		p.Timestamp = timestamp(value) // that of a name that is there twice does not matter: the message is malformed
		return true
	default:
		return false
	}
	text, ok := unquote(value)
	switch {
	case ok && *to == nil:
		*to = text
	case !ok && (to == &p.User || to == &p.Authenticated):
		p.inside = append(p.inside, texts(value)...)
	}
	return true
}

// maxInside bounds the texts of a token that is none.
const maxInside = 32

// texts are the texts in a value, without the names of members.
func texts(value []byte) (list [][]byte) {
	t := tolerant{b: value}
	for t.i < len(t.b) && len(list) < maxInside {
		if t.b[t.i] != '"' {
			t.i++
			continue
		}
		start := t.i
		if _, ok := t.text(); !ok {
			return list
		}
		end := t.i
		if t.space(); t.take(':') {
			continue
		}
		if text, ok := unquote(t.b[start:end]); ok && len(text) > 0 {
			list = append(list, text)
		}
	}
	return list
}

func unquote(value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return inner, true
	}
	return []byte(s), true
}

// leastTimestamp is the least number that counts as milliseconds (docs/contract.md, section 1).
const leastTimestamp = 100_000_000_000

func timestamp(value []byte) int64 {
	if text, ok := unquote(value); ok {
		if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
			return max(at.UnixMilli(), 1)
		}
		return 0
	}
	if n := number(value); n >= leastTimestamp {
		return n
	}
	return 0
}

// tolerant moves over JSON without judging it.
type tolerant struct {
	b []byte
	i int
}

func (t *tolerant) space() {
	for t.i < len(t.b) {
		switch t.b[t.i] {
		case ' ', '\t', '\r', '\n':
			t.i++
		default:
			return
		}
	}
}

func (t *tolerant) take(c byte) bool {
	if t.i < len(t.b) && t.b[t.i] == c {
		t.i++
		return true
	}
	return false
}

// text moves over a string and gives what is between its quotes, escapes and all.
func (t *tolerant) text() ([]byte, bool) {
	if !t.take('"') {
		return nil, false
	}
	start := t.i
	for {
		n := bytes.IndexByte(t.b[t.i:], '"')
		if n < 0 {
			t.i = len(t.b)
			return nil, false
		}
		end := t.i + n
		t.i = end + 1
		slashes := 0
		for end-1-slashes >= start && t.b[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return t.b[start:end], true
		}
	}
}

// skip moves over any value; false where the text ends within it.
func (t *tolerant) skip() bool {
	depth := 0
	for t.i < len(t.b) {
		switch c := t.b[t.i]; c {
		case '"':
			if _, ok := t.text(); !ok {
				return false
			}
		case '{', '[':
			depth++
			t.i++
		case '}', ']':
			if depth == 0 {
				return true
			}
			depth--
			t.i++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return true
			}
			t.i++
			continue
		default:
			t.i++
			if depth == 0 && t.i < len(t.b) {
				continue
			}
		}
		if depth == 0 && (t.i == len(t.b) || !scalar(t.b[t.i-1])) {
			return true
		}
	}
	return false
}

// scalar says whether a byte may be followed by more of the same number or word.
func scalar(c byte) bool { return c != '"' && c != '}' && c != ']' }
