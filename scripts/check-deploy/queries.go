package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "deploy/prometheus/rules/eventworker.rules.yml"
	dashboardFile = "deploy/grafana/dashboards/eventworker.json"
)

// query is an expression of a rule or of the dashboard.
type query struct {
	where string
	expr  string
	// filters says that it selects what is wrong, so that no result is a good one.
	filters bool
}

// rule is one of a file of rules.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Keep        string            `yaml:"keep_firing_for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules() ([]rule, error) {
	content, err := os.ReadFile(rulesFile)
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", rulesFile, err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules, nil
}

// panel is what is read of a dashboard's panel.
type panel struct {
	ID          int     `json:"id"`
	Type        string  `json:"type"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Panels      []panel `json:"panels"`
	Targets     []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

type dashboard struct {
	Panels      []panel `json:"panels"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

func readDashboard() (*dashboard, error) {
	content, err := os.ReadFile(dashboardFile)
	if err != nil {
		return nil, err
	}
	d := new(dashboard)
	if err := json.Unmarshal(content, d); err != nil {
		return nil, fmt.Errorf("%s: %w", dashboardFile, err)
	}
	return d, nil
}

// all are the panels that show something, those of folded rows too.
func (d *dashboard) all() []panel {
	var panels []panel
	for i := range d.Panels {
		for _, p := range append([]panel{d.Panels[i]}, d.Panels[i].Panels...) {
			if p.Type != "row" {
				panels = append(panels, p)
			}
		}
	}
	return panels
}

var labelValues = regexp.MustCompile(`^label_values\((.+), *[a-z_]+\)$`)

// allQueries are those of the rules and of the dashboard, with Grafana's variables as they are when
// everything is chosen.
func allQueries() ([]query, error) {
	rules, err := readRules()
	if err != nil {
		return nil, err
	}
	var queries []query
	for i := range rules {
		r := &rules[i]
		queries = append(queries, query{where: "rule " + r.Record + r.Alert, expr: r.Expr, filters: r.Alert != ""})
	}
	d, err := readDashboard()
	if err != nil {
		return nil, err
	}
	for _, p := range d.all() {
		for _, t := range p.Targets {
			queries = append(queries, query{where: fmt.Sprintf("panel %d, %q", p.ID, p.Title), expr: t.Expr})
		}
	}
	for _, a := range d.Annotations.List {
		queries = append(queries, query{where: "annotation " + a.Name, expr: a.Expr, filters: true})
	}
	for _, v := range d.Templating.List {
		if v.Definition == "" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			return nil, fmt.Errorf("variable %s: cannot read %q", v.Name, v.Definition)
		}
		queries = append(queries, query{where: "variable " + v.Name, expr: m[1]})
	}
	chosen := strings.NewReplacer("$__rate_interval", "30s", "$job", ".+", "$instance", ".+")
	for i := range queries {
		queries[i].expr = chosen.Replace(queries[i].expr)
	}
	return queries, nil
}

var (
	exposedName = regexp.MustCompile(`(^|[^a-z0-9_:])((?:eventworker|process|go)_[a-z0-9_]+)(\{[^}]*\})?`)
	matcherName = regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\b(?:by|on|ignoring|without|group_left|group_right) *\(([^)]*)\)`)
	quoted      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	comment     = regexp.MustCompile(`(?m)^\s*#.*$`)
)

// unknown says which of a query's metrics and labels a scrape does not have. Labels that Prometheus
// adds to every series are known.
func (q *query) unknown(labels map[string]map[string]bool) []string {
	expr := quoted.ReplaceAllString(comment.ReplaceAllString(q.expr, ""), `""`)
	usual := map[string]bool{"job": true, "instance": true}
	var wrong []string
	theirs := map[string]bool{}
	for _, m := range exposedName.FindAllStringSubmatch(expr, -1) {
		name := m[2]
		of, there := labels[name]
		if !there {
			wrong = append(wrong, "no metric "+name)
			continue
		}
		for label := range of {
			theirs[label] = true
		}
		for _, l := range matcherName.FindAllStringSubmatch(m[3], -1) {
			if !of[l[1]] && !usual[l[1]] {
				wrong = append(wrong, name+" has no label "+l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if l = strings.TrimSpace(l); l != "" && !theirs[l] && !usual[l] {
				wrong = append(wrong, "none of its metrics has the label "+l)
			}
		}
	}
	return wrong
}
