// Package docs holds the documents against what they speak of: links lead somewhere, configuration
// is taken, metrics and commands exist.
package docs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/telemetry"
)

const top = "../.."

// pages are the contents of the Markdown files of the project by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == "venv"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d pages were found", len(found))
	}
	return found
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
				continue
			}
			if anchor != "" && filepath.Ext(to) == ".md" && !slices.Contains(anchors(all[to]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, m[1])
			}
		}
	}
}

// anchors are those that the headings of a page have, as GitHub makes them.
func anchors(text string) []string {
	var found []string
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced || !strings.HasPrefix(line, "#") {
			continue
		}
		heading := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		found = append(found, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return r
			}
			return -1
		}, heading))
	}
	return found
}

var fence = regexp.MustCompile("(?s)\n```ya?ml\n(.*?\n)```")

// TestConfigurationInPagesIsTaken loads each YAML block whose keys are all those of the worker. Other
// blocks are Compose's, Kubernetes' or Prometheus'.
func TestConfigurationInPagesIsTaken(t *testing.T) {
	groups := map[string]bool{}
	for _, key := range config.Keys() {
		first, _, _ := strings.Cut(key, ".")
		groups[first] = true
	}
	loaded := 0
	for path, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if !configures(m[1], groups) {
				continue
			}
			loaded++
			file := filepath.Join(t.TempDir(), "block.yaml")
			if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(config.Sources{File: file}); err != nil {
				t.Errorf("%s has a configuration that is not taken: %v\n%s", path, err, m[1])
			}
		}
	}
	if loaded == 0 {
		t.Error("no page has a configuration: the test looks for the wrong thing")
	}
}

// configures says whether all keys at the top of a block are the worker's.
func configures(block string, groups map[string]bool) bool {
	keys := 0
	for line := range strings.Lines(block) {
		key, _, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(key, " #-") {
			continue
		}
		if !groups[key] {
			return false
		}
		keys++
	}
	return keys > 0
}

var metric = regexp.MustCompile(`\beventworker_[a-z0-9_]+\b`)

func TestMetricsInPagesExist(t *testing.T) {
	known := map[string]bool{}
	for _, d := range slices.Concat(telemetry.Definitions, dlq.WatchDefinitions) {
		known[d.Name] = true
		if d.Kind == telemetry.HistogramKind {
			known[d.Name+"_bucket"], known[d.Name+"_sum"], known[d.Name+"_count"] = true, true, true
		}
	}
	for path, text := range pages(t) {
		for _, name := range metric.FindAllString(text, -1) {
			if !known[name] && !begins(known, name) {
				t.Errorf("%s speaks of %s, which nothing here has", path, name)
			}
		}
	}
}

// begins says whether a name is what a group of metrics begins with, as in a call of grep.
func begins(known map[string]bool, name string) bool {
	for k := range known {
		if strings.HasPrefix(k, strings.TrimSuffix(name, "_")+"_") {
			return true
		}
	}
	return false
}

// A command in a block or in back quotes: eventworker, then words that may name commands.
var command = regexp.MustCompile("(?:[\n`]|\\$ )eventworker((?: [a-z][a-z-]*)+)")

func TestCommandsInPagesExist(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "eventworker")
	if out, err := exec.Command("go", "build", "-o", binary, "eventworker/cmd/eventworker").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	exists := map[string]bool{}
	for path, text := range pages(t) {
		for _, m := range command.FindAllStringSubmatch("\n"+text, -1) {
			words := strings.Fields(m[1])
			name := words[0]
			if len(words) > 1 && (name == "dlq" || name == "group" || name == "config" || name == "store") {
				name += " " + words[1]
			}
			if _, asked := exists[name]; !asked {
				exists[name] = helps(t, binary, strings.Fields(name))
			}
			if !exists[name] {
				t.Errorf("%s speaks of eventworker %s, which is no command", path, name)
			}
		}
	}
	if len(exists) < 8 {
		t.Errorf("only %d commands were found in the pages", len(exists))
	}
}

// helps says whether a command exists: its help is its own.
func helps(t *testing.T, binary string, words []string) bool {
	out, err := exec.Command(binary, append(slices.Clone(words), "--help")...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil && bytes.Contains(out, []byte("eventworker "+strings.Join(words, " ")))
}
