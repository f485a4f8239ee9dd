package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// causeVersion names the rules below. Whoever changes what they give for any letter takes the next
// version, so that no old group of dead letters is silently split or merged.
const causeVersion = "c1-"

// Cause is the id under which dead letters that need the same remedy meet: "c1-" and the first four
// bytes, in hexadecimal, of the SHA-256 of these values, each ended by a newline: reason, stage,
// field without indexes, rule, HTTP status (empty without one), the API's words with values
// replaced, type, application. See [bareField] and [bareWords] for the two that are rewritten.
//
// It holds neither object ids nor amounts, tokens or times, so the same mistake in a million
// messages is one cause.
func Cause(l *Letter) string {
	status := ""
	if l.HTTPStatus > 0 {
		status = strconv.Itoa(l.HTTPStatus)
	}
	var buf [512]byte
	text := buf[:0]
	for _, value := range [...]string{
		l.Refusal.Reason.String(), string(l.Refusal.Stage), BareField(l.Refusal.Field), l.Refusal.Rule,
		status, bareWords(l.APIWords), l.Type, l.Application,
	} {
		text = append(append(text, value...), '\n')
	}
	sum := sha256.Sum256(text)
	return causeVersion + hex.EncodeToString(sum[:4])
}

// BareField removes the indexes of a path: items[3].price becomes items[].price.
func BareField(path string) string {
	if strings.IndexByte(path, '[') < 0 {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		out = append(out, path[i])
		if path[i] != '[' {
			continue
		}
		end := i + 1
		for end < len(path) && '0' <= path[end] && path[end] <= '9' {
			end++
		}
		if end < len(path) && path[end] == ']' {
			i = end - 1
		}
	}
	return string(out)
}

// maxWords bounds the API's words that count, in bytes.
const maxWords = 1024

// value stands for a value in the API's words.
const value = "#"

// bareWords replaces what differs between two messages of the same kind by a number sign: quoted
// text, URLs, and words with a digit in them (numbers, times, ids), of eight or more hexadecimal
// digits, or of more than 40 bytes. Several values in a row, with nothing but spaces and punctuation
// between them, are one. Words end at spaces, quotes and the characters = : , ; ( ) [ ] { } < > |, so
// that a field's name before a value stays. An id of letters alone cannot be told from a word.
func bareWords(text string) string {
	text = cut(text, maxWords)
	var out words
	for text != "" {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case unicode.IsSpace(r):
			out.punctuation(" ")
		case strings.ContainsRune(quotes, r):
			if n = quoted(text); n > 0 {
				out.value()
			} else {
				_, n = utf8.DecodeRuneInString(text)
			}
		case strings.ContainsRune(separators, r):
			out.punctuation(text[:n])
		default:
			n = out.word(text)
		}
		text = text[n:]
	}
	return out.String()
}

const (
	quotes     = "\"'`\u2018\u2019\u201C\u201D"
	separators = "=:,;()[]{}<>|"
)

// quoted returns the length of the quoted text that starts here, 0 if the quote is never closed. A
// closing quote is followed by neither letter nor digit: an apostrophe closes nothing.
func quoted(text string) int {
	open, n := utf8.DecodeRuneInString(text)
	closing := open
	switch open {
	case '\u2018':
		closing = '\u2019'
	case '\u201C':
		closing = '\u201D'
	}
	for i := n; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if r != closing {
			continue
		}
		if next, _ := utf8.DecodeRuneInString(text[i:]); i == len(text) || !unicode.IsLetter(next) && !unicode.IsDigit(next) {
			return i
		}
	}
	return 0
}

// words builds the rewritten text; values that follow each other melt into one.
type words struct {
	strings.Builder
	pending string // spaces and punctuation since the last word or value
	after   bool   // the last thing written was a value
}

func (w *words) punctuation(s string) {
	if s == " " && (strings.HasSuffix(w.pending, " ") || w.pending == "" && w.Len() == 0) {
		return
	}
	w.pending += s
}

func (w *words) value() {
	if !w.after {
		w.write(value)
	}
	w.pending, w.after = "", true
}

func (w *words) write(s string) {
	w.WriteString(w.pending)
	w.WriteString(s)
	w.pending, w.after = "", false
}

// word takes the word that text starts with, returns its length and writes it or its sign.
func (w *words) word(text string) int {
	if n := url(text); n > 0 {
		w.value()
		return n
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || r != '\'' && r != '\u2019' && strings.ContainsRune(quotes, r) || strings.ContainsRune(separators, r)
	})
	if end < 0 {
		end = len(text)
	}
	word := strings.TrimRight(text[:end], ".!?'\u2019")
	if word == "" { // an ellipsis, a lonely question mark
		w.punctuation(text[:end])
		return end
	}
	w.path(word)
	return len(word)
}

// path writes a word; the numbers in a dotted path are values, its names are not.
func (w *words) path(word string) {
	segments := strings.Split(word, ".")
	for _, s := range segments {
		if isID(s) && !isNumber(s) {
			w.value()
			return
		}
	}
	for i, s := range segments {
		if i > 0 {
			w.punctuation(".")
		}
		switch {
		case isNumber(s):
			w.value()
		case s != "":
			w.write(s)
		}
	}
}

func isNumber(s string) bool {
	for _, r := range s {
		if !unicode.IsDigit(r) {
			return false
		}
	}
	return s != ""
}

func isID(s string) bool {
	hexDigits := 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			return true
		case 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F':
			hexDigits++
		}
	}
	return hexDigits == len(s) && hexDigits >= 8 || len(s) > 40
}

// url returns the length of the URL that text starts with, 0 if it does not start with one.
func url(text string) int {
	scheme := strings.Index(text, "://")
	if scheme <= 0 || strings.IndexFunc(text[:scheme], func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '+')
	}) >= 0 {
		return 0
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("\"'`<>()", r)
	})
	if end < 0 {
		end = len(text)
	}
	return len(strings.TrimRight(text[:end], ".,;:!?"))
}

// BareWords is what of the API's words goes into a cause: the words without values, which may be shown
// where payloads may not.
func BareWords(text string) string { return bareWords(text) }
