package reference

import (
	"slices"

	"eventworker/internal/join"
)

// newest is how many impressions of a user count.
const newest = 200

func (j *joiner) usesClicks() bool { return j.in.Config.Attribution != join.ShownOnly }
func (j *joiner) usesShown() bool  { return j.in.Config.Attribution != join.ClickedOnly }

// impressionsOf are the user's in the view.
func (j *joiner) impressionsOf(m *message, v view) (all []impression) {
	for p := range j.messages {
		for _, s := range j.messages[p][:v.seen[p]] {
			if j.sameUser(s, m) {
				all = append(all, s.impressions...)
			}
		}
	}
	return all
}

// newer orders impressions: by time, then the higher place, then the first list.
func newer(a, b impression) bool {
	if a.time != b.time {
		return a.time > b.time
	}
	if a.place != b.place {
		return a.place.higher(b.place)
	}
	return a.list < b.list
}

func newestFirst(a, b impression) int {
	switch {
	case newer(a, b):
		return -1
	case newer(b, a):
		return 1
	}
	return 0
}

// counting are the newest 200 of the user's impressions at time t, those within the window only.
func (j *joiner) counting(all []impression, t int64) (out []impression) {
	for _, i := range all {
		if i.time <= t {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, newestFirst)
	out = out[:min(len(out), newest)]
	return slices.DeleteFunc(out, func(i impression) bool { return i.time < t-j.in.Config.Window.Milliseconds() })
}

// wanted are an event's conditions on an impression.
type wanted struct{ object, index, model, query string }

func (w wanted) by(i impression) bool {
	return slices.Contains(i.objects, w.object) &&
		(w.index == "" || w.index == i.index) && (w.model == "" || w.model == i.model) && (w.query == "" || w.query == i.query)
}

// lookUp finds the impression for an object of an event at time t; late: only one after the event answers.
func (j *joiner) lookUp(all []impression, t int64, w wanted, skew bool) (found *impression, late bool) {
	for _, i := range j.counting(all, t) {
		if w.by(i) {
			return &i, false
		}
	}
	if !skew {
		return nil, false
	}
	for _, i := range all {
		if i.time <= t || i.time > t+j.in.Config.ClockSkew.Milliseconds() || !w.by(i) {
			continue
		}
		if found == nil || i.time < found.time || i.time == found.time && newer(i, *found) {
			found = &i
		}
	}
	return found, found != nil
}

// position is the place of the object in the impression's list, after its offset.
func (i *impression) position(object string) int64 {
	return i.offset + int64(slices.Index(i.objects, object)) + 1
}

// rememberedClick is the newest of the user's remembered clicks on the object within the window.
func (j *joiner) rememberedClick(m *message, v view, object, index string) (found *click) {
	for p := range j.messages {
		for _, c := range j.messages[p][:v.heard[p]] {
			if !j.sameUser(c, m) {
				continue
			}
			for k := range c.clicks {
				k := &c.clicks[k]
				if k.object != object || index != "" && index != k.index || k.time > m.time || k.time < m.time-j.in.Config.ClickWindow.Milliseconds() {
					continue
				}
				if found == nil || k.time > found.time || k.time == found.time && k.place.higher(found.place) {
					found = k
				}
			}
		}
	}
	return found
}
