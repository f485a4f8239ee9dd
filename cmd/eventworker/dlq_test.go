package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/docs"
	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
	"eventworker/internal/event"
	"eventworker/internal/worker"
)

// deskNow is the clock of these tests; letters are from the hours before it.
var deskNow = time.Date(2026, 8, 3, 12, 0, 0, 0, time.UTC)

// lettersBroker is a broker with a dead-letter topic of three partitions, and what a command line needs
// to find it. The masks' key is fixed.
func lettersBroker(t *testing.T) (client *kgo.Client, env, flags []string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events.dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "eventworker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "eventworker", "mask.key"), []byte(strings.Repeat("07", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"kafka.brokers=" + strings.Join(cluster.ListenAddrs(), ","), "kafka.topics=events", "kafka.group=g",
		"kafka.dead_letter_topic=events.dead-letter", "kafka.replay_topic=events.replay", "insights.applications.default.default_index=products"} {
		flags = append(flags, "--set", s)
	}
	before := clock
	clock = func() time.Time { return deskNow }
	t.Cleanup(func() { clock = before })
	return client, []string{"XDG_CONFIG_HOME=" + dir}, flags
}

// onTerminal makes standard output a terminal of a width for the rest of the test.
func onTerminal(t *testing.T, width int) {
	pretendWidth = width
	t.Cleanup(func() { pretendWidth = 0 })
}

// badPrice is a purchase with the price as it must not be.
func badPrice(n int) *deadletter.Letter {
	at := deskNow.Add(-time.Hour + time.Duration(n)*time.Minute)
	user := fmt.Sprintf("user-%04d", n%3)
	return &deadletter.Letter{Topic: "events", Partition: int32(n % 3), Offset: int64(991 + n), Timestamp: at.Add(-time.Second).UnixMilli(), Key: []byte(user),
		Value:   fmt.Appendf(nil, `{"type":"recommendation.purchased","userToken":%q,"timestamp":%d,"currency":"EUR","items":[{"objectID":"sku-%d","price":"12,90","quantity":2}]}`, user, at.Add(-time.Second).UnixMilli(), n),
		Headers: []deadletter.Header{{Key: "origin", Value: []byte("shop of shopper@example.com")}},
		Refusal: event.Refusal{Reason: event.Invalid, Stage: event.StageValidate, Field: "items[0].price", Rule: "price.decimal", Message: `got "12,90", wanted a decimal of at most 12 digits before the point`},
		Type:    "recommendation.purchased", Failed: at}
}

func testLetters() []*deadletter.Letter {
	var letters []*deadletter.Letter
	for n := range 6 {
		letters = append(letters, badPrice(n))
	}
	rejected := badPrice(7)
	rejected.Value = bytes.Replace(rejected.Value, []byte(`"12,90"`), []byte(`"12.90"`), 1)
	rejected.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Rule: "api.rejected", Message: "the API refused the event"}
	rejected.APIWords, rejected.HTTPStatus, rejected.Attempts = "objectID 'sku-7' is unknown", 422, 3
	rejected.Parts = []deadletter.Part{{Index: 0, Reason: event.Rejected}}
	rejected.Resolved = []deadletter.Resolved{{Index: 0, QueryID: "43b15df305339e827f0ac0bdc5ebcaa7", IndexName: "products"}, {Index: 1}}
	rejected.Headers = append(rejected.Headers, deadletter.Header{Key: deadletter.HeaderReplayID, Value: []byte("p-7c1e")}, deadletter.Header{Key: deadletter.HeaderReplayCount, Value: []byte("1")})
	old := badPrice(8)
	old.Failed = deskNow.Add(-90 * time.Hour)
	old.Timestamp = old.Failed.UnixMilli()
	old.Key, old.Type = nil, ""
	old.Value = []byte("\x1b[31mnot JSON\x07")
	old.Refusal = event.Refusal{Reason: event.Malformed, Stage: event.StageDecode, Rule: "json.syntax", Message: "byte 0, 0x1B: no JSON"}
	return append(letters, rejected, old)
}

func putLetters(t *testing.T, client *kgo.Client, letters ...*deadletter.Letter) {
	t.Helper()
	for _, l := range letters {
		m := deadletter.Encode(l, "g")
		rec := &kgo.Record{Topic: "events.dead-letter", Partition: l.Partition, Key: m.Key, Value: m.Value, Timestamp: l.Failed}
		for _, h := range m.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
		}
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSchema validates each of the documents.
func checkSchema(t *testing.T, name string, schema []byte, documents ...string) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) == 0 {
		t.Errorf("%s: no document", name)
	}
	for _, d := range documents {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(d))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, d)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

// What each command prints on a terminal and in a pipe is kept in testdata; JSON also keeps its schema.
func TestDeskCommandsPrintWhatTheGoldenFilesSay(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	for _, c := range []struct {
		name   string
		width  int
		schema []byte
		lines  bool // each line is a document
		args   []string
	}{
		{name: "list-terminal", width: 150, args: []string{"list"}},
		{name: "list-narrow", width: 80, args: []string{"list", "--color", "always"}},
		{name: "list-limit", width: 150, args: []string{"list", "--limit", "2", "--reason", "invalid"}},
		{name: "list-pipe", args: []string{"list", "--since", "58m"}},
		{name: "list-json", schema: dlq.ListSchema, args: []string{"list", "-o", "json", "--limit", "3"}},
		{name: "list-jsonl", schema: dlq.ListSchema, lines: true, args: []string{"list", "-o", "jsonl", "--fields", "address,reason,offset,deadline,user"}},
		{name: "list-csv", args: []string{"list", "-o", "csv", "--fields", "address,reason,message", "--user", "user-0001"}},
		{name: "list-nothing", args: []string{"list", "--reason", "expired", "-o", "csv", "--fields", "address"}},
		{name: "stats-terminal", width: 150, args: []string{"stats"}},
		{name: "stats-pipe", args: []string{"stats", "--no-header"}},
		{name: "stats-json", schema: dlq.StatsSchema, args: []string{"stats", "-o", "json"}},
		{name: "stats-jsonl", schema: dlq.StatsSchema, lines: true, args: []string{"stats", "-o", "jsonl"}},
		{name: "show-terminal", width: 100, args: []string{"show", "1:1", "--color", "always"}},
		{name: "show-pipe", args: []string{"show", "events/1/998", "2:2"}},
		{name: "show-tokens", args: []string{"show", "1:1", "--show-tokens", "--time-format", "raw"}},
		{name: "show-json", schema: dlq.ShowSchema, args: []string{"show", "1:2", "2:2", "-o", "json"}},
		{name: "explain-terminal", width: 100, args: []string{"explain", "1:1"}},
		{name: "explain-pipe", args: []string{"explain", "1:2"}},
		{name: "explain-malformed", args: []string{"explain", "2:2"}},
		{name: "explain-json", schema: dlq.ExplainSchema, args: []string{"explain", "1:2", "-o", "json"}},
		{name: "explain-reason-json", schema: dlq.ExplainSchema, args: []string{"explain", "future", "-o", "json"}},
		{name: "export", schema: dlq.ExportJSONSchema, lines: true, args: []string{"export", "--show-tokens", "--offsets", "2:0-end"}},
		{name: "export-masked", schema: dlq.ExportJSONSchema, lines: true, args: []string{"export", "--masked", "--offsets", "2:0-end"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.width > 0 {
				onTerminal(t, c.width)
			}
			args := append([]string{"dlq"}, c.args...)
			if c.args[0] != "explain" || !slices.Contains(dlq.Reasons(), c.args[1]) {
				args = append(args, flags...)
			}
			r := call(t, env, args...)
			if r.code != exitOK {
				t.Fatalf("exit code %d, %s", r.code, r.err)
			}
			golden(t, "dlq/"+c.name+".txt", "$ eventworker "+strings.Join(append([]string{"dlq"}, c.args...), " ")+"\n"+hideFlags(r.out)+"---\n"+hideFlags(r.err))
			if c.schema != nil {
				documents := []string{r.out}
				if c.lines {
					documents = strings.Split(strings.TrimSpace(r.out), "\n")
				}
				checkSchema(t, c.name, c.schema, documents...)
			}
			if !slices.Contains(c.args, "--show-tokens") && (strings.Contains(r.out+r.err, "user-000") || strings.Contains(r.out+r.err, "jane.doe")) {
				t.Errorf("a user token is shown:\n%s%s", r.out, r.err)
			}
		})
	}
}

// hideFlags takes out what differs from run to run.
func hideFlags(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if before, after, ok := strings.Cut(line, " --set kafka.brokers="); ok {
			if _, limit, ok := strings.Cut(after, " --limit "); ok {
				line = before + " … --limit " + limit
			}
		}
		if before, after, ok := strings.Cut(line, `"at":"`); ok {
			if _, rest, ok := strings.Cut(after, `"`); ok {
				line = before + `"at":"…"` + rest
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestRawGivesTheValueByteForByte(t *testing.T) {
	client, env, flags := lettersBroker(t)
	letters := testLetters()
	putLetters(t, client, letters...)
	r := call(t, env, append([]string{"dlq", "show", "2:2", "--raw", "--show-tokens"}, flags...)...)
	if r.code != exitOK || r.out != string(letters[7].Value) {
		t.Errorf("%+v", r)
	}
	if r := call(t, env, append([]string{"dlq", "show", "2:2", "--raw"}, flags...)...); r.code != exitUsage || r.out != "" || !strings.Contains(r.err, "--show-tokens") {
		t.Errorf("without --show-tokens: %+v", r)
	}
}

func TestWrongCallsOfTheDeskAreRefused(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "did you mean invalid?", []string{"list", "--reason", "invald"}},
		{exitUsage, "did you mean reason?", []string{"list", "-q", "raeson:invalid"}},
		{exitUsage, "did you mean cause?", []string{"list", "--fields", "cuase"}},
		{exitUsage, "known: address", []string{"list", "--fields", ""}},
		{exitUsage, "text, tables and CSV", []string{"list", "-o", "json", "--no-header"}},
		{exitUsage, "one of table", []string{"stats", "-o", "xml"}},
		{exitUsage, "--limit wants", []string{"stats", "--limit", "-1"}},
		{exitUsage, "13: milliseconds", []string{"stats", "--since", "1764000540"}},
		{exitUsage, "one ADDRESS or more", []string{"show"}},
		{exitUsage, "3:18112", []string{"show", "17"}},
		{exitFailed, "holds the offsets 0 to 3", []string{"show", "2:17"}},
		{exitFailed, "has the partitions 0 to 2", []string{"show", "9:9"}},
		{exitFailed, "no dead letter of events/0/5", []string{"show", "events/0/5"}},
		{exitUsage, "did you mean expired?", []string{"explain", "expird"}},
		{exitUsage, "ADDRESS or REASON", []string{"explain"}},
		{exitUsage, "--masked", []string{"export"}},
		{exitUsage, "either", []string{"export", "--masked", "--show-tokens"}},
		{exitFailed, "does not exist", []string{"list", "--set", "kafka.dead_letter_topic=nowhere"}},
	} {
		args := slices.Concat([]string{"dlq", c.args[0]}, flags, c.args[1:])
		r := call(t, env, args...)
		if r.code != c.code || r.out != "" || !strings.Contains(r.err, c.want) || !strings.Contains(r.err, "\nTry: ") && !strings.Contains(r.err, `"try":"eventworker `) {
			t.Errorf("%v: exit code %d, %q, %q; want %d and %q", c.args, r.code, r.out, r.err, c.code, c.want)
		}
	}
	if r := call(t, env, "dlq", "list", "--set", "kafka.brokers=127.0.0.1:1", "--set", "kafka.topics=events"); r.code != exitFailed || !strings.Contains(r.err, "Try: ") {
		t.Errorf("a broker that is away: %+v", r)
	}
}

// Every command that prints JSON says of which form, and needs nothing else of the call for that.
func TestEveryCommandWithJSONPrintsItsSchema(t *testing.T) {
	printed := 0
	walk(testRoot(), func(c *cobra.Command, path []string) {
		f := c.Flags().Lookup("output")
		if f == nil || !strings.Contains(f.Usage, "json") {
			return
		}
		r := call(t, nil, append(slices.Clip(path), "-o", "help")...)
		schema, err := jsonschema.UnmarshalJSON(strings.NewReader(r.out))
		compiler := jsonschema.NewCompiler()
		if err == nil {
			err = compiler.AddResource("schema.json", schema)
		}
		if err == nil {
			_, err = compiler.Compile("schema.json")
		}
		if err != nil || r.code != exitOK || r.err != "" || !strings.Contains(r.out, `"$id": "eventworker.`) {
			t.Errorf("%v: %v, %+v", path, err, r)
		}
		printed++
	})
	if printed < 16 {
		t.Errorf("only %d commands print JSON", printed)
	}
}

func TestASinceOfEverythingTakesNoMoreThanItShould(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	r := call(t, env, append([]string{"dlq", "list", "-o", "csv", "--no-header", "--fields", "address,offset,failed_at", "--time-format", "raw", "--since", "57m", "--until", "55m"}, flags...)...)
	rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[0][2] != fmt.Sprint(deskNow.Add(-56*time.Minute).UnixMilli()) {
		t.Errorf("%v, %v, %+v", err, rows, r)
	}
	if !strings.Contains(r.err, "window 2026-08-03T11:03:00.000Z .. 2026-08-03T11:05:00.000Z") {
		t.Errorf("the window is not told: %s", r.err)
	}
}

// waitFor is a writer that tells when a text was written.
type waitFor struct {
	bytes.Buffer
	text string
	seen func()
}

func (w *waitFor) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.seen != nil && strings.Contains(w.String(), w.text) {
		w.seen()
		w.seen = nil
	}
	return n, err
}

func TestTailPrintsWhatComesUntilItIsInterrupted(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	ctx, cancel := context.WithCancelCause(t.Context())
	following := make(chan struct{})
	errs := &waitFor{text: "following topic", seen: func() { close(following) }}
	out := &waitFor{text: "json.syntax", seen: func() { cancel(&interrupted{syscall.SIGINT}) }}
	put := make(chan struct{})
	go func() {
		defer close(put)
		<-following
		for n := range 9 {
			putLetters(t, client, badPrice(n))
		}
		putLetters(t, client, testLetters()[7])
	}()
	code := run(ctx, append([]string{"dlq", "tail", "-o", "jsonl", "--fields", "count,reason,rule"}, flags...), streams{in: strings.NewReader(""), out: out, err: errs, env: env})
	<-put
	if code != 130 || !strings.Contains(errs.String(), "10 dead letters came, 10 matched") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	checkSchema(t, "tail", dlq.TailSchema, lines...)
	total := 0
	for _, line := range lines {
		var one struct{ Count int }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		total += one.Count
	}
	if total != 10 {
		t.Errorf("%d letters are told of:\n%s", total, out.String())
	}
}

func TestCtrlCSaysWhatWasRead(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	ctx, cancel := context.WithCancelCause(t.Context())
	var out bytes.Buffer
	errs := &waitFor{text: "topic events.dead-letter", seen: func() { cancel(&interrupted{syscall.SIGINT}) }}
	for _, args := range [][]string{{"dlq", "list", "-o", "json"}, {"dlq", "stats"}, {"dlq", "export", "--masked"}} {
		errs.Reset()
		code := run(ctx, append(args, flags...), streams{in: strings.NewReader(""), out: &out, err: errs, env: env})
		if code != 130 {
			t.Errorf("%v: exit code %d, %s", args, code, errs.String())
		}
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	errs.seen = func() { cancel(&interrupted{syscall.SIGINT}) }
	errs.Reset()
	if code := run(ctx, append([]string{"dlq", "stats"}, flags...), streams{in: strings.NewReader(""), out: &out, err: errs, env: env}); code != 130 || !strings.Contains(errs.String(), "complete: no, stopped: interrupted") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

func TestCompletionAsksKafkaAndIsSilentWithoutIt(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	complete := func(words ...string) string {
		return call(t, env, slices.Concat([]string{"__complete", "dlq", "list"}, flags, words)...).out
	}
	if out := complete("--reason", ""); !strings.Contains(out, "too-old\n") {
		t.Errorf("reasons: %s", out)
	}
	if out := complete("--fields", "address,rea"); !strings.Contains(out, "address,reason\n") || strings.Contains(out, "address,address") {
		t.Errorf("fields after a comma: %s", out)
	}
	if out := complete("--reason", "invalid,mal"); !strings.Contains(out, "invalid,malformed\n") {
		t.Errorf("reasons after a comma: %s", out)
	}
	if out := complete("--set", "insights.applications.outlet.default_index=x", "--app", ""); !strings.Contains(out, "default\n") || !strings.Contains(out, "outlet\n") {
		t.Errorf("applications: %s", out)
	}
	if out := complete("--topic", ""); !strings.HasPrefix(out, "events\n") {
		t.Errorf("topics: %s", out)
	}
	if out := call(t, env, slices.Concat([]string{"__complete", "group", "show"}, flags, []string{"--topic", ""})...).out; !strings.HasPrefix(out, "events\nevents.replay\n") {
		t.Errorf("topics of the group: %s", out)
	}
	if out := complete("--cause", ""); !strings.Contains(out, deadletter.Cause(badPrice(0))+"\tinvalid items[].price") {
		t.Errorf("causes: %s", out)
	}
	if out := complete("--partition", ""); !strings.Contains(out, "0\n1\n2\n") {
		t.Errorf("partitions: %s", out)
	}
	began := time.Now()
	if out := complete("--set", "kafka.brokers=192.0.2.1:9092", "--cause", ""); strings.Contains(out, "c1-") || time.Since(began) > 5*time.Second {
		t.Errorf("without a broker after %s: %s", time.Since(began), out)
	}
}

func TestExplainAsksAWorkerForItsStoreIfItCanTell(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	code := http.StatusOK
	var asked []worker.UserQuery
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q worker.UserQuery
		if r.Method != http.MethodPost || r.URL.String() != worker.StoreUserPath || json.NewDecoder(r.Body).Decode(&q) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		asked = append(asked, q)
		h := worker.UserHistory{Schema: "eventworker.store-user/v1", Impressions: make([]worker.StoredImpression, 3), MoreClicks: 1, Complete: true}
		if q.ObjectID != "" {
			h.Explanation = &worker.Explanation{ObjectID: q.ObjectID, QueryID: "43b15df305339e827f0ac0bdc5ebcaa7", Index: "products", From: "impression"}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(&h)
	}))
	defer server.Close()
	explain := func(format string) result {
		return call(t, env, append([]string{"dlq", "explain", "1:2", "-o", format, "--admin", strings.TrimPrefix(server.URL, "http://")}, flags...)...)
	}
	r := explain("text")
	if r.code != exitOK || !strings.Contains(r.out, "knows 3 impressions and 1 click of the user\n  object 0  sku-7: queryID 43b15df305339e827f0ac0bdc5ebcaa7, index products, by the impression\n") {
		t.Errorf("%+v", r)
	}
	at := badPrice(7).Timestamp
	if want := []worker.UserQuery{{Application: "default", UserToken: "user-0001", At: at}, {Application: "default", UserToken: "user-0001", At: at, ObjectID: "sku-7"}}; !slices.Equal(asked, want) {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}
	r = explain("json")
	checkSchema(t, "explain", dlq.ExplainSchema, r.out)
	if !strings.Contains(r.out, `"object_id": "sku-7"`) {
		t.Errorf("%+v", r)
	}
	code = http.StatusNotFound
	if r := explain("text"); r.code != exitOK || !strings.Contains(r.err, "does not tell") || !strings.Contains(r.out, "validate") {
		t.Errorf("%+v", r)
	}
	server.Close()
	if r := explain("text"); r.code != exitOK || !strings.Contains(r.err, "note: the store is not known") {
		t.Errorf("%+v", r)
	}
}

// Every reason has its section, with the same parts, and every command in it exists.
func TestTheRunbookHasASectionForEachReasonAndItsCommandsParse(t *testing.T) {
	for _, reason := range dlq.Reasons() {
		r := call(t, nil, "dlq", "explain", reason)
		if r.code != exitOK || !strings.HasPrefix(r.out, "## "+reason+"\n") || strings.Count(r.out, "\n## ") > 0 {
			t.Errorf("%s: %+v", reason, r)
		}
		for _, part := range []string{"*Who*", "*Look*", "*Repair*", "eventworker dlq "} {
			if !strings.Contains(r.out, part) {
				t.Errorf("the section about %s has no %s", reason, part)
			}
		}
		if summary := dlq.ReasonSummary(reason); summary == "" || !strings.HasSuffix(summary, ".") || strings.Contains(summary, "\n") {
			t.Errorf("%s is summed up as %q", reason, summary)
		}
	}
	count := 0
	for line := range strings.Lines(docs.DeadLetters) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "eventworker "); ok {
			count++
			parseCommand(t, command)
		}
	}
	if count < 30 {
		t.Errorf("only %d commands were found", count)
	}
}

// The commands of the runbook that only look are run, on letters that are there.
func TestTheRunbookCommandsThatLookRun(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	there := strings.NewReplacer("3:18112", "1:1", "c1-9f2ab01c", deadletter.Cause(badPrice(0)), " --admin 127.0.0.1:9402", "", "--show-tokens", "--masked")
	count := 0
	for line := range strings.Lines(docs.DeadLetters) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "eventworker ")
		words := shellWords(there.Replace(command))
		if !ok || len(words) < 2 || words[0] != "dlq" || !slices.Contains([]string{"list", "stats", "show", "explain", "export"}, words[1]) {
			continue
		}
		count++
		if r := call(t, env, append(words, flags...)...); r.code != exitOK {
			t.Errorf("%s: %+v", command, r)
		}
	}
	if count < 20 {
		t.Errorf("only %d commands were run", count)
	}
}

func parseCommand(t *testing.T, line string) {
	t.Helper()
	words := shellWords(line)
	found, rest, err := testRoot().Find(words)
	if err != nil || found.HasSubCommands() && len(rest) > 0 {
		t.Errorf("%q: no such command", line)
		return
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	if err := found.ValidateArgs(found.Flags().Args()); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	parseFilterFlags(t, found, line)
}

// parseFilterFlags also tries the values of filters.
func parseFilterFlags(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	f := new(dlq.Filter)
	for _, key := range dlq.FilterKeys {
		flag := cmd.Flags().Lookup(key)
		if flag == nil || !flag.Changed {
			continue
		}
		values := []string{flag.Value.String()}
		if many, ok := flag.Value.(interface{ GetSlice() []string }); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			if err := f.Add(key, v, false, deskNow); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

// shellWords splits a line as a shell does, as far as the documents need it.
func shellWords(line string) (words []string) {
	var b strings.Builder
	quote, had := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, had = r, true
		case quote == 0 && r == ' ':
			if b.Len() > 0 || had {
				words = append(words, b.String())
				b.Reset()
				had = false
			}
		default:
			b.WriteRune(r)
		}
	}
	return words
}
