package storefront

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"eventworker/internal/insightsfake"
)

// base is the time that scenarios count from, milliseconds.
const base int64 = 1_764_000_000_000

// scenario is a small log and what must come of it, both written by hand.
//
// A line of the log is "TIME TYPE {fields}": TIME is milliseconds after base, for the message's
// timestamp and the record's; "100@900" is a message of 100 in a record of 900, "@900" one without a
// timestamp of its own. TYPE is the type without "recommendation.". Where the fields name no
// userToken it is u; "qA" stands for a queryID of 32 times a. "raw:" in front of anything else makes
// that the value.
//
// A wanted line is the reason of a dead letter or absorption, or the events, see render.
type scenario struct {
	name  string
	rules func(*Rules)
	log   []string
	want  []string
}

func runScenarios(t *testing.T, scenarios []scenario) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			rules := DefaultRules()
			rules.Now = base + time.Hour.Milliseconds()
			if s.rules != nil {
				s.rules(&rules)
			}
			got := verdicts(t, rules, s.log)
			for i := range max(len(got), len(s.want)) {
				g, w := "(none)", "(none)"
				if i < len(got) {
					g = got[i]
				}
				if i < len(s.want) {
					w = s.want[i]
				}
				if g != w && w != "*" {
					t.Errorf("message %d %s\n got: %s\nwant: %s", i, s.log[min(i, len(s.log)-1)], g, w)
				}
			}
		})
	}
}

func verdicts(t *testing.T, rules Rules, log []string) []string {
	t.Helper()
	truth := NewTruth(rules)
	got := make([]string, len(log))
	truth.OnVerdict = func(v *Verdict) {
		if got[v.Seq] != "" {
			t.Errorf("message %d has two verdicts", v.Seq)
		}
		got[v.Seq] = renderVerdict(v)
	}
	for i, line := range log {
		truth.Add(messageOf(t, i, line))
	}
	truth.Seal()
	return got
}

var (
	line     = regexp.MustCompile(`^(-?[0-9]*)(?:@(-?[0-9]+))? ([A-Za-z]+) \{(.*)\}$`)
	shortIDs = regexp.MustCompile(`"q([A-F])"`)
)

func messageOf(t *testing.T, seq int, text string) *Message {
	t.Helper()
	m := &Message{Seq: uint64(seq), Time: base, Value: []byte(text)}
	if raw, is := strings.CutPrefix(text, "raw:"); is {
		m.Value = []byte(raw)
		return m
	}
	parts := line.FindStringSubmatch(text)
	if parts == nil {
		t.Fatalf("no line of a scenario: %s", text)
	}
	fields := shortIDs.ReplaceAllStringFunc(parts[4], func(s string) string {
		return `"` + strings.Repeat(strings.ToLower(s[2:3]), 32) + `"`
	})
	value := `{"type":"recommendation.` + parts[3] + `"`
	if !strings.Contains(fields, `"userToken"`) {
		value += `,"userToken":"u"`
	}
	record := parts[2]
	if parts[1] != "" {
		at, _ := strconv.ParseInt(parts[1], 10, 64)
		value += fmt.Sprintf(`,"timestamp":%d`, base+at)
		if record == "" {
			record = parts[1]
		}
	}
	at, _ := strconv.ParseInt(record, 10, 64)
	m.Time = base + at
	if fields != "" {
		value += "," + fields
	}
	m.Value = []byte(value + "}")
	return m
}

// renderVerdict writes a verdict in short.
func renderVerdict(v *Verdict) string {
	var events []string
	for i := range v.Events {
		events = append(events, render(&v.Events[i]))
	}
	text := strings.Join(events, "; ")
	switch {
	case v.Reason == "":
		return text
	case v.Reason == "rejected":
		return strings.TrimSpace(fmt.Sprintf("rejected %v %s", v.Parts, text))
	case len(events) > 0:
		return v.Reason + " with events " + text
	}
	return v.Reason
}

// render writes an Insights event: its type, index/queryID, then its objects as ID@POSITION or as
// ID×QUANTITY:PRICE-DISCOUNT/QUERYID, or its filters, then currency and =value.
func render(e *insightsfake.Event) string {
	name := e.EventType
	if e.EventSubtype != "" {
		name = e.EventSubtype
	}
	parts := []string{name, e.Index + slash(e.QueryID)}
	for i, id := range e.ObjectIDs {
		if len(e.Positions) > 0 {
			id += "@" + strconv.Itoa(e.Positions[i])
		}
		if len(e.ObjectData) > 0 {
			d := e.ObjectData[i]
			id += "×" + strconv.Itoa(d.Quantity)
			if d.Price != "" {
				id += ":" + d.Price
			}
			if d.Discount != "" {
				id += "-" + d.Discount
			}
			id += slash(d.QueryID)
		}
		parts = append(parts, id)
	}
	parts = append(parts, e.Filters...)
	if e.Currency != "" {
		parts = append(parts, e.Currency)
	}
	if e.Value != "" {
		parts = append(parts, "="+e.Value)
	}
	return strings.Join(parts, " ")
}

func slash(queryID string) string {
	if queryID == "" {
		return ""
	}
	if len(queryID) == 32 && strings.Count(queryID, queryID[:1]) == 32 {
		queryID = "q" + strings.ToUpper(queryID[:1])
	}
	return "/" + queryID
}

// numbered are list elements with the numbers from to to, such as "o1","o2".
func numbered(format string, from, to int) string {
	var b []string
	for i := from; i <= to; i++ {
		b = append(b, strings.ReplaceAll(format, "#", strconv.Itoa(i)))
	}
	return strings.Join(b, ",")
}

// many is numbered with blanks, as render has it.
func many(format string, from, to int) string {
	return strings.ReplaceAll(numbered(format, from, to), ",", " ")
}
