package storefront

import (
	"slices"
	"strconv"
	"strings"
)

var (
	models  = []string{"related-products", "bought-together", "trending-items", "looking-similar"}
	indices = []string{"products", "products", "products_fashion", "products_home"}
	brands  = []facet{{"brand", "Müller & Söhne"}, {"brand", "100% Wool"}, {"category", "Home > Living room"},
		{"size", "XL"}, {"colour", "dark blue"}, {"brand", "a:b/c?d=e+f"}, {"category", "Women"}, {"brand", "O’Neill"},
		{"category", "Men"}, {"size", "10,5"}, {"brand", "ACME"}, {"colour", "grün"}, {"category", "Sale"}}
)

// begin makes s a message of a user with what all types have.
func (g *Generator) begin(s *said, user int, k kind, now int64) *said {
	v := g.visitor(user)
	s.kind, s.userToken, s.authenticatedUserToken = k, v.token, v.account
	if user%10 == 7 {
		s.application = "outlet"
	} else if g.chance(0.2) {
		s.application = "default"
	}
	if g.chance(0.05) {
		s.eventName = "Shop: " + settingName(k)
	}
	s.timestamp = v.stamp(now, regular)
	switch {
	case g.chance(0.03):
		// Only the record has a time; it must be this one, which no other message of the user has.
		s.recordTime, s.timestamp = s.timestamp, 0
	case g.chance(0.02):
		s.timestamp = v.stamp(now+g.between(1, 3000), ahead) // the client's clock is ahead of the broker's
	}
	s.style.rfc3339 = g.chance(0.1)
	s.style.spaced = g.chance(0.05)
	return s
}

// page is a page with recommended lists.
func (g *Generator) page(user int, now int64) *said {
	room := new(struct { // most pages have one list: it lies beside the page
		said
		lists [1]list
	})
	s := g.begin(&room.said, user, shown, now)
	switch draw := g.random.Float64(); {
	case draw < 0.70:
		s.form = flatForm
		s.lists = append(room.lists[:0], g.list(s, models[g.random.IntN(len(models))]))
		if g.chance(0.1) {
			s.lists[0].offset = g.between(1, 100)
		}
	case draw < 0.84:
		s.form = listsForm
		count := g.between(1, 5)
		s.lists = slices.Grow(room.lists[:0], int(count))
		for range count {
			s.lists = append(s.lists, g.list(s, models[g.random.IntN(len(models))]))
		}
	case draw < 0.94:
		g.recommend(s)
	default:
		s.form = facetsForm
		s.lists = append(room.lists[:0], list{index: g.index(s), facets: g.facets(30)})
	}
	if g.chance(0.3) {
		s.id = "page-" + g.run + "-" + strconv.FormatUint(g.random.Uint64(), 36)
	}
	return s
}

// recommend is a page in the form of a Recommend call: some results are empty, one may hold facets.
func (g *Generator) recommend(s *said) {
	s.form = recommendForm
	s.style.otherToken = g.chance(0.02)
	for i := range g.between(1, 4) {
		l := g.list(s, models[i])
		l.offset = 0
		if l.index == "" {
			l.index = "products"
		}
		if g.chance(0.1) {
			l.objectIDs = nil
		}
		s.lists = append(s.lists, l)
	}
	if g.chance(0.15) {
		s.lists = append(s.lists, list{index: "products", model: "trending-facets", facets: g.facets(12)})
	}
}

// index is one of the shop's, or none where the application has a default.
func (g *Generator) index(s *said) string {
	if s.application == "outlet" {
		return "outlet"
	}
	if g.chance(0.1) {
		return ""
	}
	return indices[g.random.IntN(len(indices))]
}

func (g *Generator) list(s *said, model string) list {
	l := list{index: g.index(s), model: model}
	if g.chance(0.1) {
		l.model = ""
		if s.form == recommendForm {
			l.model = models[0]
		}
	}
	length := int(g.between(3, 21))
	if g.chance(0.1) {
		length = int(g.between(20, 31))
	}
	l.objectIDs = make([]string, 0, length)
	var seen sketch
	for len(l.objectIDs) < length {
		// A second draw makes repeats rare, not impossible.
		o := g.draw()
		if seen.has(o) && contains(l.objectIDs, g.objects[o]) {
			o = g.draw()
		}
		seen.add(o)
		l.objectIDs = append(l.objectIDs, g.objects[o])
	}
	switch draw := g.random.Float64(); {
	case draw < 0.86:
		l.queryID = g.queryID()
	case draw < 0.92:
		l.queryID = strings.ToUpper(g.queryID())
	case draw < 0.94:
		l.queryID = g.queryID()[:31]
	}
	if g.chance(0.3) {
		l.tags = g.tags[g.random.IntN(len(g.tags))]
	}
	return l
}

// draw is the number of an object by Zipf's law.
func (g *Generator) draw() uint32 { return g.drawn[g.random.Uint64()>>48] }

func (g *Generator) object() string { return g.objects[g.draw()] }

// queryID is 32 hexadecimal digits.
func (g *Generator) queryID() string {
	const hex = "0123456789abcdef"
	var b [32]byte
	for i := 0; i < len(b); i += 16 {
		bits := g.random.Uint64()
		for j := range 16 {
			b[i+j] = hex[bits>>(4*j)&15]
		}
	}
	return string(b[:])
}

func (g *Generator) facets(most int64) (some []facet) {
	count := int(g.between(1, min(most, int64(len(brands)))+1))
	first := g.random.IntN(len(brands))
	some = make([]facet, 0, count)
	for i := range count {
		some = append(some, brands[(first+i)%len(brands)])
	}
	return some
}

// seen is a list of objects of the page, or nil if it has none.
func (g *Generator) seen(page *said) *list {
	if page == nil {
		return nil
	}
	first := g.random.IntN(len(page.lists))
	for i := range page.lists {
		if l := &page.lists[(first+i)%len(page.lists)]; len(l.objectIDs) > 0 {
			return l
		}
	}
	return nil
}

// click is a click on what a page showed, or on something that nobody was shown.
func (g *Generator) click(a arrival, now int64) *said {
	s := g.begin(new(said), a.user, clicked, now)
	if a.origin.application == "outlet" {
		s.application = "outlet"
	}
	if g.chance(g.config.Skewed) {
		g.skew(a, s)
	}
	l := g.seen(a.origin)
	switch {
	case l == nil:
		s.facets, s.index = g.facets(10), g.index(s)
	case g.chance(g.config.Organic):
		s.objects, s.index = []object{{id: "organic-" + strconv.FormatUint(g.random.Uint64()>>44, 10)}}, g.index(s)
	default:
		g.clickOn(s, l)
		g.ownFields(s, l)
	}
	s.style.plural = g.chance(0.2)
	return s
}

// skew stamps a click shortly before its page: mostly within the clock skew, sometimes beyond.
func (g *Generator) skew(a arrival, s *said) {
	if a.origin.timestamp == 0 || s.recordTime != 0 {
		return
	}
	most := max(g.config.Rules.ClockSkew.Milliseconds()*3/2, 2)
	s.timestamp = g.visitor(a.user).stamp(a.origin.timestamp-g.between(1, most), skewed)
}

// clickOn picks one object of the list, sometimes several.
func (g *Generator) clickOn(s *said, l *list) {
	count := 1
	if g.chance(0.15) {
		count = int(g.between(2, 6))
	}
	first := g.random.IntN(len(l.objectIDs))
	for i := range min(count, len(l.objectIDs)) {
		o := l.objectIDs[(first+i)%len(l.objectIDs)]
		known := false
		for _, other := range s.objects {
			known = known || other.id == o
		}
		if !known {
			s.objects = append(s.objects, object{id: o})
		}
	}
	if count > 1 && g.chance(0.2) {
		s.objects = append(s.objects, object{id: "organic-" + strconv.FormatUint(g.random.Uint64()>>44, 10)})
	}
}

// ownFields gives some clicks what they know of their list themselves: rightly, wrongly, in part.
func (g *Generator) ownFields(s *said, l *list) {
	if g.chance(0.15) {
		s.index = l.index
	}
	if g.chance(0.03) {
		s.index = g.index(s)
	}
	if g.chance(0.08) {
		s.model = l.model
	}
	if g.chance(0.01) {
		s.model = "trending-items"
	}
	s.queryID = g.ownQueryID(l)
	if g.chance(0.1) {
		for i := range s.objects {
			s.objects[i].position = int(g.between(1, 40))
		}
	}
}

func (g *Generator) ownQueryID(l *list) string {
	switch draw := g.random.Float64(); {
	case draw < 0.10:
		return l.queryID
	case draw < 0.12:
		return strings.ToUpper(l.queryID)
	case draw < 0.14:
		return g.queryID() // of a list that was never told
	case draw < 0.15:
		return "no-query-id"
	case draw < 0.16:
		return "message_" + strconv.FormatUint(g.random.Uint64(), 36)
	}
	return ""
}

var currencies = []string{"EUR", "EUR", "EUR", "USD", "gbp", "", "", "EURO", "€"}

// buy is an add-to-cart or purchase of some things of a page and some that nobody was shown.
func (g *Generator) buy(a arrival, now int64) *said {
	k := addedToCart
	if g.chance(0.4) {
		k = purchased
	}
	s := g.begin(new(said), a.user, k, now)
	if a.origin.application == "outlet" {
		s.application = "outlet"
	}
	g.orders++
	s.id = settingName(k) + "-" + g.run + "-" + strconv.FormatUint(g.orders, 10)
	if k == purchased && g.chance(0.8) {
		s.orderID = "order-" + g.run + "-" + strconv.FormatUint(g.orders, 10)
	}
	count := g.between(1, 6)
	if g.chance(0.03) {
		count = g.between(6, 61)
	}
	l := g.seen(a.origin)
	priced := g.chance(0.9)
	s.items = make([]item, 0, count)
	for range count {
		s.items = append(s.items, g.item(s, l, priced))
	}
	if s.application == "outlet" && g.chance(0.95) || g.chance(0.1) {
		s.index = g.index(s)
	}
	if l != nil && g.chance(0.04) {
		s.queryID = g.ownQueryID(l)
	}
	s.currency = currencies[g.random.IntN(len(currencies))]
	if g.chance(0.3) {
		s.value, s.style.valueNumber = g.price(), g.chance(0.5)
	}
	return s
}

func (g *Generator) item(s *said, l *list, priced bool) item {
	var it item
	if l == nil || g.chance(4*g.config.Organic) {
		it.objectID = g.object()
		if g.chance(0.5) {
			it.objectID = "organic-" + strconv.FormatUint(g.random.Uint64()>>44, 10)
		}
	} else {
		it.objectID = l.objectIDs[g.random.IntN(len(l.objectIDs))]
		it.queryID = g.ownQueryID(l)
		if g.chance(0.1) {
			it.index = l.index
		}
		if g.chance(0.05) {
			it.model = l.model
		}
	}
	if s.application != "outlet" && g.chance(0.05) {
		it.index = g.index(s)
	}
	if priced || g.chance(0.3) {
		it.price, it.numbers = g.price(), g.chance(0.5)
	}
	if g.chance(0.6) {
		it.quantity = int(g.between(1, 5))
	}
	if g.chance(0.15) {
		it.discount = strconv.Itoa(g.random.IntN(10)) + ".5"
	}
	return it
}

// price is a decimal, mostly of two places, sometimes so long that a sum may not fit.
func (g *Generator) price() string {
	switch draw := g.random.Float64(); {
	case draw < 0.05:
		return strconv.Itoa(g.random.IntN(500))
	case draw < 0.06:
		return "123456.123456789"
	case draw < 0.07:
		return "0.000000001"
	}
	cents := g.random.IntN(30_000) + 1
	text := strconv.Itoa(cents/100) + "."
	if cents%100 < 10 {
		text += "0"
	}
	return text + strconv.Itoa(cents%100)
}
