package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix = "EVENTWORKER_"
	// maxFile bounds a configuration file; a real one has a few kilobytes.
	maxFile = 1 << 20
)

// Origin says where a value came from: "default", file(line,col), "env NAME" or "--set".
type Origin string

// fromSet is the source of what --set gave.
const fromSet = "--set"

// FromDefault is the origin of a value that no source gave.
const FromDefault Origin = "default"

// Sources are what a configuration is made from; later ones win, in the order of the fields.
type Sources struct {
	// File is the path of a YAML file; empty: none.
	File string
	// Env is the environment as NAME=value, such as os.Environ().
	Env []string
	// Set are the arguments of --set, such as kafka.brokers=a:9092,b:9092.
	Set []string
	// ForRun also checks what only a running worker needs: credentials, and files that can be read.
	ForRun bool
}

// Loaded is a valid configuration that remembers where each value came from.
type Loaded struct {
	Config
	origins map[string]Origin
}

// Load lays the sources over the defaults and validates the result. Its error is an *[Error] with
// every mistake of every source.
func Load(s Sources) (*Loaded, error) {
	l := &loader{tree: koanf.New("."), origins: map[string]Origin{}, broken: map[string]bool{}}
	l.loadDefaults()
	l.loadFile(s.File)
	l.loadEnv(s.Env)
	l.loadSet(s.Set)
	loaded := &Loaded{origins: l.origins}
	if err := l.decode(&loaded.Config); err != nil {
		return nil, err
	}
	for _, p := range loaded.Config.problems(s.ForRun) {
		if !l.unread && !l.isBroken(p.Path) {
			p.Source = loaded.source(p.Path)
			l.problems = append(l.problems, p)
		}
	}
	sortProblems(l.problems, s.File)
	if err := errorOf(l.problems); err != nil {
		return nil, err
	}
	return loaded, nil
}

// Origin says where the value of a key came from.
func (l *Loaded) Origin(path string) Origin {
	if o, ok := l.origins[path]; ok {
		return o
	}
	return FromDefault
}

// source is the origin of a path for a problem: that of the element, else of its key, else none.
func (l *Loaded) source(path string) string {
	for path != "" {
		if o, ok := l.origins[path]; ok {
			return string(o)
		}
		bracket := strings.LastIndexByte(path, '[')
		if bracket < 0 {
			break
		}
		path = path[:bracket]
	}
	return ""
}

// loader gathers values, their origins and the problems of all sources.
type loader struct {
	tree     *koanf.Koanf
	origins  map[string]Origin
	problems []Problem
	// broken are the paths whose value could not be read; their rules are not checked.
	broken map[string]bool
	// unread says that the file is not there or no YAML: what would be missing then may stand in it.
	unread bool
}

func (l *loader) problem(source, path, format string, args ...any) {
	l.problems = append(l.problems, Problem{Source: source, Path: path, Message: fmt.Sprintf(format, args...)})
	if path != "" {
		l.broken[path] = true
	}
}

// isBroken says whether a path, its key or what it is part of could not be read.
func (l *loader) isBroken(path string) bool {
	for p := range l.broken {
		if path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[") || strings.HasPrefix(p, path+"[") {
			return true
		}
	}
	return false
}

// loadDefaults lays the defaults down, all but the applications: a source that names applications
// replaces the default one.
func (l *loader) loadDefaults() {
	flat := map[string]any{}
	flatten(root, Default(), func(path string, _ *node, value any) {
		if !strings.HasPrefix(path, applicationsPath+".") {
			flat[path] = value
		}
	})
	l.merge(flat)
}

const applicationsPath = "insights.applications"

// merge lays values over those that are there. The tree's values are typed already and the delimiter
// does not occur in a name, so neither step can fail.
func (l *loader) merge(flat map[string]any) {
	if err := l.tree.Load(confmap.Provider(flat, "."), nil); err != nil {
		l.problem("", "", "the sources do not fit together: %v", err)
	}
}

// decode fills the Config from the merged tree.
func (l *loader) decode(c *Config) error {
	if !l.tree.Exists(applicationsPath) {
		l.merge(map[string]any{join(applicationsPath, DefaultApplication): map[string]any{}})
	}
	if err := l.tree.UnmarshalWithConf("", c, koanf.UnmarshalConf{Tag: "yaml"}); err != nil {
		l.problem("", "", "the merged configuration does not fit its type: %v", err)
		return errorOf(l.problems)
	}
	return nil
}

func (l *loader) loadFile(name string) {
	if name == "" {
		return
	}
	content, err := readBounded(name, maxFile)
	if err != nil {
		l.problem(name, "", "cannot be read: %v", err)
		l.unread = true
		return
	}
	doc, err := parseYAML(content)
	if err != nil {
		l.problem(yamlPlace(name, err), "", "is not YAML: %s", yamlWords(err))
		l.unread = true
		return
	}
	if doc != nil {
		l.take(root, "", doc, fileSource(name))
	}
}

// parseYAML gives the node of the only document, or nil for an empty one.
func parseYAML(content []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(content)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("yaml: line %d: a second document begins; want one", second.Line)
		}
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlPlace is the file and the line that a syntax error names.
func yamlPlace(name string, err error) string {
	if m := yamlLine.FindStringSubmatch(err.Error()); len(m) > 1 && m[1] != "" {
		return name + "(" + m[1] + ",1)"
	}
	return name
}

func yamlWords(err error) string { return yamlLine.ReplaceAllString(err.Error(), "") }

// serviceLink matches the variables that Kubernetes sets in every pod for a Service whose name
// begins with eventworker: they are no settings.
var serviceLink = regexp.MustCompile(`^EVENTWORKER(_.+)?_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// notSettings are variables with the prefix that mean something else than a setting.
var notSettings = []string{"EVENTWORKER_PAGER"}

func (l *loader) loadEnv(env []string) {
	env = slices.Clone(env)
	sort.Strings(env) // a group comes before its keys, so that the keys win
	for _, entry := range env {
		name, text, _ := strings.Cut(entry, "=")
		levels, ours := strings.CutPrefix(name, envPrefix)
		if !ours || slices.Contains(notSettings, name) {
			continue
		}
		if !strings.Contains(levels, "__") && serviceLink.MatchString(name) {
			continue
		}
		l.takeEnv(name, strings.Split(levels, "__"), text)
	}
}

func (l *loader) takeEnv(name string, levels []string, text string) {
	n, path := root, ""
	for _, level := range levels {
		child, key := n.childOfEnv(level, mapNames(l.origins, path))
		if child != nil && n.kind == kindMap && !validName(key) {
			l.problem("env "+name, "", "%s", nameRule(key))
			return
		}
		if child == nil {
			l.problem("env "+name, "", "is no setting; %s", n.suggestEnv(path, name))
			return
		}
		n, path = child, join(path, key)
	}
	l.takeText(n, path, text, textSource("env "+name))
}

// suggestEnv is suggest in the words of the environment, for a variable whose levels up to path are known. A
// single underscore between levels is what is mistaken most often.
func (n *node) suggestEnv(path, name string) string {
	if len(n.children) == 0 && n.kind != kindMap {
		return path + " has no keys of its own"
	}
	var here, all []string
	for _, c := range n.children {
		here = append(here, EnvName(join(path, c.name)))
	}
	n.leaves(func(leaf *node) {
		key := join(path, strings.TrimPrefix(strings.TrimPrefix(leaf.path, n.path), "."))
		before, after, inMap := strings.Cut(EnvName(key), "*")
		if !inMap {
			all = append(all, before)
			return
		}
		// The name in the map is what stands between.
		head, tail := strings.TrimSuffix(before, "__"), strings.TrimPrefix(after, "__")
		if rest, ok := strings.CutPrefix(single(name), single(head)+"_"); ok {
			if middle, ok := strings.CutSuffix(rest, "_"+single(tail)); ok && middle != "" {
				all = append(all, before+middle+after)
			}
		}
	})
	for _, known := range all {
		if single(known) == single(name) {
			return "did you mean " + known + "? Levels are parted by two underscores"
		}
	}
	if near := Nearest(name, append(here, all...)); near != "" {
		return "did you mean " + near + "?"
	}
	return "known here: " + strings.Join(here, ", ")
}

var underscores = regexp.MustCompile(`__+`)

// single is a variable's name with one underscore where there are several.
func single(name string) string { return underscores.ReplaceAllString(name, "_") }

func (l *loader) loadSet(set []string) {
	for _, argument := range set {
		path, text, found := strings.Cut(argument, "=")
		if !found {
			l.problem(fromSet, path, "want KEY=VALUE, such as kafka.group=eventworker")
			continue
		}
		l.takeSet(path, text)
	}
}

func (l *loader) takeSet(path, text string) {
	n, at := root, ""
	for key := range strings.SplitSeq(path, ".") {
		child := n.child(key)
		if child == nil {
			if len(n.children) == 0 {
				l.problem(fromSet, path, "is no key: %s has no keys of its own", at)
			} else {
				l.problem(fromSet, path, "unknown key; %s", n.suggest(at, key))
			}
			return
		}
		if n.kind == kindMap && !validName(key) {
			l.problem(fromSet, path, "%s", nameRule(key))
			return
		}
		n, at = child, join(at, key)
	}
	l.takeText(n, at, text, textSource(fromSet))
}
