// Package insights speaks to the Insights API: its event model, the encoder, the client that says
// what kind of failure it met, and the deliverer that decides when to try again.
package insights

// EventType is the type and subtype of an Insights event (insights-api.md, section 3).
type EventType uint8

// The types of events that the worker sends.
const (
	View EventType = iota + 1
	Click
	AddToCart
	Purchase
)

// Event is one Insights event before encoding. Slices alias the caller's memory. Fields that do not
// belong to the shape must be empty: the encoder writes what is there and does not judge.
type Event struct {
	Type                   EventType
	EventName              []byte
	Index                  []byte
	UserToken              []byte
	AuthenticatedUserToken []byte // nil: left out
	Timestamp              int64  // milliseconds
	QueryID                []byte // nil: left out
	ObjectIDs              [][]byte
	Positions              []int32  // empty, or one for each object
	Filters                [][]byte // facetName:facetValue, already encoded; instead of ObjectIDs
	// Data belongs to AddToCart and Purchase: one for each object.
	Data     []ObjectData
	Currency []byte // nil: left out
	Value    []byte // decimal text, sent as a string; nil: left out
}

// ObjectData is what objectData says of one object.
type ObjectData struct {
	Price, Discount []byte // decimal text, sent as strings; nil: left out
	Quantity        int32
	QueryID         []byte // nil: left out
}

// OutcomeKind is what became of an event.
type OutcomeKind uint8

// The outcomes of an event. An event that has none yet is pending.
const (
	Delivered OutcomeKind = iota + 1
	Rejected              // refused alone with 400 or 422
	TooLarge              // refused alone with 413
	Expired               // older than the age limit, or tried for longer than allowed
	Ambiguous             // may have been taken, and must not be tried again (delivery.ambiguous)
)

// Outcome tells what became of a run of events of one batch.
type Outcome struct {
	Kind OutcomeKind
	// Status is the HTTP status of the last answer, 0 if there was none.
	Status int
	// Words are the API's own, at most 1 KiB, empty for delivered ones.
	Words string
	// Attempts is how many requests carried the event.
	Attempts int
	// FirstFailed is the time of the first request that carried it and failed, Unix milliseconds; 0: none did.
	FirstFailed int64
}
