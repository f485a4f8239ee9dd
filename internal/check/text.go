package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// TextOptions say how a report is written for people.
type TextOptions struct {
	// Width of the terminal; 0: none, the columns are separated by tabs and nothing is shortened.
	Width int
	// Header writes the names of the columns.
	Header bool
	// Limit is how many messages are written at most; 0: all.
	Limit int
}

// WriteText writes tables: the messages, the events, and what was explained. No user token is in
// them. It says how many messages Limit left out.
func (r *Report) WriteText(w io.Writer, o TextOptions) (left int, err error) {
	var chosen []*Message
	for i := range r.Messages {
		if o.Limit > 0 && len(chosen) == o.Limit {
			left = len(r.Messages) - i
			break
		}
		chosen = append(chosen, &r.Messages[i])
	}
	b := bufio.NewWriterSize(w, 1<<16)
	many := r.manyFiles()
	if len(chosen) > 0 {
		messageTable(chosen, many).write(b, o.Width, o.Header)
	}
	if events, err := eventTable(chosen, many); err != nil {
		return left, err
	} else if len(events.rows) > 0 {
		b.WriteByte('\n')
		events.write(b, o.Width, o.Header)
	}
	for _, m := range chosen {
		if len(m.Objects) > 0 {
			b.WriteByte('\n')
			explained(b, m, many, o.Width)
		}
	}
	return left, b.Flush()
}

func (r *Report) manyFiles() bool {
	for i := range r.Messages {
		if r.Messages[i].File != r.Messages[0].File {
			return true
		}
	}
	return false
}

func place(file string, line int, many bool) string {
	if many {
		return file + ":" + strconv.Itoa(line)
	}
	return strconv.Itoa(line)
}

// kind is a message's type as tables have it.
func kind(m *Message) string { return strings.TrimPrefix(m.Type, "recommendation.") }

func messageTable(messages []*Message, many bool) *table {
	t := &table{head: []string{"LINE", "TYPE", "OUTCOME", "REASON", "FIELD", "RULE", "MESSAGE"}, folds: true, right: map[int]bool{0: !many}}
	for _, m := range messages {
		text := m.Text
		if m.Outcome == Delivered {
			text = delivered(m)
		}
		for _, h := range m.Hints {
			text += "; note: " + h.Text
		}
		t.rows = append(t.rows, []string{place(m.File, m.Line, many), kind(m), string(m.Outcome), m.Reason, m.Field, m.Rule, text})
	}
	return t
}

// sent is what tables tell of an event.
type sent struct {
	EventType    string   `json:"eventType"`
	EventSubtype string   `json:"eventSubtype"`
	Index        string   `json:"index"`
	QueryID      string   `json:"queryID"`
	ObjectIDs    []string `json:"objectIDs"`
	Positions    []int    `json:"positions"`
	Filters      []string `json:"filters"`
	Currency     string   `json:"currency"`
	Value        any      `json:"value"`
	ObjectData   []struct {
		QueryID  string `json:"queryID"`
		Price    any    `json:"price"`
		Quantity int    `json:"quantity"`
	} `json:"objectData"`
}

// name is the event's type, or its subtype where it has one.
func (e *sent) name() string {
	if e.EventSubtype != "" {
		return e.EventSubtype
	}
	return e.EventType
}

// matched is how many of the event's objects have a queryID.
func (e *sent) matched() (n int) {
	if e.QueryID != "" {
		return len(e.ObjectIDs)
	}
	for i := range e.ObjectData {
		if e.ObjectData[i].QueryID != "" {
			n++
		}
	}
	return n
}

func read(m *Message) ([]sent, error) {
	events := make([]sent, len(m.Events))
	for i, raw := range m.Events {
		if err := json.Unmarshal(raw, &events[i]); err != nil {
			return nil, fmt.Errorf("%s, line %d: an event that was built is no JSON: %w", m.File, m.Line, err)
		}
	}
	return events, nil
}

// delivered sums up the events of a message.
func delivered(m *Message) string {
	events, err := read(m)
	if err != nil {
		return err.Error()
	}
	objects, matched := 0, 0
	for i := range events {
		objects += len(events[i].ObjectIDs)
		matched += events[i].matched()
	}
	text := strconv.Itoa(len(events)) + " events"
	if len(events) == 1 {
		text = "1 event"
	}
	if kind(m) != "shown" && objects > 0 {
		text += fmt.Sprintf(", queryID for %d of %s", matched, some(int64(objects), "object", "objects"))
	}
	return text
}

func eventTable(messages []*Message, many bool) (*table, error) {
	t := &table{head: []string{"LINE", "EVENT", "INDEX", "QUERYID", "VALUE", "OBJECTS"}, right: map[int]bool{0: !many, 4: true}, short: map[int]int{3: 9}}
	for _, m := range messages {
		events, err := read(m)
		if err != nil {
			return nil, err
		}
		for i := range events {
			e := &events[i]
			value := ""
			if e.Value != nil {
				value = fmt.Sprint(e.Value) + " " + e.Currency
			}
			t.rows = append(t.rows, []string{place(m.File, m.Line, many), e.name(), e.Index, e.QueryID, value, e.what()})
		}
	}
	return t, nil
}

// what lists the event's objects: sku-2@3 is one at position 3, and 2×sku-2 at 19.90 (43b15df3) two of one with a price
// and a queryID of its own.
func (e *sent) what() string {
	list := e.Filters
	for i, id := range e.ObjectIDs {
		if i < len(e.Positions) {
			id += "@" + strconv.Itoa(e.Positions[i])
		}
		if i < len(e.ObjectData) {
			d := &e.ObjectData[i]
			if d.Quantity > 1 {
				id = strconv.Itoa(d.Quantity) + "×" + id
			}
			if d.Price != nil {
				id += " at " + fmt.Sprint(d.Price)
			}
			if d.QueryID != "" {
				id += " (" + shorten(d.QueryID, 9) + ")"
			}
		}
		list = append(list, id)
	}
	return strings.Join(list, ", ")
}

// explained writes how the objects of a message came by their queryIDs.
func explained(b *bufio.Writer, m *Message, many bool, width int) {
	if width <= 0 {
		width = 1 << 30
	}
	where := "line " + strconv.Itoa(m.Line)
	if many {
		where = place(m.File, m.Line, many)
	}
	fmt.Fprintf(b, "%s, %s\n", where, kind(m))
	line := func(margin int, text string) {
		b.WriteString(strings.Repeat(" ", margin) + fold(clean(text), margin+2, width) + "\n")
	}
	for i := range m.Objects {
		o := &m.Objects[i]
		line(2, o.ObjectID+": "+o.result())
		if o.Chosen != nil {
			line(4, "from "+o.Chosen.text(many))
		}
		if o.Text != "" {
			line(4, o.Text)
		}
		for k := range o.PassedOver {
			c := &o.PassedOver[k]
			line(4, "not "+c.text(many)+": "+c.reason())
		}
		if o.More > 0 {
			line(4, fmt.Sprintf("and not %d more", o.More))
		}
	}
}

// result says what the object ends with.
func (o *Object) result() string {
	text := "plain"
	if o.QueryID != "" {
		text = "queryID " + o.QueryID
	}
	if o.Position > 0 {
		text += ", position " + strconv.Itoa(int(o.Position))
	}
	if o.Index == "" {
		return text + ", no index"
	}
	text += ", index " + o.Index
	if o.IndexFrom == "default-index" {
		text += " (default_index)"
	}
	return text
}

func (c *Candidate) text(many bool) string {
	text := "the " + c.Kind + " of "
	if many {
		text += place(c.File, c.Line, many)
	} else {
		text += "line " + strconv.Itoa(c.Line)
	}
	switch before := time.Duration(c.Before) * time.Millisecond; {
	case before < 0:
		text += ", " + (-before).String() + " after"
	case before == 0:
		text += ", at the same time"
	default:
		text += ", " + before.String() + " before"
	}
	if c.Position > 0 {
		text += ", position " + strconv.FormatInt(c.Position, 10)
	}
	return text
}

// reason puts into words why the candidate was passed over.
func (c *Candidate) reason() string {
	limit := "join.window"
	if c.Kind == "click" {
		limit = "join.click_window"
	}
	switch c.Why {
	case "not-asked":
		return "join.attribution leaves it out"
	case "after":
		return "it lies after the event"
	case "outside-window":
		return "older than " + limit + " allows"
	case "other-index":
		return "the message names another index than " + c.Index
	case "other-model":
		return "the message names another model"
	case "other-query-id":
		return "the message names another queryID"
	case "not-newest":
		return "not among the user's newest 200 impressions"
	case "click-first":
		return "a click on the object goes before"
	case "older":
		return "another one is nearer"
	}
	return c.Why
}
