package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func inDir(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const brokenConfig = `kafka:
  topic: [a]
  session_timeout: 15
insights:
  applications: {default: {app_id: A, api_key: s3cret}}
batch: {max_events: 2000}
`

func TestConfigCheckNamesEveryMistakeAtOnce(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": brokenConfig})
	r := call(t, []string{"EVENTWORKER_TOKENS=x"}, "config", "check", "--config", "c.yaml", "--set", "join.wait=soon")
	golden(t, "check.txt", r.out)
	if r.code != exitUsage || r.err != "Error: 5 mistakes in the configuration\n" {
		t.Errorf("%d, %q", r.code, r.err)
	}
	r = call(t, nil, "config", "check", "--config", "c.yaml", "--output", "json")
	valid(t, configCheckSchema, r.out)
	var doc checked
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.OK || len(doc.Problems) != 3 || doc.Problems[0].Source != "c.yaml(2,3)" {
		t.Errorf("%v in %s", err, r.out)
	}
	if strings.Contains(r.out+r.err, "s3cret") {
		t.Error("a secret was printed")
	}
}

func TestConfigCheckOfAValidConfiguration(t *testing.T) {
	env := []string{"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__APP_ID=A", "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=k"}
	if r := call(t, env, "config", "check"); r.code != exitOK || r.out != "" || r.err != "the configuration is valid\n" {
		t.Errorf("%+v", r)
	}
	if r := call(t, nil, "config", "check"); r.code != exitUsage || !strings.Contains(r.out, "api_key: is missing") {
		t.Errorf("without credentials: %+v", r)
	}
	if r := call(t, nil, "config", "check", "--for-run=false"); r.code != exitOK {
		t.Errorf("without credentials, not for a run: %+v", r)
	}
}

func TestConfigPrint(t *testing.T) {
	inDir(t, map[string]string{"c.yaml": "insights: {applications: {default: {app_id: A, api_key: s3cret}}}\n"})
	r := call(t, nil, "config", "print", "-c", "c.yaml", "--origin")
	if r.code != exitOK || !strings.Contains(r.out, "app_id: A # c.yaml(1,45)\n") || !strings.Contains(r.out, `api_key: "***" # c.yaml(1,57)`) {
		t.Errorf("%+v", r)
	}
	r = call(t, nil, "config", "print", "--output", "json", "--origin")
	if r.code != exitOK || !strings.Contains(r.out, "origins") {
		t.Errorf("%+v", r)
	}
	valid(t, configSchema, r.out)
	inDir(t, map[string]string{"c.yaml": brokenConfig})
	r = call(t, nil, "config", "print", "-c", "c.yaml")
	if r.code != exitUsage || r.out != "" || !strings.Contains(r.err, "\nError: 3 mistakes in the configuration\n") {
		t.Errorf("%+v", r)
	}
}

func TestVersion(t *testing.T) {
	if r := call(t, nil, "version"); r.code != exitOK || !strings.HasPrefix(r.out, "eventworker ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	var b build
	r := call(t, nil, "version", "-o", "json")
	valid(t, versionSchema, r.out)
	if json.Unmarshal([]byte(r.out), &b) != nil || b.Schema != "eventworker.version/v1" || b.Go == "" {
		t.Errorf("%+v", r)
	}
	if r := call(t, nil, "--version"); r.code != exitOK || !strings.HasPrefix(r.out, "eventworker ") {
		t.Errorf("%+v", r)
	}
	var text strings.Builder
	if err := writeVersion(&text, build{Version: "v1.2.3", Commit: "abc", Modified: true, Date: "2026-01-01", Go: "go1", Platform: "x/y"}, "text"); err != nil {
		t.Fatal(err)
	}
	if want := "eventworker v1.2.3 (abc, modified, 2026-01-01) go1 x/y\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}
