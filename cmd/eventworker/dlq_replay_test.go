package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
	"eventworker/internal/event"
)

// replayDesk is a broker with dead letters, and the flags that find it.
type replayDesk struct {
	t       *testing.T
	brokers []string
	flags   []string
	now     time.Time
}

// newReplayDesk has, of the reason invalid, six purchases with a comma in their price and two clicks
// without an object, and three clicks that the API refused. The clock stands.
func newReplayDesk(t *testing.T) *replayDesk {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events", "events.dead", "events.replay", "events.dead.state", "audit"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	d := &replayDesk{t: t, brokers: cluster.ListenAddrs(), now: time.UnixMilli(1_764_000_000_000)}
	clock = func() time.Time { return d.now }
	t.Cleanup(func() { clock, pretendWidth = time.Now, 0 })
	for _, s := range []string{"kafka.brokers=" + strings.Join(d.brokers, ","), "kafka.topics=events", "kafka.group=g",
		"kafka.dead_letter_topic=events.dead", "kafka.replay_topic=events.replay", "insights.applications.default.default_index=products"} {
		d.flags = append(d.flags, "--set", s)
	}
	w, err := deadletter.NewWriter(deadletter.Config{Brokers: d.brokers, Topic: "events.dead", Group: "g"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	var written sync.WaitGroup
	for i := range 11 {
		value := fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"user-%d","timestamp":%d,"currency":"EUR","items":[{"objectID":"sku-%d","price":"1%d,90"}]}`, i, d.now.UnixMilli(), i, i%10)
		switch {
		case i >= 8:
			value = fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"user-%d","timestamp":%d,"objectID":"sku-%d"}`, i, d.now.UnixMilli(), i)
		case i >= 6:
			value = fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"user-%d","timestamp":%d}`, i, d.now.UnixMilli())
		}
		l := &deadletter.Letter{Topic: "events", Partition: int32(i % 3), Offset: int64(i / 3), Timestamp: d.now.UnixMilli(), Key: fmt.Appendf(nil, "user-%d", i),
			Value: []byte(value), Application: "default", FirstFailed: d.now, Failed: d.now}
		ev := new(event.Event)
		if refusal := event.NewDecoder(event.Options{}).Decode(l.Value, ev); refusal != nil {
			l.Refusal = *refusal
		} else {
			l.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Message: "the API refused the event"}
			l.HTTPStatus, l.Attempts, l.APIWords = 422, 1, "The objectIDs field is invalid"
		}
		l.Type = ev.Type.String()
		written.Add(1)
		w.Put(l, written.Done)
	}
	written.Wait()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// call runs dlq with the desk's flags.
func (d *replayDesk) call(want int, args ...string) result {
	d.t.Helper()
	r := call(d.t, []string{"XDG_CONFIG_HOME=" + d.t.TempDir()}, append(append([]string{"dlq"}, args...), d.flags...)...)
	if r.code != want {
		d.t.Fatalf("dlq %v: exit code %d, want %d\n%s\n%s", args, r.code, want, r.out, r.err)
	}
	return r
}

func (d *replayDesk) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

const commaPrices = `[{"op":"rewrite","path":"/items/*/price","match":"^([0-9]+),([0-9]+)$","with":"$1.$2"}]`

var changing = regexp.MustCompile(`p-[0-9a-f]{8}|"time":"[^"]*"|"by":"[^"]*"|"(rules|configuration)": ?"[0-9a-f]{16}"|"version": ?"[^"]*"| --set [^\n]*|--(plan|edit) /[^ ]*`)

// steady leaves out what differs from call to call.
func steady(text string) string {
	return changing.ReplaceAllStringFunc(text, func(s string) string {
		name, _, _ := strings.Cut(s, ":")
		switch {
		case strings.HasPrefix(s, "p-"):
			return "p-ID"
		case strings.HasPrefix(s, " --set"):
			return " --set …"
		case strings.HasPrefix(s, "--plan"):
			return "--plan FILE"
		case strings.HasPrefix(s, "--edit"):
			return "--edit FILE"
		}
		return name + ":…"
	})
}

// valid holds a document to its schema.
func valid(t *testing.T, schema []byte, text string) {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = s.Validate(doc)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// replayTopic counts what lies on the replay topic.
func (d *replayDesk) replayTopic() (n int) {
	d.t.Helper()
	if err := deadletter.Read(d.t.Context(), d.brokers, "events.replay", func(deadletter.Record) { n++ }); err != nil {
		d.t.Fatal(err)
	}
	return n
}

func TestReplayShowsItsPlanOnATerminalAndInAPipe(t *testing.T) {
	d := newReplayDesk(t)
	edit := d.file("fix.json", commaPrices)
	piped := d.call(exitOK, "replay", "--edit", edit, "--dry-run")
	golden(t, "dlq_replay_pipe.txt", steady(piped.out+"--\n"+piped.err))
	pretendWidth = 100
	terminal := d.call(exitOK, "replay", "--edit", edit, "--dry-run")
	golden(t, "dlq_replay_terminal.txt", steady(terminal.out+"--\n"+terminal.err))
	if strings.Contains(piped.out+piped.err+terminal.out+terminal.err, "user-") {
		t.Error("a user's token is shown")
	}
	doc := d.call(exitOK, "replay", "--edit", edit, "--dry-run", "-o", "json")
	valid(t, dlq.ReplayDocumentSchema, doc.out)
	if strings.Contains(doc.out, "user-") {
		t.Error("a user's token is in the document")
	}
	if d.replayTopic() != 0 {
		t.Error("a dry run wrote something")
	}
	d.call(exitRemainder, "replay", "--edit", edit, "--dry-run", "--detailed-exitcode")
}

func TestReplayByPlanGoesOnVerifiesAndIsListed(t *testing.T) {
	d := newReplayDesk(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	d.call(exitOK, "replay", "--edit", d.file("fix.json", commaPrices), "--dry-run", "--plan-out", file, "--note", "a comma")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	valid(t, dlq.PlanDocumentSchema, string(text))
	r := d.call(exitRemainder, "replay", "--plan", file, "--yes", "-o", "json")
	valid(t, dlq.ReplayDocumentSchema, r.out)
	if !strings.Contains(r.err, `audit {"schema":"eventworker.audit/v1"`) || !strings.Contains(r.err, `"action":"dlq.replay"`) || !strings.Contains(r.err, "2 letters are not replayed") {
		t.Errorf("standard error: %s", r.err)
	}
	if n := d.replayTopic(); n != 9 {
		t.Errorf("%d letters on the replay topic, want 9", n)
	}
	d.call(exitRemainder, "replay", "--plan", file, "--yes")
	var plan dlq.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		t.Fatal(err)
	}
	d.call(exitRemainder, "replay", "--plan", plan.ID, "--yes") // as it is kept
	if n := d.replayTopic(); n != 9 {
		t.Errorf("%d letters after the plan was applied three times, want 9", n)
	}
	if r := d.call(exitUsage, append([]string{"replay", "--plan", file, "--yes"}, "--set", "delivery.max_event_age=90h")...); !strings.Contains(r.err, "stale") {
		t.Errorf("another configuration: %s", r.err)
	}
	d.settle(plan.ID)
	// One of each partition is dead again: its first letter was replayed, its second one is open.
	if r := d.call(exitOK, "stats"); !strings.Contains(r.err, "9 of the letters that were looked at were replayed: --state open") {
		t.Errorf("stats: %s", r.err)
	}
	if r := d.call(exitOK, "stats", "--state", "open"); !strings.Contains(r.err, "9 more letters are in other states") || strings.Contains(r.err, "looked at were replayed") {
		t.Errorf("stats --state open: %s", r.err)
	}
	v := d.call(exitRemainder, "verify", plan.ID)
	golden(t, "dlq_verify_pipe.txt", steady(v.out+"--\n"+v.err))
	pretendWidth = 100
	v = d.call(exitRemainder, "verify", file)
	golden(t, "dlq_verify_terminal.txt", steady(v.out+"--\n"+v.err))
	pretendWidth = 0
	valid(t, dlq.VerifySchema, d.call(exitRemainder, "verify", plan.ID, "-o", "json").out)
	list := d.call(exitOK, "replays", "--fields", "planned,replayed,delivered,dead,open,note")
	golden(t, "dlq_replays_pipe.txt", steady(list.out+"--\n"+list.err))
	valid(t, dlq.ReplaysSchema, d.call(exitOK, "replays", "-o", "json").out)
	valid(t, dlq.PlanDocumentSchema, d.call(exitOK, "replays", "show", plan.ID, "-o", "json").out)
	if r := d.call(exitOK, "replays", "show", plan.ID); !strings.Contains(r.err, "a comma") || !strings.Contains(r.out, "pass-after-edit") {
		t.Errorf("%+v", r)
	}
	if r := d.call(exitUsage, "verify", "p-00000000"); !strings.Contains(r.err, "no replay p-00000000") {
		t.Errorf("%+v", r)
	}
}

// settle notes outcomes as the worker would: the first of each partition is dead again.
func (d *replayDesk) settle(id string) {
	d.t.Helper()
	w := deadletter.NewStateWriter(deadletter.Config{Brokers: d.brokers, Topic: "events.dead"}, zap.NewNop())
	defer w.Close(context.Background())
	letters, err := deadletter.NewWriter(deadletter.Config{Brokers: d.brokers, Topic: "events.dead", Group: "g"}, zap.NewNop())
	if err != nil {
		d.t.Fatal(err)
	}
	var states []deadletter.StateRecord
	var written sync.WaitGroup
	err = deadletter.Read(d.t.Context(), d.brokers, "events.replay", func(r deadletter.Record) {
		c, err := deadletter.DecodeReplayed(r.Headers)
		if err != nil {
			d.t.Fatal(err)
		}
		outcome := deadletter.OutcomeDelivered
		if r.Offset == 0 {
			outcome = deadletter.OutcomeDead
			written.Add(1)
			letters.Put(&deadletter.Letter{Topic: "events.replay", Partition: r.Partition, Offset: r.Offset, Timestamp: r.Time.UnixMilli(), Key: r.Key, Value: r.Value, Headers: r.Headers,
				Type: "recommendation.purchased", Application: "default", Refusal: event.Refusal{Reason: event.NoIndex, Stage: event.StageJoin, Message: "no index for userToken user-3"}}, written.Done)
		}
		states = append(states, deadletter.StateRecord{Key: deadletter.StateKey(c.Topic, c.Partition, c.Offset), Value: deadletter.Settled(id, outcome, time.Now()).Encode()})
	})
	if err != nil {
		d.t.Fatal(err)
	}
	written.Wait()
	if err := letters.Close(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	if err := w.Write(d.t.Context(), states); err != nil {
		d.t.Fatal(err)
	}
}

func TestDiscardWantsANoteAndTheNumber(t *testing.T) {
	d := newReplayDesk(t)
	d.call(exitUsage, "discard", "--reason", "rejected", "--confirm=3")
	d.call(exitUsage, "discard", "--reason", "rejected", "--note", "tests")
	d.call(exitUsage, "discard", "--note", "tests", "--confirm=11") // everything, by no filter
	if r := d.call(exitUsage, "discard", "--reason", "rejected", "--note", "tests", "--confirm=4"); !strings.Contains(r.err, "there are 3 letters") {
		t.Errorf("%+v", r)
	}
	r := d.call(exitOK, "discard", "--reason", "rejected", "--dry-run")
	golden(t, "dlq_discard_pipe.txt", steady(r.out+"--\n"+r.err))
	theirs := append(append([]string{"dlq", "discard", "--reason", "rejected", "--dry-run"}, d.flags...), "--set", "kafka.group=theirs")
	if r := call(t, nil, theirs...); r.code != exitOK || !strings.Contains(r.err, "3 are of another group") || r.out != "" {
		t.Errorf("of another group: %+v", r)
	}
	r = d.call(exitOK, "discard", "--reason", "rejected", "--note", "tests", "--confirm=3", "-o", "json")
	valid(t, dlq.DiscardDocumentSchema, r.out)
	if !strings.Contains(r.err, `"action":"dlq.discard"`) || !strings.Contains(r.out, `"discarded": 3`) {
		t.Errorf("%+v", r)
	}
	if r := d.call(exitOK, "discard", "--reason", "rejected", "--note", "tests", "--dry-run"); !strings.Contains(r.err, "3 are discarded already") {
		t.Errorf("%+v", r)
	}
	for _, command := range []string{"list", "stats"} {
		if r := d.call(exitOK, command); strings.Contains(r.out, "rejected") || !strings.Contains(r.out, "\tinvalid\t") || !strings.Contains(r.err, "3 more letters are discarded") {
			t.Errorf("%s: %+v", command, r)
		}
		if r := d.call(exitOK, command, "--state", "discarded"); !strings.Contains(r.out, "rejected") || strings.Contains(r.out, "\tinvalid\t") {
			t.Errorf("%s --state discarded: %+v", command, r)
		}
		if r := d.call(exitOK, command, "--state", "all"); !strings.Contains(r.out, "rejected") || strings.Contains(r.err, "more letters") {
			t.Errorf("%s --state all: %+v", command, r)
		}
		d.call(exitUsage, command, "--state", "discarder")
	}
	if r := d.call(exitOK, "replay", "--reason", "rejected", "--dry-run"); !strings.Contains(r.out, "discarded\t3") || !strings.Contains(r.err, "no letter would be replayed") {
		t.Errorf("%+v", r)
	}
}

func TestAuditLinesGoToTheirTopicOrNothingIsDone(t *testing.T) {
	d := newReplayDesk(t)
	for _, args := range [][]string{{"replay", "--reason", "rejected", "--yes"}, {"discard", "--reason", "invalid", "--note", "tests", "--confirm=8"}} {
		if r := d.call(exitFailed, append(args, "--audit-topic", "nowhere")...); !strings.Contains(r.err, "nothing was done, because the audit topic nowhere") {
			t.Errorf("%v: %s", args, r.err)
		}
	}
	// A worker would read the lines as messages, and a desk as letters and states.
	for _, topic := range []string{"events", "events.replay", "events.dead", "events.dead.state"} {
		for _, args := range [][]string{{"replay", "--reason", "rejected", "--yes"}, {"replay", "--dry-run"}, {"discard", "--reason", "invalid", "--note", "tests", "--confirm=8"}} {
			if r := d.call(exitUsage, append(args, "--audit-topic", topic)...); !strings.Contains(r.err, "--audit-topic "+topic) || r.out != "" {
				t.Errorf("%v --audit-topic %s: %+v", args, topic, r)
			}
		}
	}
	if n := d.replayTopic(); n != 0 {
		t.Errorf("%d letters were replayed without audit", n)
	}
	if r := d.call(exitOK, "stats", "--state", "all"); !strings.Contains(r.err, "11 dead letters") || strings.Contains(r.err, "discarded") {
		t.Errorf("after refused calls: %s", r.err)
	}
	d.call(exitOK, "replay", "--reason", "rejected", "--dry-run", "--audit-topic", "audit")
	d.call(exitOK, "replay", "--reason", "rejected", "--yes", "--audit-topic", "audit", "--note", "once")
	d.call(exitOK, "discard", "--reason", "invalid", "--note", "tests", "--confirm=8", "--audit-topic", "audit")
	var actions []string
	err := deadletter.Read(t.Context(), d.brokers, "audit", func(r deadletter.Record) {
		var line dlq.Audit
		if err := json.Unmarshal(r.Value, &line); err != nil || string(r.Key) != line.By || line.Result != "done" {
			t.Errorf("%s: %s", r.Key, r.Value)
		}
		actions = append(actions, fmt.Sprintf("%s %d %s", line.Action, line.Count, line.Note))
	})
	if err != nil || strings.Join(actions, ", ") != "dlq.replay 3 once, dlq.discard 8 tests" {
		t.Errorf("%q, %v", actions, err)
	}
}

func TestAReplayThatIsInterruptedSaysHowToGoOn(t *testing.T) {
	d := newReplayDesk(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	d.call(exitOK, "replay", "--reason", "rejected", "--dry-run", "--plan-out", file)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan result)
	go func() {
		args := append([]string{"dlq", "replay", "--plan", file, "--yes", "--rate", "0.2"}, d.flags...)
		ended <- callWith(ctx, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, args...)
	}()
	for d.replayTopic() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	cancel(&interrupted{syscall.SIGINT})
	r := <-ended
	if r.code != 130 || !strings.Contains(r.err, "go on: eventworker dlq replay --plan p-") || !strings.Contains(r.err, `"result":"interrupted"`) {
		t.Fatalf("%+v", r)
	}
	before := d.replayTopic()
	d.call(exitOK, "replay", "--plan", file, "--yes")
	if before >= 3 || d.replayTopic() != 3 {
		t.Errorf("%d letters, then %d", before, d.replayTopic())
	}
}

func TestQuestionsAreAnsweredWithNoByDefault(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	for answer, want := range map[string]bool{"": false, "\n": false, "n\n": false, "yeah\n": false, "y\n": true, "YES\n": true} {
		a := &app{streams: streams{in: strings.NewReader(answer), err: io.Discard}}
		if got := a.confirm(cmd, "Replay?"); got != want {
			t.Errorf("%q: %v", answer, got)
		}
	}
	for answer, want := range map[string]bool{"": false, "\n": false, "y\n": false, "1200\n": false, "1234\n": true, "1,234\n": true} {
		a := &app{streams: streams{in: strings.NewReader(answer), err: io.Discard}}
		if err := a.agreed(cmd, &discard{}, &dlq.Discarding{Count: 1234}); (err == nil) != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestReplayRefusesWrongCalls(t *testing.T) {
	d := newReplayDesk(t)
	masked := d.file("masked.jsonl", `{"schema":"`+dlq.MaskedExportSchema+`","masked":true}`+"\n{}\n")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--yes is missing", []string{"replay"}},
		{"--yes is missing", []string{"replay", "--no-input"}},
		{"--dry-run and --yes", []string{"replay", "--dry-run", "--yes"}},
		{"--plan and --reason", []string{"replay", "--plan", masked, "--reason", "invalid", "--yes"}},
		{"--edit and --plan", []string{"replay", "--plan", masked, "--edit", "y", "--yes"}},
		{"--min-success", []string{"replay", "--yes", "--min-success", "95"}},
		{"--canary", []string{"replay", "--yes", "--canary", "-1"}},
		{"at most 1024", []string{"replay", "--yes", "--note", strings.Repeat("x", dlq.MaxNote+1)}},
		{"at most 1024", []string{"discard", "--reason", "invalid", "--confirm=1", "--note", strings.Repeat("x", dlq.MaxNote+1)}},
		{"--detailed-exitcode", []string{"replay", "--yes", "--detailed-exitcode"}},
		{"neither", []string{"replay", "--plan", "nowhere.json", "--yes"}},
		{"no such file", []string{"replay", "--edit", "nowhere.json", "--yes"}},
		{"operation 1", []string{"replay", "--edit", d.file("wrong.json", `[{"op":"change","path":"/a"}]`), "--yes"}},
		{"masked copy", []string{"replay", "--plan", masked, "--yes"}},
		{"unknown", []string{"replay", "-q", "raeson:invalid", "--yes"}},
		{"neither", []string{"verify", "p-1"}},
		{"no id", []string{"replays", "show", "p-1"}},
		{"takes nothing", []string{"replays", "list"}},
		{"--wait", []string{"verify", "p-00000000", "--wait", "-1s"}},
	} {
		if r := d.call(exitUsage, c.args...); !strings.Contains(r.err, c.want) || r.out != "" {
			t.Errorf("%v: %q, want %q", c.args, r.err, c.want)
		}
	}
	if n := d.replayTopic(); n != 0 {
		t.Errorf("%d letters were replayed", n)
	}
}
