package main

import (
	"slices"
	"sync"
)

// rawMessage is a message as the loop reads it.
type rawMessage struct {
	Type      string   `json:"type"`
	UserToken string   `json:"userToken"`
	Timestamp int64    `json:"timestamp"`
	Index     string   `json:"index"`
	QueryID   string   `json:"queryID"`
	ObjectIDs []string `json:"objectIDs"`
	ObjectID  string   `json:"objectID"`
	Position  int      `json:"position"`
	Currency  string   `json:"currency"`
	Items     []struct {
		ObjectID string `json:"objectID"`
		Price    string `json:"price"`
		Quantity int    `json:"quantity"`
		QueryID  string `json:"queryID"`
	} `json:"items"`
}

// insightsEvent is an element of events[].
type insightsEvent struct {
	EventType    string       `json:"eventType"`
	EventSubtype string       `json:"eventSubtype,omitempty"`
	EventName    string       `json:"eventName"`
	Index        string       `json:"index"`
	UserToken    string       `json:"userToken"`
	Timestamp    int64        `json:"timestamp"`
	QueryID      string       `json:"queryID,omitempty"`
	ObjectIDs    []string     `json:"objectIDs"`
	Positions    []int        `json:"positions,omitempty"`
	ObjectData   []objectData `json:"objectData,omitempty"`
	Currency     string       `json:"currency,omitempty"`
}

type objectData struct {
	Price    string `json:"price,omitempty"`
	Quantity int    `json:"quantity,omitempty"`
	QueryID  string `json:"queryID,omitempty"`
}

// impressions is the store of the loop: what each user was shown, in a map that only grows. It
// answers at once, from what it has read so far; a restart forgets it.
type impressions struct {
	mu     sync.Mutex
	byUser map[string][]impression
}

type impression struct {
	queryID, index string
	objectIDs      []string
}

const mostImpressions = 200 // of a user

func newImpressions() *impressions { return &impressions{byUser: make(map[string][]impression)} }

func (s *impressions) add(user string, v impression) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := append(s.byUser[user], v)
	if len(list) > mostImpressions {
		list = slices.Delete(list, 0, 1)
	}
	s.byUser[user] = list
}

// find gives the newest list of the user that shows the object, and its place from 1.
func (s *impressions) find(user, object string) (v impression, position int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range slices.Backward(s.byUser[user]) {
		if at := slices.Index(v.objectIDs, object); at >= 0 {
			return v, at + 1
		}
	}
	return impression{}, 0
}

// join makes the Insights events of a message.
func (s *impressions) join(m *rawMessage) []any {
	switch m.Type {
	case "recommendation.shown":
		return s.shown(m)
	case "recommendation.clicked":
		return []any{s.clicked(m)}
	case "recommendation.addedToCart":
		return []any{s.bought(m, "addToCart", "Recommended Product Added To Cart")}
	case "recommendation.purchased":
		return []any{s.bought(m, "purchase", "Recommended Product Purchased")}
	}
	return nil
}

func (s *impressions) shown(m *rawMessage) (events []any) {
	s.add(m.UserToken, impression{m.QueryID, m.Index, m.ObjectIDs})
	for part := range slices.Chunk(m.ObjectIDs, mostViewed) {
		events = append(events, &insightsEvent{EventType: "view", EventName: "Recommended Products Viewed",
			Index: m.Index, UserToken: m.UserToken, Timestamp: m.Timestamp, ObjectIDs: part})
	}
	return events
}

func (s *impressions) clicked(m *rawMessage) *insightsEvent {
	e := &insightsEvent{EventType: "click", EventName: "Recommended Product Clicked", Index: m.Index, UserToken: m.UserToken,
		Timestamp: m.Timestamp, QueryID: m.QueryID, ObjectIDs: []string{m.ObjectID}}
	position := m.Position
	if e.QueryID == "" {
		var v impression
		if v, position = s.find(m.UserToken, m.ObjectID); position > 0 {
			e.QueryID, e.Index = v.queryID, v.index
		}
	}
	if position > 0 && e.QueryID != "" {
		e.Positions = []int{position}
	}
	if e.Index == "" {
		e.Index = defaultIndex
	}
	return e
}

func (s *impressions) bought(m *rawMessage, subtype, name string) *insightsEvent {
	e := &insightsEvent{EventType: "conversion", EventSubtype: subtype, EventName: name, Index: m.Index, UserToken: m.UserToken,
		Timestamp: m.Timestamp, QueryID: m.QueryID, Currency: m.Currency}
	for _, item := range m.Items {
		data := objectData{Price: item.Price, Quantity: item.Quantity, QueryID: item.QueryID}
		if m.QueryID == "" && data.QueryID == "" {
			if v, position := s.find(m.UserToken, item.ObjectID); position > 0 {
				data.QueryID = v.queryID
			}
		}
		e.ObjectIDs = append(e.ObjectIDs, item.ObjectID)
		e.ObjectData = append(e.ObjectData, data)
	}
	if e.Index == "" {
		e.Index = defaultIndex
	}
	return e
}
