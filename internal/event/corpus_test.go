package event

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const examplesDir = "../../schemas/examples"

// example is a file of schemas/examples.
type example struct {
	name  string
	value []byte
	// Of bad ones, from bad.json:
	Reason, Field, Rule string
}

// examples reads the shared corpus, good and bad.
func examples(t testing.TB) (all []example) {
	t.Helper()
	table := make(map[string]example)
	text, err := os.ReadFile(filepath.Join(examplesDir, "bad.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(examplesDir, "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		value, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, bad := table[filepath.Base(file)]
		if bad != (filepath.Base(filepath.Dir(file)) == "bad") {
			t.Errorf("%s: in bad.json: %v", file, bad)
		}
		delete(table, filepath.Base(file))
		e.name, e.value = strings.TrimPrefix(file, examplesDir+"/"), value
		all = append(all, e)
	}
	for name := range table {
		t.Errorf("bad.json speaks of %s, which is missing", name)
	}
	return all
}

func TestExamplesAreJudgedAlikeByDecoderSchemaAndJudge(t *testing.T) {
	d := NewDecoder(Options{})
	for _, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			compare(t, d, e.value)
			var got example
			var ev Event
			if r := d.Decode(e.value, &ev); r != nil {
				t.Log(r)
				got.Reason, got.Field, got.Rule = r.Reason.String(), r.Field, r.Rule
			}
			if got.Reason != e.Reason || got.Field != e.Field || got.Rule != e.Rule {
				t.Errorf("refused as %q, %q, %q; wanted %q, %q, %q", got.Reason, got.Field, got.Rule, e.Reason, e.Field, e.Rule)
			}
		})
	}
}

func TestEveryRuleHasABadExample(t *testing.T) {
	shown := make(map[string]bool)
	for _, e := range examples(t) {
		shown[e.Rule] = true
	}
	for _, rule := range Rules() {
		if !shown[rule] {
			t.Errorf("no example breaks %s", rule)
		}
	}
}

// A validator that does not know the x- keywords accepts every good message, and more.
func TestStandardSchemasAcceptWhatTheDecoderAccepts(t *testing.T) {
	d := NewDecoder(Options{})
	for _, e := range examples(t) {
		var ev Event
		if d.Decode(e.value, &ev) != nil {
			continue
		}
		o, _ := judge(e.value)
		if err := standard()[ev.Type].Validate(plain(o)); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
	}
}
