package dlq

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"eventworker/internal/consume"
)

// offsets is a set of offsets of one partition, as ranges in order. Its text, in JSON too, is such as
// 12-16,18-19: from, and to, which does not belong to it.
type offsets []consume.Range

// add adds an offset; they come in ascending order.
func (o *offsets) add(offset int64) {
	if n := len(*o); n > 0 && (*o)[n-1].To == offset {
		(*o)[n-1].To++
		return
	}
	*o = append(*o, consume.Range{From: offset, To: offset + 1})
}

func (o offsets) has(offset int64) bool {
	i, _ := slices.BinarySearchFunc(o, offset, func(r consume.Range, offset int64) int {
		if r.To <= offset {
			return -1
		}
		return 1
	})
	return i < len(o) && o[i].From <= offset
}

func (o offsets) count() (n int64) {
	for _, r := range o {
		n += r.To - r.From
	}
	return n
}

// bounds are the first offset, and the one after the last; both 0 without any.
func (o offsets) bounds() (from, to int64) {
	if len(o) == 0 {
		return 0, 0
	}
	return o[0].From, o[len(o)-1].To
}

// next is the first offset of the set at or after an offset.
func (o offsets) next(offset int64) (int64, bool) {
	for _, r := range o {
		if offset < r.To {
			return max(offset, r.From), true
		}
	}
	return 0, false
}

// without is the set less another one.
func (o offsets) without(other offsets) (left offsets) {
	for _, r := range o {
		at := r.From
		for _, n := range other {
			if n.To <= at || n.From >= r.To {
				continue
			}
			if n.From > at {
				left = append(left, consume.Range{From: at, To: n.From})
			}
			at = max(at, n.To)
		}
		if at < r.To {
			left = append(left, consume.Range{From: at, To: r.To})
		}
	}
	return left
}

func (o offsets) String() string {
	var b []byte
	for i, r := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, r.From, 10)
		b = strconv.AppendInt(append(b, '-'), r.To, 10)
	}
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (o offsets) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *offsets) UnmarshalText(text []byte) error {
	*o = nil
	if len(text) == 0 {
		return nil
	}
	for part := range strings.SplitSeq(string(text), ",") {
		from, to, ok := strings.Cut(part, "-")
		f, err1 := strconv.ParseInt(from, 10, 64)
		t, err2 := strconv.ParseInt(to, 10, 64)
		if !ok || err1 != nil || err2 != nil || f < 0 || t <= f || len(*o) > 0 && (*o)[len(*o)-1].To > f {
			return fmt.Errorf("%.40q is no range of offsets in ascending order, such as 12-16", part)
		}
		*o = append(*o, consume.Range{From: f, To: t})
	}
	return nil
}
