package reference_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"
	"time"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/join/reference"
)

// Times in traffic are milliseconds after epoch; the clock stands at now, but for a millisecond with each
// tick.
const (
	epoch = int64(1_764_000_000_000)
	now   = epoch + 1_000_000
	// oldest is the earliest time, after epoch, that is not too old.
	oldest = -500
)

// A traffic is a log with its configuration, in a form that people can read and write: see testdata.
type traffic struct {
	set     settings
	sources []reference.Source
	lines   []line
	// readings are ways in which it is read; empty: many.
	readings [][]op
}

// settings are the rules, durations in milliseconds.
type settings struct {
	window, clickWindow, skew, lateness, dedupeWindow int64
	attribution, miss                                 string
	views                                             bool
	dedupe                                            string // the first letters of the types
	index                                             string // default_index of the default application
	indices                                           string // allowed ones, comma between
}

// A line is one record. Kind is s, c, a or p, or what it is instead of a message: tombstone, junk,
// unknown or invalid.
type line struct {
	source                 int
	time                   int64 // after epoch; none: no timestamp
	kind, user             string
	own                    int64 // the message's timestamp after epoch; none: absent
	id, app, query, index  string
	model, currency, value string
	objects                []string
	positions              []int
	lists                  []lineList
	items                  []lineItem
	facets                 []string
}

const none = int64(-1 << 40)

type lineList struct {
	query, index, model string
	offset              int
	objects             []string
	times               int // so many lists of this kind
}

type lineItem struct {
	id, query, index, model string
	price, discount         string
	quantity                int
}

var kinds = map[string]string{"s": "recommendation.shown", "c": "recommendation.clicked", "a": "recommendation.addedToCart", "p": "recommendation.purchased"}

// queryID makes a queryID of its short form: digits, m and digits for a message_ id; others are malformed.
func queryID(short string) string {
	if n, err := strconv.Atoi(short); err == nil {
		return fmt.Sprintf("%032x", n)
	}
	if strings.HasPrefix(short, "m") {
		return "message_" + short[1:]
	}
	return short
}

// record is the record's value; nil for a tombstone.
func (l *line) record() []byte {
	switch l.kind {
	case "tombstone":
		return nil
	case "junk":
		return []byte(`{"type":`)
	case "unknown":
		return l.encode("recommendation.dreamt")
	case "invalid":
		l := *l
		l.objects, l.items, l.facets = nil, nil, nil
		return l.encode("recommendation.clicked")
	}
	return l.encode(kinds[l.kind])
}

func (l *line) encode(typ string) []byte {
	m := map[string]any{"type": typ, "userToken": l.user}
	put := func(to map[string]any, name, v string) {
		if v != "" {
			to[name] = v
		}
	}
	put(m, "id", l.id)
	put(m, "application", l.app)
	put(m, "index", l.index)
	put(m, "model", l.model)
	put(m, "currency", l.currency)
	put(m, "value", l.value)
	if l.query != "" {
		m["queryID"] = queryID(l.query)
	}
	if l.own != none {
		m["timestamp"] = epoch + l.own
	}
	var lists []any
	for _, x := range l.lists {
		e := map[string]any{"objectIDs": x.objects}
		put(e, "index", x.index)
		put(e, "model", x.model)
		if x.query != "" {
			e["queryID"] = queryID(x.query)
		}
		if x.offset > 0 {
			e["positionOffset"] = x.offset
		}
		for range max(1, x.times) {
			lists = append(lists, e)
		}
	}
	if lists != nil {
		m["lists"] = lists
	}
	var facets []any
	for _, f := range l.facets {
		facets = append(facets, map[string]any{"facetName": "brand", "facetValue": f})
	}
	if facets != nil {
		m["facets"] = facets
	}
	if l.kind != "s" && len(l.objects) > 0 {
		m["objectIDs"] = l.objects
		if len(l.positions) > 0 {
			m["positions"] = l.positions
		}
	}
	var items []any
	for _, x := range l.items {
		e := map[string]any{"objectID": x.id}
		put(e, "index", x.index)
		put(e, "model", x.model)
		put(e, "price", x.price)
		put(e, "discount", x.discount)
		if x.query != "" {
			e["queryID"] = queryID(x.query)
		}
		if x.quantity > 0 {
			e["quantity"] = x.quantity
		}
		items = append(items, e)
	}
	if items != nil {
		m["items"] = items
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// log is the traffic's records by source, and which line each is.
func (tr *traffic) log() (records [][]reference.Record, lineOf [][]int) {
	records, lineOf = make([][]reference.Record, len(tr.sources)), make([][]int, len(tr.sources))
	for k := range tr.lines {
		l := &tr.lines[k]
		at := epoch + l.time
		if l.time == none {
			at = -1
		}
		records[l.source] = append(records[l.source], reference.Record{Time: at, Key: []byte(l.user), Value: l.record()})
		lineOf[l.source] = append(lineOf[l.source], k)
	}
	return records, lineOf
}

var types = map[rune]event.Type{'s': event.Shown, 'c': event.Clicked, 'a': event.AddedToCart, 'p': event.Purchased}

func (s *settings) config() *join.Config {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	c := &join.Config{
		Window: ms(s.window), ClickWindow: ms(s.clickWindow), ClockSkew: ms(s.skew), AllowedLateness: ms(s.lateness), Wait: time.Millisecond,
		SendViews: s.views, MaxEventAge: ms(now - epoch - oldest), DedupeWindow: ms(s.dedupeWindow),
		Attribution: map[string]join.Attribution{"clicked": join.ClickedOnly, "shown": join.ShownOnly}[s.attribution],
		OnMiss:      map[string]join.OnMiss{"dead-letter": join.MissDeadLetter, "drop": join.MissDrop}[s.miss],
		EventNames:  map[event.Type]string{event.Shown: "Viewed", event.Clicked: "Clicked", event.AddedToCart: "Added", event.Purchased: "Purchased"},
		Now:         func() time.Time { return time.UnixMilli(now) },
		Applications: []join.Application{
			{Name: "default", DefaultIndex: s.index, Served: true},
			{Name: "second", DefaultIndex: "x", Served: true},
			{Name: "elsewhere", DefaultIndex: "x"},
		},
	}
	if s.indices != "" {
		c.Applications[0].Indices = strings.Split(s.indices, ",")
	}
	for _, letter := range s.dedupe {
		c.Dedupe = append(c.Dedupe, types[letter])
	}
	return c
}

func (tr *traffic) String() string {
	var b strings.Builder
	s := &tr.set
	fmt.Fprintf(&b, "set window=%d click_window=%d skew=%d lateness=%d dedupe_window=%d attribution=%s miss=%s views=%t dedupe=%s index=%s indices=%s\n",
		s.window, s.clickWindow, s.skew, s.lateness, s.dedupeWindow, s.attribution, s.miss, s.views, s.dedupe, s.index, s.indices)
	for _, x := range tr.sources {
		fmt.Fprintf(&b, "source %s", x.Topic)
		if x.Shown {
			b.WriteString(" shown")
		}
		if x.Clicked {
			b.WriteString(" clicked")
		}
		b.WriteByte('\n')
	}
	for k := range tr.lines {
		b.WriteString(tr.text(&tr.lines[k]) + "\n")
	}
	for _, ops := range tr.readings {
		b.WriteString("read")
		for _, o := range ops {
			b.WriteString(" " + o.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (tr *traffic) text(l *line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s", tr.sources[l.source].Topic, timeText(l.time), l.kind, l.user)
	put := func(name, v string) {
		if v != "" {
			b.WriteString(" " + name + "=" + v)
		}
	}
	if l.own != none {
		put("t", timeText(l.own))
	}
	put("id", l.id)
	put("app", l.app)
	put("q", l.query)
	put("i", l.index)
	put("m", l.model)
	put("o", strings.Join(l.objects, ","))
	put("pos", strings.Trim(strings.ReplaceAll(fmt.Sprint(l.positions), " ", ","), "[]"))
	put("f", strings.Join(l.facets, ","))
	for _, x := range l.lists {
		offset := ""
		if x.offset > 0 {
			offset = strconv.Itoa(x.offset)
		}
		fmt.Fprintf(&b, " [%s]", strings.TrimPrefix(pairs("", "q", x.query, "i", x.index, "m", x.model, "off", offset, "o", strings.Join(x.objects, ",")), ";"))
		if x.times > 1 {
			fmt.Fprintf(&b, "*%d", x.times)
		}
	}
	for _, x := range l.items {
		n := ""
		if x.quantity > 0 {
			n = strconv.Itoa(x.quantity)
		}
		fmt.Fprintf(&b, " {%s}", pairs(x.id, "q", x.query, "i", x.index, "m", x.model, "price", x.price, "n", n, "disc", x.discount))
	}
	put("cur", l.currency)
	put("val", l.value)
	return b.String()
}

func timeText(t int64) string {
	if t == none {
		return "-"
	}
	return strconv.FormatInt(t, 10)
}

func pairs(s string, kv ...string) string {
	for k := 0; k < len(kv); k += 2 {
		if kv[k+1] != "" {
			s += ";" + kv[k] + "=" + kv[k+1]
		}
	}
	return s
}

// parse reads what String writes; # begins a comment.
func parse(t rapid.TB, text string) *traffic {
	t.Helper()
	tr := &traffic{set: settings{window: 100, clickWindow: 100, skew: 10, lateness: 20, dedupeWindow: 100, views: true, dedupe: "ap", index: "x"}}
	in := bufio.NewScanner(strings.NewReader(text))
	for number := 1; in.Scan(); number++ {
		words := strings.Fields(strings.SplitN(in.Text(), "#", 2)[0])
		if len(words) == 0 {
			continue
		}
		var err error
		switch words[0] {
		case "set":
			err = tr.set.parse(words[1:])
		case "source":
			rest := strings.Join(words[2:], " ")
			tr.sources = append(tr.sources, reference.Source{Topic: words[1], Shown: strings.Contains(rest, "shown"), Clicked: strings.Contains(rest, "clicked")})
		case "read":
			var ops []op
			for _, w := range words[1:] {
				var o op
				if o, err = parseOp(w); err == nil {
					ops = append(ops, o)
				}
			}
			tr.readings = append(tr.readings, ops)
		default:
			var l line
			if l, err = tr.parseLine(words); err == nil {
				tr.lines = append(tr.lines, l)
			}
		}
		if err != nil {
			t.Fatalf("line %d: %v", number, err)
		}
	}
	return tr
}

func (s *settings) parse(words []string) error {
	for _, w := range words {
		name, v, _ := strings.Cut(w, "=")
		number := map[string]*int64{"window": &s.window, "click_window": &s.clickWindow, "skew": &s.skew, "lateness": &s.lateness, "dedupe_window": &s.dedupeWindow}[name]
		word := map[string]*string{"attribution": &s.attribution, "miss": &s.miss, "dedupe": &s.dedupe, "index": &s.index, "indices": &s.indices}[name]
		switch {
		case number != nil:
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return err
			}
			*number = n
		case word != nil:
			*word = v
		case name == "views":
			s.views = v == "true"
		default:
			return fmt.Errorf("unknown setting %q", name)
		}
	}
	return nil
}

func (tr *traffic) parseLine(words []string) (l line, err error) {
	if len(words) < 4 {
		return l, fmt.Errorf("want topic, time, kind and user, got %q", words)
	}
	l.source = -1
	for k, s := range tr.sources {
		if s.Topic == words[0] {
			l.source = k
		}
	}
	if l.source < 0 {
		return l, fmt.Errorf("unknown topic %q", words[0])
	}
	if l.time, err = parseTime(words[1]); err != nil {
		return l, err
	}
	l.kind, l.user, l.own = words[2], words[3], none
	for _, w := range words[4:] {
		switch w[0] {
		case '[':
			body, times, _ := strings.Cut(w[1:], "]")
			x := lineList{}
			x.times, _ = strconv.Atoi(strings.TrimPrefix(times, "*"))
			for p := range strings.SplitSeq(body, ";") {
				name, v, _ := strings.Cut(p, "=")
				switch name {
				case "off":
					x.offset, err = strconv.Atoi(v)
				case "o":
					x.objects = strings.Split(v, ",")
				default:
					err = assign(name, v, map[string]*string{"q": &x.query, "i": &x.index, "m": &x.model})
				}
				if err != nil {
					return l, err
				}
			}
			l.lists = append(l.lists, x)
		case '{':
			parts := strings.Split(strings.Trim(w, "{}"), ";")
			x := lineItem{id: parts[0]}
			for _, p := range parts[1:] {
				name, v, _ := strings.Cut(p, "=")
				if name == "n" {
					x.quantity, err = strconv.Atoi(v)
				} else {
					err = assign(name, v, map[string]*string{"q": &x.query, "i": &x.index, "m": &x.model, "price": &x.price, "disc": &x.discount})
				}
				if err != nil {
					return l, err
				}
			}
			l.items = append(l.items, x)
		default:
			if err := l.assign(w); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

func (l *line) assign(w string) (err error) {
	name, v, _ := strings.Cut(w, "=")
	switch name {
	case "t":
		l.own, err = parseTime(v)
	case "o":
		l.objects = strings.Split(v, ",")
	case "f":
		l.facets = strings.Split(v, ",")
	case "pos":
		for p := range strings.SplitSeq(v, ",") {
			n, err := strconv.Atoi(p)
			if err != nil {
				return err
			}
			l.positions = append(l.positions, n)
		}
	default:
		err = assign(name, v, map[string]*string{"id": &l.id, "app": &l.app, "q": &l.query, "i": &l.index, "m": &l.model, "cur": &l.currency, "val": &l.value})
	}
	return err
}

func assign(name, v string, to map[string]*string) error {
	if to[name] == nil {
		return fmt.Errorf("unknown field %q", name)
	}
	*to[name] = v
	return nil
}

func parseTime(s string) (int64, error) {
	if s == "-" {
		return none, nil
	}
	return strconv.ParseInt(s, 10, 64)
}
