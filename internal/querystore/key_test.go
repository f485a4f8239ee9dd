package querystore

import (
	"bytes"
	"testing"
)

func TestKeysCanBeTakenApart(t *testing.T) {
	user := []byte("default\x00user-1")
	object := []byte("sku\x00\x02 with zeros")
	hash := [MarkSize]byte{0, 1, 2, 15: 9}
	for _, c := range []struct {
		name string
		key  []byte
		kind Kind
		rest []byte
	}{
		{"impressions", user, KindImpression, nil},
		{"clicks", AppendClickKey(nil, user, object), KindClick, object},
		{"marks", AppendMarkKey(nil, user, &hash), KindMark, hash[:]},
	} {
		got, kind, rest := SplitKey(c.key)
		if !bytes.Equal(got, user) || kind != c.kind || !bytes.Equal(rest, c.rest) {
			t.Errorf("%s: %q, %d, %q", c.name, got, kind, rest)
		}
	}
	for _, key := range [][]byte{nil, []byte("default"), []byte("default\x00u\x00"), []byte("default\x00u\x00\x03short"), []byte("default\x00u\x00\x01x")} {
		if user, kind, rest := SplitKey(key); user != nil || kind != 0 || rest != nil {
			t.Errorf("%q: %q, %d, %q", key, user, kind, rest)
		}
	}
}
