package event

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"eventworker/schemas"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// compiled are the published schemas with their x- keywords: what the worker's schema layer is.
var compiled = sync.OnceValue(func() map[Type]*jsonschema.Schema { return compileSchemas(true) })

// standard are the published schemas as a validator sees them that does not know the x- keywords.
var standard = sync.OnceValue(func() map[Type]*jsonschema.Schema { return compileSchemas(false) })

func compileSchemas(extended bool) map[Type]*jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if extended {
		c.AssertVocabs()
		c.RegisterVocabulary(&jsonschema.Vocabulary{URL: "x-keywords", Compile: compileKeywords})
	}
	all := make(map[Type]*jsonschema.Schema)
	for _, t := range []Type{Shown, Clicked, AddedToCart, Purchased} {
		name := t.String() + ".schema.json"
		file, err := schemas.Files.Open(name)
		if err != nil {
			panic(err)
		}
		doc, err := jsonschema.UnmarshalJSON(file)
		if err != nil {
			panic(name + ": " + err.Error())
		}
		if err := c.AddResource(name, doc); err != nil {
			panic(err)
		}
		all[t] = c.MustCompile(name)
	}
	return all
}

// keyword is one x- keyword of the schemas: it says whether a value keeps it.
type keyword func(v any) bool

type keywords []keyword

func (k keywords) Validate(ctx *jsonschema.ValidatorContext, v any) {
	for _, holds := range k {
		if !holds(v) {
			ctx.AddError(&kind.FalseSchema{})
		}
	}
}

func compileKeywords(_ *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
	var all keywords
	for name, arg := range obj {
		if !strings.HasPrefix(name, "x-") {
			continue
		}
		k, err := compileKeyword(name, arg)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	if all == nil {
		return nil, nil
	}
	return all, nil
}

var (
	digitsOnly  = regexp.MustCompile(`^[0-9]+$`)
	decimalForm = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,9})?$`)
)

func compileKeyword(name string, arg any) (keyword, error) {
	switch name {
	case "x-maxBytes":
		most, err := arg.(json.Number).Int64()
		return func(v any) bool {
			s, ok := v.(string)
			return !ok || int64(len(s)) <= most
		}, err
	case "x-digitsOnly":
		return func(v any) bool {
			n, ok := v.(json.Number)
			return !ok || digitsOnly.MatchString(string(n))
		}, nil
	case "x-decimalForm":
		return func(v any) bool {
			n, ok := v.(json.Number)
			return !ok || decimalForm.MatchString(string(n)) && len(n) <= 16
		}, nil
	case "x-sameLength":
		of := arg.([]any)
		return func(v any) bool {
			a, okA := at(v, of[0].(string)).([]any)
			b, okB := at(v, of[1].(string)).([]any)
			return !okA || !okB || len(a) == len(b)
		}, nil
	case "x-maxTotal":
		return maxTotal(arg.([]any))
	case "x-hitsByModel":
		return hitsByModel, nil
	}
	return nil, fmt.Errorf("unknown keyword %s", name)
}

func maxTotal(limits []any) (keyword, error) {
	return func(v any) bool {
		for _, limit := range limits {
			limit := limit.(map[string]any)
			most, _ := limit["max"].(json.Number).Int64()
			total := 0
			lists, _ := at(v, limit["of"].(string)).([]any)
			for _, list := range lists {
				each, _ := at(list, limit["each"].(string)).([]any)
				total += len(each)
			}
			if int64(total) > most {
				return false
			}
		}
		return true
	}, nil
}

func hitsByModel(v any) bool {
	requests, _ := at(v, "/request/requests").([]any)
	results, _ := at(v, "/response/results").([]any)
	for i := range min(len(requests), len(results)) {
		wanted := []string{"/objectID"}
		if at(requests[i], "/model") == "trending-facets" {
			wanted = []string{"/facetName", "/facetValue"}
		}
		hits, _ := at(results[i], "/hits").([]any)
		for _, hit := range hits {
			for _, name := range wanted {
				s, ok := at(hit, name).(string)
				if !ok || s == "" || len(wanted) == 1 && len(s) > 256 {
					return false
				}
			}
		}
	}
	return true
}

// at follows a JSON pointer through objects; nil if there is nothing.
func at(v any, pointer string) any {
	for _, name := range strings.Split(pointer, "/")[1:] {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func TestSchemasSayTheSameOfTheSameThings(t *testing.T) {
	seen := make(map[string]string)
	for _, typ := range []Type{Shown, Clicked, AddedToCart, Purchased} {
		text, err := schemas.Files.ReadFile(typ.String() + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Schema string         `json:"$schema"`
			Defs   map[string]any `json:"$defs"`
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: draft is %q", typ, doc.Schema)
		}
		for name, def := range doc.Defs {
			text, _ := json.Marshal(def)
			if other, ok := seen[name]; ok && other != string(text) {
				t.Errorf("%s: definition %s differs from another schema's", typ, name)
			}
			seen[name] = string(text)
		}
	}
}
