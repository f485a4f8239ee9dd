//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
)

// metrics brings the profile metrics up and asks Prometheus whether it scrapes the worker and has loaded
// the rules, and Grafana, or its stand-in, whether it is well.
func (t *test) metrics(ctx context.Context) error {
	if err := t.composed(ctx, "--profile", "metrics", "up", "-d", "prometheus", "grafana"); err != nil {
		return err
	}
	for _, service := range []string{"prometheus", "grafana"} {
		if err := t.healthy(ctx, service); err != nil {
			return err
		}
	}
	err := until(ctx, func(ctx context.Context) error {
		up, err := t.query(ctx, `sum(up{job="eventworker"})`)
		if err == nil && up != "1" {
			err = fmt.Errorf("the sum of up is %q, want 1", up)
		}
		return err
	})
	if err != nil {
		return err
	}
	received, err := t.query(ctx, `sum(eventworker_messages_received_total) > 0`)
	if err != nil || received == "" {
		return fmt.Errorf("no messages are counted in Prometheus: %w", err)
	}
	rules, err := t.rules(ctx)
	if err != nil {
		return err
	}
	say("Prometheus scrapes the worker (up == 1) and has loaded %d rules", rules)
	return t.provisioned(ctx)
}

// query gives the value of the first sample of an instant query; "" if there is none.
func (t *test) query(ctx context.Context, expr string) (string, error) {
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	err := get(ctx, t.url("PROMETHEUS_PORT", "/api/v1/query?query="+url.QueryEscape(expr)), decode(&answer))
	if err != nil || len(answer.Data.Result) == 0 {
		return "", err
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
}

func decode(v any) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(r).Decode(v) }
}

// rules counts the rules that Prometheus has loaded. There must be some where files are.
func (t *test) rules(ctx context.Context) (n int, err error) {
	var answer struct {
		Data struct {
			Groups []struct {
				Name  string
				Rules []struct{ Name, LastError string }
			}
		}
	}
	if err := get(ctx, t.url("PROMETHEUS_PORT", "/api/v1/rules"), decode(&answer)); err != nil {
		return 0, err
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if n++; r.LastError != "" {
				return n, fmt.Errorf("rule %s: %s", r.Name, r.LastError)
			}
		}
	}
	if n == 0 {
		return 0, errors.New("no rules of deploy/prometheus/rules are loaded in Prometheus")
	}
	return n, nil
}

// provisioned asks the stand-in what Grafana would find. The real one is asked for its health only.
func (t *test) provisioned(ctx context.Context) error {
	if t.official {
		say("Grafana answers its health check")
		return nil
	}
	var found struct{ Datasources, Dashboards []string }
	if err := get(ctx, t.url("GRAFANA_PORT", "/stand-in"), decode(&found)); err != nil {
		return err
	}
	files, err := filepath.Glob("deploy/grafana/dashboards/*.json")
	if err != nil || len(found.Dashboards) != len(files) {
		return fmt.Errorf("%d of %d dashboards are provisioned: %w", len(found.Dashboards), len(files), err)
	}
	say("Grafana itself cannot be had here: a stand-in found %d datasource and %d dashboards where Grafana looks for them; that they", len(found.Datasources), len(files))
	say("draw anything is not shown by this")
	return nil
}

// skips says whether -only leaves a step out.
func (t *test) skips(name string) bool {
	if name == "docs/walk-through.md, command by command" {
		_, err := os.Stat(walkThroughPage)
		return t.only == "check" || err != nil
	}
	return t.only == "walk-through" && name != "build the image" // the page itself brings it up
}
