package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"eventworker/internal/config"
)

// structs are the types of the configuration by name.
type structs map[string]*structure

type structure struct {
	doc    string
	fields map[string]*field // by key
}

type field struct {
	doc  string
	kind string // the name of its type, of a map that of its values
}

// parse reads types, keys and comments.
func parse(code []byte) (structs, error) {
	file, err := parser.ParseFile(token.NewFileSet(), source, code, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	types := structs{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.TypeSpec)
			if t, ok := spec.Type.(*ast.StructType); ok {
				types[spec.Name.Name] = newStructure(prose(decl.Doc), t)
			}
		}
	}
	return types, nil
}

func newStructure(doc string, t *ast.StructType) *structure {
	s := &structure{doc: doc, fields: map[string]*field{}}
	keys := map[string]string{} // by the names of the fields
	for _, f := range t.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil { // the compiler would not have taken it
			continue
		}
		about := prose(f.Doc)
		if about == "" {
			about = prose(f.Comment)
		}
		key := reflect.StructTag(tag).Get("yaml")
		keys[f.Names[0].Name] = key
		s.fields[key] = &field{doc: predicate(about, f.Names[0].Name), kind: typeName(f.Type)}
	}
	s.doc = word.ReplaceAllStringFunc(s.doc, keyOf(keys))
	for _, f := range s.fields {
		f.doc = word.ReplaceAllStringFunc(f.doc, keyOf(keys))
	}
	return s
}

// word finds what may be the name of a field in the middle of a sentence.
var word = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// keyOf replaces the name of a field by its key.
func keyOf(keys map[string]string) func(name string) string {
	return func(name string) string {
		if key, ok := keys[name]; ok {
			return "`" + key + "`"
		}
		return name
	}
}

// predicate is what a doc comment says of its name.
func predicate(doc, name string) string {
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return doc
	}
	for _, copula := range []string{"is ", "are "} {
		rest = strings.TrimPrefix(rest, copula)
	}
	return capital(rest)
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.MapType:
		return typeName(e.Value)
	}
	return ""
}

// prose is a comment as one line of Markdown.
func prose(c *ast.CommentGroup) string {
	text := strings.Join(strings.Fields(c.Text()), " ")
	return strings.ReplaceAll(text, "|", `\|`)
}

// find is the field of a key.
func (s structs) find(key string) (*field, error) {
	at := &field{kind: "Config"}
	for level := range strings.SplitSeq(key, ".") {
		if level == "*" || level == "NAME" {
			continue
		}
		t := s[at.kind]
		if t == nil || t.fields[level] == nil {
			return nil, fmt.Errorf("%s has no field for the key %s", source, key)
		}
		at = t.fields[level]
	}
	return at, nil
}

// about says what a key means. Each has to say so.
func (s structs) about(key string) (string, error) {
	f, err := s.find(key)
	if err != nil {
		return "", err
	}
	if f.doc == "" {
		return "", fmt.Errorf("the key %s has no comment in %s: say what it means, its unit and its bounds", key, source)
	}
	return capital(f.doc), nil
}

// introduction is what the comment of a section's type says, without the type's name.
func (s structs) introduction(section string) string {
	f, err := s.find(section)
	if err != nil || s[f.kind] == nil || s[f.kind].doc == "" {
		return ""
	}
	return predicate(s[f.kind].doc, f.kind) + "\n\n"
}

// flat maps the path of each value of a YAML document to the value as written there.
func flat(document []byte) (map[string]string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, err
	}
	values := map[string]string{}
	var walk func(path string, n *yaml.Node) error
	walk = func(path string, n *yaml.Node) error {
		if n.Kind != yaml.MappingNode {
			text, err := yaml.Marshal(n)
			values[path] = "`" + strings.TrimSpace(string(text)) + "`"
			return err
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if path == "insights.applications" && name == config.DefaultApplication {
				name = "*"
			}
			if err := walk(strings.TrimPrefix(path+"."+name, "."), n.Content[i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	return values, walk("", root.Content[0])
}
