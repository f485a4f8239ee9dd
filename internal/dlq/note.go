package dlq

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/deadletter"
)

// HeaderNote is the header of a replayed record that says why it was replayed: the plan's note, else who
// made the plan. It is printable text of at most 256 bytes. Nobody reads it but people, and a dead letter that
// the record becomes does not have it: that names the replay, whose plan has the note.
const HeaderNote = deadletter.Prefix + "note"

// MaxNote bounds an operator's note, in bytes: each state of a letter has it.
const MaxNote = 1024

const maxHeaderNote = 256

// CheckNote refuses a note that is too long. The error is a [*CallError].
func CheckNote(note string) error {
	if len(note) > MaxNote {
		return callf("eventworker dlq replay --help", "--note has %d bytes, at most %d are kept with each letter", len(note), MaxNote)
	}
	return nil
}

// noteHeader is the value of HeaderNote.
func (p *Plan) noteHeader() []byte {
	note := p.Note
	if strings.TrimSpace(note) == "" {
		note = p.By
	}
	out := make([]byte, 0, min(len(note), maxHeaderNote))
	for _, r := range note {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = ' ' // line feeds, tabs, and what speaks to a terminal
		}
		if len(out)+utf8.RuneLen(r) > maxHeaderNote {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// withoutNote takes the note out of a record's headers; false: there is none.
func withoutNote(headers []kafka.Header) ([]kafka.Header, bool) {
	n := len(headers)
	if n == 0 || headers[n-1].Key != HeaderNote {
		return headers, false
	}
	return headers[:n-1], true
}
