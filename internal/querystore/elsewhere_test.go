package querystore

import (
	"bytes"
	"testing"
)

func TestAnEncodedRecordReadsAsOneOfTheLog(t *testing.T) {
	user := []byte("default\x00user-1")
	v := &Impression{Time: 1_700_000_000_000, Place: Place{Source: 3, Offset: 77}, List: 2, QueryID: []byte("43b15df305339e827f0ac0bdc5ebcaa7"),
		Index: []byte("products"), Model: []byte("related-products"), PositionOffset: 20, ObjectIDs: [][]byte{[]byte("sku-1"), []byte("sku-2")}, Tags: [][]byte{[]byte("web")}}
	encoded, err := EncodeImpression([]byte("before"), user, v)
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	if !r.Decode(encoded[len("before"):], v.Time) {
		t.Fatal("the record does not decode")
	}
	position, found := r.Find(HashObject([]byte("sku-2")), []byte("sku-2"))
	if r.Kind != KindImpression || r.Time != v.Time || r.Place != v.Place || r.Ordinal != 2 || r.NewestBelow != v.Time || r.Len() != 2 || !found || position != 22 ||
		!bytes.Equal(r.QueryID(), v.QueryID) || !bytes.Equal(r.Index(), v.Index) || !bytes.Equal(r.Model(), v.Model) {
		t.Errorf("the record reads as %+v, position %d", r, position)
	}
	if r.Decode(encoded[len("before"):len(encoded)-unit], v.Time) {
		t.Error("a record whose end is missing decodes")
	}

	encoded, err = EncodeClick(nil, user, &Click{Time: 5, ObjectID: []byte("sku-1"), QueryID: []byte("message_x"), Index: []byte("products")})
	if err != nil || !r.Decode(encoded, 5) || r.Kind != KindClick || string(r.QueryID()) != "message_x" {
		t.Errorf("the click reads as %+v, %v", r, err)
	}
	encoded, err = EncodeMark(nil, user, &Mark{Time: 6, Hash: [16]byte{1}})
	if err != nil || !r.Decode(encoded, 6) || r.Kind != KindMark || r.Time != 6 {
		t.Errorf("the mark reads as %+v, %v", r, err)
	}
}
