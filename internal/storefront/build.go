package storefront

import (
	"slices"
	"strings"

	"eventworker/internal/insightsfake"
)

const (
	maxObjects = 20 // objects of one Insights event
	maxFilters = 10 // filters of one Insights event
)

// built is an Insights event and the places of its objects in the message.
type built struct {
	insightsfake.Event
	parts []int
}

// builder makes the Insights events of one message after the other, in room that it uses again:
// what it made is valid until the next start.
type builder struct {
	rules *Rules
	// encoded are the filters made so far, by facet: a shop has few of them.
	encoded map[facet]string

	like   insightsfake.Event // what all Insights events of the message have in common
	events []built

	texts     []string
	positions []int
	data      []insightsfake.ObjectData
	places    []int
	groups    [][]int
	taken     []bool
}

// maxEncoded bounds the filters that a builder remembers.
const maxEncoded = 1000

// start begins the events of a message.
func (b *builder) start(p *pending) {
	b.events, b.texts, b.positions, b.data, b.places = b.events[:0], b.texts[:0], b.positions[:0], b.data[:0], b.places[:0]
	b.like = insightsfake.Event{
		EventName:              p.said.eventName,
		UserToken:              p.said.userToken,
		AuthenticatedUserToken: p.said.authenticatedUserToken,
		Timestamp:              min(p.timestamp, b.rules.Now),
	}
	if b.like.EventName == "" {
		b.like.EventName = b.rules.EventNames[settingName(p.said.kind)]
	}
	switch p.said.kind {
	case shown:
		b.like.EventType = "view"
	case clicked:
		b.like.EventType = "click"
	case addedToCart:
		b.like.EventType, b.like.EventSubtype = "conversion", "addToCart"
	case purchased:
		b.like.EventType, b.like.EventSubtype = "conversion", "purchase"
	}
}

// event is a new event of the message.
func (b *builder) event(index string, parts []int) *built {
	b.events = append(b.events, built{Event: b.like, parts: parts})
	e := &b.events[len(b.events)-1]
	e.Index = index
	return e
}

// views are the Insights events of a list of a shown message: one of every 20 objects, without
// repeats, or of every 10 filters.
func (b *builder) views(l *list, index string) {
	for some := range slices.Chunk(b.unique(l.objectIDs), maxObjects) {
		b.event(index, nil).ObjectIDs = some
	}
	b.filters(l.facets, index)
}

// filters are the events of some facets, 10 each.
func (b *builder) filters(facets []facet, index string) {
	for some := range slices.Chunk(facets, maxFilters) {
		from := len(b.texts)
		for _, f := range some {
			b.texts = append(b.texts, b.filter(f))
		}
		b.event(index, nil).Filters = b.texts[from:]
	}
}

// filter is a facet as the Insights API wants it, each part encoded once.
func (b *builder) filter(f facet) string {
	text, known := b.encoded[f]
	if !known {
		text = urlEncode(f.name) + ":" + urlEncode(f.value)
		if b.encoded == nil || len(b.encoded) >= maxEncoded {
			b.encoded = map[facet]string{}
		}
		b.encoded[f] = text
	}
	return text
}

// clicks are the events of clicked objects: one per (index, queryID), in order of the first of each.
func (b *builder) clicks(s *said, answers []answer) {
	for _, group := range b.group(answers, sameIndexAndQueryID) {
		e := b.event(answers[group[0]].index, group)
		e.QueryID = answers[group[0]].queryID
		texts, positions := len(b.texts), len(b.positions)
		for _, i := range group {
			b.texts = append(b.texts, s.objects[i].id)
			b.positions = append(b.positions, answers[i].position)
		}
		e.ObjectIDs = b.texts[texts:]
		if e.QueryID != "" {
			e.Positions = b.positions[positions:]
		}
	}
}

// conversions are the events of items: an add-to-cart per (index, queryID), a purchase per index,
// both of 20 items at most.
func (b *builder) conversions(s *said, answers []answer) {
	same := sameIndex
	if s.kind == addedToCart {
		same = sameIndexAndQueryID
	}
	for _, group := range b.group(answers, same) {
		for some := range slices.Chunk(group, maxObjects) {
			b.conversion(s, answers, some)
		}
	}
	if validCurrency(s.currency) {
		for i := range b.events {
			setValue(&b.events[i], s, len(b.events) == 1)
		}
	}
}

func (b *builder) conversion(s *said, answers []answer, places []int) {
	e := b.event(answers[places[0]].index, places)
	money := validCurrency(s.currency)
	if money {
		e.Currency = s.currency
	}
	if s.kind == addedToCart {
		e.QueryID = answers[places[0]].queryID
	}
	texts, data := len(b.texts), len(b.data)
	for _, i := range places {
		it := &s.items[i]
		d := insightsfake.ObjectData{Quantity: max(it.quantity, 1)}
		if money {
			d.Price, d.Discount = it.price, it.discount
		}
		if s.kind == purchased {
			d.QueryID = answers[i].queryID
		}
		b.texts, b.data = append(b.texts, it.objectID), append(b.data, d)
	}
	e.ObjectIDs, e.ObjectData = b.texts[texts:], b.data[data:]
}

func sameIndex(a, b *answer) bool           { return a.index == b.index }
func sameIndexAndQueryID(a, b *answer) bool { return a.index == b.index && a.queryID == b.queryID }

// group gathers the places of answers that share an event, in order of the first of each.
func (b *builder) group(answers []answer, same func(a, b *answer) bool) [][]int {
	b.groups, b.taken = b.groups[:0], append(b.taken[:0], make([]bool, len(answers))...)
	for i := range answers {
		if b.taken[i] {
			continue
		}
		from := len(b.places)
		for j := i; j < len(answers); j++ {
			if !b.taken[j] && same(&answers[i], &answers[j]) {
				b.taken[j] = true
				b.places = append(b.places, j)
			}
		}
		b.groups = append(b.groups, b.places[from:])
	}
	return b.groups
}

// urlEncode encodes every byte that is not unreserved (RFC 3986, 2.3).
func urlEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// unique is the list without repeats: the list itself where it has none.
func (b *builder) unique(list []string) []string {
	var seen sketch
	for i, s := range list {
		h := roughHash(s)
		if !seen.has(h) || !contains(list[:i], s) {
			seen.add(h)
			continue
		}
		from := len(b.texts)
		b.texts = append(b.texts, list[:i]...)
		for _, s := range list[i+1:] {
			if !contains(b.texts[from:], s) {
				b.texts = append(b.texts, s)
			}
		}
		return b.texts[from:]
	}
	return list
}

// contains is slices.Contains for texts that mostly differ in their last byte.
func contains(list []string, s string) bool {
	for _, e := range list {
		if len(e) == len(s) && (s == "" || e[len(s)-1] == s[len(s)-1]) && e == s {
			return true
		}
	}
	return false
}
