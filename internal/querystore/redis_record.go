package querystore

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json"
)

// A member of a user's sorted set is either a record as this package writes it, behind a byte that says
// so, or a JSON object, which others may write.
const (
	memberRecord = 1
	memberJSON   = '{'
)

// appendMember appends the member of a record. The same effect always gives the same bytes, so that
// writing it again changes nothing.
func appendMember(dst []byte, time int64, encode func(dst []byte) ([]byte, error)) ([]byte, error) {
	n := len(dst)
	all, err := encode(append(dst, memberRecord))
	if err != nil {
		return dst, err
	}
	link(all[n+1:], 0, time)
	return all, nil
}

func appendImpression(dst []byte, v *Impression) ([]byte, error) {
	return appendMember(dst, v.Time, func(dst []byte) ([]byte, error) { return EncodeImpression(dst, nil, v) })
}

func appendClick(dst []byte, v *Click) ([]byte, error) {
	return appendMember(dst, v.Time, func(dst []byte) ([]byte, error) { return EncodeClick(dst, nil, v) })
}

func appendMark(dst []byte, v *Mark) ([]byte, error) {
	return appendMember(dst, v.Time, func(dst []byte) ([]byte, error) { return EncodeMark(dst, nil, v) })
}

// Bounds of what a storefront writes itself; they are those of the messages (docs/contract.md, section 1).
const (
	maxOutsideObjects = 1000
	maxOutsideName    = 256
	maxOutsideQuery   = 128
	maxOutsideOffset  = 1<<31 - 1
)

// outside is an impression or a click that a storefront wrote. The names are those of the messages.
type outside struct {
	QueryID string `json:"queryID"`
	Index   string `json:"index"`
	// An impression's.
	ObjectIDs      []string `json:"objectIDs"`
	Model          string   `json:"model"`
	PositionOffset int64    `json:"positionOffset"`
	AnalyticsTags  []string `json:"analyticsTags"`
	// A click's.
	ObjectID string `json:"objectID"`
}

// appendOutside appends the member that stands for a JSON one of the given score; ok is false for one
// that is not of the form of docs/redis.md.
func appendOutside(dst []byte, kind Kind, member []byte, time int64) (_ []byte, ok bool) {
	var o outside
	if json.Unmarshal(member, &o) != nil || !o.sound(kind) {
		return dst, false
	}
	place := Place{Source: OutsideSource}
	var err error
	if kind == KindImpression {
		v := Impression{Time: time, Place: place, QueryID: queryIDOf(o.QueryID), Index: []byte(o.Index), Model: []byte(o.Model), PositionOffset: o.PositionOffset}
		for _, id := range o.ObjectIDs {
			v.ObjectIDs = append(v.ObjectIDs, []byte(id))
		}
		for _, tag := range o.AnalyticsTags {
			v.Tags = append(v.Tags, []byte(tag))
		}
		dst, err = appendImpression(dst, &v)
	} else {
		dst, err = appendClick(dst, &Click{Time: time, Place: place, ObjectID: []byte(o.ObjectID), QueryID: queryIDOf(o.QueryID), Index: []byte(o.Index)})
	}
	return dst, err == nil
}

// sound checks what a message would have to obey.
func (o *outside) sound(kind Kind) bool {
	if !isHex(queryIDOf(o.QueryID)) && !messageID(o.QueryID) || len(o.Index) > maxOutsideName || len(o.Model) > maxOutsideName {
		return false
	}
	if kind != KindImpression {
		return isName(o.ObjectID)
	}
	if len(o.ObjectIDs) == 0 || len(o.ObjectIDs) > maxOutsideObjects || o.PositionOffset < 0 || o.PositionOffset > maxOutsideOffset {
		return false
	}
	for _, id := range o.ObjectIDs {
		if !isName(id) {
			return false
		}
	}
	return true
}

func isName(id string) bool { return len(id) > 0 && len(id) <= maxOutsideName }

// messageID says whether a queryID is one of those of the API's message events, which are kept as they are. The
// API refuses what is not printable.
func messageID(id string) bool {
	rest, ok := strings.CutPrefix(id, "message_")
	return ok && rest != "" && len(id) <= maxOutsideQuery && strings.IndexFunc(rest, func(c rune) bool { return c < '!' || c > '~' }) < 0
}

// queryIDOf is a queryID as it is stored.
func queryIDOf(id string) []byte {
	b := []byte(id)
	if lower := bytes.ToLower(b); isHex(lower) {
		return lower
	}
	return b
}
