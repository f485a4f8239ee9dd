package insights

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter is the longest wait that a server is granted (docs/contract.md, section 4).
const maxRetryAfter = 5 * time.Minute

// retryAfter reads the Retry-After header, in seconds or as a date. A date counts from the Date of
// the same response, so that a wrong clock on either side does no harm; without one from now. What
// is negative, past or not understood is 0; what is longer than 5 minutes is 5 minutes.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, ok := wholeSeconds(v); ok {
		return seconds
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// wholeSeconds reads digits of any number; ok is false if v is something else.
func wholeSeconds(v string) (d time.Duration, ok bool) {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		d = min(d*10+time.Duration(v[i]-'0')*time.Second, maxRetryAfter)
	}
	return d, true
}
