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
		{head + response + `,"request":{"x":NEST,"requests":[{"indexName":"i","model":"m"}]}}`, 2},
		{head + response + `,"request":{"requests":[{"indexName":"i","model":"m","x":NEST}]}}`, 4},
		{head + response + `,"request":{"requests":[{"indexName":"i","model":"m","queryParameters":{"x":NEST}}]}}`, 5},
		{head + request + `,"response":{"x":NEST,"results":[{"hits":[{"objectID":"a"}]}]}}`, 2},
		{head + request + `,"response":{"results":[{"x":NEST,"hits":[{"objectID":"a"}]}]}}`, 4},
		{head + request + `,"response":{"results":[{"hits":[{"objectID":"a","x":NEST}]}]}}`, 6},
		{head + `"response":{"results":[{"hits":[{"objectID":"a","x":NEST}]}]},` + request + `}`, 6},
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
