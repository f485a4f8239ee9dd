package storefront

import (
	"encoding/binary"
	"math"
)

// name stands for a text in a names; 0 is the empty text.
type name uint32

// noName is that of texts that have none.
const noName name = math.MaxUint32

// names gives numbers to texts, so that history is small.
type names struct {
	number map[string]name
	text   []string
	// recent remembers, by a rough hash of it, the last text that was looked for: few objects make
	// most of the traffic.
	recent [1 << 14]name
	// room is where the next lists of names go.
	room []name
}

func newNames() *names {
	return &names{number: map[string]name{"": 0}, text: []string{""}}
}

// of is the number of a text, a new one if it has none.
func (n *names) of(s string) name {
	id := n.known(s)
	if id == noName {
		id = name(len(n.text))
		n.number[s] = id
		n.text = append(n.text, s)
	}
	return id
}

// known is the number of a text, or noName, which nothing in a history has.
func (n *names) known(s string) name {
	recent := &n.recent[roughHash(s)%uint32(len(n.recent))]
	if n.text[*recent] == s {
		return *recent
	}
	id, known := n.number[s]
	if !known {
		return noName
	}
	*recent = id
	return id
}

// roughHash tells texts apart by their last eight bytes.
func roughHash(s string) uint32 {
	if len(s) < 8 {
		return uint32(len(s))
	}
	// The odd number is 2⁶⁴ over the golden ratio: it spreads all bits into the upper ones.
	return uint32(binary.LittleEndian.Uint64([]byte(s[len(s)-8:])) * 0x9e3779b97f4a7c15 >> 32)
}

// all are the numbers of a list of texts. Lists that are made one after the other share their memory.
func (n *names) all(texts []string) []name {
	if len(texts) > cap(n.room)-len(n.room) {
		n.room = make([]name, 0, max(4096, len(texts)))
	}
	from := len(n.room)
	for _, s := range texts {
		n.room = append(n.room, n.of(s))
	}
	return n.room[from:len(n.room):len(n.room)]
}
