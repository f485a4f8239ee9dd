package event

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// This file judges the lexical layer in a second, plain way: encoding/json/v2 says what JSON is,
// and the rest is said here anew, so that the decoder has something to be compared with.

// node is a value as the judge read it: an object, array, string, number, bool or nil.
type node any

type (
	object struct {
		names  []string
		values []node
	}
	array  []node
	number string
)

// get gives a member's value.
func (o *object) get(name string) (node, bool) {
	for i, n := range o.names {
		if n == name {
			return o.values[i], true
		}
	}
	return nil, false
}

// knownNames are the names that stand once in an object, by its place. [] is an element of an array.
var knownNames = map[string]string{
	"": "type userToken authenticatedUserToken id timestamp application eventName objectIDs index queryID model positionOffset " +
		"analyticsTags lists recommend facets objectID position positions items currency value orderID",
	".lists[]":                      "objectIDs index queryID model positionOffset analyticsTags",
	".facets[]":                     "facetName facetValue",
	".items[]":                      "objectID price quantity discount queryID index model",
	".recommend":                    "request response",
	".recommend.request":            "requests",
	".recommend.request.requests[]": "indexName model queryParameters",
	".recommend.request.requests[].queryParameters": "userToken analyticsTags",
	".recommend.response":                           "results",
	".recommend.response.results[]":                 "queryID hits",
	".recommend.response.results[].hits[]":          "objectID facetName facetValue",
}

// judge reads a message as encoding/json/v2 does and judges its lexical layer: it gives the
// message's object, or false if it is malformed.
func judge(value []byte) (*object, bool) {
	d := jsontext.NewDecoder(bytes.NewReader(value), jsontext.AllowDuplicateNames(true))
	root, ok := judgeValue(d, "")
	if !ok {
		return nil, false
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, false
	}
	o, ok := root.(*object)
	return o, ok
}

func judgeValue(d *jsontext.Decoder, place string) (node, bool) {
	token, err := d.ReadToken()
	if err != nil || d.StackDepth() > 32 {
		return nil, false
	}
	switch token.Kind() {
	case '"':
		return token.String(), true
	case '0':
		return number(token.String()), true
	case 't', 'f':
		return token.Bool(), true
	case 'n':
		return nil, true
	case '[':
		list := array{}
		for d.PeekKind() != ']' {
			v, ok := judgeValue(d, place+"[]")
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err == nil
	case '{':
		return judgeObject(d, place)
	}
	return nil, false
}

func judgeObject(d *jsontext.Decoder, place string) (node, bool) {
	o := &object{}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		name := token.String()
		inner := "inside an unknown field"
		if slices.Contains(strings.Fields(knownNames[place]), name) {
			if _, twice := o.get(name); twice {
				return nil, false
			}
			inner = place + "." + name
		}
		v, ok := judgeValue(d, inner)
		if !ok {
			return nil, false
		}
		o.names, o.values = append(o.names, name), append(o.values, v)
	}
	_, err := d.ReadToken()
	return o, err == nil
}

// plain turns a node into what the schema validator takes. Numbers whose exponent would cost the
// validator's exact arithmetic gigabytes are replaced by others that break the same rules.
func plain(n node) any {
	switch n := n.(type) {
	case *object:
		m := make(map[string]any, len(n.names))
		for i, name := range n.names {
			m[name] = plain(n.values[i])
		}
		return m
	case array:
		list := make([]any, len(n))
		for i := range n {
			list[i] = plain(n[i])
		}
		return list
	case number:
		if at := strings.IndexAny(string(n), "eE"); at >= 0 && len(n)-at > 4 {
			return json.Number("1e400")
		}
		return json.Number(string(n))
	}
	return n
}
