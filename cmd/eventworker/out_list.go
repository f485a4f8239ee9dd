package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"os"

	"eventworker/internal/dlq"
)

// A column is a field of the rows of a list, in every format.
type column[T any] struct {
	// name is that of --fields, JSON and CSV; head that of a table, where it differs from the name in
	// upper case.
	name, head string
	// right: a number, which stands to the right.
	right bool
	// hidden: not in a table unless --fields names it. optional columns leave a terminal that is too
	// narrow, the greatest number first; 0: never.
	hidden   bool
	optional int
	// value is a string, a number, a bool, a time.Time (zero: null), an offset, or what else JSON can
	// tell.
	value func(*T) any
	// text is the cell of a table where it is not the plain form of value, paint its colour.
	text  func(*T, *outStyle) string
	paint func(*T) string
}

// offset is a 64-bit number that JSON tells as a text, because some readers round large numbers.
type offset int64

// MarshalJSON writes digits in quotes.
func (o offset) MarshalJSON() ([]byte, error) { //nolint:unparam // json.Marshaler
	return []byte(`"` + strconv.FormatInt(int64(o), 10) + `"`), nil
}

// instant is a time that JSON tells in RFC 3339 with milliseconds, null for none.
type instant time.Time

// MarshalJSON writes null for the zero time.
func (i instant) MarshalJSON() ([]byte, error) { //nolint:unparam // json.Marshaler
	if time.Time(i).IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + isoTime(time.Time(i)) + `"`), nil
}

func columnNames[T any](columns []column[T]) []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// list writes rows in the format that was asked for. Begin with newList, add rows, then end.
type list[T any] struct {
	format  string
	schema  string
	columns []column[T]
	header  bool
	style   outStyle
	out     *bufio.Writer
	csv     *csv.Writer

	rows    int
	waiting [][]cell // of a table on a terminal, until the widths are known
	widths  []int    // nil: not known yet
}

type cell struct{ text, color string }

// widthRows is how many rows decide the widths of a table on a terminal.
const widthRows = 200

// newList begins a list. schema is such as eventworker.dlq.list/v1, items the name of the array in a
// document.
func newList[T any](a *app, cmd *cobra.Command, o *outFlags, schema, items string, columns []column[T]) (*list[T], error) {
	l := &list[T]{format: o.format, schema: schema, header: !o.noHeader, style: a.style(o), out: bufio.NewWriterSize(a.out, 32<<10)}
	names := columnNames(columns)
	for i := range columns {
		if len(o.fields) == 0 && (o.format != "table" || !columns[i].hidden) {
			l.columns = append(l.columns, columns[i])
		}
	}
	if len(o.fields) == 0 && cmd.Flags().Changed("fields") {
		return nil, unknownField(cmd, "", names)
	}
	for _, name := range o.fields {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, unknownField(cmd, name, names)
		}
		c := columns[i]
		c.optional = 0
		l.columns = append(l.columns, c)
	}
	switch o.format {
	case "json":
		fmt.Fprintf(l.out, "{\"schema\":%q,\n%q:[", schema, items)
	case "csv":
		l.csv = csv.NewWriter(l.out)
	}
	return l, nil
}

// add writes a row, which is not kept.
func (l *list[T]) add(row *T) error {
	l.rows++
	switch l.format {
	case "json":
		if l.rows > 1 {
			l.out.WriteByte(',')
		}
		l.out.WriteByte('\n')
		l.out.Write(l.object(row, ""))
	case "jsonl":
		l.out.Write(l.object(row, l.schema))
		l.out.WriteByte('\n')
	case "csv":
		if l.rows == 1 {
			l.csvHeader()
		}
		record := make([]string, len(l.columns))
		for i := range l.columns {
			if record[i] = l.plain(&l.columns[i], row); l.style.terminal {
				record[i] = clean(record[i])
			}
		}
		return l.csv.Write(record)
	default:
		return l.tableRow(row)
	}
	_, err := l.out.Write(nil) // bufio keeps the first error
	return err
}

// live makes a table on a terminal write each row at once: its widths are fixed, since nobody knows what
// comes.
func (l *list[T]) live() {
	if !l.style.terminal || l.format != "table" {
		return
	}
	sample := make([]cell, len(l.columns))
	for i := range l.columns {
		sample[i].text = strings.Repeat(" ", liveWidths[l.columns[i].name])
	}
	l.waiting = [][]cell{sample}
	l.layOut()
}

// liveWidths are the usual widths of columns in a table whose rows are not known beforehand.
var liveWidths = map[string]int{"address": 10, "failed_at": 4, "reason": 19, "cause": 11, "type": 11, "application": 8, "source": 24, "message": 400}

// flush writes what is buffered, for lists that go on for ever.
func (l *list[T]) flush() error {
	if l.csv != nil {
		l.csv.Flush()
	}
	return l.out.Flush()
}

func (l *list[T]) csvHeader() {
	if l.header {
		_ = l.csv.Write(columnNames(l.columns)) // the next write tells of an error
	}
}

// member is a value beside the items of a document.
type member struct {
	name  string
	value any
}

// end finishes the list; members stand behind the items of a document.
func (l *list[T]) end(members ...member) error {
	switch l.format {
	case "json":
		l.out.WriteString("\n]")
		for _, m := range members {
			fmt.Fprintf(l.out, ",\n%q:%s", m.name, compact(m.value))
		}
		l.out.WriteString("}\n")
	case "csv":
		if l.rows == 0 {
			l.csvHeader()
		}
		l.csv.Flush()
	case "table":
		if l.style.terminal && l.widths == nil && l.rows > 0 {
			l.layOut()
		}
	}
	return l.out.Flush()
}

func compact(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(dlq.QuietJSON(b.Bytes()), []byte("\n"))
}

func (l *list[T]) object(row *T, schema string) []byte { return object(l.columns, row, schema) }

// object is a row as a JSON object; schema is its first member where it is not empty.
func object[T any](columns []column[T], row *T, schema string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	if schema != "" {
		fmt.Fprintf(&b, "%q:%q", "schema", schema)
	}
	for i := range columns {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		v := columns[i].value(row)
		if at, ok := v.(time.Time); ok {
			v = instant(at)
		}
		fmt.Fprintf(&b, "%q:%s", columns[i].name, compact(v))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// plain is a value as text, whole.
func (l *list[T]) plain(c *column[T], row *T) string {
	switch v := c.value(row).(type) {
	case string:
		return v
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return l.style.time(v)
	case offset:
		return strconv.FormatInt(int64(v), 10)
	case int, int32, int64, bool, float64:
		return fmt.Sprint(v)
	default:
		return string(compact(v))
	}
}

func (l *list[T]) tableRow(row *T) error {
	cells := make([]cell, len(l.columns))
	for i := range l.columns {
		c := &l.columns[i]
		if c.text != nil && l.style.terminal {
			cells[i].text = clean(c.text(row, &l.style))
		} else {
			cells[i].text = clean(l.plain(c, row))
		}
		if c.paint != nil {
			cells[i].color = c.paint(row)
		}
	}
	switch {
	case !l.style.terminal:
		if l.rows == 1 && l.header {
			l.line(l.heads(), "\t")
		}
		texts := make([]string, len(cells))
		for i := range cells {
			texts[i] = cells[i].text
		}
		l.line(texts, "\t")
	case l.widths != nil:
		l.writeRow(cells)
	default:
		l.waiting = append(l.waiting, cells)
		if len(l.waiting) == widthRows {
			l.layOut()
		}
	}
	_, err := l.out.Write(nil)
	return err
}

func (l *list[T]) heads() []string {
	heads := make([]string, len(l.columns))
	for i := range l.columns {
		if heads[i] = l.columns[i].head; heads[i] == "" {
			heads[i] = strings.ToUpper(strings.ReplaceAll(l.columns[i].name, "_", " "))
		}
	}
	return heads
}

func (l *list[T]) line(texts []string, separator string) {
	l.out.WriteString(strings.Join(texts, separator) + "\n")
}

// layOut decides the widths by the rows that wait, and writes them.
func (l *list[T]) layOut() {
	heads := l.heads()
	l.widths = make([]int, len(l.columns))
	for i := range heads {
		if l.header {
			l.widths[i] = len([]rune(heads[i]))
		}
		for _, row := range l.waiting {
			l.widths[i] = max(l.widths[i], len([]rune(row[i].text)))
		}
	}
	l.fit()
	if l.header {
		cells := make([]cell, len(heads))
		for i := range heads {
			cells[i] = cell{heads[i], bold}
		}
		l.writeRow(cells)
	}
	for _, row := range l.waiting {
		if l.rows > 0 { // else it is the sample of live
			l.writeRow(row)
		}
	}
	l.waiting = nil
}

// leastLast is how narrow the last column may get before optional ones leave.
const leastLast = 24

// fit takes optional columns out (their width becomes -1) while the last one has no room, and then
// shortens the last one.
func (l *list[T]) fit() {
	last := len(l.widths) - 1
	used := func() (n int) {
		for _, w := range l.widths[:last] {
			if w >= 0 {
				n += w + columnGap
			}
		}
		return n
	}
	for used()+min(l.widths[last], leastLast) > l.style.width {
		drop := -1
		for i := range last {
			if l.widths[i] >= 0 && l.columns[i].optional > 0 && (drop < 0 || l.columns[i].optional > l.columns[drop].optional) {
				drop = i
			}
		}
		if drop < 0 {
			break
		}
		l.widths[drop] = -1
	}
	l.widths[last] = max(min(l.widths[last], l.style.width-used()), 1)
}

const columnGap = 2

func (l *list[T]) writeRow(cells []cell) {
	var b strings.Builder
	pad := 0
	for i, c := range cells {
		width := l.widths[i]
		if width < 0 {
			continue
		}
		text := c.text
		if i == len(cells)-1 {
			text = shortened(text, width)
		}
		room := max(width-len([]rune(text)), 0)
		if l.columns[i].right {
			b.WriteString(strings.Repeat(" ", pad+room) + l.style.paint(c.color, text))
			pad = columnGap
			continue
		}
		b.WriteString(strings.Repeat(" ", pad) + l.style.paint(c.color, text))
		pad = room + columnGap
	}
	l.out.WriteString(b.String() + "\n")
}

// terminalHeight is the number of a terminal's lines.
func terminalHeight(f *os.File) int {
	if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 {
		return height
	}
	return 24
}

// writeSchema writes a published schema, for --output help.
func writeSchema(w io.Writer, text []byte) error {
	_, err := w.Write(text)
	return err
}
