package dlq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Change is one place where an edited message differs from the original one.
type Change struct {
	// Path is such as items[3].price.
	Path string `json:"path"`
	// Before and After are the values as they are written; empty: not there.
	Before string `json:"before"`
	After  string `json:"after"`
}

// maxChange bounds the text of a value in a change, in bytes.
const maxChange = 200

// Diff says where two JSON objects differ, in the order of the first one's names, then of what the second
// one adds. Numbers differ if they are written differently, texts if they mean something else. Users'
// tokens and e-mail addresses are masked by mask; nil masks nothing.
func Diff(before, after []byte, mask *Masker) []Change {
	d := differ{mask: mask}
	d.values("", before, after)
	return d.changes
}

type differ struct {
	mask    *Masker
	changes []Change
}

func (d *differ) values(path string, before, after []byte) {
	before, after = bytes.TrimSpace(before), bytes.TrimSpace(after)
	if bytes.Equal(before, after) {
		return
	}
	if len(before) > 0 && len(after) > 0 && before[0] == after[0] {
		switch before[0] {
		case '{':
			if d.objects(path, before, after) {
				return
			}
		case '[':
			if d.arrays(path, before, after) {
				return
			}
		case '"':
			var a, b string
			if json.Unmarshal(before, &a) == nil && json.Unmarshal(after, &b) == nil && a == b {
				return
			}
		}
	}
	d.changes = append(d.changes, Change{Path: path, Before: d.text(path, before), After: d.text(path, after)})
}

func (d *differ) objects(path string, before, after []byte) bool {
	old, oldNames, ok := object(before)
	if !ok {
		return false
	}
	now, nowNames, ok := object(after)
	if !ok {
		return false
	}
	for _, name := range oldNames {
		d.values(child(path, name), old[name], now[name])
	}
	for _, name := range nowNames {
		if _, there := old[name]; !there {
			d.values(child(path, name), nil, now[name])
		}
	}
	return true
}

func (d *differ) arrays(path string, before, after []byte) bool {
	var old, now []json.RawMessage
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil {
		return false
	}
	for i := range max(len(old), len(now)) {
		var a, b []byte
		if i < len(old) {
			a = old[i]
		}
		if i < len(now) {
			b = now[i]
		}
		d.values(fmt.Sprintf("%s[%d]", path, i), a, b)
	}
	return true
}

func child(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// object reads an object with the order of its names.
func object(text []byte) (members map[string]json.RawMessage, names []string, ok bool) {
	if json.Unmarshal(text, &members) != nil {
		return nil, nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, nil, false
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, nil, false
		}
		if text, _ := name.(string); !slices.Contains(names, text) {
			names = append(names, text)
		}
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return nil, nil, false
		}
	}
	return members, names, true
}

func (d *differ) text(path string, raw []byte) string {
	if d.mask != nil {
		raw = []byte(d.mask.Text(string(d.masked(path, raw))))
	}
	if len(raw) <= maxChange {
		return string(raw)
	}
	return string(bytes.ToValidUTF8(raw[:maxChange], nil)) + "…"
}

// tokenMember is a user's token in the text of an object.
var tokenMember = regexp.MustCompile(`("(?:authenticatedU|u)serToken"\s*:\s*)("(?:[^"\\]|\\.)*")`)

// masked masks the value of a token, or tokens in the text of an object.
func (d *differ) masked(path string, raw []byte) []byte {
	if !strings.HasSuffix(path, "serToken") {
		return tokenMember.ReplaceAllFunc(raw, func(member []byte) []byte {
			parts := tokenMember.FindSubmatch(member)
			return append(slices.Clone(parts[1]), d.masked("userToken", parts[2])...)
		})
	}
	var token string
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return raw
	case json.Unmarshal(raw, &token) != nil:
		token = string(raw) // a number may be what names the user
	}
	return *quotedText(d.mask.Token([]byte(token)))
}
