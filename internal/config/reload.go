package config

import (
	"hash/fnv"
	"reflect"
	"slices"
	"strings"
)

// Reloadable are the keys that a running worker takes another value of, in the order of the contract,
// with * for a name in a map. All others need a restart: they say what a message becomes, and its answer
// must not depend on when it was read.
func Reloadable() []string {
	var keys []string
	root.leaves(func(n *node) {
		if n.reload {
			keys = append(keys, n.path)
		}
	})
	return keys
}

// Change is a key whose value differs between two configurations.
type Change struct {
	Path string
	// Before and After are the values as [Loaded.Print] writes them: secrets as ***. One is empty where
	// the key is new or gone.
	Before, After string
	// Reloadable says that a running worker can take the new value.
	Reloadable bool
}

// Changes are the keys that differ, in the order of the contract.
func Changes(before, after *Config) []Change {
	was, now := valuesOf(before), valuesOf(after)
	var changes []Change
	flatten(root, after, func(path string, n *node, value any) {
		old, known := was[path]
		if known && reflect.DeepEqual(old.value, value) {
			return
		}
		c := Change{Path: path, After: textOf(n.kind, value), Reloadable: n.reload && known}
		if known {
			c.Before = textOf(n.kind, old.value)
		}
		changes = append(changes, c)
	})
	flatten(root, before, func(path string, n *node, value any) {
		if _, there := now[path]; !there {
			changes = append(changes, Change{Path: path, Before: textOf(n.kind, value)})
		}
	})
	return changes
}

type leaf struct{ value any }

func valuesOf(c *Config) map[string]leaf {
	all := map[string]leaf{}
	flatten(root, c, func(path string, _ *node, value any) { all[path] = leaf{value} })
	return all
}

// textOf writes a value for people, a secret as ***.
func textOf(k kind, value any) string {
	y := scalarNode(k, reflect.ValueOf(value))
	if k != kindList {
		return y.Value
	}
	parts := make([]string, len(y.Content))
	for i, c := range y.Content {
		parts[i] = c.Value
	}
	return strings.Join(parts, ", ")
}

// Setting is one key with its value for people.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // secrets as ***
	Origin Origin `json:"origin"`
}

// Settings are all keys with their values and where these came from, in the order of the contract.
func (l *Loaded) Settings() []Setting {
	var all []Setting
	flatten(root, &l.Config, func(path string, n *node, value any) {
		all = append(all, Setting{path, textOf(n.kind, value), l.Origin(path)})
	})
	return all
}

// NewLoaded wraps a configuration that was made in code: every value counts as a default.
func NewLoaded(c *Config) *Loaded { return &Loaded{Config: *c} }

// Hash is a number for the configuration without its secrets: equal ones have the same, and different
// ones almost certainly not. It has 48 bits, so that a float64 holds it.
func (c *Config) Hash() uint64 {
	h := fnv.New64a()
	flatten(root, c, func(path string, n *node, value any) {
		h.Write([]byte(path + "\x00" + textOf(n.kind, value) + "\x00"))
	})
	return h.Sum64() & (1<<48 - 1)
}

// Refused are the changes that need a restart.
func Refused(changes []Change) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Reloadable })
}
