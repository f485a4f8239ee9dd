package insightsfake

// rule is a reason to answer 422. Its name is the one the specification's
// examples use, where they have one.
type rule uint8

const (
	noRule rule = iota

	ruleInvalidPayload
	ruleEnvelope
	ruleNoEvents
	ruleDataType
	ruleTooManyEvents
	ruleEventNameRequired
	ruleEventName
	ruleEventTypeRequired
	ruleEventType
	ruleEventSubtype
	ruleIndexRequired
	ruleUserTokenRequired
	ruleUserToken
	ruleAuthenticatedUserToken
	ruleTimestamp
	ruleNoObjectIDsOrFilters
	ruleBothDefined
	ruleTooManyObjectIDs
	ruleTooManyFilters
	rulePositionsOnWrongEventType
	rulePositionsWithoutQueryID
	rulePositionsValue
	rulePositionsItems
	ruleQueryID
	ruleObjectDataItems
	ruleObjectDataKeys
	ruleObjectDataQueryID
	ruleObjectDataQueryIDPlain
	ruleMoney
	ruleValue
	ruleCurrency

	ruleStrictRepeated
	ruleStrictUnknown
	ruleStrictInstantsearch
	ruleStrictQueryIDOnView
	ruleStrictQueryIDOnFilters
	ruleStrictQueryIDOnPurchase
	ruleStrictSubtypeOnFilters
	ruleStrictMoneyPlace
	ruleStrictNoCurrency
	ruleStrictNegative
	ruleStrictQuantity
	ruleStrictEmptyObjectID
	ruleStrictFilterForm
	ruleStrictValueSum

	ruleRefusedByScript

	ruleCount
)

// rules gives each rule's name, which [Stats.RefusedBy] counts under, and its
// message. Messages of the API are the specification's; the API's own change
// over time, so nobody may depend on them.
var rules = [ruleCount]struct{ name, message string }{
	ruleInvalidPayload:            {"InvalidPayload", "Invalid payload"},
	ruleEnvelope:                  {"NoEventsField", ""},
	ruleNoEvents:                  {"NoEvents", "No events to process"},
	ruleDataType:                  {"InvalidDataType", ""},
	ruleTooManyEvents:             {"TooManyEvents", ""},
	ruleEventNameRequired:         {"EventNameRequired", "EventName is required"},
	ruleEventName:                 {"WrongEventName", "EventName must contain only visible ASCII characters, and be between 1 and 64 characters long"},
	ruleEventTypeRequired:         {"EventTypeRequired", "EventType is required"},
	ruleEventType:                 {"WrongEventType", `EventType must be one of "click", "conversion", "view" or "instantsearch"`},
	ruleEventSubtype:              {"WrongEventSubtype", `EventSubtype must be one of "addToCart" or "purchase", on an event of type conversion`},
	ruleIndexRequired:             {"IndexRequired", "The index field is required"},
	ruleUserTokenRequired:         {"UserTokenRequired", "The userToken field is required"},
	ruleUserToken:                 {"WrongUserToken", "UserToken must contain only alphanumeric, equal, plus, slash, hyphen, or underscore characters, and be between 1 and 128 characters long"},
	ruleAuthenticatedUserToken:    {"WrongAuthenticatedUserToken", "AuthenticatedUserToken must contain only alphanumeric, equal, plus, slash, hyphen, or underscore characters, and be between 1 and 128 characters long"},
	ruleTimestamp:                 {"InvalidTimestamp", "The timestamp is too far in the past"},
	ruleNoObjectIDsOrFilters:      {"NoObjectIDsOrFilters", "Event should specify either some ObjectIDs or some Filters"},
	ruleBothDefined:               {"BothDefined", "Event should specify ObjectIDs or Filters, but not both"},
	ruleTooManyObjectIDs:          {"TooManyObjectIDs", "Event should not specify more than 20 ObjectIDs"},
	ruleTooManyFilters:            {"TooManyFilters", "Event specifies too many Filters"},
	rulePositionsOnWrongEventType: {"PositionsOnWrongEventType", "Only event of type click should specify the positions attribute"},
	rulePositionsWithoutQueryID:   {"PositionsWithoutQueryID", "Event of type click with positions should specify a queryID"},
	rulePositionsValue:            {"WrongPositionsValue", "Event of type click may only have strictly positive positions"},
	rulePositionsItems:            {"WrongPositionsItems", "Event of type click should have the same number of ObjectIDs and Positions"},
	ruleQueryID:                   {"WrongQueryID", "Query ID must be a search query ID (32 characters hexadecimal string)"},
	ruleObjectDataItems:           {"WrongObjectDataItems", "Event should have the same number of ObjectIDs and ObjectData"},
	ruleObjectDataKeys:            {"WrongObjectDataKeys", "ObjectData may only hold price, quantity, discount and queryID"},
	ruleObjectDataQueryID:         {"WrongObjectDataQueryID", "ObjectData Query ID must be a search query ID (32 characters hexadecimal string)"},
	ruleObjectDataQueryIDPlain:    {"ObjectDataQueryIDWithoutQueryID", "ObjectData may hold a queryID only if the add-to-cart event specifies a queryID"},
	ruleMoney:                     {"WrongPriceOrDiscount", "ObjectData price and discount must be a number or a numeric string"},
	ruleValue:                     {"WrongValue", "Value must be a number or a numeric string of at most 16 characters"},
	ruleCurrency:                  {"WrongCurrency", "Currency must be a three-letter code"},

	ruleStrictRepeated:          {"StrictRepeatedAttribute", "Strict: an attribute occurs twice"},
	ruleStrictUnknown:           {"StrictUnknownAttribute", "Strict: an attribute that the API does not know"},
	ruleStrictInstantsearch:     {"StrictInstantsearch", "Strict: an event of type instantsearch"},
	ruleStrictQueryIDOnView:     {"StrictQueryIDOnView", "Strict: a queryID on an event of type view"},
	ruleStrictQueryIDOnFilters:  {"StrictQueryIDOnFilters", "Strict: a queryID on an event with filters"},
	ruleStrictQueryIDOnPurchase: {"StrictQueryIDOnPurchase", "Strict: a queryID on the purchase itself instead of in its objectData"},
	ruleStrictSubtypeOnFilters:  {"StrictSubtypeOnFilters", "Strict: an eventSubtype on an event with filters"},
	ruleStrictMoneyPlace:        {"StrictMoneyOnPlainEvent", "Strict: objectData, currency or value on an event that is neither addToCart nor purchase"},
	ruleStrictNoCurrency:        {"StrictNoCurrency", "Strict: price, discount or value without currency"},
	ruleStrictNegative:          {"StrictNegativeMoney", "Strict: negative price, discount or value"},
	ruleStrictQuantity:          {"StrictQuantity", "Strict: quantity below 1"},
	ruleStrictEmptyObjectID:     {"StrictEmptyObjectID", "Strict: an empty objectID"},
	ruleStrictFilterForm:        {"StrictFilterForm", "Strict: a filter that is not attribute:value with both parts URL-encoded"},
	ruleStrictValueSum:          {"StrictValueSum", "Strict: value is not the sum of price times quantity"},

	ruleRefusedByScript: {"RefusedByScript", "Event refused"},
}

func (r rule) problem() problem { return problem{rule: r, message: rules[r].message} }

// problem is why a request is refused with 422. The zero value is none.
type problem struct {
	rule    rule
	message string
}

func (p problem) any() bool { return p.rule != noRule }
