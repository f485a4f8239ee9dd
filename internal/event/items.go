package event

import "math"

// maxItems is how many items an add-to-cart or purchase may have.
const maxItems = 1000

// items reads the items of an add-to-cart or purchase.
func (d *Decoder) items(i int, ev *Event) int {
	b, at := d.b, i
	if i >= len(b) || b[i] != '[' {
		return d.failCount(ruleItemsArray, i, 0, maxItems)
	}
	i, more := d.open(i+1, ']')
	for more {
		if len(ev.Items) == maxItems {
			return d.failCount(ruleItemsCount, at, maxItems+1, maxItems)
		}
		ev.Items = append(ev.Items, Item{Quantity: 1})
		if i = d.item(i, ev, &ev.Items[len(ev.Items)-1]); i < 0 {
			return -1
		}
		i, more = d.more(i, ']')
	}
	if i >= 0 && len(ev.Items) == 0 {
		return d.failCount(ruleItemsCount, at, 0, maxItems)
	}
	return i
}

// The known names of an item, as bits.
const (
	itemObjectID = 1 << iota
	itemPrice
	itemQuantity
	itemDiscount
	itemQueryID
	itemIndex
	itemModel
)

func itemField(name []byte) uint {
	switch string(name) {
	case "objectID":
		return itemObjectID
	case "price":
		return itemPrice
	case "quantity":
		return itemQuantity
	case "discount":
		return itemDiscount
	case "queryID":
		return itemQueryID
	case "index":
		return itemIndex
	case "model":
		return itemModel
	}
	return 0
}

// item reads one of items.
func (d *Decoder) item(i int, ev *Event, it *Item) int {
	b, start := d.b, i
	if i >= len(b) || b[i] != '{' {
		return d.fail(ruleItemsObject, i)
	}
	seen := uint(0)
	i, more := d.open(i+1, '}')
	for k := 0; more; k++ {
		at := i
		var f uint
		if f, i = d.usualItemField(k, i); i < 0 {
			return -1
		}
		if seen&f != 0 {
			return d.fail(ruleDuplicate, at)
		}
		seen |= f
		switch f {
		case itemObjectID:
			it.ObjectID, i = d.bounded(i, ruleObjectIDText, ruleObjectIDLength, 1, maxTextBytes)
		case itemPrice:
			it.Price, i = d.decimal(i, rulePriceDecimal)
		case itemQuantity:
			var n int64
			n, i = d.integer(i, ruleQuantityInteger, ruleQuantityRange, 1, math.MaxInt32)
			it.Quantity = int32(n)
		case itemDiscount:
			it.Discount, i = d.decimal(i, ruleDiscountDecimal)
		case itemQueryID:
			var v []byte
			v, i = d.text(i, ruleQueryIDText)
			it.QueryID = d.boughtQueryID(v, ev)
		case itemIndex:
			it.Index, i = d.bounded(i, ruleIndexText, ruleIndexLength, 1, maxTextBytes)
		case itemModel:
			it.Model, i = d.bounded(i, ruleModelText, ruleModelLength, 1, maxTextBytes)
		default:
			i = d.skip(i, nil, 3)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	if i >= 0 && seen&itemObjectID == 0 {
		return d.failMissing(ruleObjectIDRequired, start, "objectID")
	}
	return i
}

// boughtQueryID is knownQueryID without the message_ ids of purchases: objectData of a purchase
// takes 32 hexadecimal digits only (insights-api.md, section 3).
func (d *Decoder) boughtQueryID(v []byte, ev *Event) []byte {
	id := d.knownQueryID(v, ev)
	if d.typ == Purchased && IsMessageID(id) {
		ev.DroppedMessageIDs++
		return nil
	}
	return id
}

// finishBought judges an add-to-cart or purchase as a whole.
func (m *messageReader) finishBought() bool {
	if !m.seen.has(fieldItems) {
		m.d.failMissing(ruleItemsRequired, m.start, "items")
		return false
	}
	m.ev.QueryID = m.d.boughtQueryID(m.ev.QueryID, m.ev)
	return true
}
