package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const runbook = "docs/alerts.md"

// checkRules checks the rules' form, runs their tests, and holds alerts, runbook, dashboard and the
// chart's copies together.
func checkRules(ctx context.Context, _ *checks) error {
	if _, err := command(ctx, "promtool", "check", "rules", rulesFile); err != nil {
		return err
	}
	if err := sameFiles(); err != nil {
		return err
	}
	rules, err := readRules()
	if err != nil {
		return err
	}
	if err := checkAlerts(rules); err != nil {
		return err
	}
	tests, err := filepath.Glob("deploy/prometheus/tests/*.yml")
	if err != nil || len(tests) == 0 {
		return fmt.Errorf("no tests in deploy/prometheus/tests: %w", err)
	}
	if _, err := command(ctx, "promtool", append([]string{"test", "rules"}, tests...)...); err != nil {
		return err
	}
	return tested(rules, tests)
}

// sameFiles holds the chart's copies against their originals: Helm reads nothing outside of a chart.
func sameFiles() error {
	for _, original := range []string{rulesFile, dashboardFile} {
		copied := chart + "/files/" + filepath.Base(original)
		a, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(copied)
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%s differs from %s: make dashboard", copied, original)
		}
	}
	return nil
}

var panelOf = regexp.MustCompile(`^d/eventworker/eventworker\?viewPanel=([0-9]+)(&|$)`)

// checkAlerts says whether every alert has what somebody who is woken needs.
func checkAlerts(rules []rule) error {
	sections, err := sectionsOf(runbook)
	if err != nil {
		return err
	}
	d, err := readDashboard()
	if err != nil {
		return err
	}
	panels := map[string]bool{}
	for _, p := range d.all() {
		panels[fmt.Sprint(p.ID)] = true
	}
	alerts := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		if r.Alert == "" {
			continue
		}
		alerts[r.Alert] = true
		for _, a := range []string{"summary", "description", "dashboard", "runbook_url"} {
			if r.Annotations[a] == "" {
				return fmt.Errorf("%s has no annotation %s", r.Alert, a)
			}
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			return fmt.Errorf("%s: severity is %q, want warning or critical", r.Alert, s)
		}
		if o := r.Labels["owner"]; o != "eventworker" && o != "storefront" {
			return fmt.Errorf("%s: owner is %q, want eventworker or storefront", r.Alert, o)
		}
		if want := runbook + "#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			return fmt.Errorf("%s: runbook_url is %s, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
		if m := panelOf.FindStringSubmatch(r.Annotations["dashboard"]); len(m) < 2 || !panels[m[1]] {
			return fmt.Errorf("%s: dashboard names no panel: %s", r.Alert, r.Annotations["dashboard"])
		}
		if !slices.Contains(sections, r.Alert) {
			return fmt.Errorf("%s has no section in %s", r.Alert, runbook)
		}
	}
	for _, s := range sections {
		if !alerts[s] {
			return fmt.Errorf("%s has a section %s, which is no alert", runbook, s)
		}
	}
	say("%d rules, %d alerts, each with its section and its panel", len(rules), len(alerts))
	return nil
}

// sectionsOf are the headings of the third level.
func sectionsOf(file string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var sections []string
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		if title, ok := strings.CutPrefix(lines.Text(), "### "); ok {
			sections = append(sections, title)
		}
	}
	return sections, nil
}

// tested says whether a test expects each alert, at each severity, to fire.
func tested(rules []rule, tests []string) error {
	var all strings.Builder
	for _, file := range tests {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all.Write(content)
	}
	for i := range rules {
		r := &rules[i]
		if r.Alert == "" {
			continue
		}
		if want := fmt.Sprintf("alertname=%q, severity=%q", r.Alert, r.Labels["severity"]); !strings.Contains(all.String(), want) {
			return fmt.Errorf("no test sees %s fire with severity %s", r.Alert, r.Labels["severity"])
		}
	}
	return nil
}
