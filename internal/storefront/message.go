package storefront

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// SeqHeader is the header that carries a message's number, as decimal text. A dead letter keeps it,
// which is how the comparison knows whose it is.
const SeqHeader = "simulate-seq"

// Header is a record header.
type Header struct {
	Key   string
	Value []byte
}

// Message is one Kafka record.
type Message struct {
	// Seq counts the messages of a log from 0, over all its partitions. A log has at most 2³² of them.
	Seq       uint64
	Topic     string
	Partition int32
	// Key is the userToken.
	Key []byte
	// Value is nil for a tombstone, and empty but not nil for an empty record.
	Value   []byte
	Headers []Header
	// Time is the record timestamp, milliseconds since the epoch.
	Time int64

	said   *said // what the message says; nil: read it from Value
	buffer []byte
	seq    [20]byte
	key    []byte
}

// AppendJSON adds the message as one JSON object without a line feed:
//
//	{"seq":7,"topic":"t","partition":3,"time":1764000000000,"key":"user-1","value":"…","headers":{"simulate-seq":"7"}}
//
// A value that is not UTF-8 is "valueBase64" instead; a tombstone's "value" is null.
func (m *Message) AppendJSON(b []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, m.Seq, 10)
	b = append(b, `,"topic":`...)
	b = appendString(b, m.Topic)
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(m.Partition), 10)
	b = append(b, `,"time":`...)
	b = strconv.AppendInt(b, m.Time, 10)
	b = append(b, `,"key":`...)
	b = appendString(b, string(m.Key))
	switch {
	case m.Value == nil:
		b = append(b, `,"value":null`...)
	case utf8.Valid(m.Value):
		b = append(b, `,"value":`...)
		b = appendString(b, string(m.Value))
	default:
		b = append(b, `,"valueBase64":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.Value)
		b = append(b, '"')
	}
	b = append(b, `,"headers":{`...)
	for i := range m.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, m.Headers[i].Key)
		b = append(b, ':')
		b = appendString(b, string(m.Headers[i].Value))
	}
	return append(b, `}}`...)
}

// appendString adds a JSON string. The text must be UTF-8.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0 // what is before it was written
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		if b = append(b, s[from:i]...); c < 0x20 {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
		from = i + 1
	}
	return append(append(b, s[from:]...), '"')
}
