package event

// rule is a rule of the contract that a message can break.
type rule uint8

// The rules. Their ids are in the table below.
const (
	noRule rule = iota
	ruleEmpty
	ruleTruncated
	ruleSyntax
	ruleControl
	ruleEscape
	ruleTrailing
	ruleNotObject
	ruleUTF8
	ruleSurrogate
	ruleDepth
	ruleDuplicate

	ruleTypeKnown

	ruleTypeRequired
	ruleTypeText
	ruleUserTokenRequired
	ruleUserTokenText
	ruleUserTokenLength
	ruleUserTokenCharacters
	ruleAuthenticatedText
	ruleAuthenticatedLength
	ruleAuthenticatedCharacters
	ruleIDText
	ruleIDLength
	ruleTimestampType
	ruleTimestampInteger
	ruleTimestampSeconds
	ruleTimestampRange
	ruleTimestampRFC3339
	ruleApplicationText
	ruleEventNameText
	ruleEventNameLength
	ruleEventNameCharacters

	ruleFormRequired
	ruleFormOne
	ruleObjectIDRequired
	ruleObjectIDText
	ruleObjectIDLength
	ruleObjectIDsRequired
	ruleObjectIDsArray
	ruleObjectIDsCount
	ruleObjectIDsTotal
	ruleIndexText
	ruleIndexLength
	ruleModelRequired
	ruleModelText
	ruleModelLength
	ruleQueryIDText
	rulePositionOffsetInteger
	rulePositionOffsetRange
	ruleAnalyticsTagsArray
	ruleAnalyticsTagsCount
	ruleAnalyticsTagText
	ruleAnalyticsTagLength
	ruleListsArray
	ruleListsCount
	ruleListsObject
	ruleFacetsArray
	ruleFacetsCount
	ruleFacetsObject
	ruleFacetNameRequired
	ruleFacetNameText
	ruleFacetNameLength
	ruleFacetValueRequired
	ruleFacetValueText
	ruleFacetValueLength

	ruleRecommendObject
	ruleRequestRequired
	ruleRequestObject
	ruleRequestsRequired
	ruleRequestsArray
	ruleRequestsCount
	ruleRequestsObject
	ruleIndexNameRequired
	ruleIndexNameText
	ruleIndexNameLength
	ruleQueryParametersObject
	ruleQueryParametersUserToken
	ruleResponseRequired
	ruleResponseObject
	ruleResultsRequired
	ruleResultsArray
	ruleResultsCount
	ruleResultsObject
	ruleHitsRequired
	ruleHitsArray
	ruleHitsCount
	ruleHitsTotal
	ruleHitsObject

	rulePositionInteger
	rulePositionRange
	rulePositionForm
	rulePositionsArray
	rulePositionsCount
	rulePositionsForm

	ruleItemsRequired
	ruleItemsArray
	ruleItemsCount
	ruleItemsObject
	rulePriceDecimal
	ruleDiscountDecimal
	ruleQuantityInteger
	ruleQuantityRange
	ruleCurrencyText
	ruleValueDecimal
	ruleOrderIDText
	ruleOrderIDLength

	numRules
)

// What a rule's message says of the value seen.
type seen uint8

const (
	seenValue   seen = iota // the value, shortened
	seenSecret              // only its kind and length: it is a token
	seenBytes               // its length in bytes
	seenNothing             // that it is missing
	seenCount               // its number of elements
	seenPlace               // the byte of the document
	seenNone                // nothing: the rule's own words are enough
)

// ruleTexts gives each rule its stable id, what is wanted, and what to say of the value seen.
// {max} stands for the limit that was broken.
var ruleTexts = [numRules]struct {
	id     string
	wanted string
	seen   seen
}{
	noRule:        {},
	ruleEmpty:     {"json.empty", "the value is empty, wanted a JSON object", seenNone},
	ruleTruncated: {"json.truncated", "the document ends here unfinished", seenPlace},
	ruleSyntax:    {"json.syntax", "this is not JSON", seenPlace},
	ruleControl:   {"json.control", "a control character in a text must be escaped", seenPlace},
	ruleEscape:    {"json.escape", "the backslash begins no escape of JSON", seenPlace},
	ruleTrailing:  {"json.trailing", "something follows the end of the JSON object; wanted one object in each message", seenPlace},
	ruleNotObject: {"json.object", "the value is JSON but no object; wanted a JSON object", seenPlace},
	ruleUTF8:      {"json.utf8", "this is not UTF-8", seenPlace},
	ruleSurrogate: {"json.surrogate", "half of a surrogate pair stands alone", seenPlace},
	ruleDepth:     {"json.depth", "this nests deeper than 32 levels", seenPlace},
	ruleDuplicate: {"json.duplicate", "this name stands in its object twice; wanted once", seenPlace},

	ruleTypeKnown:    {"type.known", typesWanted, seenValue},
	ruleTypeRequired: {"type.required", typesWanted, seenNothing},
	ruleTypeText:     {"type.text", typesWanted, seenValue},

	ruleUserTokenRequired:       {"userToken.required", tokenWanted, seenNothing},
	ruleUserTokenText:           {"userToken.text", tokenWanted, seenSecret},
	ruleUserTokenLength:         {"userToken.length", tokenWanted, seenSecret},
	ruleUserTokenCharacters:     {"userToken.characters", tokenWanted + " (or set tokens: hash)", seenSecret},
	ruleAuthenticatedText:       {"authenticatedUserToken.text", tokenWanted, seenSecret},
	ruleAuthenticatedLength:     {"authenticatedUserToken.length", tokenWanted, seenSecret},
	ruleAuthenticatedCharacters: {"authenticatedUserToken.characters", tokenWanted + " (or set tokens: hash)", seenSecret},

	ruleIDText:              {"id.text", "a text of at most 256 bytes", seenValue},
	ruleIDLength:            {"id.length", "at most 256 bytes", seenBytes},
	ruleTimestampType:       {"timestamp.type", "milliseconds since 1970 as an integer, or a text as in RFC 3339", seenValue},
	ruleTimestampInteger:    {"timestamp.integer", "milliseconds since 1970 in digits only: no sign, no point, no exponent", seenValue},
	ruleTimestampSeconds:    {"timestamp.seconds", "milliseconds since 1970, at least 100000000000; this looks like seconds: multiply by 1000", seenValue},
	ruleTimestampRange:      {"timestamp.range", "milliseconds since 1970, at most 9223372036854775807", seenValue},
	ruleTimestampRFC3339:    {"timestamp.rfc3339", "a time as in RFC 3339, such as 2026-01-31T12:00:00.000Z, or milliseconds since 1970 as a number", seenValue},
	ruleApplicationText:     {"application.text", "the name of a configured application", seenValue},
	ruleEventNameText:       {"eventName.text", "a text of 1 to 64 characters", seenValue},
	ruleEventNameLength:     {"eventName.length", "1 to 64 characters", seenBytes},
	ruleEventNameCharacters: {"eventName.characters", "only characters from space to tilde (0x20 to 0x7E)", seenValue},

	ruleFormRequired: {"form.required", "one form: {forms}", seenNothing},
	ruleFormOne:      {"form.one", "the message has more than one form, wanted exactly one: {forms}", seenNone},

	ruleObjectIDRequired:  {"objectID.required", idWanted, seenNothing},
	ruleObjectIDText:      {"objectID.text", idWanted, seenValue},
	ruleObjectIDLength:    {"objectID.length", idWanted, seenBytes},
	ruleObjectIDsRequired: {"objectIDs.required", "an array of 1 to 1000 objectIDs", seenNothing},
	ruleObjectIDsArray:    {"objectIDs.array", "an array of 1 to {max} objectIDs", seenValue},
	ruleObjectIDsCount:    {"objectIDs.count", "1 to {max} objectIDs", seenCount},
	ruleObjectIDsTotal:    {"objectIDs.total", "the lists of the message hold more than {max} objectIDs together, wanted at most {max}", seenNone},
	ruleIndexText:         {"index.text", "the name of an index, 1 to 256 bytes", seenValue},
	ruleIndexLength:       {"index.length", "the name of an index, 1 to 256 bytes", seenBytes},
	ruleModelRequired:     {"model.required", modelWanted, seenNothing},
	ruleModelText:         {"model.text", modelWanted, seenValue},
	ruleModelLength:       {"model.length", modelWanted, seenBytes},
	ruleQueryIDText:       {"queryID.text", "the queryID of a response as a text, or no queryID at all", seenValue},

	rulePositionOffsetInteger: {"positionOffset.integer", "an integer in digits only: no sign, no point, no exponent", seenValue},
	rulePositionOffsetRange:   {"positionOffset.range", "0 to {max}", seenValue},
	ruleAnalyticsTagsArray:    {"analyticsTags.array", "an array of at most {max} texts", seenValue},
	ruleAnalyticsTagsCount:    {"analyticsTags.count", "at most {max} tags", seenCount},
	ruleAnalyticsTagText:      {"analyticsTag.text", "a text of at most 256 bytes", seenValue},
	ruleAnalyticsTagLength:    {"analyticsTag.length", "at most 256 bytes", seenBytes},

	ruleListsArray:         {"lists.array", "an array of 1 to {max} lists", seenValue},
	ruleListsCount:         {"lists.count", "1 to {max} lists", seenCount},
	ruleListsObject:        {"lists.object", "an object with objectIDs", seenValue},
	ruleFacetsArray:        {"facets.array", "an array of 1 to {max} facets", seenValue},
	ruleFacetsCount:        {"facets.count", "1 to {max} facets", seenCount},
	ruleFacetsObject:       {"facets.object", "an object with facetName and facetValue", seenValue},
	ruleFacetNameRequired:  {"facetName.required", "the facet's name", seenNothing},
	ruleFacetNameText:      {"facetName.text", "the facet's name, unencoded", seenValue},
	ruleFacetNameLength:    {"facetName.length", "at least one character", seenBytes},
	ruleFacetValueRequired: {"facetValue.required", "the facet's value", seenNothing},
	ruleFacetValueText:     {"facetValue.text", "the facet's value as a text, unencoded", seenValue},
	ruleFacetValueLength:   {"facetValue.length", "at least one character", seenBytes},

	ruleRecommendObject:          {"recommend.object", "an object with request and response, the two bodies of the Recommend call", seenValue},
	ruleRequestRequired:          {"request.required", "the body of the Recommend request beside its response", seenNothing},
	ruleRequestObject:            {"request.object", "the body of the Recommend request, an object with requests", seenValue},
	ruleRequestsRequired:         {"requests.required", "the array requests of the Recommend request's body", seenNothing},
	ruleRequestsArray:            {"requests.array", "an array of 1 to {max} requests", seenValue},
	ruleRequestsCount:            {"requests.count", "1 to {max} requests", seenCount},
	ruleRequestsObject:           {"requests.object", "an object with indexName and model", seenValue},
	ruleIndexNameRequired:        {"indexName.required", "the name of the request's index", seenNothing},
	ruleIndexNameText:            {"indexName.text", "the name of an index, 1 to 256 bytes", seenValue},
	ruleIndexNameLength:          {"indexName.length", "the name of an index, 1 to 256 bytes", seenBytes},
	ruleQueryParametersObject:    {"queryParameters.object", "an object", seenValue},
	ruleQueryParametersUserToken: {"queryParameters.userToken", "the userToken of the request as a text, or none", seenSecret},
	ruleResponseRequired:         {"response.required", "the body of the Recommend response beside its request", seenNothing},
	ruleResponseObject:           {"response.object", "the body of the Recommend response, an object with results", seenValue},
	ruleResultsRequired:          {"results.required", "the array results of the Recommend response's body", seenNothing},
	ruleResultsArray:             {"results.array", "an array of one result for each request", seenValue},
	ruleResultsCount:             {"results.count", "{max}, one for each request", seenCount},
	ruleResultsObject:            {"results.object", "an object with hits", seenValue},
	ruleHitsRequired:             {"hits.required", "the hits of the result", seenNothing},
	ruleHitsArray:                {"hits.array", "an array of at most {max} hits", seenValue},
	ruleHitsCount:                {"hits.count", "at most {max} hits", seenCount},
	ruleHitsTotal:                {"hits.total", "the results hold more than {max} hits together, wanted at most {max}", seenNone},
	ruleHitsObject:               {"hits.object", "an object with objectID, or with facetName and facetValue for trending-facets", seenValue},

	rulePositionInteger: {"position.integer", "an integer in digits only: no sign, no point, no exponent", seenValue},
	rulePositionRange:   {"position.range", "1 to 2147483647", seenValue},
	rulePositionForm:    {"position.form", "position belongs to objectID, which is missing; with objectIDs write positions", seenNone},
	rulePositionsArray:  {"positions.array", "an array of integers", seenValue},
	rulePositionsCount:  {"positions.count", "{max}, one for each of objectIDs", seenCount},
	rulePositionsForm:   {"positions.form", "positions belong to objectIDs, which are missing; with objectID write position", seenNone},

	ruleItemsRequired:   {"items.required", "an array of 1 to 1000 items", seenNothing},
	ruleItemsArray:      {"items.array", "an array of 1 to {max} items", seenValue},
	ruleItemsCount:      {"items.count", "1 to {max} items", seenCount},
	ruleItemsObject:     {"items.object", "an object with objectID", seenValue},
	rulePriceDecimal:    {"price.decimal", decimalWanted, seenValue},
	ruleDiscountDecimal: {"discount.decimal", decimalWanted, seenValue},
	ruleQuantityInteger: {"quantity.integer", "an integer in digits only: no sign, no point, no exponent", seenValue},
	ruleQuantityRange:   {"quantity.range", "1 to 2147483647", seenValue},
	ruleCurrencyText:    {"currency.text", "a currency of three letters such as EUR", seenValue},
	ruleValueDecimal:    {"value.decimal", decimalWanted, seenValue},
	ruleOrderIDText:     {"orderID.text", "a text of 1 to 256 bytes", seenValue},
	ruleOrderIDLength:   {"orderID.length", "1 to 256 bytes", seenBytes},
}

const (
	typesWanted   = "recommendation.shown, recommendation.clicked, recommendation.addedToCart or recommendation.purchased"
	tokenWanted   = "a text of 1 to 128 of A-Z a-z 0-9 _ = / + -"
	idWanted      = "a text of 1 to 256 bytes"
	modelWanted   = "the name of a Recommend model, 1 to 256 bytes"
	decimalWanted = "a decimal such as 19.90: 1 to 12 digits, at most 9 more after a point, 16 characters in all, no sign, no exponent"
)

// reason is the dead letter's reason when the rule is broken.
func (r rule) reason() Reason {
	switch {
	case r <= ruleDuplicate:
		return Malformed
	case r == ruleTypeKnown:
		return UnknownType
	}
	return Invalid
}

// Rules lists the stable ids of the rules that a message can break, malformed ones first.
func Rules() []string {
	ids := make([]string, 0, numRules-1)
	for _, text := range ruleTexts[1:] {
		ids = append(ids, text.id)
	}
	return ids
}
