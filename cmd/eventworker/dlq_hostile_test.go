package main

import (
	"bytes"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
	"eventworker/internal/event"
)

// hostileLetter has escape sequences of terminals wherever somebody else writes: ESC, and CSI as one
// character.
func hostileLetter() *deadletter.Letter {
	const evil = "\x1b]0;owned\x07\u009b2J"
	l := badPrice(0)
	l.Topic, l.Application = "events", evil
	l.Value = []byte(`{"type":"recommendation.clicked` + `","application":"x\u001b[2J","userToken":"user-1` + `","timestamp":1785751200000,"objectID":"a` + "\u009b" + `2Jb","index":"i\u001b[2J","queryID":"43b15df305339e827f0ac0bdc5ebcaa7"}`)
	l.Headers = []deadletter.Header{{Key: "h" + evil, Value: []byte(evil)}}
	l.Refusal = event.Refusal{Reason: event.Invalid, Stage: event.StageValidate, Field: "items" + evil, Rule: "rule" + evil, Message: "sentence " + evil}
	return l
}

// evilCause makes the header cause hostile, as any writer to the topic could.
func evilCause(l *deadletter.Letter) *deadletter.Letter {
	l.Headers = append(l.Headers, deadletter.Header{Key: deadletter.HeaderCause, Value: []byte("\x1b[2Jcause")})
	return l
}

func TestNoCommandLetsLettersSpeakToTheTerminal(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, hostileLetter(), evilCause(hostileLetter()))
	onTerminal(t, 120)
	for _, args := range []string{
		"list", "list -o csv", "list -o json", "list -o jsonl", "stats", "stats -o csv", "stats -o json", "show 0:0", "show 0:0 -o json", "explain 0:0", "explain 0:0 -o json",
		"export --masked", "export --show-tokens", "discard --reason invalid --dry-run", "discard --reason invalid --dry-run -o json",
	} {
		words := append(append([]string{"dlq"}, strings.Fields(args)...), flags...)
		if !strings.HasPrefix(args, "export") {
			words = append(words, "--color", "never")
		}
		r := call(t, env, words...)
		if r.code != exitOK || r.out == "" {
			t.Errorf("%s: %+v", args, r)
		}
		if i := strings.IndexFunc(r.out+r.err, func(c rune) bool { return c != '\n' && (c < ' ' || c >= 0x7f && c < 0xa0) }); i >= 0 {
			t.Errorf("%s prints %q", args, (r.out + r.err)[max(i-40, 0):min(i+20, len(r.out+r.err))])
		}
	}
	var b bytes.Buffer
	a := &app{streams: streams{err: &b, out: &b}}
	evil := "\x1b[2J"
	plan := &dlq.Plan{Verdicts: []dlq.Verdict{{Verdict: dlq.Pass, Cause: evil, Reason: evil, Field: evil, What: evil}}, Diffs: []dlq.Example{{Cause: evil, Changes: []dlq.Change{{Path: evil, Before: evil, After: evil}}}},
		Filter: evil, Why: evil, ID: "p-00000000"}
	for _, width := range []int{0, 100} {
		pretendWidth = width
		if err := a.writePlanText(&replay{out: outFlags{format: "table", color: "never"}}, plan); err != nil {
			t.Fatal(err)
		}
	}
	v := &dlq.Verification{Causes: []dlq.CauseOutcome{{Cause: evil}}, Deaths: []dlq.Death{{Old: evil, New: evil, Reason: evil, Field: evil, What: evil}}}
	a.sayCauses(v)
	a.sayDeaths(v)
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
}

func TestFiltersForPeopleNameTheirUsersByMasks(t *testing.T) {
	mask := dlq.NewMasker([]byte("key"))
	jane := mask.Token([]byte("jane"))
	for query, want := range map[string]string{
		"user:" + jane:                   "user:" + jane,
		"reason:invalid user:in":         "reason:invalid user:" + mask.Token([]byte("in")),
		`user:"a\"b",jane`:               "user:",
		"text:jane@example.com":          "text:e-",
		`-user:"one two" reason:invalid`: "reason:invalid -user:u-",
	} {
		f, err := dlq.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		d := &openDesk{filter: f, mask: mask}
		got := d.filterForPeople()
		if !strings.HasPrefix(got, want) || strings.Contains(got, `a\"b`) || strings.Contains(got, "jane") || strings.Contains(got, "one") {
			t.Errorf("%s is told as %s", query, got)
		}
		if _, err := dlq.ParseQuery(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

// A flag that was given as false is not one that was given.
func TestTheCommandThatIsOfferedSaysWhatWasSaid(t *testing.T) {
	cmd := &cobra.Command{Use: "replay"}
	cmd.Flags().Bool("to-original", false, "")
	cmd.Flags().Bool("any-group", false, "")
	if err := cmd.ParseFlags([]string{"--to-original=false", "--any-group"}); err != nil {
		t.Fatal(err)
	}
	if got := (&app{}).again(cmd); got != "replay --any-group --to-original=false" {
		t.Error(got)
	}
}

// No broker is there: what is wrong with a call is found without one.
// What is offered to be typed next has the settings of the call, but for secrets.
func TestTheNextCommandHasTheSettingsOfThisOneAndNoSecret(t *testing.T) {
	set := []string{"--set", "kafka.brokers=127.0.0.1:1", "--set", "kafka.topics=events", "--set", "kafka.sasl.mechanism=plain",
		"--set", "kafka.sasl.username=me"}
	env := []string{"EVENTWORKER_KAFKA__SASL__PASSWORD=s3cret"}
	for _, args := range [][]string{{"dlq", "stats"}, {"dlq", "replay"}, {"dlq", "stats", "-o", "json"}} {
		r := call(t, env, append(args, set...)...)
		if strings.Contains(r.err, "s3cret") || !strings.Contains(r.err, "--set kafka.brokers=127.0.0.1:1 ") || !strings.Contains(r.err, "kafka.sasl.username=") {
			t.Errorf("%v: %s", args, r.err)
		}
	}
	for _, secret := range []string{"kafka.sasl.password=s3cret", "kafka.sasl={password: s3cret}", "insights.applications.default={api_key: s3cret}", "admin.token=s3cret"} {
		for _, args := range [][]string{{"dlq", "stats"}, {"dlq", "stats", "-o", "json"}, {"config", "check"}, {"run"}} {
			if r := call(t, nil, append(args, "--set", secret)...); r.code != exitUsage || strings.Contains(r.out+r.err, "s3cret") {
				t.Errorf("%v --set %s: %+v", args, secret, r)
			}
		}
	}
	// In a configuration that is wrong a secret may stand where none belongs.
	for _, secret := range []string{"insights.applications.shop.apikey=s3cret", "Admin.Token=s3cret", "admin.token =s3cret", "insights.applications= {shop: {api_key: s3cret}}",
		"kafka.brokers=user:s3cret@localhost:1:2", "kafka.brokers=user:s3cret@localhost:1"} {
		for _, args := range [][]string{{"dlq", "stats"}, {"dlq", "stats", "-o", "json"}, {"dlq", "replay"}, {"dlq", "discard", "--reason", "invalid", "--note", "tests"}, {"config", "print"}} {
			r := call(t, nil, append(args, "--set", "kafka.topics=events", "--set", secret)...)
			if r.code != exitUsage || strings.Contains(r.out+r.err, "s3cret") {
				t.Errorf("%v --set %s: %+v", args, secret, r)
			}
		}
	}
	if r := call(t, nil, append([]string{"dlq", "list", "--zz"}, set...)...); strings.Contains(r.err, "--set") {
		t.Errorf("help needs no settings: %s", r.err)
	}
}

func TestWrongCallsAreFoundBeforeTheBrokersAreAsked(t *testing.T) {
	none := []string{"--set", "kafka.brokers=127.0.0.1:1", "--set", "kafka.topics=events"}
	for _, c := range []struct{ args, want string }{
		{"list --fields nix", "unknown field"},
		{"stats --fields nix", "unknown field"},
		{"tail --fields nix", "unknown field"},
		{"replays --fields nix", "unknown field"},
		{"list -q ", "--query"},
		{"replay --yes -q ", "--query"},
		{"discard --note x --confirm 3", "wants a filter"},
		{"discard --dry-run", "wants a filter"},
		{"replay --dry-run --edit nowhere.json", "no such file"},
		{"replay --dry-run --rate NaN", "--rate"},
		{"replay --dry-run --rate Inf", "--rate"},
		{"replay --yes --min-success NaN", "--min-success"},
		{"replay --yes --min-success 0", "--min-success"},
		{"replay --yes --dry-run", "--dry-run and --yes"},
	} {
		args := strings.Split("dlq "+c.args, " ")
		r := call(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, append(args, none...)...)
		if r.code != exitUsage || !strings.Contains(r.err, c.want) || !strings.Contains(r.err, "Try: eventworker ") || strings.Contains(r.err, "Try: eventworker --help") {
			t.Errorf("%s: exit code %d, %s", c.args, r.code, r.err)
		}
	}
	r := call(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, append([]string{"dlq", "list"}, none...)...)
	if r.code != exitFailed || !strings.Contains(r.err, "127.0.0.1:1") {
		t.Errorf("the broker that does not answer is not named: %+v", r)
	}
}

// closed is standard output whose reader went away.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestAReplayWhoseReaderWentAwayIsCarriedOut(t *testing.T) {
	for _, format := range []string{"table", "json"} {
		d := newReplayDesk(t)
		var errs bytes.Buffer
		args := append([]string{"dlq", "replay", "--reason", "rejected", "--yes", "-o", format}, d.flags...)
		code := run(t.Context(), args, streams{in: strings.NewReader(""), out: closed{}, err: &errs, env: []string{"XDG_CONFIG_HOME=" + t.TempDir()}})
		if code != exitOK || d.replayTopic() != 3 {
			t.Errorf("exit code %d, %d letters: %s", code, d.replayTopic(), &errs)
		}
	}
	for want, args := range map[int][]string{
		exitOK:        {"config", "print"}, // nothing is changed: whoever went away has seen enough
		exitRemainder: {"dlq", "replay", "--yes"},
	} {
		d := newReplayDesk(t)
		code := run(t.Context(), append(args, d.flags...), streams{in: strings.NewReader(""), out: closed{}, err: io.Discard, env: []string{"XDG_CONFIG_HOME=" + t.TempDir()}})
		if code != want {
			t.Errorf("%v: exit code %d, want %d", args, code, want)
		}
	}
	d := newReplayDesk(t)
	var errs bytes.Buffer
	args := append([]string{"dlq", "discard", "--reason", "rejected", "--note", "x", "--confirm=3"}, d.flags...)
	code := run(t.Context(), args, streams{in: strings.NewReader(""), out: closed{}, err: &errs, env: []string{"XDG_CONFIG_HOME=" + t.TempDir()}})
	if code != exitOK || !strings.Contains(errs.String(), "discarded 3 of 3") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

func TestThePlanSaysWhichFilterAndWindowItIsOf(t *testing.T) {
	d := newReplayDesk(t)
	r := d.call(exitOK, "replay", "--reason", "rejected", "--since", "2h", "--dry-run")
	for _, want := range []string{"window 2025-11-24T14:00:00.000Z .. 2025-11-24T16:00:00.000Z", "topic events.dead, 3 partitions", "filter reason:rejected"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is missing: %s", want, r.err)
		}
	}
	r = d.call(exitOK, "discard", "--reason", "rejected", "--dry-run")
	if !strings.Contains(r.err, "filter reason:rejected") {
		t.Error(r.err)
	}
}

// The rest of a plan that was limited is in another plan, not in this one.
func TestAfterALimitedPlanANewOneIsOffered(t *testing.T) {
	d := newReplayDesk(t)
	file := t.TempDir() + "/plan.json"
	d.call(exitOK, "replay", "--reason", "rejected", "--max", "2", "--dry-run", "--plan-out", file)
	r := d.call(exitGuard, "replay", "--plan", file, "--yes", "--note", "said at the end")
	if !strings.Contains(r.err, "Try: eventworker dlq replay -q reason:rejected") || !strings.Contains(r.err, `"note":"said at the end"`) {
		t.Error(r.err)
	}
	if d.call(exitOK, "replay", "--reason", "rejected", "--max", "2", "--yes"); d.replayTopic() != 3 {
		t.Errorf("%d letters", d.replayTopic())
	}
}

func TestTimesAfterTheLastYearAreStillTimes(t *testing.T) {
	for _, ms := range []int64{1_764_000_000_000_000, 1<<63 - 1} {
		text := isoTime(time.UnixMilli(ms).Add(95 * time.Hour))
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			t.Error(err)
		}
	}
}

func TestReplaysAreCompleted(t *testing.T) {
	d := newReplayDesk(t)
	d.call(exitOK, "replay", "--reason", "rejected", "--yes", "--note", "a bad deploy")
	for _, words := range [][]string{{"verify"}, {"replays", "show"}, {"replay", "--plan"}} {
		args := append([]string{"__complete", "dlq", words[0]}, d.flags...)
		args = append(append(args, words[1:]...), "")
		r := call(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, args...)
		if !strings.HasPrefix(r.out, "p-") || !strings.Contains(r.out, "a bad deploy") {
			t.Errorf("%v: %+v", words, r)
		}
	}
}
