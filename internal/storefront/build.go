package storefront

import (
	"math/big"
	"strings"

	"eventworker/internal/insightsfake"
)

const (
	maxObjects    = 20 // objects of one Insights event
	maxFilters    = 10 // filters of one Insights event
	maxValueChars = 16
)

// built is an Insights event and the places of its objects in the message.
type built struct {
	insightsfake.Event
	parts []int
}

// template is what all Insights events of a message have in common.
func (t *Truth) template(p *pending) insightsfake.Event {
	e := insightsfake.Event{
		EventName:              p.said.eventName,
		UserToken:              p.said.userToken,
		AuthenticatedUserToken: p.said.authenticatedUserToken,
		Timestamp:              p.timestamp,
	}
	if e.EventName == "" {
		e.EventName = t.rules.EventNames[settingName(p.said.kind)]
	}
	if p.timestamp > t.rules.Now {
		e.Timestamp = t.rules.Now
	}
	switch p.said.kind {
	case shown:
		e.EventType = "view"
	case clicked:
		e.EventType = "click"
	case addedToCart:
		e.EventType, e.EventSubtype = "conversion", "addToCart"
	case purchased:
		e.EventType, e.EventSubtype = "conversion", "purchase"
	}
	return e
}

// views are the Insights events of a shown message: for each list one of every 20 objects, without
// repeats, or of every 10 filters.
func views(like insightsfake.Event, lists []list) (events []built) {
	for i := range lists {
		like.Index = lists[i].index
		for _, objects := range chunks(unique(lists[i].objectIDs), maxObjects) {
			e := like
			e.ObjectIDs = objects
			events = append(events, built{Event: e})
		}
		events = append(events, filters(like, lists[i].facets)...)
	}
	return events
}

// filters are the events of some facets, 10 each.
func filters(like insightsfake.Event, facets []facet) (events []built) {
	var all []string
	for _, f := range facets {
		all = append(all, urlEncode(f.name)+":"+urlEncode(f.value))
	}
	for _, some := range chunks(all, maxFilters) {
		e := like
		e.Filters = some
		events = append(events, built{Event: e})
	}
	return events
}

// clicks are the events of clicked objects: one per (index, queryID), in order of the first of each.
func clicks(like insightsfake.Event, s *said, answers []answer) (events []built) {
	for _, group := range groups(answers, func(a answer) string { return a.index + "\x00" + a.queryID }) {
		e := like
		e.Index, e.QueryID = answers[group[0]].index, answers[group[0]].queryID
		for _, i := range group {
			e.ObjectIDs = append(e.ObjectIDs, s.objects[i].id)
			if e.QueryID != "" {
				e.Positions = append(e.Positions, answers[i].position)
			}
		}
		events = append(events, built{e, group})
	}
	return events
}

// conversions are the events of items: an add-to-cart per (index, queryID), a purchase per index,
// both of 20 items at most.
func conversions(like insightsfake.Event, s *said, answers []answer) (events []built) {
	key := func(a answer) string { return a.index }
	if s.kind == addedToCart {
		key = func(a answer) string { return a.index + "\x00" + a.queryID }
	}
	for _, group := range groups(answers, key) {
		for _, some := range chunks(group, maxObjects) {
			events = append(events, built{conversion(like, s, answers, some), some})
		}
	}
	if money := validCurrency(s.currency); money {
		for i := range events {
			setValue(&events[i], s, len(events) == 1)
		}
	}
	return events
}

func conversion(e insightsfake.Event, s *said, answers []answer, places []int) insightsfake.Event {
	money := validCurrency(s.currency)
	if money {
		e.Currency = s.currency
	}
	e.Index = answers[places[0]].index
	if s.kind == addedToCart {
		e.QueryID = answers[places[0]].queryID
	}
	for _, i := range places {
		it := &s.items[i]
		data := insightsfake.ObjectData{Quantity: max(it.quantity, 1)}
		if money {
			data.Price, data.Discount = it.price, it.discount
		}
		if s.kind == purchased {
			data.QueryID = answers[i].queryID
		}
		e.ObjectIDs = append(e.ObjectIDs, it.objectID)
		e.ObjectData = append(e.ObjectData, data)
	}
	return e
}

// setValue gives a part its value: the sum where all its items have a price; else the message's own
// where the message gives this one event only.
func setValue(b *built, s *said, alone bool) {
	sum, complete := total(b.ObjectData)
	switch {
	case complete && len(sum) <= maxValueChars:
		b.Value = sum
	case !complete && alone:
		b.Value = s.value
	}
}

// total is Σ price × quantity in exact decimals, without needless zeros; complete says whether all
// items have a price.
func total(data []insightsfake.ObjectData) (sum string, complete bool) {
	var all big.Rat
	for i := range data {
		if data[i].Price == "" {
			return "", false
		}
		var price big.Rat
		price.SetString(data[i].Price)
		all.Add(&all, price.Mul(&price, new(big.Rat).SetInt64(int64(data[i].Quantity))))
	}
	text := all.FloatString(9)
	return strings.TrimRight(strings.TrimRight(text, "0"), "."), true
}

func validCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// urlEncode encodes every byte that is not unreserved (RFC 3986, 2.3).
func urlEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

func unique(list []string) []string {
	once := make([]string, 0, len(list))
	for _, s := range list {
		if !contains(once, s) {
			once = append(once, s)
		}
	}
	return once
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

func chunks[E any](list []E, size int) (parts [][]E) {
	for len(list) > size {
		parts, list = append(parts, list[:size]), list[size:]
	}
	if len(list) > 0 {
		parts = append(parts, list)
	}
	return parts
}

// groups gathers the places of answers with the same key, in order of the first of each.
func groups(answers []answer, key func(answer) string) (parts [][]int) {
	var keys []string
next:
	for i, a := range answers {
		k := key(a)
		for j := range keys {
			if keys[j] == k {
				parts[j] = append(parts[j], i)
				continue next
			}
		}
		keys, parts = append(keys, k), append(parts, []int{i})
	}
	return parts
}
