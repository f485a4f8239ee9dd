package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"eventworker/internal/telemetry"
)

// inIsTerminal says whether somebody can answer a question.
func inIsTerminal(a *app) bool { return telemetry.IsTerminal(a.in) }

// parseTime reads a point in time: RFC 3339, a date (UTC), a duration before now, now, or 13 digits of
// milliseconds. Ten digits are refused: they are seconds.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if len(text) != 13 {
			return time.Time{}, fmt.Errorf("%q has %d digits, want 13: milliseconds since 1970; seconds times 1000", text, len(text))
		}
		return time.UnixMilli(n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: want RFC 3339, a date, a duration such as 2h or 3d, or 13 digits of milliseconds", text)
}
