package insightsfake

import "fmt"

// reader reads the body of one request. Three kinds of problem are told apart,
// in the order in which a typed decoder meets them: no JSON at all (the whole
// body is looked at), an attribute of the wrong type, a rule that is broken. Of
// each kind only the first is kept.
type reader struct {
	scanner
	check checker

	view    view
	events  int // elements of "events"
	shape   problem
	rule    problem
	present bool // "events" is there

	digests []Digest // of the events so far, while there is no problem
	spans   []span   // where each of them lies in the body
	tally   tally
	room    []byte
}

// span is a half-open range of the body.
type span struct{ from, to int }

// read reads a whole body. ok is false if it is no JSON; otherwise the problem,
// if there is one, is the first.
func (r *reader) read(body []byte) (first problem, ok bool) {
	r.reset(body)
	r.events, r.present = 0, false
	r.shape, r.rule = problem{}, problem{}
	r.digests, r.spans, r.tally = r.digests[:0], r.spans[:0], tally{}

	r.space()
	if r.kind() != kindObject {
		r.shape = problem{rule: ruleEnvelope, message: fmt.Sprintf(
			"Invalid type for field : expected insights.PublicEventsBatch, got %s", r.kind())}
		return r.shape, r.skip(0) && r.end()
	}
	if !r.batch() || !r.end() {
		return problem{}, false
	}
	switch {
	case r.shape.any():
		return r.shape, true
	case r.events == 0:
		return ruleNoEvents.problem(), true
	case r.events > r.check.maxEvents:
		return problem{rule: ruleTooManyEvents, message: fmt.Sprintf(
			"Cannot process more than %d events in a batch", r.check.maxEvents)}, true
	}
	return r.rule, true
}

// batch reads the outer object.
func (r *reader) batch() bool {
	r.at++
	for first := true; ; first = false {
		name, more, ok := r.member(first)
		if !more || !ok {
			return ok
		}
		if string(name) == "events" {
			if r.present {
				r.misshapen(ruleStrictRepeated.problem(), r.check.strict)
			}
			r.present = true
			ok = r.list()
		} else {
			r.misshapen(ruleStrictUnknown.problem(), r.check.strict)
			ok = r.skip(1)
		}
		if !ok {
			return false
		}
	}
}

// list reads the value of "events".
func (r *reader) list() bool {
	if r.kind() != kindArray {
		if r.kind() != kindNull {
			r.mistyped("", "[]insights.PublicEvent")
		}
		return r.skip(1)
	}
	r.at++
	for first := true; ; first = false {
		more, ok := r.next(first, ']')
		if !more || !ok {
			return ok
		}
		r.events++
		if !r.element() {
			return false
		}
	}
}

// element reads one event, and judges it as long as nothing was wrong before.
func (r *reader) element() bool {
	if r.shape.any() || r.events > r.check.maxEvents {
		return r.skip(2)
	}
	if r.kind() != kindObject {
		r.misshapen(ruleInvalidPayload.problem(), true)
		return r.skip(2)
	}
	from := r.at
	if !r.event() {
		return false
	}
	if r.shape.any() || r.rule.any() {
		return true
	}
	if r.rule = r.check.event(&r.view); r.rule.any() {
		return true
	}
	var d Digest
	d, r.room = r.view.digest(r.room)
	r.digests = append(r.digests, d)
	r.spans = append(r.spans, span{from, r.at})
	r.tally.add(&r.view)
	return true
}

// event reads one event's attributes into the view.
func (r *reader) event() bool {
	v := &r.view
	v.clear()
	r.at++
	for first := true; ; first = false {
		name, more, ok := r.member(first)
		if !more || !ok {
			return ok
		}
		if !r.attribute(v, name) {
			return false
		}
	}
}

func (r *reader) attribute(v *view, name []byte) bool {
	switch string(name) {
	case "eventName":
		return r.textField(&v.has, hasEventName, "eventName", &v.eventName)
	case "eventType":
		return r.textField(&v.has, hasEventType, "eventType", &v.eventType)
	case "eventSubtype":
		return r.textField(&v.has, hasEventSubtype, "eventSubtype", &v.eventSubtype)
	case "index":
		return r.textField(&v.has, hasIndex, "index", &v.index)
	case "userToken":
		return r.textField(&v.has, hasUserToken, "userToken", &v.userToken)
	case "authenticatedUserToken":
		return r.textField(&v.has, hasAuthenticatedUserToken, "authenticatedUserToken", &v.authenticatedUserToken)
	case "queryID":
		return r.textField(&v.has, hasQueryID, "queryID", &v.queryID)
	case "currency":
		return r.textField(&v.has, hasCurrency, "currency", &v.currency)
	case "agentID":
		return r.textField(&v.has, hasAgentID, "agentID", &v.agentID)
	case "timestamp":
		return r.timestamp(v)
	case "value":
		v.valueIsText = r.kind() == kindString
		return r.decimalField(&v.has, hasValue, "value", &v.value)
	case "objectIDs":
		return r.textList(&v.has, hasObjectIDs, "objectIDs", &v.objectIDs, &v.objectIDCount)
	case "filters":
		return r.textList(&v.has, hasFilters, "filters", &v.filters, &v.filterCount)
	case "positions":
		return r.positions(v)
	case "objectData":
		return r.objectData(v)
	default:
		v.has |= hasUnknown
		return r.skip(3)
	}
}

// seen notes that an attribute is there.
func (r *reader) seen(has *field, f field) {
	if *has&f != 0 {
		r.misshapen(ruleStrictRepeated.problem(), r.check.strict)
	}
	*has |= f
}

func (r *reader) misshapen(p problem, matters bool) {
	if matters && !r.shape.any() {
		r.shape = p
	}
}

// mistyped notes that the value which starts here has the wrong type.
func (r *reader) mistyped(name, want string) {
	if name != "" {
		name = "." + name
	}
	r.misshapen(problem{rule: ruleDataType, message: fmt.Sprintf(
		"Invalid type for field events%s: expected %s, got %s", name, want, r.kind())}, true)
}

func (r *reader) textField(has *field, f field, name string, to *[]byte) (ok bool) {
	r.seen(has, f)
	if r.kind() != kindString {
		r.mistyped(name, "string")
		return r.skip(3)
	}
	*to, ok = r.text()
	return ok
}

// decimalField reads a number or a string; whether the string is a decimal is
// for the rules to say.
func (r *reader) decimalField(has *field, f field, name string, to *[]byte) (ok bool) {
	r.seen(has, f)
	switch r.kind() {
	case kindNumber:
		*to, ok = r.number()
	case kindString:
		*to, ok = r.text()
	default:
		r.mistyped(name, "number or string")
		ok = r.skip(3)
	}
	return ok
}

// integerField reads an integer of so many bits.
func (r *reader) integerField(name string, bits int) (n int64, ok bool) {
	if r.kind() != kindNumber {
		r.mistyped(name, "integer")
		return 0, r.skip(4)
	}
	start := r.at
	digits, ok := r.number()
	if !ok {
		return 0, false
	}
	n, isInteger := integer(digits, bits)
	if !isInteger {
		end := r.at
		r.at = start
		r.mistyped(name, fmt.Sprintf("int%d", bits))
		r.at = end
	}
	return n, true
}

func (r *reader) timestamp(v *view) (ok bool) {
	r.seen(&v.has, hasTimestamp)
	v.timestamp, ok = r.integerField("timestamp", 64)
	return ok
}

func (r *reader) textList(has *field, f field, name string, to *[][]byte, count *int) bool {
	r.seen(has, f)
	if r.kind() != kindArray {
		r.mistyped(name, "array")
		return r.skip(3)
	}
	*to, *count = (*to)[:0], 0
	r.at++
	for first := true; ; first = false {
		more, ok := r.next(first, ']')
		if !more || !ok {
			return ok
		}
		if r.kind() != kindString {
			r.mistyped(name, "string")
			if !r.skip(4) {
				return false
			}
			continue
		}
		s, ok := r.text()
		if !ok {
			return false
		}
		if *count++; *count <= maxHeld {
			*to = append(*to, s)
		}
	}
}

func (r *reader) positions(v *view) bool {
	r.seen(&v.has, hasPositions)
	if r.kind() != kindArray {
		r.mistyped("positions", "array")
		return r.skip(3)
	}
	v.positions, v.positionCount = v.positions[:0], 0
	r.at++
	for first := true; ; first = false {
		more, ok := r.next(first, ']')
		if !more || !ok {
			return ok
		}
		n, ok := r.integerField("positions", 64)
		if !ok {
			return false
		}
		if v.positionCount++; v.positionCount <= maxHeld {
			v.positions = append(v.positions, int(n))
		}
	}
}

func (r *reader) objectData(v *view) bool {
	r.seen(&v.has, hasObjectData)
	if r.kind() != kindArray {
		r.mistyped("objectData", "array")
		return r.skip(3)
	}
	v.items, v.itemCount = v.items[:0], 0
	r.at++
	for first := true; ; first = false {
		more, ok := r.next(first, ']')
		if !more || !ok {
			return ok
		}
		var item itemView
		if !r.item(&item) {
			return false
		}
		if v.itemCount++; v.itemCount <= maxHeld {
			v.items = append(v.items, item)
		}
	}
}

func (r *reader) item(d *itemView) bool {
	if r.kind() != kindObject {
		r.mistyped("objectData", "object")
		return r.skip(4)
	}
	r.at++
	for first := true; ; first = false {
		name, more, ok := r.member(first)
		if !more || !ok {
			return ok
		}
		switch string(name) {
		case "price":
			ok = r.decimalField(&d.has, hasPrice, "objectData.price", &d.price)
		case "discount":
			ok = r.decimalField(&d.has, hasDiscount, "objectData.discount", &d.discount)
		case "queryID":
			ok = r.textField(&d.has, hasQueryID, "objectData.queryID", &d.queryID)
		case "quantity":
			r.seen(&d.has, hasQuantity)
			var n int64
			n, ok = r.integerField("objectData.quantity", 32)
			d.quantity = int32(n)
		default:
			d.has |= hasUnknown
			ok = r.skip(5)
		}
		if !ok {
			return false
		}
	}
}
