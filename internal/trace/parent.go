package trace

import (
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// Header is the key of the W3C trace context in a record's headers.
const Header = "traceparent"

// parentLength is the length of a traceparent of version 00.
const parentLength = 55

// Parse reads a traceparent (https://www.w3.org/TR/trace-context/): version 00, or a later one that begins
// alike. ok is false for anything else.
func Parse(value []byte) (c trace.SpanContext, ok bool) {
	if len(value) < parentLength || value[2] != '-' || value[35] != '-' || value[52] != '-' {
		return c, false
	}
	var version, flags [1]byte
	if !unhex(version[:], value[:2]) || version[0] == 0xff || version[0] == 0 && len(value) != parentLength || len(value) > parentLength && value[parentLength] != '-' {
		return c, false
	}
	var id trace.TraceID
	var span trace.SpanID
	if !unhex(id[:], value[3:35]) || !unhex(span[:], value[36:52]) || !unhex(flags[:], value[53:55]) {
		return c, false
	}
	c = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true})
	return c, c.IsValid()
}

// unhex reads lower-case hexadecimal digits.
func unhex(dst, src []byte) bool {
	for _, d := range src {
		if 'A' <= d && d <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, src)
	return err == nil
}

// Format writes a traceparent; empty where there is no span.
func Format(c trace.SpanContext) string {
	if !c.IsValid() {
		return ""
	}
	flags := "-00"
	if c.IsSampled() {
		flags = "-01"
	}
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + flags
}
