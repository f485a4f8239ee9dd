package main

import "strconv"

// newMix makes the traffic of a shop whose events carry no queryIDs: 70 % shown lists of 10 to 30
// objects, 20 % clicks, 10 % purchases of 1 to 5 items; three quarters of it come from a tenth of a
// million users. A click follows its list by 10 to 200,000 messages and a purchase by up to a
// million, both evenly; 5 % of the clicks and 20 % of the purchases belong to no list.
func newMix(seed uint64, messages int, start int64) *traffic {
	return &traffic{Name: "mix", Seed: seed, Messages: messages, Start: start, build: buildMix}
}

const (
	clickNearest  = 10
	clickSpread   = 200_000
	buySpread     = 1_000_000
	mostViewed    = 20 // objects in one view event
	leastShown    = 10
	mostShown     = 30
	mostBought    = 5
	missesClicked = 5  // of 100
	missesBought  = 20 // of 100
)

type kind int

const (
	shown kind = iota
	clicked
	bought
)

func (t *traffic) kind(i int) kind {
	switch d := t.draw(i, drawType, 10); {
	case d < 7:
		return shown
	case d < 9:
		return clicked
	}
	return bought
}

func (t *traffic) shownCount(i int) int {
	return leastShown + t.draw(i, drawCount, mostShown-leastShown+1)
}

func buildMix(t *traffic, dst []byte, i int) (value []byte, user, events int) {
	time := t.Start + int64(i)
	switch t.kind(i) {
	case shown:
		n := t.shownCount(i)
		user = t.user(i)
		return appendShown(dst, t, i, user, n, time), user, (n + mostViewed - 1) / mostViewed
	case clicked:
		list, user := t.origin(i, missesClicked, clickNearest, clickSpread)
		return appendClicked(dst, t, i, list, user, time), user, 1
	}
	list, user := t.origin(i, missesBought, 1, buySpread)
	return appendBought(dst, t, i, list, user, time), user, 1
}

// origin is the shown list that message i comes from and its user; a message without one names
// itself and a user of its own.
func (t *traffic) origin(i, misses, nearest, spread int) (list, user int) {
	if t.draw(i, drawMiss, 100) >= misses {
		for list = i - nearest - t.draw(i, drawDistance, spread-nearest+1); list >= 0; list-- {
			if t.kind(list) == shown {
				return list, t.user(list)
			}
		}
	}
	return i, t.user(i)
}

func appendShown(dst []byte, t *traffic, i, user, n int, time int64) []byte {
	dst = append(appendHead(dst, "shown", user, time), `,"index":"products","queryID":`...)
	dst = append(t.appendQueryID(dst, i), `,"model":"related-products","objectIDs":[`...)
	for k := range n {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = appendObject(dst, t.object(i, k))
	}
	return append(dst, "]}"...)
}

func appendClicked(dst []byte, t *traffic, i, list, user int, time int64) []byte {
	dst = append(appendHead(dst, "clicked", user, time), `,"objectID":`...)
	return append(appendObject(dst, t.object(list, t.draw(i, drawObject, leastShown))), '}')
}

func appendBought(dst []byte, t *traffic, i, list, user int, time int64) []byte {
	dst = append(appendHead(dst, "purchased", user, time), `,"currency":"EUR","items":[`...)
	first := t.draw(i, drawObject, leastShown-mostBought)
	for k := range 1 + t.draw(i, drawCount, mostBought) {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendObject(append(dst, `{"objectID":`...), t.object(list, first+k)), `,"price":"`...)
		dst = strconv.AppendInt(dst, int64(1+t.draw(i, drawUser, 99)), 10)
		dst = append(dst, `.90","quantity":`...)
		dst = append(strconv.AppendInt(dst, int64(1+k), 10), '}')
	}
	return append(dst, "]}"...)
}
