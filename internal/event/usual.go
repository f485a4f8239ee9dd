package event

import "bytes"

// A producer writes the names of its messages in the same order and in the same bytes over and over. A
// Decoder remembers what stood where, so that a name costs one comparison instead of a scan and a
// search. What it remembers was read the long way once, so it changes no answer.

// usualName is a name with its quotes and its colon, and what it was found to be.
type usualName struct {
	text [30]byte
	size uint8 // 0: none is known
	is   uint8
}

// usualNames are those of the members of an object by their place, as far as they are remembered.
type usualNames [16]usualName

// at says whether the name stands at i, and where the value then begins.
func (u *usualName) at(b []byte, i int) (next int, ok bool) {
	n := int(u.size)
	if n == 0 || len(b)-i <= n || !bytes.Equal(b[i:i+n], u.text[:n]) {
		return 0, false
	}
	if i += n; b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	return i, true
}

// learn remembers the name that was read at i, if it has no escapes and the colon follows at once.
func (u *usualName) learn(b []byte, i int, name []byte, is uint8) {
	n := len(name) + len(`"":`)
	if len(name) == 0 || n > len(u.text) || &name[0] != &b[i+1] || b[i+n-1] != ':' {
		return
	}
	u.size, u.is = uint8(copy(u.text[:], b[i:i+n])), is
}

// usualField reads the name of the message's member number k at i, as [Decoder.name] does, and finds
// its field.
func (d *Decoder) usualField(usual *usualNames, k, i int) (f field, next int) {
	if k >= len(usual) {
		name, next := d.name(i)
		return fieldOf(name), next
	}
	u := &usual[k]
	if next, ok := u.at(d.b, i); ok {
		return field(u.is), next
	}
	name, next := d.name(i)
	if next < 0 {
		return noField, -1
	}
	f = fieldOf(name)
	u.learn(d.b, i, name, uint8(f))
	return f, next
}

// usualItemField does the same for an item.
func (d *Decoder) usualItemField(k, i int) (f uint, next int) {
	if k >= len(d.usualItem) {
		name, next := d.name(i)
		return itemField(name), next
	}
	u := &d.usualItem[k]
	if next, ok := u.at(d.b, i); ok {
		return uint(u.is), next
	}
	name, next := d.name(i)
	if next < 0 {
		return 0, -1
	}
	f = itemField(name)
	u.learn(d.b, i, name, uint8(f))
	return f, next
}
