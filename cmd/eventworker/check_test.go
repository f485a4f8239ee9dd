package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// callIn runs a command line with a standard input.
func callIn(t *testing.T, in string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, streams{in: strings.NewReader(in), out: &out, err: &errs})
	return result{code, out.String(), errs.String()}
}

// session is one shopper's way from a recommendation to a purchase, as docs/contract.md has it, and a
// purchase that is refused.
const session = `{"type":"recommendation.shown","id":"01J","userToken":"user-1234","timestamp":1764000000000,"index":"products","queryID":"43b15df305339e827f0ac0bdc5ebcaa7","model":"related-products","objectIDs":["sku-1","sku-2"]}
{"type":"recommendation.clicked","userToken":"user-1234","timestamp":1764000004000,"objectID":"sku-2"}
{"type":"recommendation.purchased","userToken":"user-1234","timestamp":1764000090000,"currency":"EUR","items":[{"objectID":"sku-2","price":"19.90","quantity":2},{"objectID":"sku-9","price":5}]}
{"type":"recommendation.purchased","userToken":"user-1234","timestamp":1764000095000,"currency":"EUR","items":[{"objectID":"sku-2","index":"products","price":"12,90"}]}
`

const sessionEnd = "2025-11-24T16:05:00Z"

func TestCheckSaysWhatBecomesOfEachMessage(t *testing.T) {
	inDir(t, map[string]string{"session.jsonl": session})
	r := call(t, nil, "check", "--explain", "--now", sessionEnd, "session.jsonl", "--set", "insights.applications.default.default_index=products")
	golden(t, "check-session.txt", r.out+"--- standard error\n"+r.err)
	if r.code != exitRemainder {
		t.Errorf("exit code %d, want 3", r.code)
	}
	r = call(t, nil, "check", "--explain", "--now", sessionEnd, "session.jsonl", "--output", "json")
	golden(t, "check-session.json", r.out)
	if r.code != exitRemainder || !json.Valid([]byte(r.out)) {
		t.Errorf("exit code %d, want 3", r.code)
	}
	if strings.Contains(r.err, "user-1234") {
		t.Errorf("a user token on standard error: %s", r.err)
	}
}

func TestCheckExitsWithWhatItFound(t *testing.T) {
	line := strings.SplitAfter(session, "\n")
	inDir(t, map[string]string{
		"good.jsonl": line[0] + line[1], "bad.jsonl": line[3], "none.jsonl": "\n", "broken.yaml": brokenConfig,
		"shop.yaml": "insights: {applications: {shop: {default_index: products}}}\n", "a b.jsonl": line[0],
	})
	const name = "good.jsonl"
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{name, "--now", sessionEnd}, exitOK, "2 messages: 2 delivered, 0 refused, 0 absorbed; 2 events\n"},
		{[]string{name, "--now", "1764000100000"}, exitOK, "assumed, without a default_index: default\n"},
		{[]string{"none.jsonl"}, exitOK, "no message was found\n"},
		{[]string{"bad.jsonl", "--now", sessionEnd}, exitRemainder, "Error: 1 of 1 message would be refused\n"},
		{[]string{name, "bad.jsonl", "--now", sessionEnd, "--config", "shop.yaml"}, exitRemainder, "  refused 2× unknown-application application application.known, first in good.jsonl:1\n"},
		{[]string{name}, exitRemainder, "Try: eventworker check good.jsonl --now 2025-11-24T16:00:04Z\n"},
		{[]string{name, "--now", "2020-01-01"}, exitRemainder, "Try: eventworker check good.jsonl --now 2025-11-24T16:00:04Z\n"},
		{[]string{"a b.jsonl", "--config", "shop.yaml"}, exitRemainder, "Try: eventworker config print --set"},
		{[]string{"a b.jsonl", "--set", "kafka.group=g"}, exitRemainder, "Try: eventworker check 'a b.jsonl' --set kafka.group=g --now 2025"},
		{[]string{name, "--now", sessionEnd, "--config", "broken.yaml"}, exitUsage, "3 mistakes in the configuration"},
		{[]string{"missing.jsonl"}, exitUsage, "open missing.jsonl: no such file"},
		{[]string{"."}, exitFailed, "is a directory"},
		{nil, exitUsage, "check wants one FILE or more"},
		{[]string{"--output", "json"}, exitUsage, "check wants one FILE or more"},
		{[]string{name, "--output", "jsno"}, exitUsage, "did you mean json?"},
		{[]string{name, "--only", "refsued"}, exitUsage, "did you mean refused?"},
		{[]string{name, "--limit", "-1"}, exitUsage, "--limit wants 0 or more"},
		{[]string{name, "--limit", "1", "--output", "json"}, exitUsage, "--limit belongs to --output table"},
		{[]string{name, "--now", "1764000100"}, exitUsage, "looks like seconds\nTry: eventworker check --now 1764000100000"},
		{[]string{name, "--now", "yesterday"}, exitUsage, "--now wants a time"},
	} {
		r := call(t, nil, append([]string{"check"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) {
			t.Errorf("%v: exit code %d, standard error %q; want %d and %q", c.args, r.code, r.err, c.code, c.err)
		}
		if c.code == exitUsage && r.out != "" {
			t.Errorf("%v: a wrong call wrote %q", c.args, r.out)
		}
	}
}

func TestCheckShowsPartOfTheMessages(t *testing.T) {
	rows := func(r result) int { return strings.Count(r.out, "\tdelivered\t") + strings.Count(r.out, "\trefused\t") }
	args := []string{"check", "-", "--now", sessionEnd}
	if r := callIn(t, session, append(args, "--only", "refused")...); rows(r) != 2 || strings.Contains(r.out, "delivered") || !strings.Contains(r.err, "4 messages: 2 delivered") {
		t.Errorf("%+v", r)
	}
	if r := callIn(t, session, append(args, "--limit", "3")...); rows(r) != 3 || !strings.Contains(r.err, "1 more; all of them: --limit 4\n") {
		t.Errorf("%+v", r)
	}
	if r := callIn(t, session, append(args, "--no-header")...); rows(r) != 4 || strings.Contains(r.out, "OUTCOME") || strings.Contains(r.out, "EVENT") {
		t.Errorf("%+v", r)
	}
	r := callIn(t, session, append(args, "--output", "jsonl", "--only", "delivered")...)
	if strings.Count(r.out, "\n") != 2 || !strings.HasPrefix(r.out, `{"schema":"eventworker.check/v1","file":"-","line":1,`) || !strings.Contains(r.out, `"userToken":"user-1234"`) {
		t.Errorf("%+v", r)
	}
	if r := callIn(t, "", "check", "--output", "help"); r.code != exitOK || !json.Valid([]byte(r.out)) || !strings.Contains(r.out, "eventworker.check/v1") {
		t.Errorf("%+v", r)
	}
}

func TestCheckTakesApplicationsAsConfigured(t *testing.T) {
	inDir(t, map[string]string{
		"m.jsonl": `{"type":"recommendation.shown","userToken":"u","application":"outlet","index":"i","objectIDs":["a"]}` + "\n" +
			`{"type":"recommendation.shown","userToken":"u","objectIDs":["a"]}`,
		"only.yaml": "insights: {only: [default], applications: {default: {default_index: i}, outlet: {}}}\n",
	})
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"delivered ", "refused no-index"}},
		{[]string{"--set", "insights.applications.default.default_index=i"}, []string{"refused unknown-application", "delivered "}},
		{[]string{"--config", "only.yaml"}, []string{"absorbed other-application", "delivered "}},
		{[]string{"--config", "only.yaml", "--set", "views.send=false"}, []string{"absorbed other-application", "absorbed stored"}},
	} {
		r := call(t, nil, append([]string{"check", "m.jsonl", "--output", "jsonl"}, c.args...)...)
		for i, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
			var m struct{ Outcome, Reason string }
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Outcome+" "+m.Reason != c.want[i] {
				t.Errorf("%v, line %d: %s %s, want %s; %v", c.args, i+1, m.Outcome, m.Reason, c.want[i], err)
			}
		}
	}
}

// Every example of the help runs, with the files it names.
func TestExamplesOfCheckRun(t *testing.T) {
	inDir(t, map[string]string{
		"message.json": `{
  "type": "recommendation.clicked",
  "userToken": "user-1234", "objectID": "sku-2", "index": "products"
}`,
		"messages.jsonl":   session,
		"eventworker.yaml": "insights: {applications: {default: {default_index: products}}}\n",
	})
	want := []int{exitOK, exitRemainder, exitRemainder, exitRemainder}
	examples := strings.Split(newCheckCommand(&app{}).Example, "\n")
	if len(examples) != len(want) {
		t.Fatalf("%d examples, want %d", len(examples), len(want))
	}
	for i, example := range examples {
		var r result
		for command := range strings.SplitSeq(example, "|") {
			r = callIn(t, r.out, strings.Fields(command)[1:]...)
		}
		if r.code != want[i] || r.out == "" {
			t.Errorf("%s: exit code %d, %q; want %d", example, r.code, r.err, want[i])
		}
	}
}

func TestCheckStopsWaitingForStandardInput(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = io.WriteString(typing, "{") // returns once the command has read it
		cancel(&interrupted{syscall.SIGINT})
	}()
	var errs bytes.Buffer
	if code := run(ctx, []string{"check", "-"}, streams{in: in, out: &bytes.Buffer{}, err: &errs}); code != 130 {
		t.Errorf("exit code %d, %q; want 130", code, errs.String())
	}
}

func TestCheckSaysNothingToAReaderThatWentAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"check", "-"}, streams{in: strings.NewReader(session), out: w, err: &errs}); code != exitOK || errs.Len() > 0 {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 8, 3, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"": "2026-08-03T10:00:00Z", "now": "2026-08-03T10:00:00Z", "2h": "2026-08-03T08:00:00Z", "2026-08-01": "2026-08-01T00:00:00Z",
		"2026-08-01T12:00:00+02:00": "2026-08-01T10:00:00Z", "1764000000000": "2025-11-24T16:00:00Z",
	} {
		if got, err := parseMoment(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestShellWords(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a.jsonl": "a.jsonl", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
