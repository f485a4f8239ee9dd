package main

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/telemetry"
)

func TestAQueryOfWhatIsNotThereIsNamed(t *testing.T) {
	labels := map[string]map[string]bool{
		"eventworker_requests_total":             {"application": true, "class": true},
		"eventworker_batch_events_bucket":        {"application": true, "le": true},
		"process_start_time_seconds":             {},
		"eventworker_partition_lag_seconds":      {"topic": true, "partition": true},
		"eventworker_delivery_latency_seconds_x": {},
	}
	for expr, want := range map[string][]string{
		`sum by (application) (rate(eventworker_requests_total{job=~".+",class="2xx"}[5m]))`:            nil,
		`histogram_quantile(0.9, sum by (le, application) (rate(eventworker_batch_events_bucket[5m])))`: nil,
		`changes(process_start_time_seconds{job="a"}[2m]) > 0`:                                          nil,
		`job:eventworker_late:ratio_rate1h > 1`:                                                         nil,
		`# eventworker_no_such_total in a comment` + "\nup == 0":                                        nil,
		`eventworker_requests_total{class="eventworker_no_such"}`:                                       nil,
		`rate(eventworker_request_total[5m])`:                                                           {"no metric eventworker_request_total"},
		`eventworker_requests_total{klass="2xx"}`:                                                       {"eventworker_requests_total has no label klass"},
		`max by (reason) (eventworker_partition_lag_seconds)`:                                           {"none of its metrics has the label reason"},
		`a / on (job, class) eventworker_partition_lag_seconds`:                                         {"none of its metrics has the label class"},
	} {
		q := query{expr: expr}
		if got := q.unknown(labels); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", expr, got, want)
		}
	}
}

// What the live check sees depends on what happens in it; this one holds every query against the
// table of metrics.
func TestEveryQueryNamesMetricsAndLabelsOfTheTable(t *testing.T) {
	t.Chdir("../..")
	labels := map[string]map[string]bool{}
	for _, d := range slices.Concat(telemetry.Definitions, dlq.WatchDefinitions) {
		of := map[string]bool{}
		for _, l := range d.Labels {
			of[l] = true
		}
		names := []string{d.Name}
		if d.Kind == telemetry.HistogramKind {
			names = []string{d.Name + "_sum", d.Name + "_count"}
			bucket := map[string]bool{"le": true}
			for l := range of {
				bucket[l] = true
			}
			labels[d.Name+"_bucket"] = bucket
		}
		for _, n := range names {
			labels[n] = of
		}
	}
	queries, err := allQueries()
	if err != nil {
		t.Fatal(err)
	}
	if len(queries) < 50 {
		t.Fatalf("only %d queries found", len(queries))
	}
	for i := range queries {
		for _, wrong := range queries[i].unknown(labels) {
			if strings.HasPrefix(wrong, "no metric go_") || strings.HasPrefix(wrong, "no metric process_") || queries[i].where == "annotation Restarts" {
				continue // the runtime's
			}
			if strings.Contains(queries[i].expr, "go_gc_duration_seconds") && strings.Contains(wrong, "quantile") {
				continue
			}
			t.Errorf("%s: %s", queries[i].where, wrong)
		}
	}
}

func TestAlertsRunbookAndPanelsBelongTogether(t *testing.T) {
	t.Chdir("../..")
	rules, err := readRules()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkAlerts(rules); err != nil {
		t.Error(err)
	}
	if err := sameFiles(); err != nil {
		t.Error(err)
	}
	rules[len(rules)-1].Annotations["runbook_url"] = "docs/alerts.md#elsewhere"
	if err := checkAlerts(rules); err == nil {
		t.Error("a link to no section was accepted")
	}
}

func TestTheChartKnowsEverySectionOfTheConfiguration(t *testing.T) {
	content, err := os.ReadFile("../../" + chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	section := resource(schema).inner("properties", "config")
	if section.at("additionalProperties") != false {
		t.Error("the chart accepts sections that there are not")
	}
	known := slices.Sorted(maps.Keys(section.inner("properties")))
	var want []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		want = append(want, f.Tag.Get("yaml"))
	}
	slices.Sort(want)
	if !slices.Equal(known, want) {
		t.Errorf("the chart's schema knows the sections\n%v\nthe configuration has\n%v", known, want)
	}
}

func TestAPodWithRightsIsRefused(t *testing.T) {
	const pod = `
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}
      env: [{name: OTEL_X, value: y}]
      startupProbe: {httpGet: {path: /livez}}
      livenessProbe: {httpGet: {path: /livez}}
      readinessProbe: {httpGet: {path: /readyz}}
`
	check := func(text string) error {
		r, err := parse(text)
		if err != nil || len(r) != 1 {
			t.Fatal(err, r)
		}
		return checkPod(r[0], true)
	}
	if err := check(pod); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"automountServiceAccountToken: false":      "automountServiceAccountToken: true",
		"runAsNonRoot: true":                       "runAsNonRoot: false",
		"drop: [ALL]":                              "drop: [NET_RAW]",
		"readOnlyRootFilesystem: true":             "readOnlyRootFilesystem: false",
		"limits: {memory: 1Gi}":                    "limits: {}",
		"name: OTEL_X":                             "name: EVENTWORKER_KAFKA__SASL__PASSWORD",
		"readinessProbe: {httpGet: {path: /readyz": "readinessProbe: {httpGet: {path: /livez",
	} {
		changed := strings.Replace(pod, from, to, 1)
		if changed == pod {
			t.Fatalf("%q is not in the pod", from)
		}
		if check(changed) == nil {
			t.Errorf("a pod with %q was accepted", to)
		}
	}
}
