package main

import "strconv"

// newIDs makes the traffic of a shop whose services send queryIDs, index and positions themselves:
// half clicks, half add-to-carts of one or two items. Like most teams' messages they say more than
// the worker asks for.
func newIDs(seed uint64, messages int, start int64) *traffic {
	return &traffic{Name: "ids", Seed: seed, Messages: messages, Start: start, build: buildIDs}
}

func buildIDs(t *traffic, dst []byte, i int) (value []byte, user, events int) {
	user = t.user(i)
	kind := "clicked"
	cart := t.draw(i, drawType, 2) == 1
	if cart {
		kind = "addedToCart"
	}
	dst = append(appendHead(dst, kind, user, t.Start+int64(i)), `,"index":"products","queryID":`...)
	dst = append(t.appendQueryID(dst, i), `,"model":"related-products",`...)
	if cart {
		dst = append(dst, `"currency":"EUR","items":[`...)
		for k := range 1 + t.draw(i, drawCount, 2) {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendObject(append(dst, `{"objectID":`...), t.object(i, k)), `,"price":"19.90","quantity":1}`...)
		}
		dst = append(dst, ']')
	} else {
		dst = appendObject(append(dst, `"objectID":`...), t.object(i, 0))
		dst = strconv.AppendInt(append(dst, `,"position":`...), int64(1+t.draw(i, drawCount, 20)), 10)
	}
	dst = append(dst, `,"session":`...)
	dst = append(t.appendQueryID(dst, -i), `,"page":"/products/garden/"`...)
	return append(dst, `,"channel":"web"}`...), user, 1
}
