package querystore

import "testing"

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
			s.take(a, []string{string(member), "17"}, 1, true)
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
