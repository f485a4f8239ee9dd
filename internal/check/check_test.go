package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"eventworker/internal/check"
	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
	"eventworker/internal/join"
	"eventworker/internal/storefront"
)

// rulesOf are the rules of a worker with the rules of a simulated shop.
func rulesOf(r storefront.Rules) join.Config {
	c := join.Config{
		Window: r.Window, ClickWindow: r.ClickWindow, ClockSkew: r.ClockSkew, AllowedLateness: r.AllowedLateness, Wait: 10 * time.Second,
		SendViews: r.SendViews, MaxEventAge: r.MaxEventAge, DedupeWindow: r.DedupeWindow, EventNames: map[event.Type]string{},
		OnMiss: map[string]join.OnMiss{storefront.OnMissDeadLetter: join.MissDeadLetter, storefront.OnMissDrop: join.MissDrop}[r.OnMiss],
	}
	for t := event.Shown; t <= event.Purchased; t++ {
		c.EventNames[t] = r.EventNames[t.Name()]
		if slices.Contains(r.DedupeTypes, t.Name()) {
			c.Dedupe = append(c.Dedupe, t)
		}
	}
	for name, a := range r.Applications {
		c.Applications = append(c.Applications, join.Application{Name: name, DefaultIndex: a.DefaultIndex, Indices: a.Indices, Served: true})
	}
	return c
}

// simulated is a log as simulate writes it, and what must come of it.
func simulated(t *testing.T, c storefront.Config) ([]byte, *storefront.Truth, storefront.Rules) {
	t.Helper()
	c.Rules.RefusedObjects = nil
	g, err := storefront.NewGenerator(c)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for m := new(storefront.Message); g.Next(m); m = new(storefront.Message) {
		truth.Add(m)
		text = append(m.AppendJSON(text), '\n')
	}
	truth.Seal()
	return text, truth, g.Config().Rules
}

func judge(t *testing.T, o check.Options, text []byte) *check.Report {
	t.Helper()
	records, _, err := check.Read("messages.jsonl", bytes.NewReader(text), check.MaxInput)
	if err != nil {
		t.Fatal(err)
	}
	report, err := check.Run(t.Context(), o, records)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestWhatIsSaidOfASimulatedLogIsWhatMustComeOfIt(t *testing.T) {
	for seed := range uint64(2) {
		for _, onMiss := range []string{storefront.OnMissSend, storefront.OnMissDeadLetter, storefront.OnMissDrop} {
			t.Run(fmt.Sprintf("seed %d, %s", seed, onMiss), func(t *testing.T) {
				rules := storefront.DefaultRules()
				rules.OnMiss = onMiss
				text, truth, rules := simulated(t, storefront.Config{Seed: seed, Messages: 3000, Partitions: 3, Late: 0.05, OutOfOrder: 0.2, Skewed: 0.1, Rules: rules})
				report := judge(t, check.Options{Rules: rulesOf(rules), Now: time.UnixMilli(rules.Now), Explain: seed == 1}, text)
				arrived := storefront.Arrived{Accepted: accepted(t, report)}
				for i := range report.Messages {
					if m := &report.Messages[i]; m.Outcome == check.Refused {
						arrived.DeadLetters = append(arrived.DeadLetters, storefront.DeadLetter{Seq: uint64(i), Reason: m.Reason})
					}
				}
				if compared := truth.Compare(arrived, 5); !compared.Matches() || !compared.AddsUp() {
					var why bytes.Buffer
					_ = compared.WriteText(&why)
					t.Error(why.String())
				}
				if s := report.Summary; s.Messages != 3000 || s.Delivered+s.Refused+s.Absorbed != s.Messages {
					t.Errorf("%+v does not add up", s)
				}
			})
		}
	}
}

// accepted gives the events of a report to a strict API, which must take them all.
func accepted(t *testing.T, r *check.Report) storefront.Accepted {
	t.Helper()
	fake := insightsfake.New(insightsfake.Options{Keep: true})
	var events [][]byte
	for i := range r.Messages {
		for _, e := range r.Messages[i].Events {
			events = append(events, e)
		}
	}
	for part := range slices.Chunk(events, 1000) {
		body := append(append([]byte(`{"events":[`), bytes.Join(part, []byte(","))...), `]}`...)
		req := httptest.NewRequest(http.MethodPost, "/1/events", bytes.NewReader(body))
		req.Header.Set("X-Algolia-Application-Id", "A")
		req.Header.Set("X-Algolia-API-Key", "k")
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		if fake.ServeHTTP(rec, req); rec.Code != http.StatusOK {
			t.Fatalf("the API refused events: %d %s", rec.Code, rec.Body)
		}
	}
	return fake.Accepted()
}

// The examples of the schemas are messages with a known verdict, one a file, some over several lines.
func TestExamplesOfTheSchemasAreRefusedForWhatIsWrongWithThem(t *testing.T) {
	folder := filepath.Join("..", "..", "schemas", "examples")
	verdicts, err := os.ReadFile(filepath.Join(folder, "bad.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bad map[string]struct{ Reason, Field, Rule string }
	if err := json.Unmarshal(verdicts, &bad); err != nil || len(bad) < 50 {
		t.Fatalf("%d verdicts, %v", len(bad), err)
	}
	o := check.Options{AnyApplication: true, Now: time.UnixMilli(1_764_000_000_000), Rules: rulesOf(storefront.DefaultRules())}
	for name, want := range bad {
		text, err := os.ReadFile(filepath.Join(folder, "bad", name))
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue // an empty file has no message
		}
		got := judge(t, o, text).Messages
		if len(got) != 1 || got[0].Outcome != check.Refused || got[0].Reason != want.Reason || got[0].Field != want.Field || got[0].Rule != want.Rule {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	good, err := filepath.Glob(filepath.Join(folder, "good", "*.json"))
	if err != nil || len(good) < 10 {
		t.Fatalf("%d good examples, %v", len(good), err)
	}
	for _, name := range good {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := judge(t, o, text).Messages
		if len(got) != 1 || got[0].Reason == "malformed" || got[0].Reason == "invalid" || got[0].Reason == "unknown-type" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestReadTellsMessagesApart(t *testing.T) {
	const a, b = `{"type":"recommendation.clicked","objectID":"a"}`, `{"type":"recommendation.shown"}`
	for _, c := range []struct {
		name, text string
		lines      []int
		values     []string
	}{
		{"nothing", "", nil, nil},
		{"blank lines", "\n  \n\r\n", nil, nil},
		{"a line", a, []int{1}, []string{a}},
		{"lines", a + "\n\n" + b + "\r\n", []int{1, 3}, []string{a, b}},
		{"no JSON", "oops\n" + a, []int{1, 2}, []string{"oops", a}},
		{"a broken line before others", "{\"type\":\n" + a + "\n" + b, []int{1, 2, 3}, []string{"{\"type\":", a, b}},
		{"over several lines", "{\n \"x\": 1\n}\n", []int{1}, []string{"{\n \"x\": 1\n}"}},
		{"several over several lines", "\n{\n}\n{\n}{}\n", []int{2, 4, 5}, []string{"{\n}", "{\n}", "{}"}},
		{"over several lines and then broken", "{\n}\n{\n\"x\": 1,\n}", []int{1, 3}, []string{"{\n}", "{\n\"x\": 1,\n}"}},
		{"over several lines and cut off", "{\n\"x\": [", []int{1}, []string{"{\n\"x\": ["}},
		{"byte order mark", "\uFEFF" + a, []int{1}, []string{"\uFEFF" + a}},
		{"byte order mark, over several lines", "\uFEFF{\n}\n{}", []int{1, 3}, []string{"\uFEFF{\n}", "{}"}},
	} {
		records, size, err := check.Read("f", strings.NewReader(c.text), 1000)
		if err != nil || size != int64(len(c.text)) || len(records) != len(c.lines) {
			t.Errorf("%s: %d records of %d bytes, %v", c.name, len(records), size, err)
			continue
		}
		for i, r := range records {
			if r.Line != c.lines[i] || string(r.Value) != c.values[i] || r.File != "f" || r.Time >= 0 || r.Key != nil {
				t.Errorf("%s: record %d: %+v, value %q", c.name, i, r, r.Value)
			}
		}
	}
	if _, _, err := check.Read("f", strings.NewReader(a), 10); err != check.ErrTooMuch {
		t.Errorf("more than allowed: %v", err)
	}
}

func TestReadTakesRecordsOfSimulate(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       check.Record
	}{
		{"record", `{"seq":7,"topic":"t","partition":3,"time":1764000000000,"key":"u","value":"{}","headers":{"simulate-seq":"7"}}`,
			check.Record{Topic: "t", Partition: 3, Key: []byte("u"), Value: []byte("{}"), Time: 1764000000000}},
		{"tombstone", `{"seq":7,"key":"u","value":null}`, check.Record{Key: []byte("u"), Time: -1}},
		{"empty", `{"seq":7,"key":"u","value":""}`, check.Record{Key: []byte("u"), Value: []byte{}, Time: -1}},
		{"no UTF-8", `{"seq":7,"valueBase64":"/w=="}`, check.Record{Value: []byte{0xFF}, Time: -1}},
		{"first life", `{"seq":7,"time":5,"value":"x","headers":{"eventworker.dlq.timestamp":"3"}}`, check.Record{Value: []byte("x"), Time: 3}},
	} {
		records, _, err := check.Read("", strings.NewReader(c.text), 1000)
		if err != nil || len(records) != 1 {
			t.Fatalf("%s: %v, %v", c.name, records, err)
		}
		got := records[0]
		c.want.Line = 1
		if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
			t.Errorf("%s: got %#v, want %#v", c.name, got, c.want)
		}
	}
	for _, raw := range []string{
		`{"type":"recommendation.purchased","seq":1,"value":"12.00"}`, `{"seq":1}`, `{"value":"x"}`, `{"seq":"1","value":"x"}`,
		`{"seq":1,"value":{}}`, `{"seq":1,"partition":-1,"value":"x"}`,
	} {
		if records, _, err := check.Read("", strings.NewReader(raw), 1000); err != nil || len(records) != 1 || string(records[0].Value) != raw {
			t.Errorf("%s: %+v, %v; want the message itself", raw, records, err)
		}
	}
}

// everything is a log with each outcome, hint and way of an answer in it.
const everything = `{"type":"recommendation.shown","userToken":"user-1234","timestamp":1764000000000,"index":"products","queryID":"43b15df305339e827f0ac0bdc5ebcaa7","objectIDs":["sku-1","sku-2","<&>"]}
{"type":"recommendation.shown","userToken":"user-1234","timestamp":1764000001000,"index":"products","objectIDs":["sku-3"]}
{"type":"recommendation.clicked","userToken":"user-1234","timestamp":1764000004000,"objectID":"sku-2"}
{"type":"recommendation.purchased","id":"o1","userToken":"user-1234","timestamp":1764000090000,"currency":"EUR","items":[{"objectID":"sku-2","price":"19.90","quantity":2},{"objectID":"sku-3","index":"products","price":5}]}
{"type":"recommendation.purchased","id":"o1","userToken":"user-1234","timestamp":1764000090000,"currency":"EUR","items":[{"objectID":"sku-2"}]}
{"type":"recommendation.clicked","userToken":"user 1234","timestamp":1764000004000,"objectID":"sku-2"}
{"seq":9,"topic":"t","partition":1,"key":"user-9","value":null}
`

func TestReportsKeepTheirSchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(check.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("check.json", document); err != nil {
		t.Fatal(err)
	}
	compiler.AssertFormat()
	schema, err := compiler.Compile("check.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text []byte) {
		t.Helper()
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%v in %s", err, text)
		}
	}
	for _, explain := range []bool{false, true} {
		report := judge(t, check.Options{AnyApplication: true, Explain: explain, Now: time.UnixMilli(1_764_000_100_000),
			Rules: rulesOf(storefront.DefaultRules())}, []byte(everything))
		var text, lines bytes.Buffer
		if err := report.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		valid(text.Bytes())
		for i := range report.Messages {
			for _, e := range report.Messages[i].Events {
				if !bytes.Contains(text.Bytes(), e) {
					t.Errorf("an event is written otherwise than it would be sent: %s", e)
				}
			}
		}
		if err := report.WriteJSONLines(&lines); err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range bytes.Lines(lines.Bytes()) {
			valid(line)
			n++
		}
		if n != len(report.Messages) {
			t.Errorf("%d lines of %d messages", n, len(report.Messages))
		}
	}
	empty, err := check.Run(t.Context(), check.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := empty.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	valid(text.Bytes())
}

func TestTablesHoldNoTokensAndMoveNoCursor(t *testing.T) {
	text := strings.ReplaceAll(everything, `sku-1"`, `\u001b[2Jsku\n1"`) +
		`{"type":"recommendation.clicked","userToken":"user-1234","timestamp":1764000004000,"objectID":"\u001b]0;x\u0007\u202e"}` + "\n"
	report := judge(t, check.Options{AnyApplication: true, Explain: true, Now: time.UnixMilli(1_764_000_100_000),
		Rules: rulesOf(storefront.DefaultRules())}, []byte(text))
	for _, width := range []int{0, 40, 80, 200} {
		var b bytes.Buffer
		if _, err := report.WriteText(&b, check.TextOptions{Width: width, Header: true}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "1234") || strings.Contains(b.String(), "user-9") {
			t.Errorf("width %d: a user token in %s", width, b.String())
		}
		if strings.ContainsAny(b.String(), "\u001b\u0007\u202e\r") || !strings.Contains(b.String(), `\u001B]0;x\u0007\u202E`) {
			t.Errorf("width %d: control characters in %q", width, b.String())
		}
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); width >= 80 && n > width {
				t.Errorf("%d columns on a terminal of %d: %s", n, width, line)
			}
		}
	}
}

func TestOtherPlacesThatShowAnObjectAreNamed(t *testing.T) {
	click := func(at int) string {
		return fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"i","objectID":"a"}`, 1_764_000_000_000+at)
	}
	shown := func(user string, at int, more string) string {
		return fmt.Sprintf(`{"type":"recommendation.shown","userToken":%q,"timestamp":%d,"objectIDs":["a"]%s}`, user, 1_764_000_000_000+at, more)
	}
	const id, index = `,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7"`, `,"index":"i"`
	for _, c := range []struct{ name, text, want string }{
		{"nobody", click(0), "names it"},
		{"user", shown("v", 0, id+index) + "\n" + click(1), "line 1 shows it to another userToken"},
		{"application", shown("u", 0, id+index+`,"application":"b"`) + "\n" + click(1), `line 1 shows it in application "b"`},
		{"no queryID", shown("u", 0, index) + "\n" + click(1), "line 1 shows it without a queryID"},
		{"the first of many", shown("v", 0, id+index) + "\n" + shown("w", 0, id+index) + "\n" + click(1), "line 1 shows it to another userToken"},
		{"a queryID of its own", shown("v", 0, id+index) + "\n" + strings.Replace(click(1), "{", `{"queryID":"43b15df305339e827f0ac0bdc5ebcaa7",`, 1), "its own queryID is left out"},
		{"refused", shown("u", 0, id) + "\n" + click(1), "line 1 shows it, but is refused"},
		{"after", click(0) + "\n" + shown("v", 60_000, id+index) + "\n" + shown("u", 90_000, id+index), "line 3 shows it, but after the event"},
		{"long before", shown("u", -48*3600_000, id+index) + "\n" + click(0), "none of what names it answers"},
		{"late", click(0) + "\n" + shown("v", 60_000, index) + "\n" + shown("u", -1, id+index), "line 3 shows it, but is read later"},
		{"the nearest", shown("v", 0, id+index) + "\n" + shown("u", 0, index) + "\n" + shown("v", 0, id+index) + "\n" + click(1), "line 2 shows it without"},
		{"partition", `{"seq":0,"partition":1,"value":` + quote(shown("u", 0, id+index)) + "}\n" + click(1), "line 1 shows it, but is in partition 1"},
	} {
		report := judge(t, check.Options{AnyApplication: true, Explain: true, Now: time.UnixMilli(1_764_000_100_000),
			Rules: rulesOf(storefront.DefaultRules())}, []byte(c.text))
		said := ""
		for _, m := range report.Messages {
			for _, o := range m.Objects {
				said += o.Text
			}
		}
		if !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", c.name, said, c.want)
		}
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestHintsBelongToTheirMessages(t *testing.T) {
	text := `{"type":"recommendation.shown","userToken":"u","lists":[{"index":"i","objectIDs":["a"]},{"index":"i","objectIDs":["b"],"queryID":"x"}]}
{"type":"recommendation.shown","userToken":"u","index":"i","objectIDs":["a"]}
{"type":"recommendation.addedToCart","userToken":"u","index":"i","value":"3","currency":"EUR","items":[{"objectID":"a","price":"2"}]}
{"type":"recommendation.addedToCart","userToken":"u","index":"i","value":"3","items":[{"objectID":"a","price":"2"}]}
{"type":"recommendation.clicked","userToken":"u","index":"i","objectID":"a","queryID":"43b15df305339e827f0ac0bdc5ebcaa7"}
{"type":"recommendation.purchased","userToken":"u","index":"i","items":[{"objectID":"a","queryID":"message_x"}]}
{"seq":1,"key":"v","value":"{\"type\":\"recommendation.clicked\",\"userToken\":\"u\",\"index\":\"i\",\"objectID\":\"a\"}"}
{"type":"recommendation.addedToCart","userToken":"u","index":"i","currency":"EUR","items":[{"objectID":"a","price":"123456789012.3","quantity":2147483647}]}
{"type":"recommendation.clicked","userToken":"u","index":"i","objectID":"a"}
`
	report := judge(t, check.Options{AnyApplication: true, Now: time.UnixMilli(1_764_000_100_000), Rules: rulesOf(storefront.DefaultRules())}, []byte(text))
	want := []string{"queryID.missing queryID.form", "queryID.missing", "value.sum", "currency.form", "position.unknown", "queryID.message", "key.userToken", "value.length", ""}
	for i, m := range report.Messages {
		var got []string
		for _, h := range m.Hints {
			got = append(got, h.Rule)
		}
		if m.Outcome != check.Delivered || strings.Join(got, " ") != want[i] {
			t.Errorf("line %d: %s %s, hints %v, want %s", i+1, m.Outcome, m.Text, got, want[i])
		}
	}
	if first := report.Messages[0].Hints[0].Text; !strings.HasPrefix(first, "1 list without queryID") {
		t.Error(first)
	}
}

func TestMessagesOfSeveralTopicsMeet(t *testing.T) {
	record := func(seq int, topic, value string) string {
		return fmt.Sprintf(`{"seq":%d,"topic":%q,"time":1764000000000,"key":"u","value":%s}`, seq, topic, quote(value))
	}
	text := record(0, "views", `{"type":"recommendation.shown","userToken":"u","index":"i","queryID":"43b15df305339e827f0ac0bdc5ebcaa7","objectIDs":["a"]}`) + "\n" +
		record(1, "views", `{"type":"recommendation.shown","userToken":"v","index":"i","objectIDs":["x"]}`) + "\n" +
		record(2, "sales", `{"type":"recommendation.clicked","userToken":"u","objectID":"a"}`) + "\n" +
		record(3, "sales", `{"type":"recommendation.purchased","userToken":"u","items":[{"objectID":"a"}]}`) + "\n"
	report := judge(t, check.Options{AnyApplication: true, Explain: true, ShownTopics: []string{"views"}, ClickedTopics: []string{"sales"},
		Now: time.UnixMilli(1_764_000_100_000), Rules: rulesOf(storefront.DefaultRules())}, []byte(text))
	if report.Summary.Delivered != 4 {
		t.Fatalf("%+v", report)
	}
	click, sale := report.Messages[2].Objects[0], report.Messages[3].Objects[0]
	if click.Chosen.Line != 1 || sale.Chosen.Line != 3 || len(sale.PassedOver) != 1 || sale.PassedOver[0].Line != 1 || sale.PassedOver[0].Why != string(join.WhyClickFirst) {
		t.Errorf("click %+v, chosen %+v; sale %+v, chosen %+v", click, click.Chosen, sale, sale.Chosen)
	}
}

func TestCopiesOfAnIDNameTheMessageThatIsDelivered(t *testing.T) {
	const cart = `{"type":"recommendation.addedToCart","id":"1","userToken":"u","index":"i","items":[{"objectID":"a"}]}`
	report := judge(t, check.Options{AnyApplication: true, Now: time.UnixMilli(1_764_000_100_000), Rules: rulesOf(storefront.DefaultRules())},
		[]byte(strings.Replace(cart, `:"u"`, `:"v"`, 1)+"\n"+cart+"\n"+cart))
	if m := report.Messages[2]; m.Outcome != check.Absorbed || m.Reason != "duplicate" || !strings.Contains(m.Text, "in line 2 ") {
		t.Errorf("%+v", m)
	}
}

func TestACheckCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := check.Run(ctx, check.Options{}, []check.Record{{Value: []byte("{}")}}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}
