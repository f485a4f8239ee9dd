package reference

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"eventworker/internal/event"
)

// The most objects, and the most filters, of an event.
const (
	maxObjects = 20
	maxFilters = 10
	maxValue   = 16 // characters of a value
)

// Canonical is an event's JSON with its keys in order, so that equal events are equal texts. What is no
// JSON stays as it is.
func Canonical(raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(raw)
	}
	return text(v)
}

func text(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

type fields map[string]any

// base is what every event of the message has.
func (j *joiner) base(m *message, kind, index string) fields {
	f := fields{
		"eventType": kind, "eventName": or(m.name, j.in.Config.EventNames[m.typ]), "index": index,
		"userToken": m.user, "timestamp": min(m.sent, j.in.Now),
	}
	if m.auth != "" {
		f["authenticatedUserToken"] = m.auth
	}
	return f
}

func (j *joiner) views(m *message) (events []string) {
	if !j.in.Config.SendViews {
		return nil
	}
	for _, l := range m.lists {
		var objects []string
		for _, o := range l.objects {
			if !slices.Contains(objects, o) {
				objects = append(objects, o)
			}
		}
		for part := range slices.Chunk(objects, maxObjects) {
			f := j.base(m, "view", or(l.index, m.app.DefaultIndex))
			f["objectIDs"] = part
			events = append(events, text(f))
		}
	}
	return append(events, j.filters(m, "view")...)
}

func (j *joiner) facetClick(m *message) Outcome {
	if or(m.index, m.app.DefaultIndex) == "" && slices.ContainsFunc(m.facets, func(f facet) bool { return f.index == "" }) {
		return Outcome{Refused: event.NoIndex.String()}
	}
	return Outcome{Events: j.filters(m, "click")}
}

// filters makes events of facets, per index.
func (j *joiner) filters(m *message, kind string) (events []string) {
	var order []string
	byIndex := map[string][]string{}
	for _, f := range m.facets {
		index := or(f.index, m.index, m.app.DefaultIndex)
		if !slices.Contains(order, index) {
			order = append(order, index)
		}
		byIndex[index] = append(byIndex[index], encodeURIComponent(f.name)+":"+encodeURIComponent(f.value))
	}
	for _, index := range order {
		for part := range slices.Chunk(byIndex[index], maxFilters) {
			f := j.base(m, kind, index)
			f["filters"] = part
			events = append(events, text(f))
		}
	}
	return events
}

func encodeURIComponent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 0x80 && strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()", rune(c)) {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// A group is the places of objects or items that one event, but for its bound, can carry.
type group struct {
	index, query string
	members      []int
}

// grouped puts the places of equal (index, queryID) together, in order of the message.
func grouped(found []resolved, byQuery bool) (groups []group) {
	for k, r := range found {
		query := ""
		if byQuery {
			query = r.query
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.index == r.index && g.query == query })
		if at < 0 {
			at, groups = len(groups), append(groups, group{index: r.index, query: query})
		}
		groups[at].members = append(groups[at].members, k)
	}
	return groups
}

func (j *joiner) clickEvents(m *message, found []resolved) (events []string) {
	for _, g := range grouped(found, true) {
		for part := range slices.Chunk(g.members, maxObjects) {
			f := j.base(m, "click", g.index)
			var ids []string
			var positions []int64
			for _, k := range part {
				ids, positions = append(ids, m.objects[k].id), append(positions, found[k].position)
			}
			f["objectIDs"] = ids
			if g.query != "" {
				f["queryID"], f["positions"] = g.query, positions
			}
			events = append(events, text(f))
		}
	}
	return events
}

func (j *joiner) cartEvents(m *message, found []resolved) []string {
	return j.conversions(m, found, "addToCart", grouped(found, true))
}

func (j *joiner) purchaseEvents(m *message, found []resolved) []string {
	return j.conversions(m, found, "purchase", grouped(found, false))
}

func (j *joiner) conversions(m *message, found []resolved, subtype string, groups []group) (events []string) {
	var parts []group
	for _, g := range groups {
		for part := range slices.Chunk(g.members, maxObjects) {
			parts = append(parts, group{g.index, g.query, part})
		}
	}
	for _, g := range parts {
		f := j.base(m, "conversion", g.index)
		f["eventSubtype"] = subtype
		if g.query != "" {
			f["queryID"] = g.query
		}
		var ids []string
		var data []fields
		for _, k := range g.members {
			ids = append(ids, m.items[k].id)
			data = append(data, itemData(m, k, found[k], subtype))
		}
		f["objectIDs"], f["objectData"] = ids, data
		if currency.MatchString(m.currency) {
			f["currency"] = m.currency
			if v := m.total(g.members, len(parts) == 1); v != "" {
				f["value"] = v
			}
		}
		events = append(events, text(f))
	}
	return events
}

var currency = regexp.MustCompile(`^[A-Za-z]{3}$`)

func itemData(m *message, k int, r resolved, subtype string) fields {
	d := fields{"quantity": m.items[k].quantity}
	if subtype == "purchase" && r.query != "" {
		d["queryID"] = r.query
	}
	if currency.MatchString(m.currency) {
		if m.items[k].price != "" {
			d["price"] = m.items[k].price
		}
		if m.items[k].discount != "" {
			d["discount"] = m.items[k].discount
		}
	}
	return d
}

// total is the value of an event: Σ price × quantity where all its items have a price, else the message's
// own, if it gives this event only.
func (m *message) total(members []int, only bool) string {
	sum, priced := new(big.Rat), true
	for _, k := range members {
		price, ok := new(big.Rat).SetString(m.items[k].price)
		if priced = priced && ok; !priced {
			break
		}
		sum.Add(sum, price.Mul(price, new(big.Rat).SetInt64(int64(m.items[k].quantity))))
	}
	if !priced {
		if own, ok := new(big.Rat).SetString(m.value); ok && only {
			return trimmed(own)
		}
		return ""
	}
	return trimmed(sum)
}

func trimmed(r *big.Rat) string {
	s := r.FloatString(9)
	if s = strings.TrimRight(strings.TrimRight(s, "0"), "."); len(s) > maxValue {
		return ""
	}
	return s
}
