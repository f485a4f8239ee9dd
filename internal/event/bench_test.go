package event

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The messages of the design's mix: 70 % shown with 10 to 30 objectIDs, 20 % clicked, 10 % bought
// with 1 to 5 items, no ids carried, about 430 bytes on average.

func benchShown(r *rand.Rand, least, spread int) []byte {
	ids := make([]string, least+r.IntN(spread))
	for i := range ids {
		ids[i] = fmt.Sprintf(`"product-%06d"`, r.IntN(1_000_000))
	}
	return fmt.Appendf(nil, `{"type":"recommendation.shown","userToken":"anonymous-%08x","timestamp":%d,"index":"products","queryID":"%016x%016x","model":"related-products","objectIDs":[%s]}`,
		r.Uint32(), 1764000000000+r.Int64N(1e9), r.Uint64(), r.Uint64(), strings.Join(ids, ","))
}

func benchClicked(r *rand.Rand) []byte {
	return fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"anonymous-%08x","timestamp":%d,"objectID":"product-%06d"}`,
		r.Uint32(), 1764000000000+r.Int64N(1e9), r.IntN(1_000_000))
}

func benchBought(r *rand.Rand, typ string) []byte {
	items := make([]string, 1+r.IntN(5))
	for i := range items {
		items[i] = fmt.Sprintf(`{"objectID":"product-%06d","price":"%d.%02d","quantity":%d}`, r.IntN(1_000_000), r.IntN(200), r.IntN(100), 1+r.IntN(3))
	}
	return fmt.Appendf(nil, `{"type":"recommendation.%s","userToken":"anonymous-%08x","timestamp":%d,"currency":"EUR","items":[%s]}`,
		typ, r.Uint32(), 1764000000000+r.Int64N(1e9), strings.Join(items, ","))
}

func benchRecommend(r *rand.Rand) []byte {
	hits := make([]string, 20)
	for i := range hits {
		hits[i] = fmt.Sprintf(`{"name":"A product with a name of some length","price":%d,"categories":["one","two"],"objectID":"product-%06d","_score":%d.5}`, i, r.IntN(1_000_000), i)
	}
	return fmt.Appendf(nil, `{"type":"recommendation.shown","userToken":"user-1","timestamp":1764000000000,"recommend":{"request":{"requests":[{"indexName":"products","model":"related-products","objectID":"a","threshold":0,"queryParameters":{"clickAnalytics":true,"userToken":"user-1"}}]},"response":{"results":[{"processingTimeMS":2,"queryID":"%016x%016x","hits":[%s]}]}}}`,
		r.Uint64(), r.Uint64(), strings.Join(hits, ","))
}

func BenchmarkDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	make1000 := func(one func(i int) []byte) [][]byte {
		messages := make([][]byte, 1000)
		for i := range messages {
			messages[i] = one(i)
		}
		return messages
	}
	kinds := []struct {
		name     string
		messages [][]byte
	}{
		{"mix", make1000(func(i int) []byte {
			switch {
			case i%10 < 7:
				return benchShown(r, 10, 21)
			case i%10 < 9:
				return benchClicked(r)
			}
			return benchBought(r, "purchased")
		})},
		{"shown", make1000(func(int) []byte { return benchShown(r, 10, 21) })},
		{"clicked", make1000(func(int) []byte { return benchClicked(r) })},
		{"addedToCart", make1000(func(int) []byte { return benchBought(r, "addedToCart") })},
		{"purchased", make1000(func(int) []byte { return benchBought(r, "purchased") })},
		{"recommend", make1000(func(int) []byte { return benchRecommend(r) })},
	}
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			d := NewDecoder(Options{})
			var ev Event
			var bytes int64
			for _, m := range kind.messages {
				bytes += int64(len(m))
			}
			b.SetBytes(bytes / int64(len(kind.messages)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if refusal := d.Decode(kind.messages[i], &ev); refusal != nil {
					b.Fatal(refusal)
				}
				if i++; i == len(kind.messages) {
					i = 0
				}
			}
		})
	}
}
