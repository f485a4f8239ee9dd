package check

import (
	"bufio"
	_ "embed" // the schema
	"encoding/json"
	"io"
)

// JSONSchema is the shape of what [Report.WriteJSON] writes; the lines of [Report.WriteJSONLines] are its
// message.
//
//go:embed check.v1.schema.json
var JSONSchema []byte

// WriteJSON writes one document, a message a line.
func (r *Report) WriteJSON(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	b.WriteString(`{"schema":"` + Schema + `","now":"` + instant(r.Now.UnixMilli()) + `","assumedApplications":`)
	assumed := r.Assumed
	if assumed == nil {
		assumed = []string{}
	}
	if err := encode(b, assumed); err != nil {
		return err
	}
	b.WriteString(`,"messages":[`)
	for i := range r.Messages {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		if err := encode(b, &r.Messages[i]); err != nil {
			return err
		}
	}
	b.WriteString("\n],\"summary\":")
	if err := encode(b, r.Summary); err != nil {
		return err
	}
	b.WriteString("}\n")
	return b.Flush()
}

// WriteJSONLines writes each message as a document of its own, on a line of its own.
func (r *Report) WriteJSONLines(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	for i := range r.Messages {
		line := struct {
			Schema string `json:"schema"`
			*Message
		}{Schema, &r.Messages[i]}
		if err := encode(b, line); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// encode writes a value without a line feed; events stay as they would be sent.
func encode(b *bufio.Writer, v any) error {
	enc := json.NewEncoder(withoutLineFeed{b})
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// withoutLineFeed leaves out the one that an Encoder writes after a value.
type withoutLineFeed struct{ to io.Writer }

func (w withoutLineFeed) Write(p []byte) (int, error) {
	n, err := w.to.Write(p[:len(p)-1])
	if err == nil {
		n++
	}
	return n, err
}
