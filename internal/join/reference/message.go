package reference

import (
	"slices"

	"eventworker/internal/event"
	"eventworker/internal/join"
)

// The application's future bound: a message further ahead of the clock is refused (section 3).
const ahead = 5 * 60 * 1000

// message is a decoded record.
type message struct {
	id      ID
	handled int // the step that read it
	typ     event.Type

	app                  *join.Application
	appName, user, auth  string
	name, idText         string
	sent                 int64 // the timestamp for the event
	time                 int64 // event time
	moves                bool  // it moves the progress of its source
	refused, absorbed    string
	lists                []list
	facets               []facet
	index, query, model  string
	objects              []object
	items                []item
	currency, value      string
	impressions          []impression // what it leaves
	clicks               []click      // what it leaves, once decided
	decided              bool
	step                 int // at which it was decided
	outcome              Outcome
	duplicate, delivered bool
}

type list struct {
	index, model, query string
	offset              int64
	objects             []string
}

type facet struct{ name, value, index string }

type object struct {
	id       string
	position int64
}

type item struct {
	id, index, query, model string
	price, discount         string
	quantity                int32
}

// place orders records of equal time: higher (topic, partition, offset); one task has one partition of
// each topic.
type place struct {
	topic  string
	offset int
}

func (p place) higher(q place) bool {
	if p.topic != q.topic {
		return p.topic > q.topic
	}
	return p.offset > q.offset
}

type impression struct {
	id                  ID
	place               place
	list                int
	app, user           string
	time                int64
	query, index, model string
	offset              int64
	objects             []string
}

type click struct {
	place        place
	object       string
	query, index string
	time         int64
}

// decode reads a record, and refuses or absorbs it where that needs no look-up.
func (j *joiner) decode(id ID, r *Record) *message {
	m := &message{id: id, delivered: j.in.Delivered == nil || j.in.Delivered(id)}
	if r.Value == nil {
		m.absorbed = join.Tombstone.String()
		return m
	}
	var ev event.Event
	refusal := event.NewDecoder(event.Options{HashTokens: j.in.Config.HashTokens}).Decode(slices.Clone(r.Value), &ev)
	if refusal != nil {
		m.refused = refusal.Reason.String()
		return m
	}
	m.typ = ev.Type
	m.copyFrom(&ev)
	m.times(ev.Timestamp, r.Time)
	j.judge(m)
	return m
}

// times gives the message its event time: min(message timestamp, record timestamp).
func (m *message) times(own, record int64) {
	switch {
	case own == 0:
		m.sent, m.time = record, record
	case record < 0:
		m.sent, m.time = own, own
	default:
		m.sent, m.time = own, min(own, record)
	}
}

func (m *message) copyFrom(ev *event.Event) {
	m.appName = string(ev.Application)
	if m.appName == "" {
		m.appName = "default"
	}
	m.user, m.auth, m.name, m.idText = string(ev.UserToken), string(ev.AuthenticatedUserToken), string(ev.EventName), string(ev.ID)
	m.index, m.query, m.model = string(ev.Index), string(ev.QueryID), string(ev.Model)
	m.currency, m.value = string(ev.Currency), string(ev.Value)
	for _, l := range ev.Lists {
		m.lists = append(m.lists, list{string(l.Index), string(l.Model), string(l.QueryID), l.PositionOffset, texts(l.ObjectIDs)})
	}
	for _, f := range ev.Facets {
		m.facets = append(m.facets, facet{string(f.Name), string(f.Value), string(f.Index)})
	}
	for _, o := range ev.Objects {
		m.objects = append(m.objects, object{string(o.ID), int64(o.Position)})
	}
	for _, i := range ev.Items {
		m.items = append(m.items, item{string(i.ObjectID), string(i.Index), string(i.QueryID), string(i.Model), string(i.Price), string(i.Discount), i.Quantity})
	}
}

func texts(b [][]byte) (s []string) {
	for _, x := range b {
		s = append(s, string(x))
	}
	return s
}

// judge applies what needs the configuration and the clock, in the precedence of section 6.
func (j *joiner) judge(m *message) {
	c := j.in.Config
	for k := range c.Applications {
		if c.Applications[k].Name == m.appName {
			m.app = &c.Applications[k]
		}
	}
	future := m.sent > j.in.Now+ahead
	m.moves = m.time <= j.in.Now+ahead
	switch {
	case m.app != nil && m.app.Served && !j.indicesAllowed(m):
		m.refused, m.moves = event.Invalid.String(), false
		return
	case m.app == nil:
		m.refused = event.UnknownApplication.String()
		return
	case !m.app.Served:
		m.absorbed = join.OtherApplication.String()
		return
	case future:
		m.refused = event.Future.String()
	case j.in.Now-m.sent > c.MaxEventAge.Milliseconds():
		m.refused = event.TooOld.String()
	}
	if m.typ == event.Shown {
		j.show(m)
	}
}

// indicesAllowed says whether the configuration allows every index that the message names.
func (j *joiner) indicesAllowed(m *message) bool {
	names := []string{m.index}
	for _, l := range m.lists {
		names = append(names, l.index)
	}
	for _, f := range m.facets {
		names = append(names, f.index)
	}
	for _, i := range m.items {
		names = append(names, i.index)
	}
	for _, name := range names {
		if name != "" && len(m.app.Indices) > 0 && !slices.Contains(m.app.Indices, name) {
			return false
		}
	}
	return true
}

// show makes the impressions of a shown message. One that lacks an index leaves none.
func (j *joiner) show(m *message) {
	lacks := false
	for _, l := range m.lists {
		lacks = lacks || l.index == "" && m.app.DefaultIndex == ""
	}
	for _, f := range m.facets {
		lacks = lacks || f.index == "" && m.app.DefaultIndex == ""
	}
	if lacks {
		if m.refused == "" {
			m.refused = event.NoIndex.String()
		}
		return
	}
	for k, l := range m.lists {
		if l.query == "" {
			continue
		}
		m.impressions = append(m.impressions, impression{
			id: m.id, place: j.placeOf(m.id), list: k, app: m.appName, user: m.user, time: m.time,
			query: l.query, index: or(l.index, m.app.DefaultIndex), model: l.model, offset: l.offset, objects: l.objects,
		})
	}
}

func (j *joiner) placeOf(id ID) place { return place{j.in.Sources[id.Source].Topic, id.Offset} }

func or(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
