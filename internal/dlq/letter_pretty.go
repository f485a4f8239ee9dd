package dlq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// PrettyLine is a line of a payload. Marked: the offending field begins in it.
type PrettyLine struct {
	Text   string
	Marked bool
}

// Pretty writes a letter's payload over several lines, and marks the offending field, or the nearest
// one around it where it is missing. Numbers and texts stay as they are written. What is no JSON is
// shown as text, or in hexadecimal where it is no text. The lines are masked, not cleaned for terminals.
func (l *Letter) Pretty(mask *Masker) []PrettyLine {
	var p printer
	switch {
	case l.Value == nil:
		p.line("(null)")
	case json.Valid(l.Value):
		p.t.b = l.Value
		p.value("", "", 0)
	case utf8.Valid(l.Value):
		for text := range strings.Lines(string(l.Value)) {
			p.line(strings.TrimSuffix(text, "\n"))
		}
	default:
		p.hex(l.Value)
	}
	p.mark(l.Field())
	tokens := l.Tokens()
	lines := make([]PrettyLine, len(p.lines))
	for i := range p.lines {
		lines[i] = PrettyLine{Text: mask.Text(p.lines[i].text, tokens...), Marked: p.lines[i].marked}
	}
	return lines
}

// printer lays out JSON that is known to be valid.
type printer struct {
	t     tolerant
	lines []printedLine
}

type printedLine struct {
	text   string
	path   string // of the value that begins in this line
	begins bool
	marked bool
}

func (p *printer) line(text string) { p.lines = append(p.lines, printedLine{text: text}) }

func (p *printer) begin(text, path string) {
	p.lines = append(p.lines, printedLine{text: text, path: path, begins: true})
}

// value prints the value at the reader's place: before is what stands before it in its line.
func (p *printer) value(before, path string, depth int) {
	p.t.space()
	if p.t.i >= len(p.t.b) {
		return
	}
	switch c := p.t.b[p.t.i]; c {
	case '{', '[':
		p.t.i++
		p.t.space()
		if end := closing(c); p.t.take(end) {
			p.begin(before+string(c)+string(end), path)
			return
		}
		p.begin(before+string(c), path)
		p.members(c, path, depth+1)
		p.line(strings.Repeat("  ", depth) + string(closing(c)))
	default:
		start := p.t.i
		p.t.skip()
		p.begin(before+string(bytes.TrimSpace(p.t.b[start:p.t.i])), path)
	}
}

func closing(open byte) byte {
	if open == '{' {
		return '}'
	}
	return ']'
}

// maxPretty bounds the depth that is laid out; contract messages have at most 32 levels.
const maxPretty = 200

func (p *printer) members(open byte, path string, depth int) {
	indent := strings.Repeat("  ", min(depth, maxPretty))
	for n := 0; ; n++ {
		p.t.space()
		before, inner := indent, path+"["+strconv.Itoa(n)+"]"
		if open == '{' {
			start := p.t.i
			name, _ := p.t.text()
			before = indent + string(p.t.b[start:p.t.i]) + ": "
			inner = string(name)
			if path != "" {
				inner = path + "." + inner
			}
			p.t.space()
			p.t.take(':')
		}
		p.value(before, inner, depth)
		p.t.space()
		if !p.t.take(',') {
			p.t.take(closing(open))
			return
		}
		p.lines[len(p.lines)-1].text += ","
	}
}

// mark finds the line of a field: its own, else that of the nearest one around it.
func (p *printer) mark(field string) {
	for field != "" {
		for i := range p.lines {
			if p.lines[i].begins && p.lines[i].path == field {
				p.lines[i].marked = true
				return
			}
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
}

// hex shows the first bytes of what is no text.
func (p *printer) hex(b []byte) {
	const perLine, most = 32, 1024
	for i := 0; i < min(len(b), most); i += perLine {
		p.line(fmt.Sprintf("%06x  % x", i, b[i:min(i+perLine, len(b), most)]))
	}
	if len(b) > most {
		p.line(fmt.Sprintf("… %d bytes in all", len(b)))
	}
}
