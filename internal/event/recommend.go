package event

import (
	"bytes"
	"math"
)

// Bounds of the recommend form. The Recommend API answers with at most 30 hits a request
// (insights-api.md, section 7), so that no answer of up to 50 requests is refused.
const (
	maxRequests = 50
	maxHits     = 1500 // of all results together
)

// facetsModel is the model whose hits are facet values and not objects.
const facetsModel = "trending-facets"

// request is what a request of a Recommend body says of its result.
type request struct {
	index, model []byte
	token        []byte // queryParameters.userToken, nil if it has none
	tags         [][]byte
}

// recommend reads the recommend form: the two bodies of a Recommend call. A response that comes
// before its request is skipped first and read after it, since the request says what its results are.
func (d *Decoder) recommend(i int, ev *Event) int {
	start := i
	if i >= len(d.b) || d.b[i] != '{' {
		return d.fail(ruleRecommendObject, i)
	}
	request, response, early := false, false, 0
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		duplicate := false
		switch string(name) {
		case "request":
			duplicate, request = request, true
			i = d.requestBody(i)
		case "response":
			duplicate, response = response, true
			if request {
				i = d.responseBody(i, ev)
			} else {
				early, i = i, d.skip(i, responseBodyPlace, 2)
			}
		default:
			i = d.skip(i, nil, 2)
		}
		if duplicate {
			return d.fail(ruleDuplicate, at)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	switch {
	case i < 0:
		return -1
	case !request:
		return d.failMissing(ruleRequestRequired, start, "request")
	case !response:
		return d.failMissing(ruleResponseRequired, start, "response")
	case early > 0 && d.responseBody(early, ev) < 0:
		return -1
	}
	return i
}

// compareTokens notes a request that names another user than its message does.
func (m *messageReader) compareTokens() {
	for i := range m.d.requests {
		if token := m.d.requests[i].token; token != nil && !bytes.Equal(token, m.ev.UserToken) {
			m.ev.TokenMismatch = true
		}
	}
}

// requestBody reads the body of a Recommend request.
func (d *Decoder) requestBody(i int) int {
	return d.body(i, "requests", ruleRequestObject, ruleRequestsRequired, nil)
}

// responseBody reads the body of a Recommend response, whose request was read.
func (d *Decoder) responseBody(i int, ev *Event) int {
	return d.body(i, "results", ruleResponseObject, ruleResultsRequired, ev)
}

// body reads an object that holds one array of interest: results into ev, or, with no ev, requests.
func (d *Decoder) body(i int, array string, notObject, required rule, ev *Event) int {
	start := i
	if i >= len(d.b) || d.b[i] != '{' {
		return d.fail(notObject, i)
	}
	found := false
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		switch {
		case string(name) != array:
			i = d.skip(i, nil, 3)
		case found:
			return d.fail(ruleDuplicate, at)
		case ev == nil:
			found = true
			i = d.readRequests(i)
		default:
			found = true
			i = d.results(i, ev)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	if i >= 0 && !found {
		return d.failMissing(required, start, array)
	}
	return i
}

func (d *Decoder) readRequests(i int) int {
	at := i
	if i >= len(d.b) || d.b[i] != '[' {
		return d.failCount(ruleRequestsArray, i, 0, maxRequests)
	}
	i, more := d.open(i+1, ']')
	for more {
		if len(d.requests) == maxRequests {
			return d.failCount(ruleRequestsCount, at, maxRequests+1, maxRequests)
		}
		if i = d.request(i); i < 0 {
			return -1
		}
		i, more = d.more(i, ']')
	}
	if i >= 0 && len(d.requests) == 0 {
		return d.failCount(ruleRequestsCount, at, 0, maxRequests)
	}
	return i
}

// request reads one of requests.
func (d *Decoder) request(i int) int {
	start := i
	if i >= len(d.b) || d.b[i] != '{' {
		return d.fail(ruleRequestsObject, i)
	}
	var r request
	parameters := false
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		duplicate := false
		switch string(name) {
		case "indexName":
			duplicate = r.index != nil
			r.index, i = d.bounded(i, ruleIndexNameText, ruleIndexNameLength, 1, maxTextBytes)
		case "model":
			duplicate = r.model != nil
			r.model, i = d.bounded(i, ruleModelText, ruleModelLength, 1, maxTextBytes)
		case "queryParameters":
			duplicate, parameters = parameters, true
			i = d.queryParameters(i, &r)
		default:
			i = d.skip(i, nil, 5)
		}
		if duplicate {
			return d.fail(ruleDuplicate, at)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	switch {
	case i < 0:
		return -1
	case r.index == nil:
		return d.failMissing(ruleIndexNameRequired, start, "indexName")
	case r.model == nil:
		return d.failMissing(ruleModelRequired, start, "model")
	}
	d.requests = append(d.requests, r)
	return i
}

// queryParameters reads what of a request's search parameters matters here.
func (d *Decoder) queryParameters(i int, r *request) int {
	if i >= len(d.b) || d.b[i] != '{' {
		return d.fail(ruleQueryParametersObject, i)
	}
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		duplicate := false
		switch string(name) {
		case "userToken":
			duplicate = r.token != nil
			r.token, i = d.text(i, ruleQueryParametersUserToken)
		case "analyticsTags":
			duplicate = r.tags != nil
			r.tags, i = d.tags(i)
		default:
			i = d.skip(i, nil, 6)
		}
		if duplicate {
			return d.fail(ruleDuplicate, at)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	return i
}

// results reads the results, of which each belongs to the request at its place.
func (d *Decoder) results(i int, ev *Event) int {
	at := i
	if i >= len(d.b) || d.b[i] != '[' {
		return d.fail(ruleResultsArray, i)
	}
	n := 0
	i, more := d.open(i+1, ']')
	for more {
		if n == len(d.requests) {
			return d.failCount(ruleResultsCount, at, n+1, n)
		}
		if i = d.result(i, &d.requests[n], ev); i < 0 {
			return -1
		}
		n++
		i, more = d.more(i, ']')
	}
	if i >= 0 && n < len(d.requests) {
		return d.failCount(ruleResultsCount, at, n, len(d.requests))
	}
	return i
}

// result reads one of results: a list, or facets, or nothing if it is empty.
func (d *Decoder) result(i int, r *request, ev *Event) int {
	start := i
	if i >= len(d.b) || d.b[i] != '{' {
		return d.fail(ruleResultsObject, i)
	}
	var hits [][]byte
	var queryID []byte
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		duplicate := false
		switch string(name) {
		case "queryID":
			duplicate = queryID != nil
			queryID, i = d.text(i, ruleQueryIDText)
		case "hits":
			duplicate = hits != nil
			hits, i = d.hits(i, r, ev)
		default:
			i = d.skip(i, nil, 5)
		}
		if duplicate {
			return d.fail(ruleDuplicate, at)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	if i >= 0 && hits == nil {
		return d.failMissing(ruleHitsRequired, start, "hits")
	}
	if i >= 0 && len(hits) > 0 {
		ev.Lists = append(ev.Lists, List{Index: r.index, Model: r.model, ObjectIDs: hits, Tags: r.tags})
		d.setQueryID(&ev.Lists[len(ev.Lists)-1], queryID, ev)
	}
	return i
}

// hits reads the hits of a result: their objectIDs in order, or facets into ev for trending-facets.
// The slice is not nil, though it may be empty.
func (d *Decoder) hits(i int, r *request, ev *Event) (ids [][]byte, next int) {
	at := i
	if i >= len(d.b) || d.b[i] != '[' {
		return nil, d.failCount(ruleHitsArray, i, 0, maxListObjects)
	}
	facets := string(r.model) == facetsModel
	start := len(d.texts)
	i, more := d.open(i+1, ']')
	for n := 0; more; n++ {
		if n == maxListObjects {
			return nil, d.failCount(ruleHitsCount, at, n+1, n)
		}
		if d.total++; d.total > maxHits {
			return nil, d.failCount(ruleHitsTotal, at, d.total, maxHits)
		}
		var h hit
		if h, i = d.hit(i, facets); i < 0 {
			return nil, -1
		}
		if facets {
			ev.Facets = append(ev.Facets, Facet{Name: h.facetName, Value: h.facetValue, Index: r.index})
		} else {
			d.texts = append(d.texts, h.objectID)
		}
		i, more = d.more(i, ']')
	}
	return d.texts[start:len(d.texts):len(d.texts)], i
}

// hit is a hit of a result. The other fields of a hit are the record's own.
type hit struct{ objectID, facetName, facetValue []byte }

// The known names of a hit, as bits.
const (
	hitObjectID = 1 << iota
	hitFacetName
	hitFacetValue
)

// hit reads an object, or a facet value. The known names of the other kind are the record's
// business, apart from standing there once.
func (d *Decoder) hit(i int, facet bool) (h hit, next int) {
	start := i
	if i >= len(d.b) || d.b[i] != '{' {
		return h, d.fail(ruleHitsObject, i)
	}
	seen := uint(0)
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return h, -1
		}
		f := uint(0)
		switch string(name) {
		case "objectID":
			f = hitObjectID
		case "facetName":
			f = hitFacetName
		case "facetValue":
			f = hitFacetValue
		}
		if seen&f != 0 {
			return h, d.fail(ruleDuplicate, at)
		}
		seen |= f
		switch {
		case f == hitObjectID && !facet:
			h.objectID, i = d.bounded(i, ruleObjectIDText, ruleObjectIDLength, 1, maxTextBytes)
		case f == hitFacetName && facet:
			h.facetName, i = d.bounded(i, ruleFacetNameText, ruleFacetNameLength, 1, math.MaxInt)
		case f == hitFacetValue && facet:
			h.facetValue, i = d.bounded(i, ruleFacetValueText, ruleFacetValueLength, 1, math.MaxInt)
		default:
			i = d.skip(i, nil, 7)
		}
		if i < 0 {
			return h, -1
		}
		i, more = d.more(i, '}')
	}
	switch {
	case i < 0:
		return h, -1
	case facet && h.facetName == nil:
		return h, d.failMissing(ruleFacetNameRequired, start, "facetName")
	case facet && h.facetValue == nil:
		return h, d.failMissing(ruleFacetValueRequired, start, "facetValue")
	case !facet && h.objectID == nil:
		return h, d.failMissing(ruleObjectIDRequired, start, "objectID")
	}
	return h, i
}
