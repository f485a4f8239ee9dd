package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"eventworker/internal/event"
)

// The header parts is a JSON object from reason to the indexes it struck, in order of precedence and
// of index: {"too-large":[4],"rejected":[0,2]}. A thousand items so take about 4 KB.

func appendParts(dst []byte, parts []Part) []byte {
	sorted := slices.Clone(parts)
	slices.SortStableFunc(sorted, func(a, b Part) int {
		if a.Reason != b.Reason {
			return int(a.Reason) - int(b.Reason)
		}
		return a.Index - b.Index
	})
	dst = append(dst, '{')
	for i, p := range sorted {
		switch {
		case i > 0 && sorted[i-1].Reason == p.Reason:
			dst = append(dst, ',')
		default:
			if i > 0 {
				dst = append(dst, "],"...)
			}
			dst = append(dst, '"')
			dst = append(dst, p.Reason.String()...)
			dst = append(dst, `":[`...)
		}
		dst = strconv.AppendInt(dst, int64(p.Index), 10)
	}
	return append(dst, "]}"...)
}

// parseParts is the inverse of appendParts; the parts come in order of their index.
func parseParts(text []byte) ([]Part, error) {
	var byReason map[string][]int
	if err := json.Unmarshal(text, &byReason); err != nil {
		return nil, err
	}
	var parts []Part
	for name, indexes := range byReason {
		reason, ok := event.ParseReason(name)
		if !ok {
			return nil, fmt.Errorf("unknown reason %q", name)
		}
		for _, i := range indexes {
			if i < 0 {
				return nil, errors.New("negative index")
			}
			parts = append(parts, Part{Index: i, Reason: reason})
		}
	}
	slices.SortFunc(parts, func(a, b Part) int {
		if a.Index != b.Index {
			return a.Index - b.Index
		}
		return int(a.Reason) - int(b.Reason)
	})
	return parts, nil
}

// resolvedJSON is one element of the header resolved, a JSON array. A queryID of null says that the
// join found none; index and position are left out where there is none.
type resolvedJSON struct {
	Object   int     `json:"object"`
	QueryID  *string `json:"queryID"`
	Index    string  `json:"index,omitempty"`
	Position int32   `json:"position,omitempty"`
}

func appendResolved(dst []byte, resolved []Resolved) []byte {
	list := make([]resolvedJSON, len(resolved))
	for i := range resolved {
		r := &resolved[i]
		list[i] = resolvedJSON{Object: r.Index, Index: r.IndexName, Position: r.Position}
		if r.QueryID != "" {
			list[i].QueryID = &r.QueryID
		}
	}
	text, err := json.Marshal(list)
	if err != nil { // numbers and text always marshal
		return append(dst, "[]"...)
	}
	return append(dst, text...)
}

func parseResolved(text []byte) ([]Resolved, error) {
	var list []resolvedJSON
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var resolved []Resolved
	for _, r := range list {
		if r.Object < 0 || r.Position < 0 {
			return nil, errors.New("negative object or position")
		}
		one := Resolved{Index: r.Object, IndexName: r.Index, Position: r.Position}
		if r.QueryID != nil {
			one.QueryID = *r.QueryID
		}
		resolved = append(resolved, one)
	}
	return resolved, nil
}
