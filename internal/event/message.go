package event

// messageReader reads the members of a message's own object.
type messageReader struct {
	d     *Decoder
	ev    *Event
	start int      // where the object begins
	seen  fieldSet // known names met so far

	// What only the whole message can judge.
	objectIDs   [][]byte
	objectIDsAt int
	tags        [][]byte
	offset      int64
	objectID    []byte
	position    int32
	positions   int // how many positions came; d.positions holds the first of them
	positionsAt int
}

// members reads the members from i on and returns where the object ends, or −1.
func (m *messageReader) members(i int, more bool) int {
	d := m.d
	wanted := fieldsOfType[d.typ]
	for k := 0; more; k++ {
		at := i
		var f field
		if f, i = d.usualField(&d.usual[d.typ], k, i); i < 0 {
			return -1
		}
		switch {
		case f == noField:
			i = d.skip(i, nil, 1)
		case m.seen.has(f):
			return d.fail(ruleDuplicate, at)
		case !wanted.has(f):
			m.seen |= 1 << f
			i = d.skip(i, messagePlace.members[f-1].place, 1)
		default:
			m.seen |= 1 << f
			i = m.member(f, i)
		}
		if i < 0 {
			return -1
		}
		i, more = d.more(i, '}')
	}
	return i
}

// member reads the value of a field at i.
func (m *messageReader) member(f field, i int) int {
	d, ev := m.d, m.ev
	switch f {
	case fieldType:
		return d.skip(i, leafPlace, 1)
	case fieldUserToken:
		ev.UserToken, i = d.token(i, ruleUserTokenText, ruleUserTokenLength, ruleUserTokenCharacters)
	case fieldAuthenticatedUserToken:
		ev.AuthenticatedUserToken, i = d.token(i, ruleAuthenticatedText, ruleAuthenticatedLength, ruleAuthenticatedCharacters)
	case fieldID:
		if ev.ID, i = d.bounded(i, ruleIDText, ruleIDLength, 0, maxTextBytes); len(ev.ID) == 0 {
			ev.ID = nil
		}
	case fieldTimestamp:
		ev.Timestamp, i = d.timestamp(i)
	case fieldApplication:
		ev.Application, i = d.text(i, ruleApplicationText)
	case fieldEventName:
		ev.EventName, i = d.eventName(i)
	case fieldIndex:
		ev.Index, i = d.bounded(i, ruleIndexText, ruleIndexLength, 1, maxTextBytes)
	case fieldQueryID:
		ev.QueryID, i = d.text(i, ruleQueryIDText)
	case fieldModel:
		ev.Model, i = d.bounded(i, ruleModelText, ruleModelLength, 1, maxTextBytes)
	case fieldCurrency:
		ev.Currency, i = d.text(i, ruleCurrencyText)
	case fieldValue:
		ev.Value, i = d.decimal(i, ruleValueDecimal)
	case fieldOrderID:
		ev.OrderID, i = d.bounded(i, ruleOrderIDText, ruleOrderIDLength, 1, maxTextBytes)
	case fieldFacets:
		i = d.facets(i, ev)
	case fieldItems:
		i = d.items(i, ev)
	default:
		if d.typ == Clicked {
			return m.clickedMember(f, i)
		}
		return m.shownMember(f, i)
	}
	return i
}

// finish judges what only the whole message can tell and puts the forms together.
func (m *messageReader) finish() bool {
	if !m.seen.has(fieldUserToken) {
		m.d.failMissing(ruleUserTokenRequired, m.start, "userToken")
		return false
	}
	switch m.ev.Type {
	case Shown:
		return m.finishShown()
	case Clicked:
		return m.finishClicked()
	}
	return m.finishBought()
}

// oneForm says whether the message has exactly one of the forms that the fields stand for.
func (m *messageReader) oneForm(forms ...field) bool {
	n := 0
	for _, f := range forms {
		if m.seen.has(f) {
			n++
		}
		if n > 1 {
			m.d.failMissing(ruleFormOne, m.start, fieldNames[f])
			return false
		}
	}
	if n == 0 {
		m.d.failMissing(ruleFormRequired, m.start, fieldNames[forms[0]])
		return false
	}
	return true
}
