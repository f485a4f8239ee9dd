// Package event is the contract of the raw storefront messages: their types, the decoder and the
// rules a message must keep (docs/contract.md, section 1). schemas/ publishes the same rules as
// JSON Schema; a shared corpus and a fuzz test hold both together.
//
// A [Decoder] judges a message in layers. The lexical layer comes first and does not depend on the
// message's type: JSON as RFC 8259 has it, in UTF-8 without lone surrogates, at most 32 levels deep,
// an object, and no name twice in an object where the contract knows that name for any type; a break
// anywhere makes the message malformed. Then comes the type, then the rules of the type. A message
// that breaks several rules of its type is refused for the first one the decoder meets: fields in
// the order of the document, then what the message lacks.
//
// The decoder reads a message once and allocates nothing but for refusals and for growing its own
// memory; only a message that does not begin with its type is read again up to it, and a refused one
// is read a second time, for the lexical layer alone.
package event

// Type is the kind of a raw message.
type Type uint8

// The four kinds of raw messages (docs/contract.md, section 1).
const (
	Shown Type = iota + 1
	Clicked
	AddedToCart
	Purchased
)

var typeNames = [...]string{Shown: "shown", Clicked: "clicked", AddedToCart: "addedToCart", Purchased: "purchased"}

// typePrefix begins the type of every message.
const typePrefix = "recommendation."

// String is the type as messages write it, such as recommendation.shown; empty for no type.
func (t Type) String() string {
	if name := t.Name(); name != "" {
		return typePrefix + name
	}
	return ""
}

// Name is the type without its prefix, such as shown: the key of insights.event_names and
// dedupe.types in the configuration; empty for no type.
func (t Type) Name() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return ""
}

// ParseType is the inverse of String.
func ParseType(s string) (Type, bool) { return parseType([]byte(s)) }

func parseType(s []byte) (Type, bool) {
	switch string(s) {
	case "recommendation.shown":
		return Shown, true
	case "recommendation.clicked":
		return Clicked, true
	case "recommendation.addedToCart":
		return AddedToCart, true
	case "recommendation.purchased":
		return Purchased, true
	}
	return 0, false
}

// Event is a decoded, valid raw message.
//
// Every byte slice points into the decoded value or into the [Decoder]: it is valid until the
// Decoder's next call and while the value stays unchanged. A nil slice means that the field was
// absent. An Event may be reused: Decode resets it and keeps the capacity of its slices, which the
// bounds of docs/contract.md, section 1, keep below half a megabyte.
type Event struct {
	Type Type

	UserToken              []byte
	AuthenticatedUserToken []byte
	// ID enables de-duplication; 1 to 256 bytes. An empty id is none.
	ID []byte
	// Timestamp is the message's own time in milliseconds since the epoch, or 0 where it has none
	// (integers are at least 100,000,000,000). A text before 1970 gives 1. There is no upper bound but
	// that of the type: whoever adds to it compares it with the clock first.
	Timestamp int64
	// Application is the name of a configured application; nil means "default".
	Application []byte
	// EventName is the name to send; nil means the configured name of the type.
	EventName []byte

	// Lists are the lists of a shown message, whatever form it came in, in order of the message.
	Lists []List
	// Facets are those of a shown or clicked message, unencoded. A recommend form may have both
	// lists and facets, or neither where all its results were empty.
	Facets []Facet
	// TokenMismatch says that a Recommend request inside a shown message names another userToken.
	TokenMismatch bool

	// Index and QueryID are the message-level ones of a click, add-to-cart or purchase, Model that of a
	// click; Index is that of shown facets too. A purchase has no message_ id here, since its items cannot take it.
	Index, QueryID, Model []byte
	// Objects are the clicked objects.
	Objects []Object
	// Items are those of an add-to-cart or purchase.
	Items []Item
	// Currency is what the message said, not yet judged: a bad one is counted, not refused.
	Currency []byte
	// Value is the message's own total, decimal text.
	Value []byte
	// OrderID is the purchase's order.
	OrderID []byte

	// MalformedQueryIDs counts the queryIDs of the message that were treated as absent because
	// they are neither 32 hexadecimal digits nor a message_ id.
	MalformedQueryIDs int
	// DroppedMessageIDs counts the message_ ids of a purchase and its items that were treated as absent.
	DroppedMessageIDs int
}

// List is one shown list: what an impression is made of.
type List struct {
	Index, Model []byte
	// QueryID is 32 lower-case hexadecimal digits or a message_ id; nil: the list is a view only.
	QueryID []byte
	// MalformedID: the list has a queryID that is neither, and was treated as absent.
	MalformedID bool
	// PositionOffset is added to the place in the list (from 1) to give the position.
	PositionOffset int64
	// ObjectIDs are the list's objects in order; they may repeat.
	ObjectIDs [][]byte
	// Tags are the analyticsTags of the request.
	Tags [][]byte
}

// Facet is a facet value, unencoded.
type Facet struct {
	Name, Value []byte
	// Index is that of the Recommend request the facet answers, or that of the message; nil: none.
	Index []byte
}

// Object is a clicked object.
type Object struct {
	ID []byte
	// Position is 1 to 2³¹−1, or 0 where the message gave none; all objects of a click have one or
	// none has.
	Position int32
}

// Item is one item of an add-to-cart or purchase.
type Item struct {
	ObjectID              []byte
	Index, QueryID, Model []byte
	// Price and Discount are decimal text of at most 16 characters, nil where absent.
	Price, Discount []byte
	// Quantity is 1 to 2³¹−1; an absent one was set to 1.
	Quantity int32
}

// reset makes e an empty event that keeps the capacity of its slices.
func (e *Event) reset() {
	*e = Event{Lists: e.Lists[:0], Facets: e.Facets[:0], Objects: e.Objects[:0], Items: e.Items[:0]}
}

// IsMessageID says whether a queryID is of the message_ form of conversational analytics
// rather than 32 hexadecimal digits.
func IsMessageID(queryID []byte) bool { return len(queryID) > 0 && queryID[0] == 'm' }
