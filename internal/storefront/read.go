package storefront

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// read is a naive reading of a record's value by docs/contract.md, section 1. It serves logs that
// were written by hand, and as the judge of what the generator writes; it is not made to be fast.
func read(value []byte) *said {
	if value == nil {
		return &said{tombstone: true}
	}
	root, err := readTree(value)
	if err != nil {
		return &said{refusal: "malformed"}
	}
	r := reader{}
	s := r.message(root)
	if r.refusal != "" {
		return &said{refusal: r.refusal}
	}
	return s
}

// tree is a JSON value: map[string]any, []any, string, json.Number, bool or nil.
type tree = map[string]any

const maxDepth = 32

// knownNames are the names that the contract knows, wherever they stand.
var knownNames = set(`type userToken authenticatedUserToken id timestamp application eventName objectIDs index queryID model
	positionOffset analyticsTags lists recommend request response requests results facets facetName facetValue objectID position
	positions items price quantity discount currency value orderID hits indexName queryParameters`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// readTree applies the lexical layer.
func readTree(value []byte) (tree, error) {
	if !utf8.Valid(value) || !json.Valid(value) {
		return nil, errors.New("no JSON in UTF-8")
	}
	if loneSurrogate(value) {
		return nil, errors.New("half of a surrogate pair")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	v, err := readValue(d, 1)
	if err != nil {
		return nil, err
	}
	object, is := v.(tree)
	if !is {
		return nil, errors.New("no object")
	}
	return object, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, is := token.(json.Delim)
	if !is {
		return token, nil
	}
	if depth > maxDepth {
		return nil, errors.New("too deep")
	}
	object, list := tree{}, []any{}
	for d.More() {
		var name string
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return nil, err
			}
			name = token.(string)
			if _, twice := object[name]; twice && knownNames[name] {
				return nil, fmt.Errorf("%s stands twice", name)
			}
		}
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		object[name], list = v, append(list, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if open == '{' {
		return object, nil
	}
	return list, nil
}

var escapes = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|[^u])`)

// loneSurrogate says whether a \u escape is half of a pair.
func loneSurrogate(value []byte) bool {
	high := -1 // where the escape after a high half has to begin
	for _, at := range escapes.FindAllIndex(value, -1) {
		unit := uint64(0)
		if value[at[0]+1] == 'u' {
			unit, _ = strconv.ParseUint(string(value[at[0]+2:at[1]]), 16, 32)
		}
		low := unit>>10 == 0xdc00>>10
		if (high >= 0) != low || high >= 0 && high != at[0] {
			return true
		}
		if high = -1; unit>>10 == 0xd800>>10 {
			high = at[1]
		}
	}
	return high >= 0
}

// reader reads the fields of a message and notes the first refusal.
type reader struct{ refusal string }

func (r *reader) invalid() { r.require(false) }

func (r *reader) require(ok bool) {
	if !ok && r.refusal == "" {
		r.refusal = "invalid"
	}
}

func (r *reader) message(o tree) *said {
	s := &said{}
	name, is := o["type"].(string)
	if !is {
		r.invalid()
		return s
	}
	for k := shown; k <= purchased; k++ {
		if kindNames[k] == name {
			s.kind = k
		}
	}
	if s.kind == noKind {
		r.refusal = "unknown-type"
		return s
	}
	_, named := o["userToken"].(string)
	r.require(named)
	s.userToken = r.text(o, "userToken", 1<<20)
	s.authenticatedUserToken = r.text(o, "authenticatedUserToken", 1<<20)
	s.id = r.text(o, "id", 256)
	s.application = r.text(o, "application", 1<<20)
	s.eventName = r.text(o, "eventName", 64)
	for i := range len(s.eventName) {
		r.require(s.eventName[i] >= 0x20 && s.eventName[i] <= 0x7e)
	}
	r.timestamp(s, o)
	switch s.kind {
	case shown:
		r.shown(s, o)
	case clicked:
		r.clicked(s, o)
	default:
		r.bought(s, o)
	}
	return s
}

// text is a text of 1 to most bytes, or absent.
func (r *reader) text(o tree, field string, most int) string {
	v, there := o[field]
	if !there {
		return ""
	}
	s, is := v.(string)
	r.require(is && s != "" && len(s) <= most)
	return s
}

// queryID is any text, or absent.
func (r *reader) queryID(o tree) string {
	v, there := o["queryID"]
	s, is := v.(string)
	r.require(is || !there)
	return s
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// integer is one of [low, high], or 0 where absent.
func (r *reader) integer(o tree, field string, low, high int64) int64 {
	v, there := o[field]
	if !there {
		return 0
	}
	number, is := v.(json.Number)
	n, err := number.Int64()
	r.require(is && digits.MatchString(string(number)) && err == nil && n >= low && n <= high)
	return n
}

var decimals = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,9})?$`)

// decimal is one as number or text, or absent.
func (r *reader) decimal(o tree, field string) string {
	v, there := o[field]
	if !there {
		return ""
	}
	s, is := v.(string)
	if number, isNumber := v.(json.Number); isNumber {
		s, is = string(number), true
	}
	r.require(is && decimals.MatchString(s) && len(s) <= 16)
	return s
}

func (r *reader) timestamp(s *said, o tree) {
	if text, is := o["timestamp"].(string); is {
		at, err := time.Parse(time.RFC3339, text)
		r.require(err == nil && at.UnixMilli() >= leastTimestamp)
		s.timestamp = at.UnixMilli()
		return
	}
	s.timestamp = r.integer(o, "timestamp", leastTimestamp, 1<<62)
}

// list is an array of low to high elements; nil if absent.
func (r *reader) list(o tree, field string, low, high int) []any {
	v, there := o[field]
	if !there {
		return nil
	}
	l, is := v.([]any)
	r.require(is && len(l) >= low && len(l) <= high)
	return l
}

func (r *reader) objects(o tree, field string, low, high int) (objects []tree) {
	for _, v := range r.list(o, field, low, high) {
		object, is := v.(tree)
		r.require(is)
		objects = append(objects, object)
	}
	return objects
}

func (r *reader) texts(o tree, field string, low, high, most int) (texts []string) {
	for _, v := range r.list(o, field, low, high) {
		s, is := v.(string)
		r.require(is && s != "" && len(s) <= most)
		texts = append(texts, s)
	}
	return texts
}

func (r *reader) facets(o tree, high int) (facets []facet) {
	for _, f := range r.objects(o, "facets", 1, high) {
		facets = append(facets, r.facet(f))
	}
	return facets
}

func (r *reader) facet(o tree) facet {
	f := facet{r.text(o, "facetName", 1<<20), r.text(o, "facetValue", 1<<20)}
	r.require(f.name != "" && f.value != "")
	return f
}

func (r *reader) shown(s *said, o tree) {
	s.form = r.oneOf(o, "objectIDs", "lists", "recommend", "facets")
	switch s.form {
	case flatForm:
		s.lists = []list{r.shownList(o)}
	case listsForm:
		total := 0
		for _, l := range r.objects(o, "lists", 1, 50) {
			s.lists = append(s.lists, r.shownList(l))
			total += len(s.lists[len(s.lists)-1].objectIDs)
		}
		r.require(total <= 1000)
	case recommendForm:
		bodies, is := o["recommend"].(tree)
		r.require(is)
		r.recommend(s, bodies)
	case facetsForm:
		s.lists = []list{{index: r.text(o, "index", 256), facets: r.facets(o, 100)}}
	}
}

// oneOf is the place of the one field that must be there.
func (r *reader) oneOf(o tree, fields ...string) (which form) {
	count := 0
	for i, f := range fields {
		if _, there := o[f]; there {
			which = form(i)
			count++
		}
	}
	r.require(count == 1)
	return which
}

func (r *reader) shownList(o tree) list {
	l := list{
		index:     r.text(o, "index", 256),
		model:     r.text(o, "model", 256),
		queryID:   r.queryID(o),
		offset:    r.integer(o, "positionOffset", 0, 1<<31-1),
		objectIDs: r.texts(o, "objectIDs", 1, 1000, 256),
		tags:      r.texts(o, "analyticsTags", 0, 1<<20, 1<<20),
	}
	r.require(l.objectIDs != nil)
	return l
}

func (r *reader) recommend(s *said, o tree) {
	request, isRequest := o["request"].(tree)
	response, isResponse := o["response"].(tree)
	r.require(isRequest && isResponse)
	requests := r.objects(request, "requests", 1, 50)
	results := r.objects(response, "results", 1, 50)
	r.require(len(requests) == len(results))
	if r.refusal != "" {
		return
	}
	for i := range requests {
		l := list{
			index:   r.text(requests[i], "indexName", 256),
			model:   r.text(requests[i], "model", 256),
			queryID: r.queryID(results[i]),
		}
		if parameters, is := requests[i]["queryParameters"].(tree); is {
			l.tags = r.texts(parameters, "analyticsTags", 0, 1<<20, 1<<20)
		}
		for _, hit := range r.objects(results[i], "hits", 0, 1000) {
			if l.model == "trending-facets" {
				l.facets = append(l.facets, r.facet(hit))
				continue
			}
			id := r.text(hit, "objectID", 256)
			r.require(id != "")
			l.objectIDs = append(l.objectIDs, id)
		}
		s.lists = append(s.lists, l)
	}
}

func (r *reader) clicked(s *said, o tree) {
	s.index, s.model, s.queryID = r.text(o, "index", 256), r.text(o, "model", 256), r.queryID(o)
	switch r.oneOf(o, "objectID", "objectIDs", "facets") {
	case 0:
		s.objects = []object{{r.text(o, "objectID", 256), int(r.integer(o, "position", 1, 1<<31-1))}}
	case 1:
		for _, id := range r.texts(o, "objectIDs", 1, 20, 256) {
			s.objects = append(s.objects, object{id: id})
		}
		positions := r.list(o, "positions", 0, 20)
		r.require(positions == nil || len(positions) == len(s.objects))
		for i := range min(len(positions), len(s.objects)) {
			s.objects[i].position = int(r.integer(tree{"p": positions[i]}, "p", 1, 1<<31-1))
		}
	case 2:
		s.facets = r.facets(o, 10)
	}
}

func (r *reader) bought(s *said, o tree) {
	s.index, s.queryID = r.text(o, "index", 256), r.queryID(o)
	s.currency, _ = o["currency"].(string)
	s.value = r.decimal(o, "value")
	s.orderID = r.text(o, "orderID", 256)
	items := r.objects(o, "items", 1, 1000)
	r.require(items != nil)
	for _, it := range items {
		s.items = append(s.items, item{
			objectID: r.text(it, "objectID", 256),
			index:    r.text(it, "index", 256),
			queryID:  r.queryID(it),
			model:    r.text(it, "model", 256),
			price:    r.decimal(it, "price"),
			discount: r.decimal(it, "discount"),
			quantity: int(r.integer(it, "quantity", 1, 1<<31-1)),
		})
		r.require(it["objectID"] != nil)
	}
}
