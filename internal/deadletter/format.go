package deadletter

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"eventworker/internal/event"
)

// Prefix starts the name of every header that a dead letter adds to the original ones.
const Prefix = "eventworker.dlq."

// The headers of docs/contract.md, section 6. All values are UTF-8 text, numbers are decimal.
const (
	HeaderVersion     = Prefix + "version"
	HeaderReason      = Prefix + "reason"
	HeaderStage       = Prefix + "stage"
	HeaderField       = Prefix + "field"
	HeaderRule        = Prefix + "rule"
	HeaderCause       = Prefix + "cause"
	HeaderMessage     = Prefix + "message"
	HeaderTopic       = Prefix + "topic"
	HeaderPartition   = Prefix + "partition"
	HeaderOffset      = Prefix + "offset"
	HeaderTimestamp   = Prefix + "timestamp"
	HeaderGroup       = Prefix + "group"
	HeaderHTTPStatus  = Prefix + "http-status"
	HeaderAttempts    = Prefix + "attempts"
	HeaderFirstFailed = Prefix + "first-failed-at"
	HeaderFailed      = Prefix + "failed-at"
	HeaderParts       = Prefix + "parts"
	HeaderResolved    = Prefix + "resolved"
	HeaderReplayID    = Prefix + "replay-id"
	HeaderReplayCount = Prefix + "replay-count"
	HeaderEdited      = Prefix + "edited"
	HeaderTraceparent = Prefix + "traceparent"
)

// Version is the version of the format that this package writes, and the newest it reads.
const Version = 1

const (
	maxMessage = 1024 // bytes of the header message
	maxField   = 512  // bytes of the header field
	timeLayout = "2006-01-02T15:04:05.000Z07:00"
)

// Encode makes the record of a dead letter: the original key, value and headers, then the headers
// under [Prefix]. group is the consumer group that refused the message.
//
// Headers under Prefix that the record already has, because it was replayed, are replaced; its
// coordinates, timestamp and first failure stay those of the first life, and replay-id, replay-count
// and edited are kept.
func Encode(l *Letter, group string) Message {
	first := firstLife(l)
	w := newHeaderWriter(l)
	w.copyOriginal(l.Headers)

	failed := l.Failed
	if failed.IsZero() {
		failed = time.Now()
	}
	r := &l.Refusal
	w.number(HeaderVersion, Version)
	w.text(HeaderReason, r.Reason.String())
	w.text(HeaderStage, string(r.Stage))
	w.text(HeaderCause, Cause(l))
	w.optional(HeaderField, cut(r.Field, maxField), r.Reason == event.Invalid)
	w.optional(HeaderRule, r.Rule, r.Reason == event.Invalid)
	w.text(HeaderMessage, cut(message(l), maxMessage))
	w.text(HeaderTopic, first.Topic)
	w.number(HeaderPartition, int64(first.Partition))
	w.number(HeaderOffset, first.Offset)
	w.number(HeaderTimestamp, first.Timestamp)
	w.text(HeaderGroup, group)
	w.positive(HeaderHTTPStatus, l.HTTPStatus, r.Reason == event.Rejected)
	w.positive(HeaderAttempts, l.Attempts, r.Reason == event.Rejected)
	w.time(HeaderFirstFailed, firstNonZero(first.FirstFailed, l.FirstFailed, failed))
	w.time(HeaderFailed, failed)
	w.parts(l.Parts)
	w.resolved(l.Resolved)
	w.optional(HeaderReplayID, first.ReplayID, false)
	w.positive(HeaderReplayCount, first.ReplayCount, false)
	w.optional(HeaderEdited, first.Edited, false)
	w.optional(HeaderTraceparent, l.Traceparent, false)

	m := w.message(l)
	m.Topic, m.Partition, m.Offset = first.Topic, first.Partition, first.Offset
	return m
}

// firstLife returns where the message was first seen: what the headers of a replayed record say,
// else the coordinates of the record itself. Headers that contradict the format count for nothing,
// so that no sender can make a dead letter that cannot be read.
func firstLife(l *Letter) Context {
	own := Context{Topic: strings.Clone(l.Topic), Partition: l.Partition, Offset: l.Offset, Timestamp: l.Timestamp}
	if !hasContext(l.Headers) {
		return own
	}
	c, have, _ := parse(l.Headers)
	if !have.all(coordinates) {
		c.Topic, c.Partition, c.Offset, c.Timestamp = own.Topic, own.Partition, own.Offset, own.Timestamp
	}
	return c
}

// message is the sentence for a person: the refusal's, and the API's words unless it holds them.
func message(l *Letter) string {
	switch {
	case l.APIWords == "" || strings.Contains(l.Refusal.Message, l.APIWords):
		return l.Refusal.Message
	case l.Refusal.Message == "":
		return l.APIWords
	}
	return l.Refusal.Message + " (the API: " + l.APIWords + ")"
}

// cut makes text valid UTF-8 of at most limit bytes, ended between two runes.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func firstNonZero(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// Originals returns the headers that are the record's own: all but those under [Prefix]. It returns
// the slice it was given where that has no others.
func Originals(headers []Header) []Header {
	if !hasContext(headers) {
		return headers
	}
	own := make([]Header, 0, len(headers))
	for _, h := range headers {
		if !strings.HasPrefix(h.Key, Prefix) {
			own = append(own, h)
		}
	}
	return own
}

func hasContext(headers []Header) bool {
	for i := range headers {
		if strings.HasPrefix(headers[i].Key, Prefix) {
			return true
		}
	}
	return false
}

// headerWriter builds a message with few allocations: all bytes go into one buffer, the names of the
// original headers into one string.
type headerWriter struct {
	buf     []byte
	headers []Header
	ends    []int // of each header's value in buf; a value starts where the one before ends
	null    []bool
	names   []byte
}

func newHeaderWriter(l *Letter) *headerWriter {
	const ownHeaders, ownBytes = 22, 640
	n := len(l.Key) + len(l.Value) + len(l.Refusal.Message) + len(l.APIWords) + ownBytes
	for i := range l.Headers {
		n += len(l.Headers[i].Value)
	}
	count := len(l.Headers) + ownHeaders
	return &headerWriter{
		buf:     make([]byte, 0, n),
		headers: make([]Header, 0, count),
		ends:    make([]int, 0, count),
		null:    make([]bool, 0, count),
	}
}

// copyOriginal copies the record's own headers; their memory belongs to the caller.
func (w *headerWriter) copyOriginal(headers []Header) {
	for i := range headers {
		if !strings.HasPrefix(headers[i].Key, Prefix) {
			w.names = append(w.names, headers[i].Key...)
		}
	}
	names := string(w.names)
	for i := range headers {
		h := &headers[i]
		if strings.HasPrefix(h.Key, Prefix) {
			continue
		}
		w.buf = append(w.buf, h.Value...)
		w.end(names[:len(h.Key)], h.Value == nil)
		names = names[len(h.Key):]
	}
}

func (w *headerWriter) end(key string, null bool) {
	w.headers = append(w.headers, Header{Key: key})
	w.ends = append(w.ends, len(w.buf))
	w.null = append(w.null, null)
}

func (w *headerWriter) text(key, value string) {
	w.buf = append(w.buf, value...)
	w.end(key, false)
}

func (w *headerWriter) optional(key, value string, required bool) {
	if value != "" || required {
		w.text(key, value)
	}
}

func (w *headerWriter) number(key string, n int64) {
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.end(key, false)
}

func (w *headerWriter) positive(key string, n int, required bool) {
	if n > 0 || required {
		w.number(key, int64(max(n, 0)))
	}
}

func (w *headerWriter) time(key string, t time.Time) {
	w.buf = t.UTC().AppendFormat(w.buf, timeLayout)
	w.end(key, false)
}

func (w *headerWriter) parts(parts []Part) {
	if len(parts) > 0 {
		w.buf = appendParts(w.buf, parts)
		w.end(HeaderParts, false)
	}
}

func (w *headerWriter) resolved(resolved []Resolved) {
	if len(resolved) > 0 {
		w.buf = appendResolved(w.buf, resolved)
		w.end(HeaderResolved, false)
	}
}

// message copies key and value behind the headers and cuts the buffer up.
func (w *headerWriter) message(l *Letter) Message {
	keyAt := len(w.buf)
	w.buf = append(w.buf, l.Key...)
	valueAt := len(w.buf)
	w.buf = append(w.buf, l.Value...)

	start := 0
	for i, end := range w.ends {
		if !w.null[i] {
			w.headers[i].Value = w.buf[start:end:end]
		}
		start = end
	}
	m := Message{Headers: w.headers}
	if l.Key != nil {
		m.Key = w.buf[keyAt:valueAt:valueAt]
	}
	if l.Value != nil {
		m.Value = w.buf[valueAt:len(w.buf):len(w.buf)]
	}
	return m
}

// last is the last header of a name, which Kafka's clients agree is the one that counts.
func last(headers []Header, key string) (value []byte, ok bool) {
	for _, h := range slices.Backward(headers) {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}

// maxShrink is the last step of shrink: only what every dead letter must have is left.
const maxShrink = 3

// shrink returns headers that need less room, for a broker that refused the message as too large.
// Each step gives up more, in the order of what a person misses least: 1 shortens the sentence and
// drops the trace, 2 drops resolved (a replay looks up anew), 3 drops parts (a replay may repeat
// what was delivered), and shortens further. What is the record's own is never touched.
func shrink(headers []Header, step int) []Header {
	limit := [maxShrink + 1]int{maxMessage, 256, 128, 48}[step]
	drop := [][]string{{HeaderTraceparent}, {HeaderResolved}, {HeaderParts, HeaderEdited}}[:step]
	invalid, _ := last(headers, HeaderReason)
	if step == maxShrink && !bytes.Equal(invalid, []byte(event.Invalid.String())) {
		drop = append(slices.Clip(drop), []string{HeaderField, HeaderRule})
	}
	kept := make([]Header, 0, len(headers))
next:
	for _, h := range headers {
		for _, names := range drop {
			for _, name := range names {
				if h.Key == name {
					continue next
				}
			}
		}
		if h.Key == HeaderMessage || h.Key == HeaderField {
			h.Value = []byte(cut(string(h.Value), limit))
		}
		kept = append(kept, h)
	}
	return kept
}
