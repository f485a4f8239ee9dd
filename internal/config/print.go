package config

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration as "yaml" or "json", in the order of the contract, secrets as ***.
// With origin it says of each value where it came from: as a comment in YAML, as a second object in
// JSON.
func (l *Loaded) Print(w io.Writer, format string, origin bool) error {
	document := l.document(root, "", reflect.ValueOf(&l.Config).Elem(), origin && format == "yaml")
	switch format {
	case "yaml":
		enc := yaml.NewEncoder(w)
		enc.SetIndent(2)
		if err := enc.Encode(document); err != nil {
			return err
		}
		return enc.Close()
	case "json":
		return l.printJSON(w, document, origin)
	}
	return fmt.Errorf("unknown format %q; known: yaml, json", format)
}

// printJSON writes {"schema", "config", "origins"}; the order of keys is that of the document.
func (l *Loaded) printJSON(w io.Writer, document *yaml.Node, origin bool) error {
	var b strings.Builder
	b.WriteString(`{"schema":"eventworker.config/v1","config":`)
	writeJSON(&b, document)
	if origin {
		origins := map[string]Origin{}
		flatten(root, &l.Config, func(path string, _ *node, _ any) { origins[path] = l.Origin(path) })
		encoded, err := json.Marshal(origins)
		if err != nil {
			return err
		}
		b.WriteString(`,"origins":`)
		b.Write(encoded)
	}
	b.WriteString("}")
	var indented strings.Builder
	if err := indent(&indented, b.String()); err != nil {
		return err
	}
	_, err := io.WriteString(w, indented.String())
	return err
}

func indent(b *strings.Builder, text string) error {
	raw, err := json.MarshalIndent(json.RawMessage(text), "", "  ")
	if err != nil {
		return err
	}
	b.Write(raw)
	b.WriteByte('\n')
	return nil
}

// document is the value below a node of the tree of keys as a YAML node.
func (l *Loaded) document(n *node, path string, v reflect.Value, comments bool) *yaml.Node {
	switch n.kind {
	case kindGroup, kindMap:
		y := &yaml.Node{Kind: yaml.MappingNode}
		eachChild(n, v, func(child *node, name string, value reflect.Value) {
			key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
			y.Content = append(y.Content, key, l.document(child, join(path, name), value, comments))
		})
		return y
	}
	y := scalarNode(n.kind, v)
	if comments {
		y.LineComment = string(l.Origin(path))
	}
	return y
}

func scalarNode(k kind, v reflect.Value) *yaml.Node {
	if k == kindList {
		y := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			y.Content = append(y.Content, textNode(v.Index(i).String()))
		}
		return y
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: formatDuration(value)}
	case Size:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}
	case Secret:
		return textNode(value.String())
	case string:
		return textNode(value)
	case float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: formatFloat(value)}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!" + v.Kind().String(), Value: fmt.Sprint(value)}
	}
}

// formatFloat always writes a point: YAML would read a whole number back as another type.
func formatFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func textNode(s string) *yaml.Node {
	y := &yaml.Node{}
	y.SetString(s)
	if s == "" || s == redacted {
		y.Style = yaml.DoubleQuotedStyle
	}
	return y
}

// eachChild visits the children of a group in the order of the contract, those of a map by name.
func eachChild(n *node, v reflect.Value, visit func(child *node, name string, value reflect.Value)) {
	if n.kind == kindGroup {
		for _, c := range n.children {
			visit(c, c.name, v.Field(c.index))
		}
		return
	}
	names := v.MapKeys()
	sort.Slice(names, func(i, j int) bool { return names[i].String() < names[j].String() })
	for _, name := range names {
		visit(n.elem, name.String(), v.MapIndex(name))
	}
}

// flatten visits every leaf of a configuration with its path.
func flatten(n *node, c *Config, visit func(path string, n *node, value any)) {
	var walk func(n *node, path string, v reflect.Value)
	walk = func(n *node, path string, v reflect.Value) {
		if n.kind != kindGroup && n.kind != kindMap {
			visit(path, n, v.Interface())
			return
		}
		eachChild(n, v, func(child *node, name string, value reflect.Value) { walk(child, join(path, name), value) })
	}
	walk(n, "", reflect.ValueOf(c).Elem())
}

// writeJSON writes a document that scalarNode made: numbers and booleans carry their tag, all else
// is text.
func writeJSON(b *strings.Builder, y *yaml.Node) {
	switch y.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i < len(y.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, y.Content[i].Value)
			b.WriteByte(':')
			writeJSON(b, y.Content[i+1])
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range y.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, c)
		}
		b.WriteByte(']')
	default:
		switch y.Tag {
		case "!!int", "!!float", "!!bool":
			b.WriteString(y.Value)
		default:
			writeText(b, y.Value)
		}
	}
}

func writeText(b *strings.Builder, s string) {
	encoded, err := json.Marshal(s)
	if err != nil { // a string always encodes
		encoded = []byte(`""`)
	}
	b.Write(encoded)
}
