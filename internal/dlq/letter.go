package dlq

import (
	"slices"
	"strconv"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// Letter is one record of the dead-letter topic. What [Desk.Scan] hands out is valid only during the
// call; [Letter.Clone] keeps it.
type Letter struct {
	Partition int32
	Offset    int64
	// Time is the record's own: when the dead letter was written.
	Time time.Time
	// Key and Value are the original record's, nil where it has none.
	Key, Value []byte
	// Headers are all of them, the original record's and those under [deadletter.Prefix].
	Headers []deadletter.Header

	raw    [numSlots][]byte
	marked bool // it has headers under the prefix
	peeked bool
	peek   Payload
}

// slot numbers the headers that letters are judged by.
type slot uint8

const (
	slotReason slot = iota
	slotStage
	slotField
	slotRule
	slotCause
	slotMessage
	slotTopic
	slotPartition
	slotOffset
	slotTimestamp
	slotGroup
	slotStatus
	slotAttempts
	slotFirstFailed
	slotFailed
	slotParts
	slotResolved
	slotReplayID
	slotReplayCount
	slotEdited
	numSlots
)

// slotOf finds the slot of a header's name; numSlots: none.
func slotOf(key string) slot {
	switch key[len(deadletter.Prefix):] {
	case "reason":
		return slotReason
	case "stage":
		return slotStage
	case "field":
		return slotField
	case "rule":
		return slotRule
	case "cause":
		return slotCause
	case "message":
		return slotMessage
	case "topic":
		return slotTopic
	case "partition":
		return slotPartition
	case "offset":
		return slotOffset
	case "timestamp":
		return slotTimestamp
	case "group":
		return slotGroup
	case "http-status":
		return slotStatus
	case "attempts":
		return slotAttempts
	case "first-failed-at":
		return slotFirstFailed
	case "failed-at":
		return slotFailed
	case "parts":
		return slotParts
	case "resolved":
		return slotResolved
	case "replay-id":
		return slotReplayID
	case "replay-count":
		return slotReplayCount
	case "edited":
		return slotEdited
	}
	return numSlots
}

// fill makes l the letter of a record, whose memory it shares. Of a header that is there twice the last
// counts.
func (l *Letter) fill(partition int32, r *consume.Record) {
	*l = Letter{Partition: partition, Offset: r.Offset, Time: time.UnixMilli(r.Time), Key: r.Key, Value: r.Value, Headers: r.Headers}
	for i := range r.Headers {
		h := &r.Headers[i]
		if len(h.Key) <= len(deadletter.Prefix) || h.Key[:len(deadletter.Prefix)] != deadletter.Prefix {
			continue
		}
		l.marked = true
		if s := slotOf(h.Key); s < numSlots {
			l.raw[s] = h.Value
		}
	}
}

// LetterOf is the letter of a record with the given headers, whose memory it shares.
func LetterOf(partition int32, r *consume.Record) *Letter {
	l := new(Letter)
	l.fill(partition, r)
	return l
}

// Clone is a letter with memory of its own.
func (l *Letter) Clone() *Letter {
	r := consume.Record{Offset: l.Offset, Time: l.Time.UnixMilli(), Key: slices.Clone(l.Key), Value: slices.Clone(l.Value)}
	for _, h := range l.Headers {
		r.Headers = append(r.Headers, deadletter.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	return LetterOf(l.Partition, &r)
}

// Address is the letter's place in the dead-letter topic.
func (l *Letter) Address() Address { return Address{Partition: l.Partition, Offset: l.Offset} }

// IsDeadLetter says whether the record has headers of a dead letter at all.
func (l *Letter) IsDeadLetter() bool { return l.marked }

// Context reads all headers, strictly; it shares no memory with the letter. See [deadletter.Decode].
func (l *Letter) Context() (*deadletter.Context, error) { return deadletter.Decode(l.Headers) }

// Reason is [event.NoReason] where the header is missing or unknown; so it is with the zero values of
// all that follow.
func (l *Letter) Reason() event.Reason {
	raw := l.raw[slotReason]
	for r := event.NoReason + 1; r < event.NumReasons; r++ {
		if string(raw) == r.String() {
			return r
		}
	}
	return event.NoReason
}

// ReasonText is the reason as it stands in the header, one that this version does not know too.
func (l *Letter) ReasonText() string { return string(l.raw[slotReason]) }

// Stage is the step that refused the message.
func (l *Letter) Stage() event.Stage { return event.Stage(l.raw[slotStage]) }

// Field is the path of the offending field, such as items[3].price.
func (l *Letter) Field() string { return string(l.raw[slotField]) }

// Rule is the id of the broken rule.
func (l *Letter) Rule() string { return string(l.raw[slotRule]) }

// Cause is the id under which letters with the same remedy meet.
func (l *Letter) Cause() string { return string(l.raw[slotCause]) }

// Message is the sentence for a person, not masked.
func (l *Letter) Message() string { return string(l.raw[slotMessage]) }

// Source is the place of the record's first life.
func (l *Letter) Source() Coordinates {
	return Coordinates{string(l.raw[slotTopic]), int32(number(l.raw[slotPartition])), number(l.raw[slotOffset])}
}

// Timestamp is the original record's, in milliseconds; 0: it had none.
func (l *Letter) Timestamp() int64 { return max(number(l.raw[slotTimestamp]), 0) }

// Group is the consumer group that refused the message.
func (l *Letter) Group() string { return string(l.raw[slotGroup]) }

// Status is the API's last answer.
func (l *Letter) Status() int { return int(number(l.raw[slotStatus])) }

// Attempts is how many requests carried the message.
func (l *Letter) Attempts() int { return int(number(l.raw[slotAttempts])) }

// FailedAt is when the message failed last, FirstFailedAt when it did first. Where a header cannot be
// read it is the record's time.
func (l *Letter) FailedAt() time.Time { return l.instant(slotFailed) }

// FirstFailedAt is when the message failed first, in its first life.
func (l *Letter) FirstFailedAt() time.Time { return l.instant(slotFirstFailed) }

func (l *Letter) instant(s slot) time.Time {
	if at, ok := parseInstant(l.raw[s]); ok {
		return at
	}
	return l.Time.UTC()
}

// ReplayCount is how often the message was replayed.
func (l *Letter) ReplayCount() int { return int(number(l.raw[slotReplayCount])) }

// ReplayID is the last replay's, empty for none.
func (l *Letter) ReplayID() string { return string(l.raw[slotReplayID]) }

// Edited is the digest of the patch that the last replay applied.
func (l *Letter) Edited() string { return string(l.raw[slotEdited]) }

// Payload is what can be read of the value, whatever is wrong with it.
func (l *Letter) Payload() *Payload {
	if !l.peeked {
		l.peek, l.peeked = peek(l.Value), true
	}
	return &l.peek
}

// EventTime is the message's own timestamp, else that of its record, in milliseconds; 0: none.
func (l *Letter) EventTime() int64 {
	own := l.peek.Timestamp
	if !l.peeked {
		own = peekTime(l.Value)
	}
	if own > 0 {
		return own
	}
	return l.Timestamp()
}

// User is the message's userToken, else the record's key. It is not masked.
func (l *Letter) User() string {
	if u := l.Payload().User; len(u) > 0 {
		return string(u)
	}
	return string(l.Key)
}

// Deadline is when the letter can no longer be replayed with success: the event is older than maxAge,
// or the topic has removed the letter. retention 0 means that the topic keeps it. Zero: never.
func (l *Letter) Deadline(maxAge, retention time.Duration) time.Time {
	var at time.Time
	if t := l.EventTime(); t > 0 && maxAge > 0 {
		at = time.UnixMilli(t).Add(maxAge)
	}
	if retention > 0 {
		if gone := l.Time.Add(retention); at.IsZero() || gone.Before(at) {
			at = gone
		}
	}
	if at.IsZero() {
		return at
	}
	return at.UTC()
}

// number reads a decimal header; 0 where it is none.
func number(b []byte) int64 {
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' || n > (1<<63-1-9)/10 {
			n, _ = strconv.ParseInt(string(b), 10, 64)
			return n
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// parseInstant reads a time of a header. The worker writes 2006-01-02T15:04:05.000Z, which is read
// without the general parser, because scans over millions of letters come here.
func parseInstant(b []byte) (time.Time, bool) {
	if len(b) == 24 && b[23] == 'Z' && b[10] == 'T' && b[19] == '.' {
		var n [7]int
		ok := true
		for i, at := range [7][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}, {20, 23}} {
			for _, c := range b[at[0]:at[1]] {
				ok = ok && '0' <= c && c <= '9'
				n[i] = n[i]*10 + int(c-'0')
			}
		}
		if ok && n[1] >= 1 && n[1] <= 12 && n[2] >= 1 && n[2] <= 31 && n[3] < 24 && n[4] < 60 && n[5] < 60 {
			return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1e6, time.UTC), true
		}
	}
	at, err := time.Parse(time.RFC3339, string(b))
	return at.UTC(), err == nil
}
