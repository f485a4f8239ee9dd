package worker

import (
	"sort"
	"strings"

	"eventworker/internal/consume"
)

// What is settled beyond a committed frontier, as text in the commit's metadata. Both forms begin at
// the frontier and are cut at their end where they do not fit, so that the nearest stays:
//
//	r=  lengths of runs, by turns not settled and settled, each a number of digits of five bits, the
//	    lowest first, with 32 added to all digits but the last
//	b=  a bitmap of six offsets a digit, the lowest bit first
//
// A digit is a letter of the URL alphabet of base64.
const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// maxMetadata bounds the text of a commit's metadata, below the 4,096 bytes that brokers take by default.
const maxMetadata = 3500

// maxRanges is how many ranges can fit: every second offset in a bitmap.
const maxRanges = 3 * maxMetadata

// ranges is what is settled beyond a frontier, in order; no range touches the next.
type ranges []consume.Range

// has says whether an offset is in one of the ranges.
func (r ranges) has(offset int64) bool {
	if len(r) == 0 || offset >= r[len(r)-1].To || offset < r[0].From {
		return false
	}
	i := sort.Search(len(r), func(i int) bool { return r[i].To > offset })
	return r[i].From <= offset
}

// ask is has as a function, nil where there are no ranges.
func (r ranges) ask() func(offset int64) bool {
	if len(r) == 0 {
		return nil
	}
	return r.has
}

// from cuts off what lies below an offset.
func (r ranges) from(offset int64) ranges {
	i := sort.Search(len(r), func(i int) bool { return r[i].To > offset })
	return r[i:]
}

// union appends to dst what is in a or in b.
func union(dst, a, b ranges) ranges {
	for len(a)+len(b) > 0 {
		var next consume.Range
		if len(b) == 0 || len(a) > 0 && a[0].From <= b[0].From {
			next, a = a[0], a[1:]
		} else {
			next, b = b[0], b[1:]
		}
		if n := len(dst); n > 0 && dst[n-1].To >= next.From {
			dst[n-1].To = max(dst[n-1].To, next.To)
			continue
		}
		dst = append(dst, next)
	}
	return dst
}

// text writes the ranges beyond a frontier in at most so many characters, in the shorter form, or, where
// neither takes all, in the one that tells more. It is empty where nothing is settled or fits.
func (r ranges) text(frontier int64, room int) string {
	r = r.from(frontier)
	room -= len("r=")
	if len(r) == 0 || room <= 0 {
		return ""
	}
	runs, told := r.runs(frontier, room)
	bitmap, shown := r.bitmap(frontier, room)
	switch {
	case told == 0 && shown == 0:
		return ""
	case told > shown || told == shown && len(runs) <= len(bitmap):
		return "r=" + runs
	}
	return "b=" + bitmap
}

// runs writes as many runs as fit, and says how many settled offsets they tell.
func (r ranges) runs(frontier int64, room int) (text string, told int64) {
	var b []byte
	at := frontier
	for _, x := range r {
		x.From = max(x.From, frontier)
		before := len(b)
		b = appendNumber(b, x.From-at)
		b = appendNumber(b, x.To-x.From)
		if len(b) > room {
			return string(b[:before]), told
		}
		at, told = x.To, told+x.To-x.From
	}
	return string(b), told
}

// bitmap writes as many offsets as fit, and says how many settled ones they tell.
func (r ranges) bitmap(frontier int64, room int) (text string, told int64) {
	length := min(r[len(r)-1].To-frontier, 6*int64(room))
	b := make([]byte, (length+5)/6)
	for _, x := range r {
		for o := max(x.From-frontier, 0); o < min(x.To-frontier, length); o++ {
			b[o/6] |= 1 << (o % 6)
			told++
		}
	}
	for i := range b {
		b[i] = digits[b[i]]
	}
	return strings.TrimRight(string(b), digits[:1]), told
}

// parseRanges reads what text wrote. Anything else gives false.
func parseRanges(form byte, text string, frontier int64) (r ranges, ok bool) {
	add := func(from, to int64) {
		if n := len(r); n > 0 && r[n-1].To == from {
			r[n-1].To = to
		} else if to > from {
			r = append(r, consume.Range{From: from, To: to})
		}
	}
	at := frontier
	for len(text) > 0 {
		if form == 'b' {
			digit := strings.IndexByte(digits, text[0])
			if digit < 0 {
				return nil, false
			}
			for bit := range int64(6) {
				if digit>>bit&1 == 1 {
					add(at+bit, at+bit+1)
				}
			}
			at, text = at+6, text[1:]
			continue
		}
		var gap, run int64
		if gap, text, ok = number(text); ok {
			run, text, ok = number(text)
		}
		if !ok || at+gap < at || at+gap+run < at+gap {
			return nil, false
		}
		add(at+gap, at+gap+run)
		at += gap + run
	}
	return r, true
}

func appendNumber(b []byte, n int64) []byte {
	for ; n >= 32; n >>= 5 {
		b = append(b, digits[32+n&31])
	}
	return append(b, digits[n])
}

func number(text string) (n int64, rest string, ok bool) {
	for i := range min(len(text), 12) { // 12 digits of five bits are more than any offset
		digit := strings.IndexByte(digits, text[i])
		if digit < 0 {
			return 0, "", false
		}
		n |= int64(digit&31) << (5 * i)
		if digit < 32 {
			return n, text[i+1:], true
		}
	}
	return 0, "", false
}
