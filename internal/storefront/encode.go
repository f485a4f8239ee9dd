package storefront

import (
	"strconv"
	"strings"
	"time"
)

// zones are those that timestamps are written in.
var zones = [3]*time.Location{time.FixedZone("", 0), time.FixedZone("", 3600), time.FixedZone("", 7200)}

// encode writes what a message says as its JSON value.
func encode(b []byte, s *said) []byte {
	if s.style.isRaw {
		return append(b, s.style.raw...)
	}
	o := writer{b: append(b, '{')}
	o.text("type", kindNames[s.kind])
	if s.style.spaced {
		o.b = append(o.b, ", \"source\" : {\"page\": [1, 2.5e3, null, true], \"type\": \"unknown fields are ignored\"} "...)
	}
	o.text("id", s.id)
	o.text("userToken", s.userToken)
	o.text("authenticatedUserToken", s.authenticatedUserToken)
	o.text("application", s.application)
	o.text("eventName", s.eventName)
	switch {
	case s.timestamp == 0:
	case s.style.rfc3339:
		o.name("timestamp")
		o.b = append(o.b, '"')
		o.b = time.UnixMilli(s.timestamp).In(zones[s.timestamp%3]).AppendFormat(o.b, "2006-01-02T15:04:05.000Z07:00")
		o.b = append(o.b, '"')
	default:
		o.integer("timestamp", s.timestamp)
	}
	switch s.kind {
	case shown:
		o.shown(s)
	case clicked:
		o.clicked(s)
	default:
		o.bought(s)
	}
	return append(o.b, '}')
}

// writer is a JSON object being written; fields that are absent are left out.
type writer struct{ b []byte }

func (o *writer) name(field string) {
	if last := o.b[len(o.b)-1]; last != '{' && last != '[' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, field...)
	o.b = append(o.b, '"', ':')
}

func (o *writer) text(field, s string) {
	if s != "" {
		o.name(field)
		o.b = appendString(o.b, s)
	}
}

func (o *writer) integer(field string, n int64) {
	if n != 0 {
		o.name(field)
		o.b = strconv.AppendInt(o.b, n, 10)
	}
}

func (o *writer) decimal(field, s string, number bool) {
	switch {
	case s == "":
	case number:
		o.name(field)
		o.b = append(o.b, s...)
	default:
		o.text(field, s)
	}
}

func (o *writer) texts(field string, list []string) {
	if list == nil {
		return
	}
	o.name(field)
	o.b = append(o.b, '[')
	for i, s := range list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, s)
	}
	o.b = append(o.b, ']')
}

// open begins an element of a list; shut ends it.
func (o *writer) open() {
	if o.b[len(o.b)-1] != '[' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '{')
}

func (o *writer) shut() { o.b = append(o.b, '}') }

// object begins a field that is an object; shut ends it.
func (o *writer) object(field string) {
	o.name(field)
	o.b = append(o.b, '{')
}

func (o *writer) begin(field string) {
	o.name(field)
	o.b = append(o.b, '[')
}

func (o *writer) end() { o.b = append(o.b, ']') }

func (o *writer) shown(s *said) {
	switch s.form {
	case flatForm:
		o.list(&s.lists[0])
	case listsForm:
		o.begin("lists")
		for i := range s.lists {
			o.open()
			o.list(&s.lists[i])
			o.shut()
		}
		o.end()
	case recommendForm:
		o.recommend(s)
	case facetsForm:
		o.text("index", s.lists[0].index)
		o.facets(s.lists[0].facets)
	}
}

func (o *writer) list(l *list) {
	o.text("index", l.index)
	o.text("queryID", l.queryID)
	o.text("model", l.model)
	o.integer("positionOffset", l.offset)
	o.texts("objectIDs", l.objectIDs)
	o.texts("analyticsTags", l.tags)
}

func (o *writer) facets(facets []facet) {
	o.begin("facets")
	for _, f := range facets {
		o.open()
		o.text("facetName", f.name)
		o.text("facetValue", f.value)
		o.shut()
	}
	o.end()
}

// recommend writes the two bodies of the Recommend call.
func (o *writer) recommend(s *said) {
	token := s.userToken
	if s.style.otherToken {
		token = "another-" + strings.TrimRight(token[:min(len(token), 60)], "=")
	}
	o.object("recommend")
	o.object("request")
	o.begin("requests")
	for i := range s.lists {
		o.request(&s.lists[i], token)
	}
	o.end()
	o.shut()
	o.object("response")
	o.begin("results")
	for i := range s.lists {
		o.result(&s.lists[i])
	}
	o.end()
	o.shut()
	o.shut()
}

func (o *writer) request(l *list, token string) {
	o.open()
	o.text("indexName", l.index)
	o.text("model", l.model)
	o.integer("threshold", 50)
	o.integer("maxRecommendations", 30)
	if l.model == "trending-facets" {
		o.text("facetName", "brand")
		o.shut()
		return
	}
	if l.model != "trending-items" {
		o.text("objectID", "sku-100000")
	}
	for _, parameters := range []string{"queryParameters", "fallbackParameters"} {
		o.object(parameters)
		if l.queryID != "" {
			o.name("clickAnalytics")
			o.b = append(o.b, "true"...)
		}
		o.text("userToken", token)
		o.texts("analyticsTags", l.tags)
		o.shut()
	}
	o.shut()
}

func (o *writer) result(l *list) {
	o.open()
	o.begin("hits")
	for i, id := range l.objectIDs {
		o.open()
		o.text("name", "Grüne Jacke "+id)
		o.name("price")
		o.b = append(o.b, "19.90"...)
		o.text("objectID", id)
		o.name("_score")
		o.b = append(strconv.AppendInt(o.b, int64(95-i), 10), ".5"...)
		o.shut()
	}
	for i, f := range l.facets {
		o.open()
		o.text("facetName", f.name)
		o.text("facetValue", f.value)
		o.name("_score")
		o.b = strconv.AppendInt(o.b, int64(90-i), 10)
		o.shut()
	}
	o.end()
	o.b = append(o.b, `,"nbHits":`...)
	o.b = strconv.AppendInt(o.b, int64(len(l.objectIDs)+len(l.facets)), 10)
	o.b = append(o.b, `,"processingTimeMS":3,"page":0,"exhaustive":{"nbHits":true}`...)
	o.text("queryID", l.queryID)
	o.shut()
}

func (o *writer) clicked(s *said) {
	o.text("index", s.index)
	o.text("queryID", s.queryID)
	o.text("model", s.model)
	switch {
	case len(s.facets) > 0:
		o.facets(s.facets)
	case len(s.objects) == 1 && !s.style.plural:
		o.text("objectID", s.objects[0].id)
		o.integer("position", int64(s.objects[0].position))
	default:
		o.objects(s.objects)
	}
}

func (o *writer) objects(objects []object) {
	o.begin("objectIDs")
	for i := range objects {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, objects[i].id)
	}
	o.end()
	if objects[0].position == 0 {
		return
	}
	o.begin("positions")
	for i := range objects {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = strconv.AppendInt(o.b, int64(objects[i].position), 10)
	}
	o.end()
}

func (o *writer) bought(s *said) {
	o.text("index", s.index)
	o.text("queryID", s.queryID)
	o.text("currency", s.currency)
	o.decimal("value", s.value, s.style.valueNumber)
	o.text("orderID", s.orderID)
	o.begin("items")
	for i := range s.items {
		it := &s.items[i]
		o.open()
		o.text("objectID", it.objectID)
		o.text("index", it.index)
		o.text("queryID", it.queryID)
		o.text("model", it.model)
		o.decimal("price", it.price, it.numbers)
		o.decimal("discount", it.discount, it.numbers)
		o.integer("quantity", int64(it.quantity))
		o.shut()
	}
	o.end()
}
