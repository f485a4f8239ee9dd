package event

// Options say how a Decoder treats messages.
type Options struct {
	// HashTokens replaces user tokens that the Insights API would refuse, for their characters or
	// their length, by the lower-case hexadecimal SHA-256 of their UTF-8 bytes (configuration
	// tokens: hash). Without it such messages are invalid. An empty token is always invalid: hashed,
	// it would make one user of everybody without a token.
	HashTokens bool
}

// Decoder decodes raw messages. It is for one goroutine. It keeps at most about 200 KiB of memory
// between messages, beside what one message needs.
type Decoder struct {
	opts Options

	b      []byte // the message
	typ    Type
	broken breach

	bytes    []byte    // unescaped texts, lower-cased queryIDs, hashed tokens
	texts    [][]byte  // objectIDs and tags, one list after the other
	requests []request // of a Recommend body
	total    int       // objectIDs or hits of all lists so far

	positions [maxClicked]int32

	usual     [len(typeNames)]usualNames // by type; the first: until that is known
	usualItem usualNames
}

// What a Decoder keeps of its memory for the next message.
const (
	maxKeptBytes = 64 << 10
	maxKeptTexts = 4096
)

// breach is a broken rule and where it was broken.
type breach struct {
	rule   rule
	at     int    // place of the offending value, name or byte
	member string // the name of a missing member of the object at that place
	count  int    // elements seen
	limit  int    // elements or value allowed
}

// NewDecoder makes a Decoder.
func NewDecoder(opts Options) *Decoder {
	return &Decoder{opts: opts, bytes: make([]byte, 0, 1024), texts: make([][]byte, 0, 64)}
}

// Decode reads the message value into ev, or says why it is refused; the reason is Malformed,
// UnknownType or Invalid. An empty value is malformed; a null value (tombstone) is the caller's
// business and must not come here.
//
// After a refusal ev holds the message's Type and Application, as far as they can be known, and
// nothing else.
func (d *Decoder) Decode(value []byte, ev *Event) *Refusal {
	d.reset(value)
	ev.reset()
	if d.message(ev) {
		return nil
	}
	refusal := d.refuse()
	ev.reset()
	if refusal.Reason != Malformed {
		ev.Type, ev.Application = d.typ, d.application()
	}
	return refusal
}

func (d *Decoder) reset(value []byte) {
	d.b, d.typ, d.broken, d.total = value, 0, breach{}, 0
	if cap(d.bytes) > maxKeptBytes {
		d.bytes = make([]byte, 0, 1024)
	}
	if cap(d.texts) > maxKeptTexts {
		d.texts = make([][]byte, 0, 64)
	}
	d.bytes, d.texts, d.requests = d.bytes[:0], d.texts[:0], d.requests[:0]
}

// fail notes the rule broken at a place and returns −1, the place after a broken value.
func (d *Decoder) fail(r rule, at int) int {
	d.broken = breach{rule: r, at: at}
	return -1
}

// failMissing notes that the object at a place lacks a member.
func (d *Decoder) failMissing(r rule, at int, member string) int {
	d.broken = breach{rule: r, at: at, member: member}
	return -1
}

// failCount notes that the array or number at a place breaks its limit.
func (d *Decoder) failCount(r rule, at, count, limit int) int {
	d.broken = breach{rule: r, at: at, count: count, limit: limit}
	return -1
}

// field is a known name of the message's own object, for any type.
type field uint8

const (
	noField field = iota
	fieldType
	fieldUserToken
	fieldAuthenticatedUserToken
	fieldID
	fieldTimestamp
	fieldApplication
	fieldEventName
	fieldIndex
	fieldQueryID
	fieldModel
	fieldObjectIDs
	fieldPositionOffset
	fieldAnalyticsTags
	fieldLists
	fieldRecommend
	fieldFacets
	fieldObjectID
	fieldPosition
	fieldPositions
	fieldItems
	fieldCurrency
	fieldValue
	fieldOrderID
	numFields
)

var fieldNames = [numFields]string{"", "type", "userToken", "authenticatedUserToken", "id", "timestamp", "application",
	"eventName", "index", "queryID", "model", "objectIDs", "positionOffset", "analyticsTags", "lists", "recommend",
	"facets", "objectID", "position", "positions", "items", "currency", "value", "orderID"}

// fieldOf finds a known name.
func fieldOf(name []byte) field {
	switch string(name) {
	case "type":
		return fieldType
	case "userToken":
		return fieldUserToken
	case "authenticatedUserToken":
		return fieldAuthenticatedUserToken
	case "id":
		return fieldID
	case "timestamp":
		return fieldTimestamp
	case "application":
		return fieldApplication
	case "eventName":
		return fieldEventName
	case "index":
		return fieldIndex
	case "queryID":
		return fieldQueryID
	case "model":
		return fieldModel
	case "objectIDs":
		return fieldObjectIDs
	case "positionOffset":
		return fieldPositionOffset
	case "analyticsTags":
		return fieldAnalyticsTags
	case "lists":
		return fieldLists
	case "recommend":
		return fieldRecommend
	case "facets":
		return fieldFacets
	case "objectID":
		return fieldObjectID
	case "position":
		return fieldPosition
	case "positions":
		return fieldPositions
	case "items":
		return fieldItems
	case "currency":
		return fieldCurrency
	case "value":
		return fieldValue
	case "orderID":
		return fieldOrderID
	}
	return noField
}

// fieldSet is a set of fields.
type fieldSet uint32

func setOf(fields ...field) (s fieldSet) {
	for _, f := range fields {
		s |= 1 << f
	}
	return s
}

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }

// fieldsOfType are the fields that each type takes; others are unknown to it and ignored.
var fieldsOfType = func() (sets [len(typeNames)]fieldSet) {
	every := setOf(fieldType, fieldUserToken, fieldAuthenticatedUserToken, fieldID, fieldTimestamp, fieldApplication,
		fieldEventName, fieldIndex, fieldQueryID, fieldModel)
	bought := setOf(fieldItems, fieldCurrency, fieldValue)
	sets[Shown] = every | setOf(fieldObjectIDs, fieldPositionOffset, fieldAnalyticsTags, fieldLists, fieldRecommend, fieldFacets)
	sets[Clicked] = every | setOf(fieldObjectID, fieldPosition, fieldObjectIDs, fieldPositions, fieldFacets)
	sets[AddedToCart] = every&^setOf(fieldModel) | bought
	sets[Purchased] = sets[AddedToCart] | setOf(fieldOrderID)
	return sets
}()

// message reads the whole message and says whether it is valid.
func (d *Decoder) message(ev *Event) bool {
	start := skipSpace(d.b, 0)
	if start >= len(d.b) || d.b[start] != '{' {
		d.fail(ruleNotObject, start)
		return false
	}
	m := messageReader{d: d, ev: ev, start: start}
	first, more := d.open(start+1, '}')
	i, typeFirst := d.findType(start, first, more)
	if i < 0 {
		return false
	}
	ev.Type = d.typ
	if typeFirst {
		m.seen = setOf(fieldType)
		i, more = d.more(i, '}')
	} else {
		i = first
	}
	if i = m.members(i, more); i < 0 {
		return false
	}
	if i = skipSpace(d.b, i); i < len(d.b) {
		d.fail(ruleTrailing, i)
		return false
	}
	return m.finish()
}

// findType reads the message's type into d.typ, wherever it stands: first, if people write as
// people do. It returns where its value ends, or −1.
func (d *Decoder) findType(start, i int, more bool) (next int, first bool) {
	first = true
	for k := 0; more; k++ {
		var f field
		if f, i = d.usualField(&d.usual[0], k, i); i < 0 {
			return -1, false
		}
		if f == fieldType {
			return d.readType(i), first
		}
		if i = d.skip(i, nil, 1); i < 0 {
			return -1, false
		}
		first = false
		i, more = d.more(i, '}')
	}
	if i < 0 {
		return -1, false
	}
	return d.failMissing(ruleTypeRequired, start, "type"), false
}

func (d *Decoder) readType(i int) int {
	v, next := d.text(i, ruleTypeText)
	if next < 0 {
		return -1
	}
	var known bool
	if d.typ, known = parseType(v); !known {
		return d.fail(ruleTypeKnown, i)
	}
	return next
}

// application reads the application of a message that is lexically sound; nil if it has none.
func (d *Decoder) application() []byte {
	i, more := d.open(skipSpace(d.b, 0)+1, '}')
	for more {
		var name []byte
		if name, i = d.name(i); string(name) == "application" {
			v, _ := d.text(i, ruleApplicationText)
			return v
		}
		i, more = d.more(d.skip(i, nil, 1), '}')
	}
	return nil
}
