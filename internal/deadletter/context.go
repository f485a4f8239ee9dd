package deadletter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"eventworker/internal/event"
)

// Context is what the headers of a dead letter, or of a replayed record, say.
type Context struct {
	Version int
	Reason  event.Reason
	Stage   event.Stage
	Field   string
	Rule    string
	Cause   string
	Message string

	// Topic, Partition, Offset and Timestamp (milliseconds, -1 if it had none) are those of the
	// message's first life.
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64

	Group       string
	HTTPStatus  int
	Attempts    int
	FirstFailed time.Time
	Failed      time.Time
	Parts       []Part     // in order of index
	Resolved    []Resolved // in the order of the join
	ReplayID    string
	ReplayCount int
	Edited      string
	Traceparent string
}

// ErrNoContext says that a record carries no dead-letter headers at all.
var ErrNoContext = errors.New("the record has no " + Prefix + "* headers: it is no dead letter")

// FormatError says which header of a dead letter is missing or cannot be read.
type FormatError struct {
	Header string
	// Problem is what is wrong with it.
	Problem string
}

// Error names the header and what is wrong.
func (e *FormatError) Error() string {
	return "dead-letter header " + e.Header + ": " + e.Problem
}

// Decode reads the headers of a dead letter. Of a header that is there twice the last counts, and
// unknown ones under [Prefix] are left alone. The error is [ErrNoContext] or a [*FormatError]; with
// the latter the context holds what could be read.
func Decode(headers []Header) (*Context, error) {
	if !hasContext(headers) {
		return nil, ErrNoContext
	}
	c, have, err := parse(headers)
	if err == nil {
		err = c.complete(have)
	}
	if err != nil {
		return &c, err
	}
	return &c, nil
}

// DecodeReplayed reads the headers of a record of the replay topic: replay-id and coordinates must
// be there, all else may. The errors are those of [Decode].
func DecodeReplayed(headers []Header) (*Context, error) {
	if !hasContext(headers) {
		return nil, ErrNoContext
	}
	c, have, err := parse(headers)
	if err == nil {
		err = have.require(append([]string{HeaderReplayID}, coordinates...))
	}
	if err != nil {
		return &c, err
	}
	return &c, nil
}

// ReplayHeaders returns the headers of a replayed record: original ones first, then what the worker
// needs of the dead letter c. count is how often it was replayed, this time included; edited is the
// digest of the patch, empty for none.
func (c *Context) ReplayHeaders(original []Header, id string, count int, edited string) []Header {
	w := newHeaderWriter(&Letter{Headers: original})
	w.copyOriginal(original)
	w.text(HeaderTopic, c.Topic)
	w.number(HeaderPartition, int64(c.Partition))
	w.number(HeaderOffset, c.Offset)
	w.number(HeaderTimestamp, c.Timestamp)
	w.time(HeaderFirstFailed, c.FirstFailed)
	w.parts(c.Parts)
	w.resolved(c.Resolved)
	w.text(HeaderReplayID, id)
	w.positive(HeaderReplayCount, count, true)
	w.optional(HeaderEdited, edited, false)
	return w.message(&Letter{}).Headers
}

var (
	coordinates = []string{HeaderTopic, HeaderPartition, HeaderOffset, HeaderTimestamp}
	required    = append([]string{HeaderVersion, HeaderReason, HeaderStage, HeaderCause, HeaderMessage,
		HeaderGroup, HeaderFirstFailed, HeaderFailed}, coordinates...)
)

// complete checks what docs/contract.md, section 6, requires of each dead letter.
func (c *Context) complete(have present) error {
	if err := have.require(required); err != nil {
		return err
	}
	switch c.Reason {
	case event.Rejected:
		return have.require([]string{HeaderHTTPStatus, HeaderAttempts})
	case event.Invalid:
		return have.require([]string{HeaderField, HeaderRule})
	default:
		return nil
	}
}

// present is the set of headers that were there and could be read.
type present map[string]bool

func (p present) all(names []string) bool { return p.require(names) == nil }

func (p present) require(names []string) error {
	for _, name := range names {
		if !p[name] {
			return &FormatError{Header: name, Problem: "missing"}
		}
	}
	return nil
}

// parse reads every known header. A header that cannot be read leaves its field zero; the first
// such one is the error.
func parse(headers []Header) (c Context, have present, err error) {
	have = make(present, len(headers))
	for i := len(headers) - 1; i >= 0; i-- {
		h := &headers[i]
		if !strings.HasPrefix(h.Key, Prefix) {
			continue
		}
		if _, seen := have[h.Key]; seen {
			continue
		}
		key := strings.Clone(h.Key)
		problem := c.set(key, h.Value)
		have[key] = problem == nil
		if problem != nil && err == nil {
			err = &FormatError{Header: key, Problem: problem.Error()}
		}
	}
	return c, have, err
}

// set reads one header.
func (c *Context) set(key string, value []byte) (err error) {
	if text := c.textField(key); text != nil {
		*text = string(value)
		return nil
	}
	switch key {
	case HeaderVersion:
		c.Version, err = parseVersion(value)
	case HeaderReason:
		c.Reason, err = parseReason(value)
	case HeaderStage:
		c.Stage, err = parseStage(value)
	case HeaderPartition:
		var n int64
		n, err = parseNumber(value, 0, 1<<31-1)
		c.Partition = int32(n)
	case HeaderOffset:
		c.Offset, err = parseNumber(value, 0, 1<<63-1)
	case HeaderTimestamp:
		c.Timestamp, err = parseNumber(value, -1, 1<<63-1)
	case HeaderHTTPStatus:
		c.HTTPStatus, err = parseInt(value, 999)
	case HeaderAttempts:
		c.Attempts, err = parseInt(value, 1<<31-1)
	case HeaderReplayCount:
		c.ReplayCount, err = parseInt(value, 1<<31-1)
	case HeaderFirstFailed:
		c.FirstFailed, err = time.Parse(time.RFC3339, string(value))
	case HeaderFailed:
		c.Failed, err = time.Parse(time.RFC3339, string(value))
	case HeaderParts:
		c.Parts, err = parseParts(value)
	case HeaderResolved:
		c.Resolved, err = parseResolved(value)
	}
	return err
}

// textField is the field of a header that is taken as it is, nil for all others.
func (c *Context) textField(key string) *string {
	switch key {
	case HeaderField:
		return &c.Field
	case HeaderRule:
		return &c.Rule
	case HeaderCause:
		return &c.Cause
	case HeaderMessage:
		return &c.Message
	case HeaderTopic:
		return &c.Topic
	case HeaderGroup:
		return &c.Group
	case HeaderReplayID:
		return &c.ReplayID
	case HeaderEdited:
		return &c.Edited
	case HeaderTraceparent:
		return &c.Traceparent
	default:
		return nil
	}
}

func parseNumber(value []byte, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is no whole number from %d to %d", cut(string(value), 32), least, most)
	}
	return n, nil
}

func parseInt(value []byte, most int64) (int, error) {
	n, err := parseNumber(value, 0, most)
	return int(n), err
}

func parseVersion(value []byte) (int, error) {
	n, err := parseInt(value, 1<<31-1)
	if err == nil && (n < 1 || n > Version) {
		return 0, fmt.Errorf("version %d is not known here, %d is the newest: use a newer eventworker", n, Version)
	}
	return n, err
}

func parseReason(value []byte) (event.Reason, error) {
	r, ok := event.ParseReason(string(value))
	if !ok {
		return 0, fmt.Errorf("unknown reason %q", cut(string(value), 32))
	}
	return r, nil
}

func parseStage(value []byte) (event.Stage, error) {
	switch s := event.Stage(value); s {
	case event.StageDecode, event.StageValidate, event.StageJoin, event.StageEncode, event.StageDeliver:
		return s, nil
	default:
		return "", fmt.Errorf("unknown stage %q", cut(string(value), 32))
	}
}
