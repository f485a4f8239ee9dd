package querystore

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// FuzzRedisMember: whatever somebody writes into a user's set is a sound record or is passed over.
func FuzzRedisMember(f *testing.F) {
	whole, err := appendImpression(nil, &Impression{Time: 5, QueryID: []byte("0123456789abcdef0123456789abcdef"), Index: []byte("i"), ObjectIDs: [][]byte{[]byte("a"), []byte("bc")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(`{"queryID":"0123456789abcdef0123456789abcdef","objectIDs":["a"]}`))
	f.Add([]byte(`{"queryID":"message_x","objectID":"a"}`))
	f.Add([]byte(`{"objectIDs":[""]}`))
	store, err := OpenRedis(RedisOptions{Addresses: []string{"localhost:1"}, KeyPrefix: "p:"})
	if err != nil {
		f.Fatal(err)
	}
	s := &redisSection{store: store}
	s.ahead.init()
	f.Fuzz(func(t *testing.T, member []byte) {
		for _, set := range []string{"p:shown:a:u", "p:clicked:a:u"} {
			a := &aheadSet{key: []byte(set)}
			s.ahead.members = [][]byte{bytes.Clone(member), []byte("17")}
			s.take(a, 1, true, false)
			for _, r := range a.records {
				if !s.rec.load(r.bytes[1:]) || !s.rec.sound() {
					t.Fatalf("%q is taken and no sound record", member)
				}
				s.rec.QueryID()
				s.rec.Find(1, []byte("x"))
				s.rec.Tags(nil)
				for i := range s.rec.Len() {
					s.rec.ObjectIDAt(i)
				}
			}
		}
	})
}

// FuzzRedisAnswer: whatever a server answers is split into its members or refused, within its bounds.
func FuzzRedisAnswer(f *testing.F) {
	for _, answer := range []string{"*0\r\n", "*2\r\n$3\r\nabc\r\n$0\r\n\r\n", "*-1\r\n", "-WRONGTYPE no\r\n", "$3\r\nabc\r\n", "*1\r\n$9\r\nabc\r\n", "*1\r\n$-1\r\n", "*9223372036854775807\r\n$1\r\n", ""} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		members, err := split(answer, nil)
		again := fmt.Appendf(nil, "*%d\r\n", len(members))
		for _, m := range members {
			again = fmt.Appendf(again, "$%d\r\n%s\r\n", len(m), m)
		}
		back, failed := split(again, nil)
		if failed != nil || len(back) != len(members) {
			t.Fatalf("%q gives %q, which reads as %q: %v", answer, members, back, failed)
		}
		if text := refusal(""); err != nil && !errors.Is(err, errAnswer) && !errors.As(err, &text) {
			t.Fatalf("%q: %v", answer, err)
		}
	})
}
