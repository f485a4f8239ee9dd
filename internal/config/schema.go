package config

import (
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"
)

// kind is the form of a node in the tree of keys.
type kind uint8

const (
	kindGroup kind = iota // keys of its own
	kindMap               // names chosen by the user, all of one form
	kindText
	kindSecret
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindSize
	kindList // of text
)

// node is one key of the configuration, derived from the Config type: the type is the only list of
// keys there is.
type node struct {
	name string
	path string // dotted, with * for a name in a map
	kind kind
	// children are those of a group, in the order of the contract; elem is the form of a map's values.
	children []*node
	elem     *node
	// index is the field's place in its struct.
	index int
	// reload says that a running worker takes another value.
	reload bool
}

// root is the tree of all keys.
var root = buildNode("", "", reflect.TypeFor[Config](), 0)

func buildNode(name, path string, t reflect.Type, index int) *node {
	n := &node{name: name, path: path, index: index, kind: kindOf(t)}
	switch n.kind {
	case kindGroup:
		for i := range t.NumField() {
			f := t.Field(i)
			key := f.Tag.Get("yaml")
			child := buildNode(key, join(path, key), f.Type, i)
			child.reload = f.Tag.Get("reload") == "yes"
			n.children = append(n.children, child)
		}
	case kindMap:
		n.elem = buildNode("*", join(path, "*"), t.Elem(), 0)
	}
	return n
}

func kindOf(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return kindDuration
	case reflect.TypeFor[Size]():
		return kindSize
	case reflect.TypeFor[Secret]():
		return kindSecret
	}
	switch t.Kind() {
	case reflect.Struct:
		return kindGroup
	case reflect.Map:
		return kindMap
	case reflect.Slice:
		return kindList
	case reflect.Bool:
		return kindBool
	case reflect.Int:
		return kindInt
	case reflect.Float64:
		return kindFloat
	}
	return kindText
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// child is the child of a name: a key of a group, or any name of a map.
func (n *node) child(name string) *node {
	if n.kind == kindMap {
		return n.elem
	}
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// childOfEnv is the child that a level of a variable's name means. Names in maps are matched with
// those that other sources gave, else taken in lower case.
func (n *node) childOfEnv(level string, names []string) (*node, string) {
	if n.kind == kindMap {
		for _, name := range names {
			if envLevel(name) == level {
				return n.elem, name
			}
		}
		return n.elem, strings.ToLower(level)
	}
	for _, c := range n.children {
		if envLevel(c.name) == level || strings.ToUpper(c.name) == level { //nolint:gocritic // not EqualFold: only upper case names a setting
			return c, c.name
		}
	}
	return nil, ""
}

// envLevel writes a key as a level of a variable's name: addedToCart is ADDED_TO_CART, shop-de is SHOP_DE.
func envLevel(key string) string {
	var b strings.Builder
	for i, r := range key {
		if i > 0 && unicode.IsUpper(r) && !strings.HasSuffix(b.String(), "_") && !unicode.IsUpper(rune(key[i-1])) {
			b.WriteByte('_')
		}
		if r == '-' {
			r = '_'
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// EnvName is the name of the environment variable of a key: kafka.brokers is
// EVENTWORKER_KAFKA__BROKERS.
func EnvName(path string) string {
	levels := strings.Split(path, ".")
	for i, level := range levels {
		levels[i] = envLevel(level)
	}
	return envPrefix + strings.Join(levels, "__")
}

// Keys are the paths of all settings in the order of the contract, with * for a name in a map.
func Keys() []string {
	var keys []string
	root.leaves(func(n *node) { keys = append(keys, n.path) })
	return keys
}

func (n *node) leaves(visit func(*node)) {
	switch n.kind {
	case kindGroup:
		for _, c := range n.children {
			c.leaves(visit)
		}
	case kindMap:
		n.elem.leaves(visit)
	default:
		visit(n)
	}
}

// suggest says which known key is meant by an unknown one below n, which stands at path: the nearest
// sibling, else a key of that name elsewhere, else the list of what there is.
func (n *node) suggest(path, unknown string) string {
	names := make([]string, len(n.children))
	for i, c := range n.children {
		names[i] = c.name
	}
	if near := Nearest(unknown, names); near != "" {
		return "did you mean " + join(path, near) + "?"
	}
	for _, key := range Keys() {
		if key == unknown || strings.HasSuffix(key, "."+unknown) {
			return "did you mean " + key + "?"
		}
	}
	sort.Strings(names)
	return "known here: " + strings.Join(names, ", ")
}

// Nearest is the known word that is most like the given one, or nothing where none is like it: more
// than a third of its letters, and more than two, would have to change.
func Nearest(word string, known []string) string {
	best, distance := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	return best
}

// editDistance is how many letters have to be inserted, removed, replaced or swapped with their
// neighbour to make a of b.
func editDistance(a, b string) int {
	const longest = 100 // bounds the work for hostile keys
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// mapNames are the sorted names of a map that a set of paths mentions below prefix.
func mapNames(paths map[string]Origin, prefix string) []string {
	var names []string
	for p := range paths {
		if rest, ok := strings.CutPrefix(p, prefix+"."); ok {
			name, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	return names
}
