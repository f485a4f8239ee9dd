package storefront

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"eventworker/internal/insightsfake"
)

// The truth as a file is JSON lines. The first is a head; then one line a message, in order:
//
//	{"format":"eventworker-truth","version":1,"messages":2,"rules":{…},"config":{…}}
//	{"seq":0,"outcome":"delivered","events":["00112233445566778899aabbccddeeff"]}
//	{"seq":1,"outcome":"dead-lettered","reason":"rejected","events":[…],"parts":[2]}
//
// events are digests (insightsfake.Digest) in ascending order; config is left out of a truth that no
// generator made.
const (
	truthFormat  = "eventworker-truth"
	truthVersion = 1
)

type truthHead struct {
	Format   string  `json:"format"`
	Version  int     `json:"version"`
	Messages int     `json:"messages"`
	Rules    Rules   `json:"rules"`
	Config   *Config `json:"config,omitempty"`
}

type truthLine struct {
	Seq     uint64   `json:"seq"`
	Outcome Outcome  `json:"outcome"`
	Reason  string   `json:"reason"`
	Events  []string `json:"events"`
	Parts   []int    `json:"parts"`
}

// WriteTo writes the truth as JSON lines. It must be sealed.
func (t *Truth) WriteTo(w io.Writer) (int64, error) {
	if !t.sealed {
		return 0, errors.New("write truth: it is not sealed, the last verdicts are missing")
	}
	counting := &countingWriter{w: w}
	b := bufio.NewWriterSize(counting, 1<<16)
	head, err := json.Marshal(truthHead{truthFormat, truthVersion, len(t.codes), t.rules, t.config})
	if err != nil {
		return 0, fmt.Errorf("write truth: %w", err)
	}
	b.Write(append(head, '\n'))
	bySeq := t.expected.bySeq()
	var line []byte
	for seq, code := range t.codes {
		n := 0
		for n < len(bySeq) && bySeq[n].seq == uint32(seq) {
			n++
		}
		line = t.appendLine(line[:0], uint64(seq), code, bySeq[:n])
		bySeq = bySeq[n:]
		if _, err := b.Write(line); err != nil {
			return counting.n, fmt.Errorf("write truth: %w", err)
		}
	}
	if err := b.Flush(); err != nil {
		return counting.n, fmt.Errorf("write truth: %w", err)
	}
	return counting.n, nil
}

func (t *Truth) appendLine(b []byte, seq uint64, code verdictCode, events []expectation) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"outcome":"`...)
	b = append(b, code.outcome()...)
	b = append(b, '"')
	if reason := reasonNames[code]; reason != "" {
		b = append(b, `,"reason":"`...)
		b = append(b, reason...)
		b = append(b, '"')
	}
	for i := range events {
		if b = append(b, `,"`...); i == 0 {
			b = append(b[:len(b)-1], `"events":["`...)
		}
		b = append(b, events[i].digest.String()...)
		b = append(b, '"')
	}
	if len(events) > 0 {
		b = append(b, ']')
	}
	if parts := t.refused[seq]; parts != nil {
		b = append(b, `,"parts":[`...)
		for i, p := range parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(p), 10)
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

// bySeq are all expectations in order of their message.
func (e *expectations) bySeq() []expectation {
	all := make([]expectation, 0, e.len())
	for i := range e.lists {
		all = append(all, e.lists[i]...)
	}
	slices.SortFunc(all, func(a, b expectation) int {
		if a.seq != b.seq {
			return int(int64(a.seq) - int64(b.seq))
		}
		return compareExpectations(a, b)
	})
	return all
}

// ReadTruth reads what WriteTo wrote; the truth is sealed.
func ReadTruth(r io.Reader) (*Truth, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), 1<<24)
	if !lines.Scan() {
		return nil, fmt.Errorf("read truth: no head: %w", orEOF(lines.Err()))
	}
	var head truthHead
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		return nil, fmt.Errorf("read truth: head: %w", err)
	}
	if head.Format != truthFormat || head.Version != truthVersion {
		return nil, fmt.Errorf("read truth: format %q version %d: want %q version %d", head.Format, head.Version, truthFormat, truthVersion)
	}
	t := NewTruth(head.Rules)
	t.config = head.Config
	for lines.Scan() {
		if err := t.readLine(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("read truth: line %d: %w", len(t.codes)+2, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read truth: %w", err)
	}
	if len(t.codes) != head.Messages {
		return nil, fmt.Errorf("read truth: %d messages of %d: the file was cut off", len(t.codes), head.Messages)
	}
	t.partitions, t.names, t.sealed = nil, nil, true
	t.expected.seal()
	return t, nil
}

func (t *Truth) readLine(b []byte) error {
	var l truthLine
	if err := json.Unmarshal(b, &l); err != nil {
		return err
	}
	if l.Seq != uint64(len(t.codes)) {
		return fmt.Errorf("message %d: want %d", l.Seq, len(t.codes))
	}
	code := codeOf(l.Outcome, l.Reason)
	if code == undecided && l.Outcome != "" {
		return fmt.Errorf("unknown outcome %q with reason %q", l.Outcome, l.Reason)
	}
	t.codes = append(t.codes, code)
	for _, text := range l.Events {
		d, err := insightsfake.ParseDigest(text)
		if err != nil {
			return err
		}
		t.expected.add(d, uint32(l.Seq))
	}
	if l.Parts != nil {
		t.refused[l.Seq] = l.Parts
	}
	return nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
