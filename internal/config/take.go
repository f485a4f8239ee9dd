package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// source says where a node stands, for origins and problems.
type source func(*yaml.Node) string

func fileSource(name string) source {
	return func(y *yaml.Node) string { return fmt.Sprintf("%s(%d,%d)", name, y.Line, y.Column) }
}

func textSource(name string) source {
	return func(*yaml.Node) string { return name }
}

// takeText takes the value of a variable or of --set: plain text for a scalar, a comma-separated
// list or YAML for a list, YAML for a group.
func (l *loader) takeText(n *node, path, text string, src source) {
	scalar := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	structured := n.kind == kindGroup || n.kind == kindMap || n.kind == kindList && strings.HasPrefix(strings.TrimSpace(text), "[")
	if structured {
		parsed, err := parseYAML([]byte(text))
		if err != nil {
			l.problem(src(scalar), path, "is not YAML: %s", yamlWords(err))
			return
		}
		if parsed != nil {
			l.take(n, path, parsed, src)
		}
		return
	}
	if n.kind == kindList {
		scalar = &yaml.Node{Kind: yaml.SequenceNode}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" || strings.Contains(text, ",") {
				scalar.Content = append(scalar.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: part})
			}
		}
	}
	l.take(n, path, scalar, src)
}

// take walks a parsed value along the tree of keys and lays what is there over what was known.
func (l *loader) take(n *node, path string, y *yaml.Node, src source) {
	flat := map[string]any{}
	l.walk(n, path, y, src, flat)
	l.merge(flat)
}

func (l *loader) walk(n *node, path string, y *yaml.Node, src source, flat map[string]any) {
	y = target(y)
	if n.kind != kindGroup && n.kind != kindMap {
		l.leaf(n, path, y, src, flat)
		return
	}
	switch {
	case y.Kind == yaml.MappingNode:
		l.mapping(n, path, y, src, flat, map[string]int{}, 0)
	case isNull(y): // a group whose keys are all commented out
	default:
		l.problem(src(y), path, "want keys below it, got %s", form(y))
	}
}

// mapping walks the pairs of a mapping; seen are the keys met already, with their line. Merge keys
// (<<) give what the mapping itself does not say.
func (l *loader) mapping(n *node, path string, y *yaml.Node, src source, flat map[string]any, seen map[string]int, depth int) {
	const deepest = 8
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, target(value))
			continue
		}
		if first, twice := seen[key.Value]; twice {
			if depth == 0 {
				l.problem(src(key), join(path, key.Value), "given twice, first in line %d", first)
			}
			continue
		}
		seen[key.Value] = key.Line
		l.pair(n, path, key, value, src, flat)
	}
	for _, m := range merged {
		if m.Kind == yaml.MappingNode && depth < deepest {
			l.mapping(n, path, m, src, flat, seen, depth+1)
		} else {
			l.problem(src(m), path, "<< wants the alias of a mapping")
		}
	}
}

// nameForm is what the names in a map may be: they occur in paths, in variables' names and in
// metrics.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$`)

func validName(name string) bool { return len(name) <= 64 && nameForm.MatchString(name) }

func nameRule(name string) string {
	return "want names of 1 to 64 letters, digits and single - or _ between them, got " + quote(name)
}

func (l *loader) pair(n *node, path string, key, value *yaml.Node, src source, flat map[string]any) {
	name := key.Value
	at := join(path, name)
	child := n.child(name)
	switch {
	case child == nil:
		l.problem(src(key), at, "unknown key; %s", n.suggest(path, name))
		return
	case n.kind == kindMap && !validName(name):
		l.problem(src(key), at, "%s", nameRule(name))
		return
	}
	if n.kind == kindMap {
		l.origins[at] = Origin(src(key))
		if v := target(value); isNull(v) || v.Kind == yaml.MappingNode && len(v.Content) == 0 {
			flat[at] = map[string]any{}
			return
		}
	}
	l.walk(child, at, value, src, flat)
}

// leaf reads one value.
func (l *loader) leaf(n *node, path string, y *yaml.Node, src source, flat map[string]any) {
	var value any
	var err error
	if n.kind == kindList {
		value, err = l.list(path, y, src)
	} else {
		value, err = scalar(n.kind, y)
	}
	if err == nil && n.kind == kindSecret && src(y) == fromSet && value != Secret("") {
		err = fmt.Errorf("a command line is no place for a secret, every process of the host may see it: name its file as %s_file, or give it as %s",
			n.name, EnvName(path))
	}
	if err != nil {
		l.problem(src(y), path, "%v", err)
		return
	}
	l.origins[path] = Origin(src(y))
	flat[path] = value
	delete(l.broken, path) // a later source repaired it for the rules; the problem stays
}

func (l *loader) list(path string, y *yaml.Node, src source) ([]string, error) {
	if y.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("want a list such as [a, b], got %s", form(y))
	}
	list := make([]string, 0, len(y.Content))
	for i, element := range y.Content {
		element = target(element)
		at := fmt.Sprintf("%s[%d]", path, i)
		text, err := scalar(kindText, element)
		if err != nil {
			l.problem(src(element), at, "%v", err)
			continue
		}
		l.origins[at] = Origin(src(element))
		list = append(list, text.(string))
	}
	return list, nil
}

// scalar reads a value of a simple kind. What was typed counts, not what YAML makes of it: a
// password of digits is text, a quoted number is a number.
func scalar(k kind, y *yaml.Node) (any, error) {
	if isNull(y) {
		return nil, errors.New(`has no value; remove the key, or write "" for an empty one`)
	}
	if y.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("want %s, got %s", kindWords[k], form(y))
	}
	text := strings.TrimSpace(y.Value)
	switch k {
	case kindBool:
		return parse(k, text, func() (bool, error) { return parseBool(text) })
	case kindInt:
		return parse(k, text, func() (int, error) { return strconv.Atoi(text) })
	case kindFloat:
		return parse(k, text, func() (float64, error) { return strconv.ParseFloat(text, 64) })
	case kindDuration:
		return ParseDuration(text)
	case kindSize:
		return ParseSize(text)
	case kindSecret:
		return Secret(y.Value), nil
	}
	return y.Value, nil
}

var kindWords = map[kind]string{
	kindText: "text", kindSecret: "text", kindBool: "true or false", kindInt: "a whole number", kindFloat: "a number",
	kindDuration: "a duration such as 10s", kindSize: "a size such as 8MiB",
}

func parse[T any](k kind, text string, read func() (T, error)) (any, error) {
	value, err := read()
	if err != nil {
		return nil, fmt.Errorf("want %s, got %s", kindWords[k], quote(text))
	}
	return value, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}

// target follows an alias.
func target(y *yaml.Node) *yaml.Node {
	if y.Kind == yaml.AliasNode && y.Alias != nil {
		return y.Alias
	}
	return y
}

func isNull(y *yaml.Node) bool { return y.Kind == yaml.ScalarNode && y.Tag == "!!null" }

// form names what a node is, without its content: it may be a secret.
func form(y *yaml.Node) string {
	switch y.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
