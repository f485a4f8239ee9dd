package insights

import (
	"fmt"
	"time"
)

// RetryableError is the failure of a request that may succeed later: 408, 425, 429, 5xx, a network
// failure or a time-out (docs/contract.md, section 4).
type RetryableError struct {
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// After is how long the server wants one to wait, at most 5 minutes; 0: it did not say.
	After time.Duration
	// Words are the API's own, at most 1 KiB; empty if there was no answer.
	Words string
	// Cause is the failure of the transport, nil if there was an answer.
	Cause error
	// TimedOut says that there was no answer within delivery.timeout, or 408 or 504.
	TimedOut bool
	// MayHaveBeenTaken says that the whole body had been handed to the network and that the API's own
	// answer is not known: after a broken connection, a time-out, 502 and 504.
	MayHaveBeenTaken bool
}

func (e *RetryableError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("the Insights API could not be reached or did not answer: %v", e.Cause)
	}
	return withWords(fmt.Sprintf("the Insights API answered %d", e.Status), e.Words)
}

// Unwrap returns Cause.
func (e *RetryableError) Unwrap() error { return e.Cause }

// RejectedError is the refusal of the events themselves, 400 or 422. The API refuses a request as a
// whole and does not say which of its events it minds (insights-api.md, section 8).
type RejectedError struct {
	Status int
	Words  string // the API's own, at most 1 KiB
}

func (e *RejectedError) Error() string {
	return withWords(fmt.Sprintf("the Insights API refused the events with %d", e.Status), e.Words)
}

// TooLargeError is the refusal of a body for its size, 413. Status is 0 if it was refused here, without
// a request.
type TooLargeError struct {
	Status int
	Words  string // at most 1 KiB
}

func (e *TooLargeError) Error() string { return withWords("the request body is too large", e.Words) }

// MisconfiguredError is a failure that no repetition and no other event heals, only a change of
// configuration, of a key or of the network: 401, 403, 404, 405, a redirect, an untrusted
// certificate, an unknown host, and every 4xx that the API does not document.
type MisconfiguredError struct {
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Words are the API's own, at most 1 KiB; empty if there was no answer.
	Words string
	// Cause is the failure of the transport, nil if there was an answer.
	Cause error
	// Hint says what to look at.
	Hint string
}

func (e *MisconfiguredError) Error() string {
	var what string
	if e.Cause != nil {
		what = fmt.Sprintf("no request to the Insights API can succeed: %v", e.Cause)
	} else {
		what = withWords(fmt.Sprintf("the Insights API answered %d", e.Status), e.Words)
	}
	return what + "; " + e.Hint
}

// Unwrap returns Cause.
func (e *MisconfiguredError) Unwrap() error { return e.Cause }

func withWords(what, words string) string {
	if words == "" {
		return what
	}
	return what + ": " + generalised(words)
}

// generalised replaces what stands between quotes, which may be a value of an event, so that words
// of the API can be logged. Dead letters get the words as they are.
func generalised(words string) string {
	out := make([]byte, 0, len(words))
	for i := 0; i < len(words); i++ {
		c := words[i]
		out = append(out, c)
		if c != '"' && c != '`' {
			continue
		}
		for j := i + 1; j < len(words); j++ {
			if words[j] == c {
				out = append(out, "…"...)
				out = append(out, c)
				i = j
				break
			}
		}
	}
	return string(out)
}
