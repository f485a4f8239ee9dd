package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files")

var packageDir, _ = os.Getwd()

// result is what a command line gave.
type result struct {
	code     int
	out, err string
}

// call runs a command line in this process, with an environment of its own.
func call(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return callWith(t.Context(), env, args...)
}

func callWith(ctx context.Context, env []string, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &errs, env: env})
	return result{code, out.String(), errs.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(packageDir, "testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", name, got, want)
	}
}

// walk visits every command that people see.
func walk(cmd *cobra.Command, visit func(*cobra.Command, []string)) {
	var path []string
	var down func(*cobra.Command)
	down = func(c *cobra.Command) {
		if c.HasParent() {
			path = append(path, c.Name())
			defer func() { path = path[:len(path)-1] }()
		}
		visit(c, path)
		for _, child := range c.Commands() {
			if !child.Hidden {
				down(child)
			}
		}
	}
	down(cmd)
}

func testRoot() *cobra.Command { return newRoot(&app{}) }

// cobra prints its help and exits with 0 for a word it does not know under a group.
func TestEveryCommandRefusesUnknownWordsAndFlagsWithTwo(t *testing.T) {
	walk(testRoot(), func(c *cobra.Command, path []string) {
		takesAnyWord := slices.Contains([]string{"check", "store user", "forget"}, strings.Join(path, " ")) // files, tokens
		if !takesAnyWord {
			expectUsage(t, append(slices.Clip(path), "zzunknown")...)
		}
		expectUsage(t, append(slices.Clip(path), "--zzunknown")...)
	})
}

func expectUsage(t *testing.T, args ...string) {
	t.Helper()
	r := call(t, nil, args...)
	lines := strings.Count(strings.TrimRight(r.err, "\n"), "\n") + 1
	if r.code != exitUsage || r.out != "" || !strings.HasPrefix(r.err, "Error: ") || !strings.Contains(r.err, "\nTry: ") || lines > 3 {
		t.Errorf("%v: exit code %d, standard output %q, standard error %q; want 2, nothing, and at most three lines with Try:", args, r.code, r.out, r.err)
	}
}

func TestEveryHelpHasAnExampleAndFitsEightyColumns(t *testing.T) {
	walk(testRoot(), func(c *cobra.Command, path []string) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if strings.HasPrefix(strings.ToLower(c.Short), c.Name()+" ") && c.HasParent() || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the summary repeats the name or ends in a full stop: %s", c.CommandPath(), c.Short)
		}
		r := call(t, nil, append(slices.Clip(path), "--help")...)
		if r.code != exitOK || r.err != "" || !strings.Contains(r.out, "\nUsage:\n  eventworker") {
			t.Errorf("%s --help: %+v", c.CommandPath(), r)
		}
		for line := range strings.Lines(r.out) {
			if len([]rune(strings.TrimRight(line, "\n"))) > helpWidth {
				t.Errorf("%s: wider than %d columns: %s", c.CommandPath(), helpWidth, line)
			}
		}
		if len(path) > 0 {
			if asked := call(t, nil, append([]string{"help"}, path...)...); asked.out != r.out {
				t.Errorf("help %v differs from --help", path)
			}
		}
	})
}

// Every example of this program's own commands must parse: the words and the flags exist.
func TestExamplesParse(t *testing.T) {
	walk(testRoot(), func(c *cobra.Command, _ []string) {
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(line, ">")
			for command := range strings.SplitSeq(line, "|") {
				words := strings.Fields(command)
				for len(words) > 0 && strings.HasPrefix(words[0], "EVENTWORKER_") {
					words = words[1:] // a variable for this call
				}
				if len(words) == 0 || words[0] != "eventworker" {
					t.Errorf("%s: no command line: %q", c.CommandPath(), line)
					continue
				}
				found, rest, err := testRoot().Find(words[1:])
				if err != nil || found.HasSubCommands() && len(rest) > 0 {
					t.Errorf("%s: %q: no such command", c.CommandPath(), command)
					continue
				}
				if err := found.ParseFlags(rest); err != nil {
					t.Errorf("%s: %q: %v", c.CommandPath(), command, err)
				}
			}
		}
	})
}

func TestMistypedWordsNameTheNearest(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"simulte"}, "did you mean simulate?"},
		{[]string{"config", "chekc"}, "did you mean check?"},
		{[]string{"simulate", "--conut", "1"}, "did you mean --count?"},
		{[]string{"help", "exit-code"}, "did you mean exit-codes?"},
		{[]string{"help", "config", "pritn"}, "did you mean print?"},
		{[]string{"completion", "bahs"}, "did you mean bash?"},
		{[]string{"config", "print", "-o", "ymal"}, "did you mean yaml?"},
		{[]string{"nothing-alike"}, "known: "},
		{[]string{"dlq", "list", "--limit", "x"}, `--limit wants a whole number, got "x"`},
		{[]string{"dlq", "verify", "p-1", "--wait", "10"}, `--wait wants a duration such as 90s or 10m, got "10"`},
		{[]string{"version", "--output"}, "flag needs an argument"},
		{[]string{"simulate", "--count", "many"}, "--count wants a whole number"},
		{[]string{"simulate", "--brokers", "a:1", "--out", "f"}, "--brokers and --out"},
	} {
		r := call(t, nil, c.args...)
		if r.code != exitUsage || !strings.Contains(r.err, c.want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", c.args, r.code, r.err, c.want)
		}
	}
}

func TestHelpOnTopics(t *testing.T) {
	for _, topic := range topicNames() {
		r := call(t, nil, "help", topic)
		if r.code != exitOK || r.out == "" {
			t.Errorf("help %s: %+v", topic, r)
		}
		if topic == "environment" {
			if !strings.Contains(r.out, "\n  EVENTWORKER_INSIGHTS__APPLICATIONS__NAME__API_KEY\n") {
				t.Error("help environment lacks the variables")
			}
			r.out, _, _ = strings.Cut(r.out, "\n  EVENTWORKER_") // long names cannot be folded
		}
		for line := range strings.Lines(r.out) {
			if len(strings.TrimRight(line, "\n")) > helpWidth {
				t.Errorf("help %s: too wide: %s", topic, line)
			}
		}
	}
}

func TestBareCallsPrintHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"config"}, {"help"}} {
		if r := call(t, nil, args...); r.code != exitOK || !strings.Contains(r.out, "Usage:") || r.err != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range shells {
		if r := call(t, nil, "completion", shell); r.code != exitOK || !strings.Contains(r.out, "eventworker") {
			t.Errorf("%s: code %d, %d bytes, %q", shell, r.code, len(r.out), r.err)
		}
	}
	if r := call(t, nil, "completion"); r.code != exitUsage {
		t.Errorf("without a shell: %+v", r)
	}
	if r := call(t, nil, "__complete", "config", "print", "--output", ""); !strings.Contains(r.out, "yaml\njson\n") {
		t.Errorf("formats are not completed: %q", r.out)
	}
}

// gone is a reader that went away.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReaderThatGoesAwayIsNoFailure(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var errs bytes.Buffer
	// A pipe without a reader fails with EPIPE, which is a signal only on the descriptors 1 and 2.
	if code := run(t.Context(), []string{"completion", "bash"}, streams{out: w, err: &errs}); code != exitOK || errs.Len() > 0 {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
	if code := run(t.Context(), []string{"completion", "bash"}, streams{out: gone{}, err: &errs}); code != exitFailed {
		t.Errorf("a write that fails otherwise: exit code %d", code)
	}
}
