package insights

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxWords is how much of an answer's body is kept.
	maxWords = 1 << 10
	// maxDrain is how much more of it is read so that the connection can be used again. A longer
	// body costs the connection.
	maxDrain = 64 << 10
)

// readWords reads an answer's body through a limit and returns what it says: the message of the
// API's JSON, the status's own text for HTML and for nothing, else the text.
func readWords(resp *http.Response) string {
	kept, _ := io.ReadAll(io.LimitReader(resp.Body, maxWords))
	drain(resp.Body)
	return words(resp.StatusCode, resp.Header.Get("Content-Type"), kept)
}

// drain reads the rest of an answer; where it breaks off, the connection is not used again.
func drain(body io.Reader) { _, _ = io.Copy(io.Discard, io.LimitReader(body, maxDrain)) }

func words(status int, contentType string, body []byte) string {
	body = bytes.TrimSpace(body)
	var api struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &api) == nil && api.Message != "" {
		return oneLine(api.Message)
	}
	if len(body) == 0 || isHTML(contentType, body) {
		return http.StatusText(status)
	}
	return oneLine(string(body))
}

// isHTML looks at both the declared type and the body, since neither can be relied on: 400 comes as
// HTML (insights-api.md, section 8), and so does what stands between us and the API.
func isHTML(contentType string, body []byte) bool {
	return strings.HasPrefix(strings.ToLower(contentType), "text/html") || bytes.HasPrefix(body, []byte("<"))
}

// oneLine makes s valid UTF-8 without control characters and line breaks, of at most maxWords bytes.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) <= maxWords {
		return s
	}
	cut := maxWords
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
