package main

import "strconv"

var source = &datasource{Type: "prometheus", UID: "${datasource}"}

// row is a row of panels; a folded one is shown at a click.
type row struct {
	title  string
	folded bool
	panels []view
}

// view is what the tables say of a panel.
type view struct {
	id     int
	kind   string // timeseries (default), stat, state-timeline, table
	title  string
	good   string // the range that is good
	act    string // what to do outside of it
	unit   string
	width  int // of 24; height is 8
	stack  bool
	max    float64 // 0: as the values are
	steps  []step
	draw   []query
	line   []string // series drawn as lines over a stack
	states map[string][2]string
	format func(*panel)
}

// query is an expression with its legend.
type query struct{ expr, legend string }

// levels are thresholds: green below warn, orange from it on, red from bad on.
func levels(warn, bad float64) []step {
	return []step{{"green", nil}, {"orange", new(warn)}, {"red", new(bad)}}
}

func newDashboard() *dashboard {
	d := &dashboard{
		UID: "eventworker", Title: "eventworker", Tags: []string{"eventworker", "kafka", "algolia"},
		Description:   "Is it well, where is it stuck, what is refused, which partition. Each panel says what is good, and what to do otherwise.",
		GraphTooltip:  1,
		Refresh:       "30s",
		SchemaVersion: 39,
		Version:       1,
		Timezone:      "browser",
		Time:          timeRange{From: "now-3h", To: "now"},
		Links:         []link{},
		Annotations:   annotations{List: marks()},
		Templating:    templating{List: variables()},
	}
	y := 0
	for i, r := range rows() {
		d.Panels = append(d.Panels, r.build(100+i, &y)...)
	}
	return d
}

func variables() []variable {
	all := map[string]any{"text": "All", "value": "$__all"}
	return []variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Current: map[string]any{"text": "default", "value": "default"}},
		{
			Name: "job", Label: "Job (a group of workers)", Type: "query", Datasource: source, Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".+", Current: all,
			Definition: "label_values(eventworker_build_info, job)", Query: map[string]any{"query": "label_values(eventworker_build_info, job)", "refId": "job"},
		},
		{
			Name: "instance", Label: "Worker", Type: "query", Datasource: source, Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".+", Current: all,
			Definition: `label_values(eventworker_build_info{job=~"$job"}, instance)`, Query: map[string]any{"query": `label_values(eventworker_build_info{job=~"$job"}, instance)`, "refId": "instance"},
		},
	}
}

// build lays the row's panels out from y on, which it moves on.
func (r *row) build(id int, y *int) []panel {
	head := panel{ID: id, Type: "row", Title: r.title, GridPos: grid{H: 1, W: 24, Y: *y}, Collapsed: &r.folded}
	*y++
	const height = 8
	var panels []panel
	x := 0
	for i := range r.panels {
		v := &r.panels[i]
		if x+v.width > 24 {
			x = 0
			*y += height
		}
		panels = append(panels, v.build(grid{H: height, W: v.width, X: x, Y: *y}))
		x += v.width
	}
	*y += height
	if r.folded {
		head.Panels = panels
		return []panel{head}
	}
	return append([]panel{head}, panels...)
}

func (v *view) build(at grid) panel {
	p := panel{
		ID: v.id, Type: v.kind, Title: v.title, GridPos: at, Datasource: source,
		Description: "Good: " + v.good + "\n\nOtherwise: " + v.act,
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: v.unit}, Overrides: []override{}},
	}
	if p.Type == "" {
		p.Type = "timeseries"
	}
	for i, q := range v.draw {
		t := target{RefID: string(rune('A' + i)), Expr: q.expr, LegendFormat: q.legend, Datasource: source, Range: true}
		if p.Type == "table" || p.Type == "stat" {
			t.Range, t.Instant = false, true
		}
		if p.Type == "table" {
			t.Format = "table"
		}
		p.Targets = append(p.Targets, t)
	}
	f := &p.FieldConfig.Defaults
	if v.max != 0 {
		f.Max = &v.max
	}
	if v.steps != nil {
		f.Thresholds = &thresholds{Mode: "absolute", Steps: v.steps}
	}
	switch p.Type {
	case "timeseries":
		v.drawn(&p)
	case "stat":
		p.Options = map[string]any{"colorMode": "background", "graphMode": "none", "textMode": "value_and_name", "reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	case "state-timeline":
		p.Options = map[string]any{"showValue": "auto", "mergeValues": true, "legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false}}
		f.Custom = map[string]any{"fillOpacity": 80}
	}
	if v.states != nil {
		f.Mappings = mappings(v.states)
	}
	if v.format != nil {
		v.format(&p)
	}
	return p
}

// drawn dresses a panel of curves.
func (v *view) drawn(p *panel) {
	f := &p.FieldConfig.Defaults
	f.Min = new(float64(0))
	custom := map[string]any{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
	if v.stack {
		custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
		custom["fillOpacity"] = 60
	}
	if v.steps != nil {
		custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	f.Custom = custom
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	for _, name := range v.line {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
			Matcher: matcher{ID: "byName", Options: name},
			Properties: []property{
				{ID: "custom.stacking", Value: map[string]any{"mode": "none", "group": "A"}},
				{ID: "custom.fillOpacity", Value: 0},
				{ID: "custom.lineWidth", Value: 2},
				{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": "text"}},
			},
		})
	}
}

// mappings name values: each has a word and a colour, so that colour alone never carries meaning.
func mappings(states map[string][2]string) []any {
	options := map[string]any{}
	for value, s := range states {
		index, err := strconv.Atoi(value)
		if err != nil {
			index = len(options)
		}
		options[value] = map[string]any{"text": s[0], "color": s[1], "index": index}
	}
	return []any{map[string]any{"type": "value", "options": options}}
}
