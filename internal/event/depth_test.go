package event

import (
	"strings"
	"testing"
)

// Every place that takes unknown fields counts the levels around it, whichever way it is read.
func TestDepthIsCountedAtEveryPlace(t *testing.T) {
	const (
		head     = `{"type":"recommendation.shown","userToken":"u",`
		request  = `"request":{"requests":[{"indexName":"i","model":"m"}]}`
		response = `"response":{"results":[{"hits":[{"objectID":"a"}]}]}`
	)
	d := NewDecoder(Options{})
	for _, test := range []struct {
		value string // NEST stands for a value
		level int    // containers around it
	}{
		{head + `"objectIDs":["a"],"x":NEST}`, 1},
		{`{"x":NEST,"type":"recommendation.clicked","userToken":"u","objectID":"a"}`, 1},
		{`{"type":"recommendation.clicked","userToken":"u","objectID":"a","items":NEST}`, 1},
		{`{"type":"recommendation.clicked","userToken":"u","objectID":"a","items":[{"x":NEST}]}`, 3},
		{head + `"lists":[{"objectIDs":["a"],"x":NEST}]}`, 3},
		{head + `"facets":[{"facetName":"a","facetValue":"a","x":NEST}]}`, 3},
		{`{"type":"recommendation.purchased","userToken":"u","items":[{"objectID":"a","x":NEST}]}`, 3},
		{head + `"recommend":{"x":NEST,` + request + `,` + response + `}}`, 2},
		{head + `"recommend":{` + request + `,` + response + `,"x":NEST}}`, 2},
		{head + `"recommend":{` + response + `,"request":{"x":NEST,"requests":[{"indexName":"i","model":"m"}]}}}`, 3},
		{head + `"recommend":{` + response + `,"request":{"requests":[{"indexName":"i","model":"m","x":NEST}]}}}`, 5},
		{head + `"recommend":{` + response + `,"request":{"requests":[{"indexName":"i","model":"m","queryParameters":{"x":NEST}}]}}}`, 6},
		{head + `"recommend":{` + request + `,"response":{"x":NEST,"results":[{"hits":[{"objectID":"a"}]}]}}}`, 3},
		{head + `"recommend":{` + request + `,"response":{"results":[{"x":NEST,"hits":[{"objectID":"a"}]}]}}}`, 5},
		{head + `"recommend":{` + request + `,"response":{"results":[{"hits":[{"objectID":"a","x":NEST}]}]}}}`, 7},
		{head + `"recommend":{"response":{"results":[{"hits":[{"objectID":"a","x":NEST}]}]},` + request + `}}`, 7},
		{`{"recommend":{"response":{"results":[{"hits":[{"x":NEST}]}]}},"type":"recommendation.clicked","userToken":"u","objectID":"a"}`, 7},
	} {
		nest := func(levels int) []byte {
			return []byte(strings.Replace(test.value, "NEST", strings.Repeat("[", levels)+strings.Repeat("]", levels), 1))
		}
		deepest, tooDeep := nest(32-test.level), nest(33-test.level)
		compare(t, d, deepest)
		compare(t, d, tooDeep)
		mustDecode(t, d, deepest)
		if r := d.Decode(tooDeep, new(Event)); r == nil || r.Rule != "json.depth" {
			t.Errorf("33 levels of %s give %v", test.value, r)
		}
	}
}
