package insightsfake

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html; charset=utf-8"

	messageOK           = "OK"
	messageUnauthorized = "Invalid credentials"
	messageForbidden    = "Method not allowed with this API key"
	messageNotFound     = "Path not supported by Insights REST API. Please have a look at [https://www.algolia.com/doc/rest-api/insights/](https://www.algolia.com/doc/rest-api/insights) for the list of valid commands."
	messageMethod       = "Method Not Allowed"
	messageTooLarge     = "Request Entity Too Large"

	htmlBadRequest = "<html><body>Error: Bad Request. Your client has issued a malformed or illegal request.</body></html>\n"
	htmlServer     = "<html><body>The server could not answer.</body></html>\n"

	jsonOK = `{"status":200,"message":"OK"}`
)

// body gives the answer's body: JSON, but HTML for 400, as the API has it, and
// for 5xx, which come from something in front of it.
func body(status int, message string) (mediaType, text string) {
	switch {
	case status == http.StatusBadRequest:
		return typeHTML, htmlBadRequest
	case status >= 500:
		return typeHTML, htmlServer
	case status == http.StatusOK && message == messageOK:
		return typeJSON, jsonOK
	}
	b, err := json.Marshal(struct {
		Status  int    `json:"status"`
		Message string `json:"message"`
	}{status, message})
	if err != nil {
		return typeJSON, `{}`
	}
	return typeJSON, string(b)
}

func writeAnswer(w http.ResponseWriter, status int, message string) {
	text := writeHead(w, status, message)
	if bodyAllowed(status) {
		w.Write([]byte(text)) // an error: the client went away, and sees it on its side
	}
}

// writeSlowly sends the first byte at once and the rest after the delay.
func writeSlowly(ctx context.Context, w http.ResponseWriter, status int, message string, delay time.Duration) {
	text := writeHead(w, status, message)
	if !bodyAllowed(status) {
		return
	}
	w.Write([]byte(text[:1]))
	http.NewResponseController(w).Flush()
	if !wait(ctx, delay) {
		cut(w)
		return
	}
	w.Write([]byte(text[1:]))
}

func writeHead(w http.ResponseWriter, status int, message string) (text string) {
	mediaType, text := body(status, message)
	if bodyAllowed(status) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(status)
	return text
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// cut ends the connection so that the client sees a reset (RST), not an end.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn() // no goodbye of TLS either
	}
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // on failure the client sees an end of file: as good
	}
	conn.Close()
}
