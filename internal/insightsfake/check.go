package insightsfake

import (
	"math"
	"slices"
	"strconv"
)

// Bounds of the API, per event.
const (
	maxObjectIDs   = 20
	maxEventName   = 64
	maxToken       = 128
	maxQueryID     = 128
	searchQueryID  = 32
	maxValueText   = 16
	messagePrefix  = "message_"
	currencyLength = 3
)

// checker judges events that have the right types. Which rules hold follows
// from eventType, eventSubtype and which attributes are there: the shapes of
// the specification overlap, so "fits one of them" would let nearly all pass.
type checker struct {
	strict     bool
	maxEvents  int
	maxFilters int
	oldest     int64 // milliseconds; an earlier timestamp is too old

	refused func(objectID []byte) bool // by script; nil: none
}

// event gives the first rule that the event breaks.
func (c *checker) event(v *view) problem {
	for _, judge := range [...]func(*checker, *view) rule{
		(*checker).naming,
		(*checker).identity,
		(*checker).objects,
		(*checker).query,
		(*checker).money,
		(*checker).strictPlaces,
		(*checker).strictValues,
		(*checker).script,
	} {
		if r := judge(c, v); r != noRule {
			return r.problem()
		}
	}
	return problem{}
}

func (c *checker) naming(v *view) rule {
	switch {
	case len(v.eventName) == 0:
		return ruleEventNameRequired
	case !isEventName(v.eventName):
		return ruleEventName
	case len(v.eventType) == 0:
		return ruleEventTypeRequired
	}
	switch string(v.eventType) {
	case "view", "click", "conversion":
	case "instantsearch":
		if c.strict {
			return ruleStrictInstantsearch
		}
	default:
		return ruleEventType
	}
	if v.has&hasEventSubtype != 0 && !(v.is("conversion") && (v.isSub("addToCart") || v.isSub("purchase"))) {
		return ruleEventSubtype
	}
	if len(v.index) == 0 && !v.is("instantsearch") {
		return ruleIndexRequired
	}
	return noRule
}

func (c *checker) identity(v *view) rule {
	switch {
	case len(v.userToken) == 0:
		return ruleUserTokenRequired
	case !isToken(v.userToken):
		return ruleUserToken
	case v.has&hasAuthenticatedUserToken != 0 && !isToken(v.authenticatedUserToken):
		return ruleAuthenticatedUserToken
	case v.has&hasTimestamp != 0 && (v.timestamp < 1 || v.timestamp < c.oldest):
		return ruleTimestamp
	}
	return noRule
}

func (c *checker) objects(v *view) rule {
	if v.is("instantsearch") && v.has&(hasObjectIDs|hasFilters) == 0 {
		return noRule
	}
	ids, filters := v.has&hasObjectIDs != 0, v.has&hasFilters != 0
	switch {
	case ids && filters:
		return ruleBothDefined
	case v.objectIDCount == 0 && v.filterCount == 0:
		return ruleNoObjectIDsOrFilters
	case v.objectIDCount > maxObjectIDs:
		return ruleTooManyObjectIDs
	case v.filterCount > c.maxFilters:
		return ruleTooManyFilters
	}
	return noRule
}

func (c *checker) query(v *view) rule {
	query, positions := v.has&hasQueryID != 0, v.has&hasPositions != 0
	if positions {
		if !v.is("click") {
			return rulePositionsOnWrongEventType
		}
		if !query {
			return rulePositionsWithoutQueryID
		}
		for _, p := range v.positions {
			if p < 1 {
				return rulePositionsValue
			}
		}
	}
	needs := v.is("click") && query && v.objectIDCount > 0
	if (positions || needs) && v.positionCount != v.objectIDCount {
		return rulePositionsItems
	}
	if query && !isQueryID(v.queryID) {
		return ruleQueryID
	}
	return noRule
}

func (c *checker) money(v *view) rule {
	if v.has&hasObjectData != 0 && (v.itemCount == 0 || v.itemCount != v.objectIDCount) {
		return ruleObjectDataItems
	}
	for i := range v.items {
		d := &v.items[i]
		switch {
		case d.has&hasUnknown != 0:
			return ruleObjectDataKeys
		case d.has&hasQueryID != 0 && !isSearchQueryID(d.queryID):
			return ruleObjectDataQueryID
		case d.has&hasQueryID != 0 && v.isSub("addToCart") && v.has&hasQueryID == 0:
			return ruleObjectDataQueryIDPlain
		case d.has&hasPrice != 0 && !isDecimal(d.price), d.has&hasDiscount != 0 && !isDecimal(d.discount):
			return ruleMoney
		}
	}
	if v.has&hasValue != 0 && (!isDecimal(v.value) || v.valueIsText && len(v.value) > maxValueText) {
		return ruleValue
	}
	if v.has&hasCurrency != 0 && !isCurrency(v.currency) {
		return ruleCurrency
	}
	return noRule
}

// strictPlaces looks for attributes on events whose shape does not have them.
func (c *checker) strictPlaces(v *view) rule {
	if !c.strict {
		return noRule
	}
	query, filters, subtype := v.has&hasQueryID != 0, v.has&hasFilters != 0, v.has&hasEventSubtype != 0
	switch {
	case v.has&(hasUnknown|hasAgentID) != 0:
		return ruleStrictUnknown
	case query && v.is("view"):
		return ruleStrictQueryIDOnView
	case query && filters:
		return ruleStrictQueryIDOnFilters
	case query && v.isSub("purchase"):
		return ruleStrictQueryIDOnPurchase
	case subtype && filters:
		return ruleStrictSubtypeOnFilters
	case !subtype && v.has&(hasObjectData|hasCurrency|hasValue) != 0:
		return ruleStrictMoneyPlace
	}
	return noRule
}

// strictValues looks for values that the API takes but nobody can want.
func (c *checker) strictValues(v *view) rule {
	if !c.strict {
		return noRule
	}
	for _, id := range v.objectIDs {
		if len(id) == 0 {
			return ruleStrictEmptyObjectID
		}
	}
	for _, f := range v.filters {
		if !isEncodedFilter(f) {
			return ruleStrictFilterForm
		}
	}
	money := v.has&hasValue != 0
	negative := money && v.value[0] == '-'
	for i := range v.items {
		d := &v.items[i]
		if d.has&hasQuantity != 0 && d.quantity < 1 {
			return ruleStrictQuantity
		}
		if d.has&(hasPrice|hasDiscount) != 0 {
			money = true
			negative = negative || d.has&hasPrice != 0 && d.price[0] == '-' || d.has&hasDiscount != 0 && d.discount[0] == '-'
		}
	}
	switch {
	case negative:
		return ruleStrictNegative
	case money && v.has&hasCurrency == 0:
		return ruleStrictNoCurrency
	case v.has&hasValue != 0 && !valueIsSum(v):
		return ruleStrictValueSum
	}
	return noRule
}

func (c *checker) script(v *view) rule {
	if c.refused != nil && slices.ContainsFunc(v.objectIDs, c.refused) {
		return ruleRefusedByScript
	}
	return noRule
}

func (v *view) is(eventType string) bool       { return string(v.eventType) == eventType }
func (v *view) isSub(eventSubtype string) bool { return string(v.eventSubtype) == eventSubtype }

// valueIsSum compares value with Σ price × quantity where each item tells both.
// It is content with nine digits: it looks for a wrong sum, not for rounding.
func valueIsSum(v *view) bool {
	if len(v.items) == 0 {
		return true
	}
	total := 0.0
	for i := range v.items {
		d := &v.items[i]
		if d.has&hasPrice == 0 || d.has&hasQuantity == 0 {
			return true
		}
		total += float(d.price) * float64(d.quantity)
	}
	return math.Abs(total-float(v.value)) <= 1e-9*math.Max(1, math.Abs(total))
}

// float is the value of a decimal that was checked, 0 if it is none.
func float(s []byte) float64 {
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil {
		return 0
	}
	return f
}

// The patterns hold for the whole text: the specification's have no anchors.

func isEventName(s []byte) bool {
	for _, c := range s {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= maxEventName
}

// tokenByte marks the alphabet of user tokens.
var tokenByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=/+-") {
		t[c] = true
	}
	return t
}()

func isToken(s []byte) bool {
	for _, c := range s {
		if !tokenByte[c] {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= maxToken
}

// isQueryID: of an event. Conversational ids are no search ids.
func isQueryID(s []byte) bool {
	if isSearchQueryID(s) {
		return true
	}
	n := len(messagePrefix)
	if len(s) <= n || len(s) > maxQueryID || string(s[:n]) != messagePrefix {
		return false
	}
	for _, c := range s[n:] {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func isSearchQueryID(s []byte) bool {
	for _, c := range s {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return len(s) == searchQueryID
}

func isDecimal(s []byte) bool {
	_, ok := parseDecimal(s)
	return ok
}

func isCurrency(s []byte) bool {
	for _, c := range s {
		if c |= 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(s) == currencyLength
}

// isEncodedFilter: attribute:value, each URL-encoded on its own, so that one
// colon is left; neither part empty.
func isEncodedFilter(s []byte) bool {
	colon := -1
	for i, c := range s {
		switch {
		case c <= ' ' || c > '~':
			return false
		case c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			return false
		case c == ':' && colon >= 0:
			return false
		case c == ':':
			colon = i
		}
	}
	return colon > 0 && colon < len(s)-1
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
