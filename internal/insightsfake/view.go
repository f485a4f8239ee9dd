package insightsfake

import "strconv"

// field is a set of the attributes an event, or an item of its objectData, has.
type field uint32

const (
	hasEventName field = 1 << iota
	hasEventType
	hasEventSubtype
	hasIndex
	hasUserToken
	hasAuthenticatedUserToken
	hasTimestamp
	hasQueryID
	hasObjectIDs
	hasPositions
	hasFilters
	hasObjectData
	hasCurrency
	hasValue
	hasAgentID
	hasPrice
	hasDiscount
	hasQuantity
	hasUnknown // at least one attribute that the specification does not name
)

// maxHeld bounds how many elements of a list are kept of one event; longer
// lists are refused, so only their length is needed.
const maxHeld = 32

// view is an event as it stands in the body. Its bytes are the body's or the
// scanner's arena's.
type view struct {
	has field

	eventName, eventType, eventSubtype []byte
	index                              []byte
	userToken, authenticatedUserToken  []byte
	queryID, currency, agentID         []byte
	value                              []byte // digits as sent, without quotes
	valueIsText                        bool
	timestamp                          int64

	objectIDs, filters [][]byte
	positions          []int
	items              []itemView

	// Lengths as sent; the lists hold maxHeld elements at most.
	objectIDCount, filterCount, positionCount, itemCount int
}

type itemView struct {
	has                      field
	price, discount, queryID []byte
	quantity                 int32
}

// clear forgets the event but keeps the room of its lists.
func (v *view) clear() {
	*v = view{
		objectIDs: v.objectIDs[:0],
		filters:   v.filters[:0],
		positions: v.positions[:0],
		items:     v.items[:0],
	}
}

// event copies the view into an [Event] of its own.
func (v *view) event() Event {
	e := Event{
		EventType:              string(v.eventType),
		EventSubtype:           string(v.eventSubtype),
		EventName:              string(v.eventName),
		Index:                  string(v.index),
		UserToken:              string(v.userToken),
		AuthenticatedUserToken: string(v.authenticatedUserToken),
		Timestamp:              v.timestamp,
		QueryID:                string(v.queryID),
		ObjectIDs:              texts(v.objectIDs),
		Filters:                texts(v.filters),
		Currency:               string(v.currency),
		Value:                  string(v.value),
		AgentID:                string(v.agentID),
	}
	if len(v.positions) > 0 {
		e.Positions = append(e.Positions, v.positions...)
	}
	for i := range v.items {
		d := &v.items[i]
		e.ObjectData = append(e.ObjectData, ObjectData{
			Price: string(d.price), Discount: string(d.discount),
			Quantity: int(d.quantity), QueryID: string(d.queryID),
		})
	}
	return e
}

func texts(list [][]byte) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// integer reads an integer the way Go's decoder does: digits only, no fraction
// and no exponent, within the type's bounds.
func integer(s []byte, bits int) (int64, bool) {
	n, err := strconv.ParseInt(string(s), 10, bits)
	return n, err == nil
}
