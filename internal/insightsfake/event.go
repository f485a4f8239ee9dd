package insightsfake

// Event is one element of "events" as the API received it. The zero value of a
// field means that the attribute is absent: none of them is accepted empty.
//
// Two events are the same if and only if their [Event.Digest] are equal.
type Event struct {
	EventType    string // view, click, conversion
	EventSubtype string // addToCart or purchase, only on a conversion
	EventName    string
	Index        string

	UserToken              string
	AuthenticatedUserToken string

	Timestamp int64 // milliseconds since the epoch; 0: absent, the API takes the time of receipt

	QueryID   string // of the event as a whole; a purchase has it in ObjectData
	ObjectIDs []string
	Positions []int // counted from 1
	Filters   []string

	ObjectData []ObjectData // nil, or as long as ObjectIDs
	Currency   string
	Value      string // a decimal, see Price

	AgentID string // of "instantsearch" telemetry, which a strict fake refuses
}

// ObjectData belongs to the objectID at the same place.
//
// Price and Discount are decimals. They may be sent as JSON numbers or as
// strings, and are compared by value: "19.90", 19.9 and 1.99e1 are the same.
type ObjectData struct {
	Price    string
	Discount string
	Quantity int // 0: absent
	QueryID  string
}
