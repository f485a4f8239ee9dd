package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// This file reads a message in a second, plain way, after judge and schema: reading is what a
// decoder without regard for speed would give.

// reading gives the event of a message whose lexical layer and shape were found sound.
func reading(o *object, typ Type, hash bool) *Event {
	ev := &Event{
		Type:                   typ,
		UserToken:              readToken(o, "userToken", hash),
		AuthenticatedUserToken: readToken(o, "authenticatedUserToken", hash),
		ID:                     readText(o, "id"),
		Application:            readText(o, "application"),
		EventName:              readText(o, "eventName"),
		Timestamp:              readTimestamp(o),
	}
	if len(ev.ID) == 0 {
		ev.ID = nil
	}
	switch typ {
	case Shown:
		readShown(o, ev)
	case Clicked:
		readClicked(o, ev)
	default:
		readBought(o, ev)
	}
	return ev
}

func readText(o *object, name string) []byte {
	if s, ok := o.get(name); ok {
		return []byte(s.(string))
	}
	return nil
}

var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9_=/+-]{1,128}$`)

func readToken(o *object, name string, hash bool) []byte {
	token := readText(o, name)
	if token == nil || tokenPattern.Match(token) || !hash {
		return token
	}
	sum := sha256.Sum256(token)
	return []byte(hex.EncodeToString(sum[:]))
}

func readTimestamp(o *object) int64 {
	v, ok := o.get("timestamp")
	if !ok {
		return 0
	}
	switch v := v.(type) {
	case number:
		var n int64
		fmt.Sscan(string(v), &n)
		return n
	case string:
		v = strings.ToUpper(v)
		leap := strings.Contains(v, ":60")
		if strings.Count(v[:19], ":60") == 1 && v[17:19] == "60" {
			v = v[:17] + "59" + v[19:]
		} else {
			leap = false
		}
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", v, err))
		}
		if leap {
			t = t.Add(time.Second)
		}
		return max(t.UnixMilli(), 1)
	}
	return 0
}

var (
	hexPattern     = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
	messagePattern = regexp.MustCompile(`^message_[\x21-\x7e]{1,120}$`)
)

func readQueryID(o *object, ev *Event) []byte {
	raw := readText(o, "queryID")
	switch {
	case raw == nil:
		return nil
	case hexPattern.Match(raw):
		return []byte(strings.ToLower(string(raw)))
	case messagePattern.Match(raw):
		if ev.Type == Purchased {
			ev.DroppedMessageIDs++
			return nil
		}
		return raw
	}
	ev.MalformedQueryIDs++
	return nil
}

func readTexts(o *object, name string) (texts [][]byte) {
	if v, ok := o.get(name); ok {
		texts = [][]byte{}
		for _, s := range v.(array) {
			texts = append(texts, []byte(s.(string)))
		}
	}
	return texts
}

func readInteger(o *object, name string, absent int64) int64 {
	if v, ok := o.get(name); ok {
		fmt.Sscan(string(v.(number)), &absent)
	}
	return absent
}

func readList(o *object, ev *Event) List {
	id := readQueryID(o, ev)
	return List{Index: readText(o, "index"), Model: readText(o, "model"), QueryID: id, MalformedID: id == nil && readText(o, "queryID") != nil,
		PositionOffset: readInteger(o, "positionOffset", 0), ObjectIDs: readTexts(o, "objectIDs"), Tags: readTexts(o, "analyticsTags")}
}

func readFacets(v node, index []byte, ev *Event) {
	for _, f := range v.(array) {
		f := f.(*object)
		ev.Facets = append(ev.Facets, Facet{Name: readText(f, "facetName"), Value: readText(f, "facetValue"), Index: index})
	}
}

func readShown(o *object, ev *Event) {
	if lists, ok := o.get("lists"); ok {
		for _, l := range lists.(array) {
			ev.Lists = append(ev.Lists, readList(l.(*object), ev))
		}
		return
	}
	if facets, ok := o.get("facets"); ok {
		ev.Index = readText(o, "index")
		readFacets(facets, ev.Index, ev)
		return
	}
	recommend, ok := o.get("recommend")
	if !ok {
		ev.Lists = append(ev.Lists, readList(o, ev))
		return
	}
	request, _ := recommend.(*object).get("request")
	response, _ := recommend.(*object).get("response")
	requests, _ := request.(*object).get("requests")
	results, _ := response.(*object).get("results")
	for i, r := range requests.(array) {
		readResult(r.(*object), results.(array)[i].(*object), ev)
	}
}

func readResult(request, result *object, ev *Event) {
	var tags [][]byte
	if p, ok := request.get("queryParameters"); ok {
		p := p.(*object)
		tags = readTexts(p, "analyticsTags")
		if token := readText(p, "userToken"); token != nil && !bytes.Equal(token, ev.UserToken) {
			ev.TokenMismatch = true
		}
	}
	index := readText(request, "indexName")
	hits, _ := result.get("hits")
	if model, _ := request.get("model"); model == "trending-facets" {
		readFacets(hits, index, ev)
		return
	}
	list := List{Index: index, Model: readText(request, "model"), Tags: tags}
	for _, hit := range hits.(array) {
		list.ObjectIDs = append(list.ObjectIDs, readText(hit.(*object), "objectID"))
	}
	if len(list.ObjectIDs) > 0 {
		list.QueryID = readQueryID(result, ev)
		list.MalformedID = list.QueryID == nil && readText(result, "queryID") != nil
		ev.Lists = append(ev.Lists, list)
	}
}

func readClicked(o *object, ev *Event) {
	ev.Index, ev.Model, ev.QueryID = readText(o, "index"), readText(o, "model"), readQueryID(o, ev)
	if facets, ok := o.get("facets"); ok {
		readFacets(facets, ev.Index, ev)
		return
	}
	if id := readText(o, "objectID"); id != nil {
		ev.Objects = append(ev.Objects, Object{ID: id, Position: int32(readInteger(o, "position", 0))})
		return
	}
	for i, id := range readTexts(o, "objectIDs") {
		object := Object{ID: id}
		if positions, ok := o.get("positions"); ok {
			fmt.Sscan(string(positions.(array)[i].(number)), &object.Position)
		}
		ev.Objects = append(ev.Objects, object)
	}
}

func readBought(o *object, ev *Event) {
	ev.Index, ev.QueryID, ev.Currency = readText(o, "index"), readQueryID(o, ev), readText(o, "currency")
	ev.Value = readDecimal(o, "value")
	if ev.Type == Purchased {
		ev.OrderID = readText(o, "orderID")
	}
	items, _ := o.get("items")
	for _, it := range items.(array) {
		it := it.(*object)
		ev.Items = append(ev.Items, Item{ObjectID: readText(it, "objectID"), Index: readText(it, "index"), QueryID: readQueryID(it, ev),
			Model: readText(it, "model"), Price: readDecimal(it, "price"), Discount: readDecimal(it, "discount"),
			Quantity: int32(readInteger(it, "quantity", 1))})
	}
}

func readDecimal(o *object, name string) []byte {
	switch v, _ := o.get(name); v := v.(type) {
	case string:
		return []byte(v)
	case number:
		return []byte(v)
	}
	return nil
}

// dump writes an event so that absent and empty texts can be told apart.
func dump(ev *Event) string {
	text := func(v []byte) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%q", v)
	}
	texts := func(v [][]byte) string {
		s := "["
		for _, t := range v {
			s += text(t) + " "
		}
		return s + "]"
	}
	s := fmt.Sprintln(ev.Type, text(ev.UserToken), text(ev.AuthenticatedUserToken), "id", text(ev.ID), ev.Timestamp, text(ev.Application), text(ev.EventName),
		"mismatch", ev.TokenMismatch, "index", text(ev.Index), "queryID", text(ev.QueryID), "model", text(ev.Model), "currency", text(ev.Currency),
		"value", text(ev.Value), "order", text(ev.OrderID), ev.MalformedQueryIDs, ev.DroppedMessageIDs)
	for _, l := range ev.Lists {
		s += fmt.Sprintln("list", text(l.Index), text(l.Model), text(l.QueryID), l.MalformedID, l.PositionOffset, texts(l.ObjectIDs), texts(l.Tags))
	}
	for _, f := range ev.Facets {
		s += fmt.Sprintln("facet", text(f.Name), text(f.Value), text(f.Index))
	}
	for _, o := range ev.Objects {
		s += fmt.Sprintln("object", text(o.ID), o.Position)
	}
	for _, it := range ev.Items {
		s += fmt.Sprintln("item", text(it.ObjectID), text(it.Index), text(it.QueryID), text(it.Model), text(it.Price), text(it.Discount), it.Quantity)
	}
	return s
}
