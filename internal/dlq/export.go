package dlq

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// The schemas of exports. A masked copy has another one, in its first line too, so that nobody takes
// it for the letters.
const (
	ExportSchema       = "eventworker.dlq.export/v1"
	MaskedExportSchema = "eventworker.dlq.export-masked/v1"
)

// Exported is a dead letter as one JSON line. Bytes that are no UTF-8 are in base64, and the encoding
// beside them says so.
type Exported struct {
	Schema    string `json:"schema"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset,string"`
	// Time is the record's own, RFC 3339 in UTC with milliseconds.
	Time    string           `json:"time"`
	Key     ExportedBytes    `json:"key"`
	Value   ExportedBytes    `json:"value"`
	Headers []ExportedHeader `json:"headers"`
}

// ExportedBytes are bytes in an export: null, {"text":…} or {"base64":…}.
type ExportedBytes []byte

// ExportedHeader is one header, the record's own and those of the dead letter.
type ExportedHeader struct {
	Name  string        `json:"name"`
	Value ExportedBytes `json:"value"`
}

type exportedText struct {
	Text     string `json:"text"`
	Encoding string `json:"encoding"` // utf-8 or base64
}

// MarshalJSON writes null, or the text with its encoding.
func (e ExportedBytes) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte("null"), nil
	}
	one := exportedText{string(e), "utf-8"}
	if !utf8.Valid(e) {
		one = exportedText{base64.StdEncoding.EncodeToString(e), "base64"}
	}
	return marshal(one)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (e *ExportedBytes) UnmarshalJSON(b []byte) error {
	var one *exportedText
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	switch {
	case one == nil:
		*e = nil
	case one.Encoding == "utf-8":
		*e = ExportedBytes(one.Text)
	case one.Encoding == "base64":
		raw, err := base64.StdEncoding.DecodeString(one.Text)
		if err != nil {
			return err
		}
		*e = raw
	default:
		return fmt.Errorf("unknown encoding %q", one.Encoding)
	}
	if one != nil && *e == nil {
		*e = ExportedBytes{}
	}
	return nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(QuietJSON(b.Bytes()), []byte("\n")), err
}

// QuietJSON escapes the control characters that JSON lets stand in its texts, DEL and U+0080 to U+009F: some
// terminals take the latter as the beginning of a command. The values stay the same. It gives text itself
// where there are none.
func QuietJSON(text []byte) []byte {
	control := func(i int) (r byte, size int) {
		switch c := text[i]; {
		case c == 0x7f:
			return c, 1
		case c == 0xc2 && i+1 < len(text) && text[i+1] < 0xa0:
			return text[i+1], 2
		}
		return 0, 0
	}
	var out []byte
	kept := 0
	for i := 0; i < len(text); i++ {
		r, size := control(i)
		if size == 0 {
			continue
		}
		out = fmt.Appendf(append(out, text[kept:i]...), "\\u%04x", r)
		i += size - 1
		kept = i + 1
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

// Exporter writes letters as JSON lines, byte for byte, or masked for somebody who may not see them.
type Exporter struct {
	out  *bufio.Writer
	mask *Masker
}

// NewExporter begins an export; with a mask it is a copy to show, which begins with a line that says
// so.
func NewExporter(w io.Writer, mask *Masker) (*Exporter, error) {
	e := &Exporter{out: bufio.NewWriterSize(w, 64<<10), mask: mask}
	if mask == nil {
		return e, nil
	}
	head, err := marshal(map[string]any{"schema": MaskedExportSchema, "masked": true,
		"note": "user tokens and e-mail addresses are masked: this is a copy to look at, and cannot be replayed"})
	if err != nil {
		return nil, err
	}
	_, err = e.out.Write(append(head, '\n'))
	return e, err
}

// Write adds a letter.
func (e *Exporter) Write(l *Letter) error {
	line, err := marshal(ExportOf(l, e.mask))
	if err != nil {
		return err
	}
	_, err = e.out.Write(append(line, '\n'))
	return err
}

// ExportOf is a letter as an export has it; without a mask it shares the letter's memory.
func ExportOf(l *Letter, mask *Masker) *Exported {
	x := Exported{Schema: ExportSchema, Partition: l.Partition, Offset: l.Offset, Time: l.Time.UTC().Format(timeLayout),
		Key: l.Key, Value: l.Value, Headers: make([]ExportedHeader, len(l.Headers))}
	for i, h := range l.Headers {
		x.Headers[i] = ExportedHeader{h.Key, h.Value}
	}
	if mask != nil {
		x.masked(mask, l)
	}
	return &x
}

// masked masks key, value and headers. Bytes that are no text are left out: nothing in them can be
// found.
func (x *Exported) masked(m *Masker, l *Letter) {
	x.Schema = MaskedExportSchema
	tokens := l.Tokens()
	hide := func(b []byte) ExportedBytes {
		switch {
		case b == nil:
			return nil
		case !utf8.Valid(b):
			return ExportedBytes(fmt.Sprintf("(%d bytes that are no text)", len(b)))
		}
		return ExportedBytes(m.Text(string(b), tokens...))
	}
	if x.Key != nil {
		x.Key = ExportedBytes(m.Token(l.Key))
	}
	x.Value = hide(l.Value)
	for i := range x.Headers {
		x.Headers[i].Value = hide(l.Headers[i].Value)
	}
}

// Flush writes what is buffered.
func (e *Exporter) Flush() error { return e.out.Flush() }

// maxExportLine bounds a line that is read: a record of 16 MiB in base64, and more.
const maxExportLine = 64 << 20

// ReadExport calls fn for each letter of an export. A masked copy, and anything else, is a
// [*CallError]: it is not what the dead letters were.
func ReadExport(r io.Reader, fn func(*Letter) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxExportLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var x Exported
		err := json.Unmarshal(lines.Bytes(), &x)
		switch {
		case x.Schema == MaskedExportSchema:
			return callf("eventworker dlq export --show-tokens", "line %d: this is a masked copy: its tokens are not those of the letters, and it cannot be replayed", n)
		case err != nil:
			return callf("eventworker dlq export --help", "line %d is no line of an export: %v", n, err)
		case x.Schema != ExportSchema:
			return callf("eventworker dlq export --help", "line %d has the schema %q, want %s", n, x.Schema, ExportSchema)
		}
		l, err := x.letter()
		if err != nil {
			return callf("eventworker dlq export --help", "line %d: %v", n, err)
		}
		if err := fn(l); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (x *Exported) letter() (*Letter, error) {
	at, err := time.Parse(time.RFC3339, x.Time)
	if err != nil {
		return nil, err
	}
	r := consume.Record{Offset: x.Offset, Time: at.UnixMilli(), Key: x.Key, Value: x.Value}
	for _, h := range x.Headers {
		r.Headers = append(r.Headers, deadletter.Header{Key: h.Name, Value: h.Value})
	}
	return LetterOf(x.Partition, &r), nil
}
