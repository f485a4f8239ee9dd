package reference_test

import (
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"eventworker/internal/join/reference"
)

// A layout is the topics of a task. Their order in the configuration is not that of their names.
var layouts = map[string][]reference.Source{
	"one":    {{Topic: "shop", Shown: true, Clicked: true}},
	"typed":  {{Topic: "clicks", Clicked: true}, {Topic: "orders"}, {Topic: "carts"}, {Topic: "views", Shown: true}},
	"shown":  {{Topic: "views", Shown: true}, {Topic: "rest", Clicked: true}},
	"mixed":  {{Topic: "web", Shown: true, Clicked: true}, {Topic: "app", Shown: true, Clicked: true}},
	"shown2": {{Topic: "web", Shown: true}, {Topic: "app", Shown: true}, {Topic: "rest", Clicked: true}},
}

var layoutNames = []string{"one", "typed", "shown", "mixed", "shown2"}

// drawTraffic draws a small log in which everything collides.
func drawTraffic(t *rapid.T, layout string, most int) *traffic {
	tr := &traffic{set: drawSettings(t), sources: layouts[layout]}
	d := drawer{T: t, tr: tr, crowd: oneIn(t, 25, "crowd")}
	for n := rapid.IntRange(1, most).Draw(t, "lines"); n > 0; n-- {
		tr.lines = append(tr.lines, d.line())
	}
	return tr
}

func drawSettings(t *rapid.T) settings {
	ms := func(name string, of ...int64) int64 { return rapid.SampledFrom(of).Draw(t, name) }
	word := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	s := settings{
		window: ms("window", 100, 20, 50, 400), clickWindow: ms("click_window", 100, 20, 50, 400),
		skew: ms("skew", 5, 0, 10, 30), lateness: ms("lateness", 10, 0, 20, 40), dedupeWindow: ms("dedupe_window", 100, 10, 30),
		attribution: word("attribution", "", "", "clicked", "shown"), miss: word("miss", "", "", "drop", "dead-letter"),
		views:  rapid.Bool().Draw(t, "views"),
		dedupe: word("dedupe", "ap", "ap", "", "cap", "scap"), index: word("index", "x", "", "z"), indices: word("indices", "", "", "", "x,z"),
	}
	if !s.views {
		s.dedupe = strings.TrimPrefix(s.dedupe, "s") // a copy of nothing is absorbed as this or that
	}
	return s
}

func oneIn(t *rapid.T, n int, label string) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1
}

// A drawer draws lines; its time goes on.
type drawer struct {
	*rapid.T
	tr    *traffic
	time  int64
	crowd bool // users see very much
}

func (d *drawer) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(d.T, label)
}

func (d *drawer) line() line {
	d.time += rapid.SampledFrom([]int64{1, 0, 3, 10, 25, 60}).Draw(d.T, "passes")
	l := line{kind: d.pick("kind", "s", "c", "p", "a", "s", "c", "p", "a", "s", "c", "p", "a", "s", "c", "tombstone", "junk", "unknown", "invalid"),
		user: d.pick("user", "u", "u", "u", "v"), time: d.time, own: none}
	l.source = d.source(l.kind)
	l.app = d.pick("app", "", "", "", "", "", "", "", "second", "elsewhere", "nowhere")
	d.times(&l)
	if oneIn(d.T, 3, "has id") {
		l.id = d.pick("id", "1", "2") + d.tr.sources[l.source].Topic
	}
	if l.kind == "c" && l.id != "" && strings.Contains(d.tr.set.dedupe, "c") {
		l.user = "w" // whose items do not depend on when the outcome of a click comes
	}
	switch l.kind {
	case "s":
		d.shown(&l)
	case "c":
		d.clicked(&l)
	case "a", "p":
		d.items(&l)
	}
	return l
}

// times gives the line its record's and its own time: usual, late, ahead by a little, far ahead, too old.
func (d *drawer) times(l *line) {
	small := func() int64 { return rapid.Int64Range(0, 40).Draw(d.T, "by") }
	switch rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8, 8}).Draw(d.T, "times") {
	case 1: // the message is older than its record
		l.own = l.time - small()
	case 2: // the record is late as well
		l.time -= small()
	case 3: // the shop's clock is ahead
		l.own = l.time + small()
	case 4: // both are
		l.time += small()
	case 5: // far ahead
		l.own = rapid.SampledFrom([]int64{900_000, 1_200_000, 1_299_000, 1_301_000, 5_000_000}).Draw(d.T, "ahead")
		if oneIn(d.T, 2, "record too") {
			l.time = l.own
		}
	case 6: // about too old
		l.own = oldest + rapid.SampledFrom([]int64{300, -300}).Draw(d.T, "old")
	case 7:
		l.own, l.time = l.time-small(), none
	case 8: // at the edge of a window of an earlier line
		if len(d.tr.lines) == 0 {
			return
		}
		s := &d.tr.set
		by := rapid.SampledFrom([]int64{0, s.window, s.clickWindow, s.dedupeWindow, -s.dedupeWindow, s.skew, -s.skew, s.lateness}).Draw(d.T, "edge")
		from := d.tr.lines[rapid.IntRange(0, len(d.tr.lines)-1).Draw(d.T, "of line")].eventTime()
		l.time = min(max(oldest+300, from+by+rapid.SampledFrom([]int64{0, 0, 1, -1}).Draw(d.T, "beside")), 900_000)
	}
}

// source is one that may carry the kind.
func (d *drawer) source(kind string) int {
	var may []int
	for k, s := range d.tr.sources {
		if kind != "s" && kind != "c" || kind == "s" && s.Shown || kind == "c" && s.Clicked {
			may = append(may, k)
		}
	}
	return rapid.SampledFrom(may).Draw(d.T, "source")
}

func (d *drawer) object() string { return d.pick("object", "a", "b", "c") }
func (d *drawer) index() string  { return d.pick("index", "", "", "x", "z", "y") }
func (d *drawer) model() string  { return d.pick("model", "", "", "r", "t") }
func (d *drawer) query() string  { return d.pick("query", "1", "2", "3", "m1", "4", "bad") }

func (d *drawer) maybeQuery() string {
	if oneIn(d.T, 4, "names a query") {
		return d.query()
	}
	return ""
}

func (d *drawer) objects(most int) (objects []string) {
	for n := rapid.IntRange(1, most).Draw(d.T, "objects"); n > 0; n-- {
		objects = append(objects, d.object())
	}
	return objects
}

func (d *drawer) shown(l *line) {
	if oneIn(d.T, 12, "facets") {
		l.facets, l.index = []string{"nice&new", "é"}, d.index()
		return
	}
	for n := rapid.IntRange(1, 2).Draw(d.T, "lists"); n > 0; n-- {
		x := lineList{index: d.index(), model: d.model(), query: d.query(), objects: d.objects(3)}
		if oneIn(d.T, 8, "no query") {
			x.query = ""
		}
		if oneIn(d.T, 4, "offset") {
			x.offset = 20
		}
		if d.crowd && rapid.Bool().Draw(d.T, "many") {
			x.times = rapid.IntRange(20, 25).Draw(d.T, "times")
		}
		l.lists = append(l.lists, x)
	}
}

func (d *drawer) clicked(l *line) {
	l.index = d.index()
	if oneIn(d.T, 12, "facets") {
		l.facets = []string{"old"}
		return
	}
	l.objects, l.model, l.query = d.objects(2), d.model(), d.maybeQuery()
	if oneIn(d.T, 4, "positions") {
		for k := range l.objects {
			l.positions = append(l.positions, 7+k)
		}
	}
}

func (d *drawer) items(l *line) {
	if oneIn(d.T, 3, "index for all") {
		l.index = d.index()
	}
	if oneIn(d.T, 8, "query for all") {
		l.query = d.query()
	}
	n := rapid.IntRange(1, 3).Draw(d.T, "items")
	if oneIn(d.T, 20, "many items") {
		n = rapid.IntRange(18, 45).Draw(d.T, "items")
	}
	priced := rapid.IntRange(0, 3).Draw(d.T, "priced")
	for k := range n {
		x := lineItem{id: d.object(), index: d.index(), model: d.model(), query: d.maybeQuery()}
		if k < priced || priced == 3 {
			x.price = d.pick("price", "1", "2.50", "0.000000001", "999999999999", "19.90")
			x.discount = d.pick("discount", "", "0.10")
		}
		x.quantity = rapid.SampledFrom([]int{0, 1, 3, 1<<31 - 1}).Draw(d.T, "quantity")
		l.items = append(l.items, x)
	}
	l.currency = d.pick("currency", "EUR", "eur", "", "EURO")
	l.value = d.pick("value", "", "3.70", strconv.Itoa(5))
}

// drawReading draws an order in which the log is read, in chunks, with outcomes between, and with the
// ends told in the middle if ends is set.
func drawReading(t *rapid.T, tr *traffic, records [][]reference.Record, ends, commits bool) (ops []op) {
	left := make([]int, len(records))
	var open []int
	for s := range records {
		if left[s] = len(records[s]); left[s] > 0 {
			open = append(open, s)
		}
	}
	at := make([]bool, len(records))
	for len(open) > 0 {
		k := rapid.IntRange(0, len(open)-1).Draw(t, "from")
		s := open[k]
		n := min(left[s], rapid.SampledFrom([]int{1, 2, 3, 8, 100}).Draw(t, "chunk"))
		if at[s] {
			ops, at[s] = append(ops, op{kind: opNotEnd, source: s}), false
		}
		ops = append(ops, op{kind: opRead, source: s, n: n})
		if left[s] -= n; left[s] == 0 {
			open = append(open[:k:k], open[k+1:]...)
		}
		if oneIn(t, 3, "settles") {
			ops = append(ops, op{kind: opSettle, n: rapid.IntRange(1, 5).Draw(t, "so many")})
		}
		if commits && oneIn(t, 3, "commits") {
			ops = append(ops, op{kind: opCommit})
		}
		if ends && oneIn(t, 2, "end") {
			e := rapid.IntRange(0, len(records)-1).Draw(t, "of")
			ops, at[e] = append(ops, op{kind: opEnd, source: e}), true
		}
	}
	return ops
}

// drawCrashes puts crashes between the ops. After one, what was not committed is read again as before.
func drawCrashes(t *rapid.T, ops []op, most int) []op {
	for n := rapid.IntRange(1, most).Draw(t, "crashes"); n > 0; n-- {
		at := rapid.IntRange(0, len(ops)).Draw(t, "at")
		how := rapid.IntRange(0, ways*6-1).Draw(t, "leaves")
		ops = slices.Insert(ops, at, op{kind: opCrash, n: how})
		if rapid.Bool().Draw(t, "again") {
			ops = append(ops, ops[:at]...)
		}
	}
	return ops
}
