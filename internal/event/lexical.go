package event

// maxDepth is how deep a message may nest; the message's own object is the first level.
const maxDepth = 32

// A place is where a value can stand in a message, whatever the message's type: it says which
// names are known there. No place (nil) is one inside an unknown field.
type place struct {
	members []member // of an object
	element *place   // of an array
}

// member is a known name and the place of its value.
type member struct {
	name  string
	place *place
}

// find gives the number of a known name in an object at p.
func (p *place) find(name []byte) (int, bool) {
	if p != nil {
		for i := range p.members {
			if p.members[i].name == string(name) {
				return i, true
			}
		}
	}
	return 0, false
}

func arrayOf(p *place) *place { return &place{element: p} }

// leafPlace is where a text or a number stands.
var leafPlace = new(place)

func leaves(names ...string) []member {
	members := make([]member, len(names))
	for i, name := range names {
		members[i] = member{name, leafPlace}
	}
	return members
}

var (
	texts     = arrayOf(leafPlace)
	listPlace = &place{members: append(leaves("index", "queryID", "model", "positionOffset"),
		member{"objectIDs", texts}, member{"analyticsTags", texts})}
	facetPlace = &place{members: leaves("facetName", "facetValue")}
	itemPlace  = &place{members: leaves("objectID", "price", "quantity", "discount", "queryID", "index", "model")}

	queryParametersPlace = &place{members: append(leaves("userToken"), member{"analyticsTags", texts})}
	requestPlace         = &place{members: append(leaves("indexName", "model"), member{"queryParameters", queryParametersPlace})}
	requestBodyPlace     = &place{members: []member{{"requests", arrayOf(requestPlace)}}}
	hitPlace             = &place{members: leaves("objectID", "facetName", "facetValue")}
	resultPlace          = &place{members: append(leaves("queryID"), member{"hits", arrayOf(hitPlace)})}
	responseBodyPlace    = &place{members: []member{{"results", arrayOf(resultPlace)}}}
	recommendPlace       = &place{members: []member{{"request", requestBodyPlace}, {"response", responseBodyPlace}}}
)

// messagePlace is the message itself: its known names are those of all types together, so that
// the lexical layer can be judged without knowing the type. The order is that of field.
var messagePlace = func() *place {
	p := &place{members: make([]member, numFields-1)}
	for f := fieldType; f < numFields; f++ {
		p.members[f-1] = member{fieldNames[f], leafPlace}
	}
	for f, at := range map[field]*place{
		fieldObjectIDs: texts, fieldPositions: texts, fieldAnalyticsTags: texts,
		fieldLists: arrayOf(listPlace), fieldFacets: arrayOf(facetPlace), fieldItems: arrayOf(itemPlace),
		fieldRecommend: recommendPlace,
	} {
		p.members[f-1].place = at
	}
	return p
}()

// skip moves over the value at i and judges its lexical layer, no more. depth is the number of
// containers around it. It returns where the value ends, or −1.
func (d *Decoder) skip(i int, p *place, depth int) int {
	b := d.b
	if i >= len(b) {
		return d.fail(ruleTruncated, i)
	}
	var end int
	switch c := b[i]; c {
	case '"':
		if end, _ = scanString(b, i+1); end < 0 {
			return d.failString(i)
		}
		return end + 1
	case '{', '[':
		if depth >= maxDepth {
			return d.fail(ruleDepth, i)
		}
		if c == '{' {
			return d.skipObject(i, p, depth+1)
		}
		return d.skipArray(i, p, depth+1)
	case 't', 'f', 'n':
		end = scanLiteral(b, i)
	default:
		end = scanNumber(b, i)
	}
	if end < 0 {
		return d.fail(ruleSyntax, i)
	}
	return end
}

func (d *Decoder) skipObject(i int, p *place, depth int) int {
	var seen uint64
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		var inner *place
		if n, known := p.find(name); known {
			if seen&(1<<n) != 0 {
				return d.fail(ruleDuplicate, at)
			}
			seen |= 1 << n
			inner = p.members[n].place
		}
		if i = d.skip(i, inner, depth); i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	return i
}

func (d *Decoder) skipArray(i int, p *place, depth int) int {
	var inner *place
	if p != nil {
		inner = p.element
	}
	i, more := d.open(i+1, ']')
	for more {
		if i = d.skip(i, inner, depth); i < 0 {
			return -1
		}
		i, more = d.more(i, ']')
	}
	return i
}

// open begins an object or array after its bracket: it returns where its first member or element
// begins, or, with more false, where the empty container ends.
func (d *Decoder) open(i int, closing byte) (next int, more bool) {
	b := d.b
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return d.fail(ruleTruncated, i), false
	}
	if b[i] == closing {
		return i + 1, false
	}
	return i, true
}

// more goes on after a member or element that ended at i: it returns where the next one begins,
// or, with more false, where the container ends (−1: the document is broken).
func (d *Decoder) more(i int, closing byte) (next int, more bool) {
	b := d.b
	if i+2 < len(b) && b[i] == ',' { // as most people write
		if b[i+1] > ' ' {
			return i + 1, true
		}
		if b[i+1] == ' ' && b[i+2] > ' ' {
			return i + 2, true
		}
	}
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return d.fail(ruleTruncated, i), false
	}
	if b[i] == closing {
		return i + 1, false
	}
	if b[i] != ',' {
		return d.fail(ruleSyntax, i), false
	}
	i++
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	return i, true
}

// name reads a member's name at i and returns it with the place where the value begins.
func (d *Decoder) name(i int) (name []byte, next int) {
	b := d.b
	if i >= len(b) {
		return nil, d.fail(ruleTruncated, i)
	}
	if b[i] != '"' {
		return nil, d.fail(ruleSyntax, i)
	}
	end, plain := scanString(b, i+1)
	if end < 0 {
		return nil, d.failString(i)
	}
	name = b[i+1 : end]
	if !plain {
		name = d.unescape(name)
	}
	i = end + 1
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return nil, d.fail(ruleTruncated, i)
	}
	if b[i] != ':' {
		return nil, d.fail(ruleSyntax, i)
	}
	i++
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	return name, i
}

// lexical judges the lexical layer of the whole message and says whether it holds.
func (d *Decoder) lexical() bool {
	b := d.b
	if len(b) == 0 {
		d.fail(ruleEmpty, 0)
		return false
	}
	start := skipSpace(b, 0)
	i := d.skip(start, messagePlace, 0)
	if i < 0 {
		return false
	}
	if i = skipSpace(b, i); i < len(b) {
		d.fail(ruleTrailing, i)
		return false
	}
	if b[start] != '{' {
		d.fail(ruleNotObject, start)
		return false
	}
	return true
}

// failString says what is wrong with the string that begins with the quote at i.
func (d *Decoder) failString(i int) int {
	b := d.b
	for i++; i < len(b); {
		switch c := b[i]; {
		case c < 0x20:
			return d.fail(ruleControl, i)
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return d.fail(brokenEscape(b[i:]), i)
			}
			i += n
		case c >= 0x80:
			n := runeLen(b[i:])
			if n == 0 {
				return d.fail(ruleUTF8, i)
			}
			i += n
		default:
			i++
		}
	}
	return d.fail(ruleTruncated, i)
}

// brokenEscape tells a lone surrogate from other broken escapes.
func brokenEscape(b []byte) rule {
	if _, ok := escapedUnit(b); ok {
		return ruleSurrogate
	}
	return ruleEscape
}
