package insights

import (
	"io"
	"net/http"

	"go.uber.org/zap"
)

// ShadowReport is what would have been sent, in delivery.mode: shadow.
type ShadowReport struct {
	Requests int64      `json:"requests"`
	Bytes    int64      `json:"bytes"` // of the bodies
	Events   TypeCounts `json:"events"`
}

// TypeCounts are numbers of events by type.
type TypeCounts struct {
	View      int64 `json:"view"`
	Click     int64 `json:"click"`
	AddToCart int64 `json:"addToCart"`
	Purchase  int64 `json:"purchase"`
}

func (c *TypeCounts) add(n *[Purchase + 1]int64) {
	c.View += n[View]
	c.Click += n[Click]
	c.AddToCart += n[AddToCart]
	c.Purchase += n[Purchase]
}

// The places at which the beginnings of events differ.
const (
	typeAt    = len(`{"eventType":"`)
	subtypeAt = len(`{"eventType":"conversion","eventSubtype":"`)
)

// TypeOf is the type of an event that AppendEvent wrote; 0 if it cannot be one of its.
func TypeOf(encoded []byte) EventType {
	switch {
	case len(encoded) <= subtypeAt:
		return 0
	case encoded[typeAt] == 'v':
		return View
	case encoded[typeAt+1] == 'l':
		return Click
	case encoded[subtypeAt] == 'a':
		return AddToCart
	case encoded[subtypeAt] == 'p':
		return Purchase
	}
	return 0
}

// countShadow adds a request that was not made to the report.
func (a *Application) countShadow(bytes int, events *[Purchase + 1]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shadow.Requests++
	a.shadow.Bytes += int64(bytes)
	a.shadow.Events.add(events)
}

// logShadow says, in shadow mode, what would have been sent.
func (a *Application) logShadow() {
	r := a.Status().Shadow
	if r == nil || r.Requests == 0 {
		return
	}
	a.log().Info("shadow mode: what would have been sent", zap.Int64("requests", r.Requests), zap.Int64("bytes", r.Bytes),
		zap.Int64("view", r.Events.View), zap.Int64("click", r.Events.Click),
		zap.Int64("addToCart", r.Events.AddToCart), zap.Int64("purchase", r.Events.Purchase))
}

// shadow answers 200 to everything without a request (delivery.mode: shadow).
type shadow struct{}

func (shadow) RoundTrip(req *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}
