package insightsfake

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Digest stands for one event: 128 bits over its canonical form. The order of
// keys, white space, escapes and the way a decimal is written do not matter;
// everything else does. It is the same in every process of this program, but it
// is no promise across versions. It is not meant to withstand an adversary.
type Digest struct{ Hi, Lo uint64 }

// String gives the digest as 32 hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%016x%016x", d.Hi, d.Lo) }

// ParseDigest reads what [Digest.String] wrote.
func ParseDigest(s string) (Digest, error) {
	var b [16]byte
	if len(s) != 32 {
		return Digest{}, fmt.Errorf("digest of %d characters: want 32 hexadecimal digits", len(s))
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest: want 32 hexadecimal digits: %w", err)
	}
	return Digest{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, nil
}

// Digest of the event: equal to that of any JSON form of it.
func (e *Event) Digest() Digest {
	var room [1024]byte
	b := newCanonical(room[:0])
	b = appendText(b, tagEventType, e.EventType)
	b = appendText(b, tagEventSubtype, e.EventSubtype)
	b = appendText(b, tagEventName, e.EventName)
	b = appendText(b, tagIndex, e.Index)
	b = appendText(b, tagUserToken, e.UserToken)
	b = appendText(b, tagAuthenticatedUserToken, e.AuthenticatedUserToken)
	b = appendText(b, tagQueryID, e.QueryID)
	b = appendText(b, tagAgentID, e.AgentID)
	b = appendInt(b, tagTimestamp, e.Timestamp)
	b = appendTexts(b, tagObjectIDs, e.ObjectIDs)
	b = appendTexts(b, tagFilters, e.Filters)
	b = appendInts(b, tagPositions, e.Positions)
	if len(e.ObjectData) > 0 {
		b = appendCount(b, tagObjectData, len(e.ObjectData))
		for i := range e.ObjectData {
			d := &e.ObjectData[i]
			b = appendItem(b, d.Price, d.Discount, d.QueryID, d.Quantity)
		}
	}
	b = appendText(b, tagCurrency, e.Currency)
	b = appendDecimal(b, tagValue, e.Value)
	return sum(b)
}

// digest is [Event.Digest] of an event that was just read, without copying it.
func (v *view) digest(room []byte) (Digest, []byte) {
	b := newCanonical(room[:0])
	b = appendText(b, tagEventType, v.eventType)
	b = appendText(b, tagEventSubtype, v.eventSubtype)
	b = appendText(b, tagEventName, v.eventName)
	b = appendText(b, tagIndex, v.index)
	b = appendText(b, tagUserToken, v.userToken)
	b = appendText(b, tagAuthenticatedUserToken, v.authenticatedUserToken)
	b = appendText(b, tagQueryID, v.queryID)
	b = appendText(b, tagAgentID, v.agentID)
	b = appendInt(b, tagTimestamp, v.timestamp)
	b = appendTexts(b, tagObjectIDs, v.objectIDs)
	b = appendTexts(b, tagFilters, v.filters)
	b = appendInts(b, tagPositions, v.positions)
	if len(v.items) > 0 {
		b = appendCount(b, tagObjectData, len(v.items))
		for i := range v.items {
			d := &v.items[i]
			b = appendItem(b, d.price, d.discount, d.queryID, int(d.quantity))
		}
	}
	b = appendText(b, tagCurrency, v.currency)
	b = appendDecimal(b, tagValue, v.value)
	return sum(b), b
}

// The canonical form is a sequence of tagged attributes in a fixed order; an
// absent one leaves nothing. Texts carry their length, lists their count, so no
// two events share a form.
const (
	tagEnd byte = iota
	tagEventType
	tagEventSubtype
	tagEventName
	tagIndex
	tagUserToken
	tagAuthenticatedUserToken
	tagQueryID
	tagAgentID
	tagTimestamp
	tagObjectIDs
	tagFilters
	tagPositions
	tagObjectData
	tagCurrency
	tagValue
	tagPrice
	tagDiscount
	tagQuantity
)

// lead is hashed in front of the form for one half of the digest and left out
// for the other: it shifts the words among the hash's lanes, which makes the
// halves independent.
const lead = "insights"

type text interface{ ~string | ~[]byte }

func newCanonical(b []byte) []byte { return append(b, lead...) }

func sum(b []byte) Digest {
	return Digest{Hi: xxhash.Sum64(b), Lo: xxhash.Sum64(b[len(lead):])}
}

func appendText[T text](b []byte, tag byte, s T) []byte {
	if len(s) == 0 {
		return b
	}
	b = appendCount(b, tag, len(s))
	return append(b, s...)
}

func appendTexts[T text](b []byte, tag byte, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	b = appendCount(b, tag, len(list))
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendInt(b []byte, tag byte, n int64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendVarint(append(b, tag), n)
}

func appendInts(b []byte, tag byte, list []int) []byte {
	if len(list) == 0 {
		return b
	}
	b = appendCount(b, tag, len(list))
	for _, n := range list {
		b = binary.AppendVarint(b, int64(n))
	}
	return b
}

func appendItem[T text](b []byte, price, discount, queryID T, quantity int) []byte {
	b = appendDecimal(b, tagPrice, price)
	b = appendDecimal(b, tagDiscount, discount)
	b = appendInt(b, tagQuantity, int64(quantity))
	b = appendText(b, tagQueryID, queryID)
	return append(b, tagEnd)
}

func appendCount(b []byte, tag byte, n int) []byte {
	return binary.AppendUvarint(append(b, tag), uint64(n))
}
