package insightsfake

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep values may nest; encoding/json has the same limit.
const maxDepth = 10000

// scanner reads one JSON text (RFC 8259) from front to back. Its methods return
// ok = false where the text is no JSON: bad syntax, bad UTF-8, half a surrogate
// pair. What it returns points into data or, for strings with escapes, into
// arena, and is valid until reset.
type scanner struct {
	data  []byte
	at    int
	arena []byte
}

func (s *scanner) reset(data []byte) {
	s.data, s.at, s.arena = data, 0, s.arena[:0]
}

// kind is the type of the value that starts here, in the words that Go's
// decoder, and with it the API's messages, use. Empty: no value starts here.
type kind string

const (
	kindString kind = "string"
	kindNumber kind = "number"
	kindBool   kind = "bool"
	kindNull   kind = "null"
	kindObject kind = "object"
	kindArray  kind = "array"
)

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) kind() kind {
	switch c := s.peek(); c {
	case '"':
		return kindString
	case '{':
		return kindObject
	case '[':
		return kindArray
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return kindNumber
		}
		return ""
	}
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// end reports that nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.data)
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// member moves to the value of the object's next member and returns its name.
// more is false at the object's end. The opening brace is the caller's.
func (s *scanner) member(first bool) (name []byte, more, ok bool) {
	more, ok = s.next(first, '}')
	if !more || !ok {
		return nil, false, ok
	}
	if name, ok = s.text(); !ok {
		return nil, false, false
	}
	s.space()
	if !s.take(':') {
		return nil, false, false
	}
	s.space()
	return name, true, true
}

// next moves to the next element of an array, or member of an object, whose
// opening bracket the caller took. more is false at its end.
func (s *scanner) next(first bool, end byte) (more, ok bool) {
	s.space()
	if s.take(end) {
		return false, true
	}
	if first {
		return true, true
	}
	if !s.take(',') {
		return false, false
	}
	s.space()
	return s.peek() != end, s.peek() != end
}

// plain marks the bytes that stand for themselves in a string and are ASCII.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string and returns it without quotes and escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	start, ascii := s.at, true
	for i := s.at; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case plain[c]:
		case c == '"':
			s.at = i + 1
			raw := s.data[start:i]
			return raw, ascii || utf8.Valid(raw)
		case c == '\\':
			s.at = i
			return s.escaped(start)
		case c >= utf8.RuneSelf:
			ascii = false
		default:
			return nil, false
		}
	}
	return nil, false
}

// escaped goes on with a string that starts at start and has its first
// backslash here.
func (s *scanner) escaped(start int) ([]byte, bool) {
	from := len(s.arena)
	s.arena = append(s.arena, s.data[start:s.at]...)
	for s.at < len(s.data) {
		c := s.data[s.at]
		s.at++
		switch {
		case c == '"':
			out := s.arena[from:len(s.arena):len(s.arena)]
			return out, utf8.Valid(out)
		case c == '\\':
			if !s.escape() {
				return nil, false
			}
		case c < 0x20:
			return nil, false
		default:
			s.arena = append(s.arena, c)
		}
	}
	return nil, false
}

const (
	escapes     = `"\/bfnrt`
	escapesMean = "\"\\/\b\f\n\r\t"
)

// escape reads what follows a backslash.
func (s *scanner) escape() bool {
	c := s.peek()
	s.at++
	if i := strings.IndexByte(escapes, c); i >= 0 {
		s.arena = append(s.arena, escapesMean[i])
		return true
	}
	if c != 'u' {
		return false
	}
	r, ok := s.hex4()
	if !ok {
		return false
	}
	if utf16.IsSurrogate(r) {
		if !s.take('\\') || !s.take('u') {
			return false
		}
		low, ok := s.hex4()
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return false
		}
	}
	s.arena = utf8.AppendRune(s.arena, r)
	return true
}

func (s *scanner) hex4() (r rune, ok bool) {
	if len(s.data)-s.at < 4 {
		return 0, false
	}
	for _, c := range s.data[s.at : s.at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.at += 4
	return r, true
}

// number reads a number and returns it as it stands.
func (s *scanner) number() ([]byte, bool) {
	start := s.at
	s.take('-')
	zero := s.peek() == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		return nil, false
	}
	if s.take('.') && s.digits() == 0 {
		return nil, false
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c = s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if s.digits() == 0 {
			return nil, false
		}
	}
	return s.data[start:s.at], true
}

func (s *scanner) digits() int {
	n := digitsOf(s.data[s.at:])
	s.at += n
	return n
}

func (s *scanner) literal() bool {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(s.data)-s.at >= len(word) && string(s.data[s.at:s.at+len(word)]) == word {
			s.at += len(word)
			return true
		}
	}
	return false
}

// skip reads a value of any kind; depth is how deep it is nested already.
func (s *scanner) skip(depth int) bool {
	switch s.kind() {
	case kindString:
		_, ok := s.text()
		return ok
	case kindNumber:
		_, ok := s.number()
		return ok
	case kindObject:
		return s.skipObject(depth + 1)
	case kindArray:
		return s.skipArray(depth + 1)
	case kindBool, kindNull:
		return s.literal()
	default:
		return false
	}
}

func (s *scanner) skipObject(depth int) bool {
	s.at++
	for first := true; depth <= maxDepth; first = false {
		_, more, ok := s.member(first)
		if !more || !ok {
			return ok
		}
		if !s.skip(depth) {
			return false
		}
	}
	return false
}

func (s *scanner) skipArray(depth int) bool {
	s.at++
	for first := true; depth <= maxDepth; first = false {
		more, ok := s.next(first, ']')
		if !more || !ok {
			return ok
		}
		if !s.skip(depth) {
			return false
		}
	}
	return false
}
