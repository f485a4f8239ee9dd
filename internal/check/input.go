package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// MaxInput is how many bytes of messages [Read] takes in all, 256 MiB: they are held in memory, about
// three times over.
const MaxInput = 256 << 20

// ErrTooMuch says that the input is larger than what was left of [MaxInput].
var ErrTooMuch = fmt.Errorf("more than %d MiB of messages", MaxInput>>20)

// A Record is one message to judge.
type Record struct {
	// File and Line say where it begins.
	File string
	Line int
	// Topic and Partition are those of a line in the form of simulate; the raw form has none: "" and 0.
	Topic     string
	Partition int32
	// Key is nil if it is not known.
	Key []byte
	// Value is nil for a tombstone.
	Value []byte
	// Time is the record's timestamp in milliseconds; negative: the message's own, or now.
	Time int64
}

// Read takes the messages of one file, at most limit bytes of it. A file holds one JSON object a
// line; one that begins with an object over several lines holds such objects one after the other.
// An object is a raw message, or a record as simulate writes it: with seq, and value or valueBase64.
// Blank lines between messages count for nothing. What is no JSON is a message too: a malformed one.
func Read(file string, r io.Reader, limit int64) ([]Record, int64, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, 0, err
	}
	size := int64(len(data))
	if size > limit {
		return nil, size, ErrTooMuch
	}
	pieces, apart := documents(data)
	if !apart {
		pieces = lines(data)
	}
	records := make([]Record, len(pieces))
	for i, p := range pieces {
		records[i] = recordOf(p.text)
		records[i].File, records[i].Line = file, p.line
	}
	return records, size, nil
}

// A piece is the text of one message and the line where it begins, from 1.
type piece struct {
	text []byte
	line int
}

// lines takes every line that is not blank for a message.
func lines(data []byte) (pieces []piece) {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(line)) > 0 {
			pieces = append(pieces, piece{line, n})
		}
	}
	return pieces
}

// byteOrderMark is malformed in a message, but must not hide what form a file has.
var byteOrderMark = []byte("\uFEFF")

// documents takes JSON values that go over several lines, if the file begins with one.
func documents(data []byte) (pieces []piece, ok bool) {
	body := bytes.TrimPrefix(data, byteOrderMark)
	first, _, more := bytes.Cut(bytes.TrimLeft(body, " \t\r\n"), []byte("\n"))
	if !more || !isCutOff(first) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	skipped, line, counted := len(data)-len(body), 1, 0
	add := func(start, end int) {
		line += bytes.Count(body[counted:start], []byte("\n"))
		counted = start
		if counted > 0 {
			start += skipped
		}
		pieces = append(pieces, piece{data[start : end+skipped], line})
	}
	for {
		end := int(dec.InputOffset())
		var value json.RawMessage
		switch err := dec.Decode(&value); {
		case errors.Is(err, io.EOF):
			return pieces, true
		case err != nil:
			start := end + len(body[end:]) - len(bytes.TrimLeft(body[end:], " \t\r\n"))
			if hasLineOfItsOwn(body[start:]) {
				return nil, false
			}
			add(start, len(body))
			return pieces, true
		}
		end = int(dec.InputOffset())
		add(end-len(value), end)
	}
}

// isCutOff says whether a line is the beginning of a JSON value that goes on.
func isCutOff(line []byte) bool {
	var value json.RawMessage
	return errors.Is(json.NewDecoder(bytes.NewReader(line)).Decode(&value), io.ErrUnexpectedEOF)
}

// hasLineOfItsOwn says whether a later line is a whole message at the margin: the file then has a message a
// line, and its first one is broken.
func hasLineOfItsOwn(data []byte) bool {
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte(`{"`)) && json.Valid(line) {
			return true
		}
	}
	return false
}

// timestampHeader is where a replayed record has the timestamp of its first life (docs/contract.md, section 6).
const timestampHeader = "eventworker.dlq.timestamp"

// recordOf tells a raw message from a record as simulate writes it. A raw message has a type.
func recordOf(text []byte) Record {
	raw := Record{Value: text, Time: -1}
	if !bytes.Contains(text, []byte(`"seq"`)) {
		return raw
	}
	var r struct {
		Seq         *uint64           `json:"seq"`
		Type        json.RawMessage   `json:"type"`
		Topic       string            `json:"topic"`
		Partition   int32             `json:"partition"`
		Time        *int64            `json:"time"`
		Key         *string           `json:"key"`
		Value       json.RawMessage   `json:"value"`
		ValueBase64 []byte            `json:"valueBase64"`
		Headers     map[string]string `json:"headers"`
	}
	if json.Unmarshal(text, &r) != nil || r.Seq == nil || r.Type != nil || r.Partition < 0 {
		return raw
	}
	record := Record{Topic: r.Topic, Partition: r.Partition, Time: -1}
	switch value := new(string); {
	case r.ValueBase64 != nil:
		record.Value = r.ValueBase64
	case string(r.Value) == "null":
	case r.Value == nil || json.Unmarshal(r.Value, value) != nil:
		return raw
	default:
		record.Value = []byte(*value)
	}
	if r.Time != nil && *r.Time >= 0 {
		record.Time = *r.Time
	}
	if ms, err := strconv.ParseInt(r.Headers[timestampHeader], 10, 64); err == nil && ms >= 0 {
		record.Time = ms
	}
	if r.Key != nil {
		record.Key = []byte(*r.Key)
	}
	return record
}
