package dlq

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// ErrMissed says that an edit does not fit a message: a path is not there, a test failed, nothing matched,
// or the value is not JSON at all. The message stays as it is.
var ErrMissed = errors.New("the edit does not fit the message")

// MaxEdit is how large the text of an edit may be, in bytes: it travels in the plan.
const MaxEdit = 64 << 10

// Edit repairs messages. It is written as JSON Patch (RFC 6902), an array of operations, or as merge patch
// (RFC 7386), an object. What it does not touch keeps its text, numbers as they were written too; the order
// of names stays, white space outside of untouched values does not.
//
// Two things go beyond RFC 6902, since one edit is for many messages. A segment * of a path stands for every
// element of an array that has the rest of the path. And the operation rewrite changes a value by its text:
//
//	{"op": "rewrite", "path": "/items/*/price", "match": "^([0-9]+),([0-9]+)$", "with": "$1.$2"}
//
// match is a regular expression (RE2) over a text, or over the digits of a number, with the replacement;
// the value stays text or number unless "as" says string or number.
type Edit struct {
	text   []byte // compacted and unescaped
	merge  bool
	touch  bool // mayTouch
	steps  []step
	digest string
}

// step is an operation of a JSON Patch.
type step struct {
	kind string
	path []string // the tokens, not yet expanded
	op   jsonpatch.Operation
	// Of a rewrite:
	match *regexp.Regexp
	with  string
	as    string
}

// ParseEdit reads an edit. The error says which operation is wrong.
func ParseEdit(text []byte) (*Edit, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("the edit is no JSON: %w", err)
	}
	own := unescaped(compact.Bytes())
	if len(own) > MaxEdit {
		return nil, fmt.Errorf("the edit has %d bytes, at most %d are taken", len(own), MaxEdit)
	}
	sum := sha256.Sum256(own)
	e := &Edit{text: own, digest: hex.EncodeToString(sum[:8])}
	switch e.text[0] {
	case '{':
		e.merge = true
		e.touch = e.mayTouch()
		return e, nil
	case '[':
	default:
		return nil, errors.New("the edit is neither a JSON Patch (an array of operations) nor a merge patch (an object)")
	}
	var ops []map[string]json.RawMessage
	if err := json.Unmarshal(e.text, &ops); err != nil {
		return nil, fmt.Errorf("the edit is no JSON Patch: %w", err)
	}
	if len(ops) == 0 {
		return nil, errors.New("the edit has no operation")
	}
	for i, op := range ops {
		s, err := parseStep(op)
		if err != nil {
			return nil, fmt.Errorf("operation %d of the edit: %w", i+1, err)
		}
		e.steps = append(e.steps, s)
	}
	e.touch = e.mayTouch()
	return e, nil
}

// unescaped writes the characters as they are that JSON need not escape, and that are escaped where a plan
// is written: what an edit is must not depend on that.
func unescaped(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		if text[i+1] == 'u' && i+6 <= len(text) {
			n, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
			if r := rune(n); err == nil && (strings.ContainsRune("<>&\u2028\u2029", r) || r >= 0x7f && r < 0xa0) {
				out = utf8.AppendRune(out, r)
				i += 5
				continue
			}
		}
		out = append(out, text[i], text[i+1])
		i++
	}
	return out
}

// mayTouch says whether the edit could change what the join looks up, or which objects a message has. It is
// true for every edit that is not plainly about something else.
func (e *Edit) mayTouch() bool {
	if e.merge {
		var members map[string]json.RawMessage
		if json.Unmarshal(e.text, &members) != nil {
			return true
		}
		for name := range members {
			if slices.Contains(joinNames, name) || name == "items" {
				return true
			}
		}
		return false
	}
	for i := range e.steps {
		s := &e.steps[i]
		last := s.path[len(s.path)-1]
		whole := last == "-" || last == "*" || last == "items" || last[:min(1, len(last))] >= "0" && last[:min(1, len(last))] <= "9"
		if whole || s.kind == "move" || s.kind == "copy" || slices.ContainsFunc(s.path, func(name string) bool { return slices.Contains(joinNames, name) }) {
			return true
		}
	}
	return false
}

// Digest names the edit: 16 hexadecimal digits over its text without white space.
func (e *Edit) Digest() string { return e.digest }

// Text is the edit as it goes into a plan.
func (e *Edit) Text() json.RawMessage { return e.text }

func parseStep(op map[string]json.RawMessage) (s step, err error) {
	if s.kind, err = member(op, "op", true); err != nil {
		return s, err
	}
	path, err := member(op, "path", true)
	if err != nil {
		return s, err
	}
	if s.path, err = tokens(path); err != nil {
		return s, err
	}
	switch s.kind {
	case "rewrite":
		return s, s.rewriteOf(op)
	case "add", "replace", "test":
		if op["value"] == nil {
			return s, fmt.Errorf("%s wants a value", s.kind)
		}
	case "move", "copy":
		from, err := member(op, "from", true)
		if err != nil {
			return s, err
		}
		if strings.Contains(path+from, "*") {
			return s, fmt.Errorf("%s takes no * in its paths", s.kind)
		}
		if _, err := tokens(from); err != nil {
			return s, err
		}
	case "remove":
	default:
		return s, fmt.Errorf("unknown op %q: want add, remove, replace, move, copy, test or rewrite", s.kind)
	}
	s.op = make(jsonpatch.Operation, len(op))
	for name, value := range op {
		s.op[name] = &value
	}
	return s, nil
}

func (s *step) rewriteOf(op map[string]json.RawMessage) error {
	match, err := member(op, "match", true)
	if err != nil {
		return err
	}
	if s.match, err = regexp.Compile(match); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	if s.with, err = member(op, "with", true); err != nil {
		return err
	}
	if s.as, err = member(op, "as", false); err != nil {
		return err
	}
	if s.as != "" && s.as != "string" && s.as != "number" {
		return fmt.Errorf("as wants string or number, got %q", s.as)
	}
	return nil
}

// member reads a member that is text.
func member(op map[string]json.RawMessage, name string, required bool) (text string, err error) {
	value, there := op[name]
	if !there && !required {
		return "", nil
	}
	if !there || json.Unmarshal(value, &text) != nil || bytes.Equal(value, []byte("null")) {
		return "", fmt.Errorf("%s is missing or no text", name)
	}
	return text, nil
}

var pointerText = strings.NewReplacer("~1", "/", "~0", "~")

// tokens takes a JSON pointer (RFC 6901) apart. The whole document, "", cannot be edited.
func tokens(pointer string) ([]string, error) {
	if !strings.HasPrefix(pointer, "/") {
		return nil, fmt.Errorf("path %q does not begin with /", pointer)
	}
	list := strings.Split(pointer[1:], "/")
	for i := range list {
		list[i] = pointerText.Replace(list[i])
	}
	return list, nil
}

var tokenText = strings.NewReplacer("~", "~0", "/", "~1")

func pointerOf(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		_, _ = tokenText.WriteString(&b, t)
	}
	return b.String()
}

// Apply gives the edited message; value stays as it is. The error is [ErrMissed] or wraps it.
func (e *Edit) Apply(value []byte) ([]byte, error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '{' || !json.Valid(value) {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrMissed)
	}
	if e.merge {
		out, err := jsonpatch.MergePatch(value, e.text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMissed, err)
		}
		return out, nil
	}
	for i := range e.steps {
		var err error
		if value, err = e.steps[i].apply(value); err != nil {
			return nil, fmt.Errorf("%w: operation %d, %s %s: %w", ErrMissed, i+1, e.steps[i].kind, pointerOf(e.steps[i].path), err)
		}
	}
	return value, nil
}

var errNothingThere = errors.New("nothing is there")

// apply takes one operation to every place that its path stands for.
func (s *step) apply(value []byte) ([]byte, error) {
	spots := []spot{{path: s.path}}
	switch {
	case slices.Contains(s.path, "*"):
		if spots = expand(value, nil, s.path, s.kind == "add"); len(spots) == 0 {
			return nil, errNothingThere
		}
	case s.kind == "rewrite":
		spots[0].value, _ = lookUp(value, s.path)
	}
	if s.kind == "rewrite" {
		return s.rewrite(value, spots)
	}
	if s.kind == "remove" {
		slices.Reverse(spots) // the later elements of an array first, whose places would change
	}
	patch := make(jsonpatch.Patch, len(spots))
	for i := range spots {
		patch[i] = at(s.op, spots[i].path)
	}
	return applied(patch, value)
}

// spot is a place of a message.
type spot struct {
	path  []string
	value rawMessage // nil: it is not there, or nobody asks
}

func applied(patch jsonpatch.Patch, value []byte) ([]byte, error) {
	options := jsonpatch.NewApplyOptions()
	options.EscapeHTML, options.SupportNegativeIndices = false, false
	return patch.ApplyWithOptions(value, options)
}

// at is the operation for another path.
func at(op jsonpatch.Operation, path []string) jsonpatch.Operation {
	own := maps.Clone(op)
	own["path"] = quotedText(pointerOf(path))
	return own
}

// rewrite changes the texts and numbers at the spots that match; at least one must.
func (s *step) rewrite(value []byte, spots []spot) ([]byte, error) {
	var patch jsonpatch.Patch
	for i := range spots {
		if len(spots[i].value) == 0 {
			continue
		}
		changed, ok := s.rewritten(spots[i].value)
		if !ok {
			continue
		}
		patch = append(patch, jsonpatch.Operation{"op": &replaceText, "path": quotedText(pointerOf(spots[i].path)), "value": &changed})
	}
	if len(patch) == 0 {
		return nil, errors.New("nothing matched")
	}
	return applied(patch, value)
}

var replaceText = rawMessage(`"replace"`)

func (s *step) rewritten(raw []byte) (rawMessage, bool) {
	text, as := string(raw), "number"
	switch {
	case raw[0] == '"':
		if json.Unmarshal(raw, &text) != nil {
			return nil, false
		}
		as = "string"
	case raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		return nil, false // neither text nor number
	}
	if !s.match.MatchString(text) {
		return nil, false
	}
	text = s.match.ReplaceAllString(text, s.with)
	if s.as != "" {
		as = s.as
	}
	if as == "string" {
		return *quotedText(text), true
	}
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return nil, false
	}
	return rawMessage(text), true
}

type rawMessage = json.RawMessage

func quotedText(text string) *rawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // text always encodes
	raw := rawMessage(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return &raw
}

// expand lists the spots that a path with * stands for. The last member of an add need not be there.
func expand(value []byte, done, rest []string, add bool) []spot {
	if len(rest) == 0 || add && len(rest) == 1 && rest[0] != "*" && value != nil {
		return []spot{{append(slices.Clone(done), rest...), bytes.TrimSpace(value)}}
	}
	if rest[0] == "*" {
		var elements []rawMessage
		if json.Unmarshal(value, &elements) == nil {
			var list []spot
			for i, element := range elements {
				list = append(list, expand(element, append(slices.Clone(done), strconv.Itoa(i)), rest[1:], add)...)
			}
			return list
		}
	}
	if next, there := lookUp(value, rest[:1]); there {
		return expand(next, append(slices.Clone(done), rest[0]), rest[1:], add)
	}
	return nil
}

// lookUp finds the value at a path, as it is written.
func lookUp(value []byte, path []string) (rawMessage, bool) {
	for _, name := range path {
		value = bytes.TrimSpace(value)
		switch {
		case len(value) > 0 && value[0] == '{':
			var object map[string]rawMessage
			if json.Unmarshal(value, &object) != nil {
				return nil, false
			}
			next, there := object[name]
			if !there {
				return nil, false
			}
			value = next
		case len(value) > 0 && value[0] == '[':
			var array []rawMessage
			if json.Unmarshal(value, &array) != nil {
				return nil, false
			}
			i, ok := index(name, len(array))
			if !ok {
				return nil, false
			}
			value = array[i]
		default:
			return nil, false
		}
	}
	return bytes.TrimSpace(value), true
}

func index(name string, n int) (int, bool) {
	i := 0
	if name == "" || len(name) > 6 || name[0] == '0' && len(name) > 1 {
		return 0, false
	}
	for _, c := range []byte(name) {
		if c < '0' || c > '9' {
			return 0, false
		}
		i = i*10 + int(c-'0')
	}
	return i, i < n
}
