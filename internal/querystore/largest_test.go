package querystore

import (
	"bytes"
	"fmt"
	"testing"
)

// The largest impression, click and user that a message can bring fit: a record that the store refuses for its size
// would stop a partition for good.
func TestTheLargestEffectsOfAMessageFit(t *testing.T) {
	name := bytes.Repeat([]byte("x"), 256)
	user := append(append([]byte(nil), name...), append([]byte{0}, bytes.Repeat([]byte("t"), 128)...)...)
	id := append([]byte("message_"), bytes.Repeat([]byte("0"), 120)...)
	v := Impression{Time: 1, QueryID: id, Index: name, Model: name, PositionOffset: 2_147_482_647, List: 49}
	for i := range 1000 {
		v.ObjectIDs = append(v.ObjectIDs, append([]byte(fmt.Sprintf("%04d", i)), name[4:]...))
	}
	for range 100 {
		v.Tags = append(v.Tags, name)
	}
	if _, err := appendImpression(nil, &v); err != nil {
		t.Error(err)
	}
	if _, err := impressionLayout(user, &v); err != nil {
		t.Error(err)
	}
	click := Click{Time: 1, ObjectID: name, QueryID: id, Index: name}
	if _, err := appendClick(nil, &click); err != nil {
		t.Error(err)
	}
	if _, err := clickLayout(user, &click); err != nil {
		t.Error(err)
	}
}
