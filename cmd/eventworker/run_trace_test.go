package main

import (
	"strings"
	"testing"
)

// TestRunRefusesVariablesOfTracesByName as a mistake of the configuration, before it connects to anything.
func TestRunRefusesVariablesOfTracesByName(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always")
	env := []string{"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__APP_ID=A", "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=k"}
	r := call(t, env, "run", "--set", "insights.region=us", "--set", "kafka.brokers=127.0.0.1:1")
	if r.code != exitUsage || !strings.Contains(r.err, "OTEL_BSP_MAX_QUEUE_SIZE: want") || !strings.Contains(r.err, "OTEL_TRACES_SAMPLER: want one of") {
		t.Errorf("%+v", r)
	}
}
