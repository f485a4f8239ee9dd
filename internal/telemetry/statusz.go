package telemetry

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

//go:embed style.css
var styleSheet []byte

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

func style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Write(styleSheet) // a reader that went away is no failure of ours
}

// view is what the page template shows.
type view struct {
	Title, Version string
	Ready          bool
	Conditions     []Condition
	Endpoints      []endpoint
	Status         *value
}

func (a *Admin) index(w http.ResponseWriter, r *http.Request) {
	ready, conditions := a.options.Health.Ready()
	if prefers(r, "text/html", "application/json") == "application/json" {
		paths := make(map[string]string, len(a.endpoints))
		for _, e := range a.endpoints {
			paths[e.Path] = e.About
		}
		writeJSON(w, http.StatusOK, map[string]any{"ready": ready, "endpoints": paths})
		return
	}
	writePage(w, view{Title: "eventworker", Version: a.options.Version, Ready: ready, Conditions: conditions, Endpoints: a.endpoints})
}

// statusDocument is the JSON of /statusz.
type statusDocument struct {
	Schema     string      `json:"schema"`
	Version    string      `json:"version,omitempty"`
	Ready      bool        `json:"ready"`
	Conditions []Condition `json:"conditions"`
	// Overview is what the page shows; its keys are stable.
	Overview *StatusPage `json:"overview,omitempty"`
	// Status is the state of the parts in detail.
	Status any `json:"status,omitempty"`
}

// statusz gives the page to those who ask for HTML, as browsers do, and JSON to all others: curl and
// programs, which take anything, can use that and not the page.
func (a *Admin) statusz(w http.ResponseWriter, r *http.Request) {
	kind := prefers(r, "application/json", "text/html")
	switch format := r.FormValue("format"); format {
	case "":
	case "json":
		kind = "application/json"
	case "html":
		kind = "text/html"
	default:
		http.Error(w, fmt.Sprintf("there is no format %.100q: want json or html", format), http.StatusBadRequest)
		return
	}
	doc := statusDocument{Schema: "eventworker.status/v1", Version: a.options.Version}
	doc.Ready, doc.Conditions = a.options.Health.Ready()
	if a.options.Status != nil {
		doc.Status = a.options.Status()
	}
	if a.options.Page != nil {
		doc.Overview = a.options.Page()
	}
	if kind == "application/json" {
		writeJSON(w, http.StatusOK, doc)
		return
	}
	if doc.Overview != nil {
		a.statusPage(w, r, &doc)
		return
	}
	encoded, err := json.Marshal(doc.Status)
	if err != nil {
		http.Error(w, "the status does not encode: "+err.Error(), http.StatusInternalServerError)
		return
	}
	status, err := parseValue(encoded)
	if err != nil {
		http.Error(w, "the status does not decode: "+err.Error(), http.StatusInternalServerError)
		return
	}
	writePage(w, view{Title: "status", Version: doc.Version, Ready: doc.Ready, Conditions: doc.Conditions, Status: status})
}

func writePage(w http.ResponseWriter, v view) { writeTemplate(w, page, v) }

func writeTemplate(w http.ResponseWriter, t *template.Template, v any) {
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) // a reader that went away is no failure of ours
}

func writeJSON(w http.ResponseWriter, code int, document any) {
	encoded, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		http.Error(w, "the answer does not encode: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(encoded, '\n')) // a reader that went away is no failure of ours
}

// prefers is the offered media type that the Accept header likes best; the first offer where it likes
// several equally or says nothing.
func prefers(r *http.Request, offers ...string) string {
	best, bestQuality := offers[0], 0.0
	for _, offer := range offers {
		quality, exactness := 0.0, -1
		for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
			q, exact := matches(part, offer)
			if exact > exactness {
				quality, exactness = q, exact
			}
		}
		if quality > bestQuality {
			best, bestQuality = offer, quality
		}
	}
	return best
}

// matches gives the quality that one part of an Accept header gives an offer, and how exactly it
// names it: -1 not at all.
func matches(part, offer string) (quality float64, exactness int) {
	accepted, parameters, err := mime.ParseMediaType(part)
	if err != nil {
		return 0, -1
	}
	quality = 1
	if q, given := parameters["q"]; given {
		if quality, err = strconv.ParseFloat(q, 64); err != nil {
			return 0, -1
		}
	}
	kind, _, _ := strings.Cut(offer, "/")
	exactness = slices.Index([]string{"*/*", kind + "/*", offer}, accepted)
	return quality, exactness
}

// value is a JSON value as the page shows it; one of the fields counts.
type value struct {
	Text   string   // a scalar
	Fields []field  // an object, in its order
	Items  []*value // an array
	Table  *table   // an array of objects
}

type field struct {
	Name  string
	Value *value
}

// table is an array of objects: the columns are those of all rows in the order they are met.
type table struct {
	Columns []string
	Rows    [][]*value // nil where a row lacks the column
}

// parseValue reads JSON and keeps the order of keys and the digits of numbers.
func parseValue(encoded []byte) (*value, error) {
	dec := json.NewDecoder(bytes.NewReader(encoded))
	dec.UseNumber()
	return readValue(dec)
}

func readValue(dec *json.Decoder) (*value, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return readObject(dec)
		}
		return readArray(dec)
	case string:
		return &value{Text: t}, nil
	case json.Number:
		return &value{Text: t.String()}, nil
	case bool:
		return &value{Text: strconv.FormatBool(t)}, nil
	}
	return &value{Text: "–"}, nil
}

func readObject(dec *json.Decoder) (*value, error) {
	v := &value{Fields: []field{}}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		child, err := readValue(dec)
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		v.Fields = append(v.Fields, field{name, child})
	}
	_, err := dec.Token()
	return v, err
}

func readArray(dec *json.Decoder) (*value, error) {
	v := &value{Items: []*value{}}
	objects := true
	for dec.More() {
		child, err := readValue(dec)
		if err != nil {
			return nil, err
		}
		objects = objects && child.Fields != nil
		v.Items = append(v.Items, child)
	}
	if objects && len(v.Items) > 0 {
		v.Table = tableOf(v.Items)
	}
	_, err := dec.Token()
	return v, err
}

func tableOf(rows []*value) *table {
	t := &table{}
	for _, row := range rows {
		for _, f := range row.Fields {
			if !slices.Contains(t.Columns, f.Name) {
				t.Columns = append(t.Columns, f.Name)
			}
		}
	}
	for _, row := range rows {
		cells := make([]*value, len(t.Columns))
		for _, f := range row.Fields {
			cells[slices.Index(t.Columns, f.Name)] = f.Value
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}
