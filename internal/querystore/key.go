package querystore

import "bytes"

// Records stand under keys. An impression's is its user: the application's name, a zero byte, the token.
// Clicks and marks have keys of their own, so that neither a user with a long history nor an object that
// nobody clicked makes a walk long: the user, a zero byte, the kind, and what it is of. Neither names of
// applications nor tokens hold a zero byte.

// MarkSize is the length of a mark's hash in bytes.
const MarkSize = 16

// AppendClickKey appends the key of a user's clicks on an object.
func AppendClickKey(dst, user, objectID []byte) []byte {
	return append(append(append(dst, user...), 0, byte(KindClick)), objectID...)
}

// AppendMarkKey appends the key of the marks of an id, whose hash is given.
func AppendMarkKey(dst, user []byte, hash *[MarkSize]byte) []byte {
	return append(append(append(dst, user...), 0, byte(KindMark)), hash[:]...)
}

// SplitKey takes a key apart: rest is the objectID of a click, the hash of a mark, and nil for the
// impressions of a user. What it gives lies in the key. A key of another form gives the kind 0.
func SplitKey(key []byte) (user []byte, kind Kind, rest []byte) {
	application := bytes.IndexByte(key, 0)
	if application < 0 {
		return nil, 0, nil
	}
	token := bytes.IndexByte(key[application+1:], 0)
	if token < 0 {
		return key, KindImpression, nil
	}
	end := application + 1 + token
	if end+2 > len(key) {
		return nil, 0, nil
	}
	user, kind, rest = key[:end:end], Kind(key[end+1]), key[end+2:]
	if kind != KindClick && (kind != KindMark || len(rest) != MarkSize) {
		return nil, 0, nil
	}
	return user, kind, rest
}
