package event

import "math"

// Bounds of shown messages (docs/contract.md, section 1).
const (
	maxListObjects   = 1000
	maxObjects       = 1000 // of all lists together
	maxLists         = 50
	maxShownFacets   = 100
	maxClickedFacets = 10
	maxTags          = 100
	// maxOffset leaves room for the position of every object of the longest list.
	maxOffset = math.MaxInt32 - maxListObjects
)

func (m *messageReader) shownMember(f field, i int) int {
	d := m.d
	switch f {
	case fieldObjectIDs:
		m.objectIDsAt = i
		m.objectIDs, i = d.objectIDs(i, maxListObjects)
	case fieldPositionOffset:
		m.offset, i = d.integer(i, rulePositionOffsetInteger, rulePositionOffsetRange, 0, maxOffset)
	case fieldAnalyticsTags:
		m.tags, i = d.tags(i)
	case fieldLists:
		i = d.lists(i, m.ev)
	case fieldRecommend:
		i = d.recommend(i, m.ev)
	}
	return i
}

// finishShown puts the one form of a shown message together.
func (m *messageReader) finishShown() bool {
	d, ev := m.d, m.ev
	if !m.oneForm(fieldObjectIDs, fieldLists, fieldRecommend, fieldFacets) {
		return false
	}
	index, queryID, model := ev.Index, ev.QueryID, ev.Model
	ev.Index, ev.QueryID, ev.Model = nil, nil, nil
	switch {
	case m.seen.has(fieldObjectIDs):
		ev.Lists = append(ev.Lists, List{Index: index, Model: model, PositionOffset: m.offset, ObjectIDs: m.objectIDs, Tags: m.tags})
		d.setQueryID(&ev.Lists[0], queryID, ev)
	case m.seen.has(fieldFacets):
		ev.Index = index
		for i := range ev.Facets {
			ev.Facets[i].Index = index
		}
	case m.seen.has(fieldRecommend):
		m.compareTokens()
	}
	return true
}

// objectIDs reads an array of 1 to most objectIDs into the Decoder's memory.
func (d *Decoder) objectIDs(i, most int) (ids [][]byte, next int) {
	b, at := d.b, i
	if i >= len(b) || b[i] != '[' {
		return nil, d.failCount(ruleObjectIDsArray, i, 0, most)
	}
	start, list := len(d.texts), d.texts
	i, more := d.open(i+1, ']')
	for more {
		if i >= len(b) || b[i] != '"' {
			return nil, d.fail(ruleObjectIDText, i)
		}
		end, plain := scanString(b, i+1)
		if end < 0 {
			return nil, d.failString(i)
		}
		v := b[i+1 : end : end]
		if !plain {
			v = d.unescape(v)
		}
		if uint(len(v)-1) >= maxTextBytes {
			return nil, d.fail(ruleObjectIDLength, i)
		}
		if len(list)-start == most {
			return nil, d.failCount(ruleObjectIDsCount, at, most+1, most)
		}
		list = append(list, v)
		if i = end + 1; i+1 < len(b) && b[i] == ',' && b[i+1] == '"' {
			i++ // as most people write lists: no need to look for white space
			continue
		}
		i, more = d.more(i, ']')
	}
	if i < 0 {
		return nil, i
	}
	if len(list) == start {
		return nil, d.failCount(ruleObjectIDsCount, at, 0, most)
	}
	d.texts = list
	return list[start:len(list):len(list)], i
}

// tags reads analyticsTags.
func (d *Decoder) tags(i int) (tags [][]byte, next int) {
	b, at := d.b, i
	if i >= len(b) || b[i] != '[' {
		return nil, d.failCount(ruleAnalyticsTagsArray, i, 0, maxTags)
	}
	start := len(d.texts)
	i, more := d.open(i+1, ']')
	for more {
		if len(d.texts)-start == maxTags {
			return nil, d.failCount(ruleAnalyticsTagsCount, at, maxTags+1, maxTags)
		}
		var v []byte
		if v, i = d.bounded(i, ruleAnalyticsTagText, ruleAnalyticsTagLength, 0, maxTextBytes); i < 0 {
			return nil, i
		}
		d.texts = append(d.texts, v)
		i, more = d.more(i, ']')
	}
	return d.texts[start:len(d.texts):len(d.texts)], i
}

// lists reads the lists form.
func (d *Decoder) lists(i int, ev *Event) int {
	b, at := d.b, i
	if i >= len(b) || b[i] != '[' {
		return d.failCount(ruleListsArray, i, 0, maxLists)
	}
	i, more := d.open(i+1, ']')
	for more {
		if len(ev.Lists) == maxLists {
			return d.failCount(ruleListsCount, at, maxLists+1, maxLists)
		}
		if i = d.list(i, ev); i < 0 {
			return -1
		}
		i, more = d.more(i, ']')
	}
	if i >= 0 && len(ev.Lists) == 0 {
		return d.failCount(ruleListsCount, at, 0, maxLists)
	}
	return i
}

// listFields are the known names of one of lists.
var listFields = setOf(fieldIndex, fieldModel, fieldQueryID, fieldPositionOffset, fieldAnalyticsTags, fieldObjectIDs)

// list reads one of lists.
func (d *Decoder) list(i int, ev *Event) int {
	b, start := d.b, i
	if i >= len(b) || b[i] != '{' {
		return d.fail(ruleListsObject, i)
	}
	var l List
	var seen fieldSet
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return -1
		}
		f := fieldOf(name)
		if !listFields.has(f) {
			f = noField
		} else if seen.has(f) {
			return d.fail(ruleDuplicate, at)
		}
		seen |= 1 << f
		switch f {
		case fieldIndex:
			l.Index, i = d.bounded(i, ruleIndexText, ruleIndexLength, 1, maxTextBytes)
		case fieldModel:
			l.Model, i = d.bounded(i, ruleModelText, ruleModelLength, 1, maxTextBytes)
		case fieldQueryID:
			var v []byte
			v, i = d.text(i, ruleQueryIDText)
			d.setQueryID(&l, v, ev)
		case fieldPositionOffset:
			l.PositionOffset, i = d.integer(i, rulePositionOffsetInteger, rulePositionOffsetRange, 0, maxOffset)
		case fieldAnalyticsTags:
			l.Tags, i = d.tags(i)
		case fieldObjectIDs:
			at = i
			if l.ObjectIDs, i = d.objectIDs(i, maxListObjects); i >= 0 {
				if d.total += len(l.ObjectIDs); d.total > maxObjects {
					return d.failCount(ruleObjectIDsTotal, at, d.total, maxObjects)
				}
			}
		default:
			i = d.skip(i, nil, 3)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	if i >= 0 && l.ObjectIDs == nil {
		return d.failMissing(ruleObjectIDsRequired, start, "objectIDs")
	}
	ev.Lists = append(ev.Lists, l)
	return i
}

// facets reads the facets of a shown or clicked message.
func (d *Decoder) facets(i int, ev *Event) int {
	b, at, most := d.b, i, maxShownFacets
	if d.typ == Clicked {
		most = maxClickedFacets
	}
	if i >= len(b) || b[i] != '[' {
		return d.failCount(ruleFacetsArray, i, 0, most)
	}
	i, more := d.open(i+1, ']')
	for n := 0; more; n++ {
		if n == most {
			return d.failCount(ruleFacetsCount, at, most+1, most)
		}
		var facet Facet
		if facet, i = d.facet(i); i < 0 {
			return -1
		}
		ev.Facets = append(ev.Facets, facet)
		i, more = d.more(i, ']')
	}
	if i >= 0 && len(ev.Facets) == 0 {
		return d.failCount(ruleFacetsCount, at, 0, most)
	}
	return i
}

// facet reads one of facets.
func (d *Decoder) facet(i int) (f Facet, next int) {
	b, start := d.b, i
	if i >= len(b) || b[i] != '{' {
		return f, d.fail(ruleFacetsObject, i)
	}
	i, more := d.open(i+1, '}')
	for more {
		at := i
		var name []byte
		if name, i = d.name(i); i < 0 {
			return f, -1
		}
		switch string(name) {
		case "facetName":
			if f.Name != nil {
				return f, d.fail(ruleDuplicate, at)
			}
			f.Name, i = d.bounded(i, ruleFacetNameText, ruleFacetNameLength, 1, math.MaxInt)
		case "facetValue":
			if f.Value != nil {
				return f, d.fail(ruleDuplicate, at)
			}
			f.Value, i = d.bounded(i, ruleFacetValueText, ruleFacetValueLength, 1, math.MaxInt)
		default:
			i = d.skip(i, nil, 3)
		}
		if i < 0 {
			return f, -1
		}
		i, more = d.more(i, '}')
	}
	switch {
	case i < 0:
		return f, -1
	case f.Name == nil:
		return f, d.failMissing(ruleFacetNameRequired, start, "facetName")
	case f.Value == nil:
		return f, d.failMissing(ruleFacetValueRequired, start, "facetValue")
	}
	return f, i
}
