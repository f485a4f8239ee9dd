// Package event is the contract of the raw storefront messages: their types, the decoder and the
// rules a message must keep. schemas/ publishes the same rules as JSON Schema; a shared corpus and
// a fuzz test hold both together.
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

// Event is a decoded, valid raw message.
//
// Every byte slice points into the decoded value or into the [Decoder]: it is valid until the
// Decoder's next call and while the value stays unchanged. A nil slice means that the field was
// absent. An Event may be reused: Decode resets it and keeps the capacity of its slices.
type Event struct {
	Type Type

	UserToken              []byte
	AuthenticatedUserToken []byte
	// ID enables de-duplication; at most 256 bytes.
	ID []byte
	// Timestamp is the message's own time in milliseconds since the epoch, or 0 where it has none
	// (valid ones are at least 100,000,000,000).
	Timestamp int64
	// Application is the name of a configured application; nil means "default".
	Application []byte
	// EventName is the name to send; nil means the configured name of the type.
	EventName []byte

	// Lists are the lists of a shown message, whatever form it came in, in order of the message.
	Lists []List
	// Facets are those of a shown or clicked message, unencoded.
	Facets []Facet
	// TokenMismatch says that a Recommend request inside a shown message names another userToken.
	TokenMismatch bool

	// Index, QueryID and Model are the message-level ones of a click, add-to-cart or purchase.
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
	// DroppedMessageIDs counts the message_ ids of purchase items that were treated as absent.
	DroppedMessageIDs int
}

// List is one shown list: what an impression is made of.
type List struct {
	Index, Model []byte
	// QueryID is 32 lower-case hexadecimal digits or a message_ id; nil: the list is a view only.
	QueryID []byte
	// PositionOffset is added to the place in the list (from 1) to give the position.
	PositionOffset int64
	// ObjectIDs are the list's objects in order; they may repeat.
	ObjectIDs [][]byte
	// Tags are the analyticsTags of the request.
	Tags [][]byte
}

// Facet is a facet value, unencoded.
type Facet struct{ Name, Value []byte }

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

// IsMessageID says whether a queryID is of the message_ form of conversational analytics
// rather than 32 hexadecimal digits.
func IsMessageID(queryID []byte) bool { return len(queryID) > 0 && queryID[0] == 'm' }
