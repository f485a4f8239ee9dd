package storefront

// answer is what attribution found for one object.
type answer struct {
	index    string // empty: none, not even a default
	queryID  string // empty: plain
	position int
	matched  bool
	// final says that nothing still unread can change the answer, save what the user's waiting clicks
	// still leave; without it the answer is open until the event's patience ends.
	final bool
}

// resolver answers for one event at one moment of the log.
type resolver struct {
	rules *Rules
	names *names
	user  *history
	app   *Application
	t     int64
	// below is the place in the log from which on the look-up sees nothing; 0: it sees all that was read.
	below uint32
}

// indexOr is the first of the event's own index, the one found, and the application's default.
func (r *resolver) indexOr(own string, found name) string {
	switch {
	case own != "":
		return own
	case found != 0:
		return r.names.text[found]
	}
	return r.app.DefaultIndex
}

func (r *resolver) window() int64 { return r.rules.Window.Milliseconds() }

// lookUp is the look-up of an object: the newest impression, or the earliest within the clock skew.
func (r *resolver) lookUp(object, index, model string) (v *impression, skewed bool) {
	w := wanted{object: r.names.known(object), index: r.names.known(index), model: r.names.known(model), below: r.below}
	if v = r.user.newest(w, r.t, r.window()); v != nil {
		return v, false
	}
	v = r.user.earliestAfter(w, r.t, r.rules.ClockSkew.Milliseconds())
	return v, v != nil
}

// ofQueryID is the newest impression of an own queryID that lists the object. Neither index nor
// model bind, and the clock skew does not help.
func (r *resolver) ofQueryID(object, queryID string) *impression {
	return r.user.newest(wanted{object: r.names.known(object), queryID: queryID, below: r.below}, r.t, r.window())
}

// clickedObject answers for one object of a click.
func (r *resolver) clickedObject(s *said, o object) answer {
	if own := cleanQueryID(s.queryID); own != "" {
		return r.clickedWithQueryID(s, o, own)
	}
	v, skewed := r.lookUp(o.id, s.index, s.model)
	if v == nil {
		return answer{index: r.indexOr(s.index, 0)}
	}
	position := o.position
	if position == 0 {
		position = v.position(r.names.known(o.id))
	}
	return answer{index: r.indexOr(s.index, v.index), queryID: v.queryID, position: position, matched: true, final: !skewed}
}

func (r *resolver) clickedWithQueryID(s *said, o object, own string) answer {
	if o.position > 0 && s.index != "" {
		return answer{index: s.index, queryID: own, position: o.position, matched: true, final: true}
	}
	v := r.ofQueryID(o.id, own)
	switch {
	case v == nil && o.position == 0:
		return answer{index: r.indexOr(s.index, 0)}
	case v == nil:
		return answer{index: r.indexOr(s.index, 0), queryID: own, position: o.position, matched: true}
	}
	position := o.position
	if position == 0 {
		position = v.position(r.names.known(o.id))
	}
	return answer{index: r.indexOr(s.index, v.index), queryID: own, position: position, matched: true, final: true}
}

// ownQueryID is the item's own queryID, else the message's. message_ ids do not reach the items of
// a purchase.
func ownQueryID(s *said, it *item) string {
	if id := fitting(s.kind, cleanQueryID(it.queryID)); id != "" {
		return id
	}
	return fitting(s.kind, cleanQueryID(s.queryID))
}

func ownIndex(s *said, it *item) string {
	if it.index != "" {
		return it.index
	}
	return s.index
}

// item answers for one item of an add-to-cart or purchase.
func (r *resolver) item(s *said, it *item) answer {
	index := ownIndex(s, it)
	if own := ownQueryID(s, it); own != "" {
		a := answer{index: r.indexOr(index, 0), queryID: own, matched: true, final: index != ""}
		if index == "" {
			if v := r.ofQueryID(it.objectID, own); v != nil {
				a.index, a.final = r.indexOr("", v.index), true
			}
		}
		return a
	}
	if r.rules.usesClicks() {
		c := r.user.newestClick(r.names.known(it.objectID), r.names.known(index), r.t, r.rules.ClickWindow.Milliseconds(), r.below)
		if c != nil {
			return answer{index: r.indexOr(index, c.index), queryID: fitting(s.kind, c.queryID), matched: true, final: true}
		}
	}
	if r.rules.usesShown() {
		if v, skewed := r.lookUp(it.objectID, index, it.model); v != nil {
			return answer{index: r.indexOr(index, v.index), queryID: fitting(s.kind, v.queryID), matched: true, final: !skewed}
		}
	}
	return answer{index: r.indexOr(index, 0)}
}

// fitting is the queryID if an item of this kind may have it: a purchase's may have no message_ id.
func fitting(k kind, queryID string) string {
	if k == purchased && isMessageID(queryID) {
		return ""
	}
	return queryID
}

// answers adds to all the answers of a whole click, add-to-cart or purchase, and says whether all of
// them are final.
func (r *resolver) answers(s *said, all []answer) (_ []answer, final bool) {
	final = true
	for _, o := range s.objects {
		all = append(all, r.clickedObject(s, o))
	}
	for i := range s.items {
		all = append(all, r.item(s, &s.items[i]))
	}
	for _, a := range all {
		final = final && a.final
	}
	return all, final
}

// takesClicks says whether remembered clicks may answer for an item of the message.
func (r *Rules) takesClicks(s *said) bool {
	if !r.usesClicks() {
		return false
	}
	for i := range s.items {
		if ownQueryID(s, &s.items[i]) == "" {
			return true
		}
	}
	return false
}
