package event

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxSeen is how many characters of an offending value a refusal repeats.
const maxSeen = 40

// refuse makes the refusal of a message that broke d.rule at d.at. The lexical layer has precedence:
// it is judged whole, since the decoder stopped at the first break of any kind.
func (d *Decoder) refuse() *Refusal {
	broken := d.broken
	if !d.lexical() {
		broken = d.broken
	}
	r := &Refusal{
		Reason: broken.rule.reason(),
		Stage:  StageValidate,
		Rule:   ruleTexts[broken.rule].id,
		Field:  fieldPath(d.b, broken.at),
	}
	if r.Reason == Malformed {
		r.Stage = StageDecode
	}
	if broken.member != "" {
		r.Field = join(r.Field, broken.member)
	}
	r.Message = d.words(broken)
	return r
}

// words tells a person what was seen and what is wanted.
func (d *Decoder) words(broken breach) string {
	text := &ruleTexts[broken.rule]
	wanted := strings.ReplaceAll(text.wanted, "{max}", strconv.Itoa(broken.limit))
	wanted = strings.ReplaceAll(wanted, "{forms}", forms[d.typ])
	switch text.seen {
	case seenNone:
		return wanted
	case seenPlace:
		return whereabouts(d.b, broken.at) + ": " + wanted
	case seenNothing:
		return "missing, wanted " + wanted
	case seenCount:
		return count(broken) + ", wanted " + wanted
	}
	return "got " + shorten(d.b[broken.at:], text.seen) + ", wanted " + wanted
}

// forms lists the forms of a type, for messages.
var forms = [len(typeNames)]string{
	Shown:   "objectIDs, lists, recommend with request and response, or facets",
	Clicked: "objectID, objectIDs or facets",
}

// whereabouts says where in the document a breach is, with the byte seen there.
func whereabouts(b []byte, at int) string {
	if at >= len(b) {
		return fmt.Sprintf("at the end, byte %d", at)
	}
	if b[at] >= utf8.RuneSelf {
		return fmt.Sprintf("byte %d, 0x%02X", at, b[at])
	}
	return fmt.Sprintf("byte %d, %q", at, b[at])
}

func count(broken breach) string {
	switch {
	case broken.count > broken.limit:
		return fmt.Sprintf("more than %d", broken.limit)
	case broken.count == 0:
		return "none"
	}
	return strconv.Itoa(broken.count)
}

// shorten describes the lexically sound value at the beginning of b.
func shorten(b []byte, how seen) string {
	switch b[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		end, _ := scanString(b, 1)
		value := appendUnescaped(nil, b[1:end])
		switch how {
		case seenSecret:
			return fmt.Sprintf("a text of %d bytes", len(value)) + oddCharacter(value)
		case seenBytes:
			return fmt.Sprintf("%d bytes", len(value))
		}
		return strconv.Quote(cut(string(value)))
	case 't', 'f', 'n':
		return string(b[:scanLiteral(b, 0)])
	}
	if how == seenSecret {
		return "a number"
	}
	return cut(string(b[:scanNumber(b, 0)]))
}

// oddCharacter names the first character that a token may not hold.
func oddCharacter(token []byte) string {
	for i, r := range string(token) {
		if r >= utf8.RuneSelf || !tokenByte[r] {
			return fmt.Sprintf(" with %q after %d characters", r, utf8.RuneCount(token[:i]))
		}
	}
	return ""
}

// cut shortens a text to maxSeen characters.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxSeen {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// fieldPath is the path of the field at a place of the document, as far as its names are known:
// a name that the contract does not know is the sender's own and is not repeated. The document
// is sound up to there.
func fieldPath(b []byte, at int) string {
	f := pathFinder{d: Decoder{b: b}, at: at}
	f.value(skipSpace(b, 0), messagePlace, "", 0)
	return f.path
}

type pathFinder struct {
	d    Decoder
	at   int
	path string
}

// value moves over the value at i. It returns −1 once the place was found.
func (f *pathFinder) value(i int, p *place, path string, depth int) int {
	b := f.d.b
	f.path = path
	if i >= f.at || i >= len(b) {
		return -1
	}
	switch {
	case b[i] == '{' && depth < maxDepth:
		return f.object(i, p, path, depth)
	case b[i] == '[' && depth < maxDepth:
		return f.array(i, p, path, depth)
	}
	end := f.d.skip(i, nil, depth)
	if end < 0 || end > f.at {
		return -1
	}
	return end
}

func (f *pathFinder) object(i int, p *place, path string, depth int) int {
	i, more := f.d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = f.d.name(i); i < 0 || at > f.at {
			f.path = path
			return -1
		}
		inner, innerPath := (*place)(nil), path
		if n, known := p.find(name); known {
			inner, innerPath = p.members[n].place, join(path, p.members[n].name)
		}
		if i = f.value(i, inner, innerPath, depth+1); i < 0 {
			return -1
		}
		i, more = f.d.more(i, '}')
	}
	f.path = path
	return i
}

func (f *pathFinder) array(i int, p *place, path string, depth int) int {
	i, more := f.d.open(i+1, ']')
	for n := 0; more; n++ {
		inner, innerPath := (*place)(nil), path
		if p != nil && p.element != nil {
			inner, innerPath = p.element, path+"["+strconv.Itoa(n)+"]"
		}
		if i = f.value(i, inner, innerPath, depth+1); i < 0 {
			return -1
		}
		i, more = f.d.more(i, ']')
	}
	f.path = path
	return i
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
