package real

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"eventworker/internal/deadletter"
	"eventworker/internal/demo"
	"eventworker/internal/dlq"
	"eventworker/internal/storefront"
)

// deadMessages is how many messages the scenario has: 10,000, or what EVENTWORKER_DLQ_MESSAGES says.
func deadMessages(t *testing.T) uint64 {
	text := os.Getenv("EVENTWORKER_DLQ_MESSAGES")
	if text == "" {
		return 10_000
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("EVENTWORKER_DLQ_MESSAGES: %v", err)
	}
	return n
}

// The ways to spoil a purchase or an add-to-cart. Nothing else hangs on these: what comes of all other
// messages stays what it is.
const (
	badPrice     = "bad price"
	noType       = "no type"
	microseconds = "microseconds"
	flagship     = "unknown application"
	cutOff       = "cut off"
)

// theDeploy spoils two of five messages in five ways, and tells the truth what must come of each.
type theDeploy struct {
	truth   *storefront.Truth
	spoiled map[string]int
	n, all  int
}

var (
	pointInPrice = regexp.MustCompile(`"price":"([0-9]+)\.([0-9]+)"`)
	typeOf       = regexp.MustCompile(`^\{"type":"recommendation.(purchased|addedToCart)",`)
	milliseconds = regexp.MustCompile(`"timestamp":([0-9]{13})([,}])`)
)

// sending spoils a message before it is sent.
func (d *theDeploy) sending(m *storefront.Message) {
	d.all++
	value := bytes.Clone(m.Value)
	match := typeOf.FindSubmatch(value)
	if match == nil || 5*d.n >= 2*d.all+100 {
		d.truth.Add(m)
		return
	}
	rest := value[len(match[0]):]
	ways := []struct {
		way  string
		fits bool
		make func() []byte
	}{
		{badPrice, pointInPrice.Match(value), func() []byte { return pointInPrice.ReplaceAll(value, []byte(`"price":"$1,$2"`)) }},
		{noType, string(match[1]) == "purchased", func() []byte { return append([]byte("{"), rest...) }},
		{microseconds, milliseconds.Match(value), func() []byte { return milliseconds.ReplaceAll(value, []byte(`"timestamp":${1}000$2`)) }},
		{flagship, !bytes.Contains(value, []byte(`"application"`)), func() []byte { return append(append(bytes.Clone(match[0]), `"application":"flagship",`...), rest...) }},
		{cutOff, true, func() []byte { return value[:len(value)-1] }},
	}
	for i := range ways {
		w := &ways[(d.n+i)%len(ways)]
		if !w.fits {
			continue
		}
		d.n++
		d.spoiled[w.way]++
		spoiled := w.make()
		if w.way == flagship || w.way == cutOff { // what stands in the record is what counts in the end
			own := storefront.Message{Seq: m.Seq, Topic: m.Topic, Partition: m.Partition, Key: bytes.Clone(m.Key), Value: spoiled, Headers: slices.Clone(m.Headers), Time: m.Time}
			for i := range own.Headers {
				own.Headers[i].Value = bytes.Clone(own.Headers[i].Value)
			}
			d.truth.Add(&own)
		} else {
			d.truth.Add(m)
		}
		m.Value = spoiled
		return
	}
}

// command is the binary with the settings of the shop; it does not run yet.
func (s *shop) command(args ...string) *exec.Cmd {
	for _, setting := range []string{"kafka.brokers=" + s.broker, "kafka.group=" + s.group, "kafka.topics=" + s.topic,
		"kafka.dead_letter_topic=" + s.letters, "kafka.replay_topic=" + s.replay, "insights.endpoint=" + s.apiURL} {
		args = append(args, "--set", setting)
	}
	for _, name := range slices.Sorted(maps.Keys(s.rules.Applications)) {
		a := s.rules.Applications[name]
		prefix := "insights.applications." + name + "."
		args = append(args, "--set", prefix+"app_id=TESTAPP001", "--set", prefix+"default_index="+a.DefaultIndex, "--set", prefix+"indices="+strings.Join(a.Indices, ","))
	}
	cmd := exec.Command(s.binary, append([]string{"dlq"}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "EVENTWORKER_") }), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"))
	return cmd
}

// dlq runs a command of the desk and gives its standard output; want -1 is 0 or 3.
func (s *deadDesk) dlq(want int, args ...string) []byte {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want && (want >= 0 || code != 0 && code != 3) {
		s.t.Fatalf("dlq %v: exit code %d, want %d\n%s\n%s", args, code, want, out.Bytes(), errs.Bytes())
	}
	s.t.Logf("dlq %v in %v\n%s", args, time.Since(began).Round(time.Millisecond), errs.Bytes())
	return out.Bytes()
}

func decoded[T any](t *testing.T, text []byte) (doc T) {
	t.Helper()
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%v: %.400s", err, text)
	}
	return doc
}

// deadDesk is an operator of the shop.
type deadDesk struct {
	*shop
	reader *dlq.Desk
}

// desk is the package's own view of the shop.
func (s *shop) desk() *dlq.Desk {
	s.t.Helper()
	d, err := dlq.New(dlq.Cluster{Brokers: []string{s.broker}, ClientID: "desk"}, dlq.Topics{DeadLetter: s.letters, Replay: s.replay, Inputs: []string{s.topic}}, s.group, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(d.Close)
	return d
}

// TestABadDeployIsLookedAtRepairedReplayedAndVerified is the day of an operator: two of five messages are
// spoiled by a deploy of the shop, in five ways.
func TestABadDeployIsLookedAtRepairedReplayedAndVerified(t *testing.T) {
	s := newShop(t)
	n := deadMessages(t)
	config := storefront.Config{Seed: 7, Messages: n, Topic: s.topic, Partitions: partitions,
		Mix: storefront.Mix{Shown: 35, Clicked: 20, Bought: 45}, Late: -1, OutOfOrder: -1, Skewed: -1, Copies: -1, Poison: -1}
	g, err := storefront.NewGenerator(config)
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	final := g.Config()
	final.Rules.Applications = maps.Clone(final.Rules.Applications)
	final.Rules.Applications["flagship"] = storefront.Application{DefaultIndex: "products"}
	truth, err := storefront.NewTruthOf(final)
	if err != nil {
		t.Fatal(err)
	}
	deploy := &theDeploy{truth: truth, spoiled: map[string]int{}}
	err = demo.Produce(t.Context(), []string{s.broker}, g, func(m *storefront.Message) {
		deploy.sending(m)
		s.log[m.Partition] = append(s.log[m.Partition], uint32(m.Seq))
	}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	truth.Seal()
	t.Logf("%d messages, %d of them spoiled: %v", n, deploy.n, deploy.spoiled)
	began := time.Now()
	worker := s.start()
	s.await(worker, "the first events", time.Minute, func() bool { return s.api.Stats().Events.Distinct > 0 })
	s.await(worker, "all messages committed", 10*time.Minute, s.allCommitted)
	t.Logf("the worker took %v", time.Since(began).Round(time.Millisecond))

	desk := &deadDesk{shop: s, reader: s.desk()}
	desk.looks(deploy)
	_, early := desk.plan("early", "--reason", "rejected")
	worker.stop()
	s.rules = final.Rules // the application is configured at last
	worker = s.start()
	desk.dlq(2, "replay", "--plan", early, "--yes") // other rules than those of the plan
	desk.repairs(deploy)
	desk.parks()
	worker.stop()
	desk.compareCurrent(truth)
}

func (s *shop) allCommitted() bool {
	for p, offset := range s.committed() {
		if offset < int64(len(s.log[p])) {
			return false
		}
	}
	return true
}

// looks asks what is wrong.
func (s *deadDesk) looks(deploy *theDeploy) {
	s.t.Helper()
	stats := decoded[struct {
		Causes []struct {
			Cause, Reason, Newest string
			Count                 int
		}
	}](s.t, s.dlq(0, "stats", "-o", "json"))
	byReason := map[string]int{}
	for _, c := range stats.Causes {
		byReason[c.Reason] += c.Count
	}
	for reason, want := range map[string]int{
		"invalid": deploy.spoiled[badPrice] + deploy.spoiled[noType], "future": deploy.spoiled[microseconds],
		"unknown-application": deploy.spoiled[flagship], "malformed": deploy.spoiled[cutOff],
	} {
		if byReason[reason] != want {
			s.t.Errorf("%d letters are %s, want %d", byReason[reason], reason, want)
		}
	}
	explained := s.dlq(0, "explain", stats.Causes[0].Newest)
	if !bytes.Contains(explained, []byte(stats.Causes[0].Cause)) {
		s.t.Errorf("explain %s: %s", stats.Causes[0].Newest, explained)
	}
}

// edits mend what can be mended.
var edits = map[string]string{
	badPrice:     `[{"op":"rewrite","path":"/items/*/price","match":"^([0-9]+),([0-9]+)$","with":"$1.$2"}]`,
	noType:       `{"type":"recommendation.purchased"}`,
	microseconds: `[{"op":"rewrite","path":"/timestamp","match":"^([0-9]{13})000$","with":"$1"}]`,
}

// plan makes a plan for a filter and keeps it in a file.
func (s *deadDesk) plan(way string, filter ...string) (plan dlq.Plan, file string) {
	s.t.Helper()
	name := strings.ReplaceAll(way, " ", "-")
	file = filepath.Join(s.dir, name+".plan.json")
	args := append([]string{"replay", "--dry-run", "--plan-out", file, "-o", "json", "--rate", "2000", "--note", way}, filter...)
	if text := edits[way]; text != "" {
		edit := filepath.Join(s.dir, name+".edit.json")
		if err := os.WriteFile(edit, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		args = append(args, "--edit", edit)
	}
	doc := decoded[struct{ Plan dlq.Plan }](s.t, s.dlq(0, args...))
	return doc.Plan, file
}

// repairs replays each cause by a plan with its own edit; the first one after a canary and through two
// kills.
func (s *deadDesk) repairs(deploy *theDeploy) {
	for i, c := range []struct {
		way    string
		filter []string
	}{
		{badPrice, []string{"--reason", "invalid", "--field", "items[].price"}},
		{noType, []string{"-q", "reason:invalid field:type"}},
		{microseconds, []string{"--reason", "future"}},
		{flagship, []string{"--reason", "unknown-application"}},
	} {
		plan, file := s.plan(c.way, c.filter...)
		if want := int64(deploy.spoiled[c.way]); plan.Planned != want || plan.Matched != want || edits[c.way] != "" && plan.Changed != want {
			s.t.Errorf("%s: the plan has %d of %d letters, %d changed, want %d", c.way, plan.Planned, plan.Matched, plan.Changed, want)
		}
		if i == 0 {
			s.killTwice(&plan, file)
		}
		applied := decoded[struct{ Applied dlq.Applied }](s.t, s.dlq(0, "replay", "--plan", file, "--yes", "-o", "json")).Applied
		if applied.Written+applied.Before != plan.Planned || i == 0 && applied.Before < plan.Planned/2 {
			s.t.Errorf("%s: %+v", c.way, applied)
		}
		s.verifies(c.way, &plan)
	}
	s.dlq(3, "replay", "--reason", "malformed", "--yes") // no patch mends them
}

// killTwice lets a replay begin with a canary, and kills it on the way, twice.
func (s *deadDesk) killTwice(plan *dlq.Plan, file string) {
	for kill := range int64(2) {
		cmd := s.command("replay", "--plan", file, "--canary", fmt.Sprint(plan.Planned/10), "--min-success", "0.9", "--yes", "--rate", fmt.Sprint(max(plan.Planned/8, 50)))
		p := &process{t: s.t, cmd: cmd, exited: make(chan error, 1)}
		cmd.Stderr = &p.log
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		go func() { p.exited <- cmd.Wait() }()
		mark := plan.Planned * (kill + 1) / 4
		s.await(p, fmt.Sprintf("%d letters on the replay topic", mark), 5*time.Minute, func() bool { return s.replayed() >= mark })
		p.kill()
		s.t.Logf("killed with %d of %d letters on the replay topic\n%s", s.replayed(), plan.Planned, p.log.Bytes())
	}
}

// replayed is how many records the replay topic holds.
func (s *deadDesk) replayed() (n int64) {
	s.t.Helper()
	bounds, err := s.reader.Bounds(s.t.Context(), s.replay)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range bounds {
		n += b.End - b.Start
	}
	return n
}

// verifies follows a plan to its end. Dead again is what would have been dead without the deploy: nothing
// tells its index.
func (s *deadDesk) verifies(way string, plan *dlq.Plan) {
	s.t.Helper()
	v := decoded[dlq.Verification](s.t, s.dlq(-1, "verify", plan.ID, "--wait", "5m", "-o", "json"))
	if v.Planned != plan.Planned || v.Delivered+v.Dead != v.Planned {
		s.t.Errorf("%s: %+v", way, v)
	}
	for _, d := range v.Deaths {
		if d.Reason != "no-index" || d.New == d.Old || d.New == "" {
			s.t.Errorf("%s: dead again of %+v", way, d)
		}
	}
	s.t.Logf("%s: %d planned, %d delivered, %d dead again", way, v.Planned, v.Delivered, v.Dead)
}

// parks replays what has no index once more: what was replayed before is parked, the rest would be refused
// again.
func (s *deadDesk) parks() {
	states, err := s.reader.States(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	again := int64(0)
	for _, state := range states.All() {
		if state.Outcome == deadletter.OutcomeDead {
			again++
		}
	}
	doc := decoded[struct {
		Plan    dlq.Plan
		Applied dlq.Applied
	}](s.t, s.dlq(3, "replay", "--reason", "no-index", "--max-replays", "1", "--yes", "-o", "json"))
	if again == 0 || doc.Applied.Parked != again || doc.Plan.Planned != 0 {
		s.t.Errorf("%d letters are parked, %d were dead again; %d were planned", doc.Applied.Parked, again, doc.Plan.Planned)
	}
}

// compareCurrent holds the events that arrived, and the letters that are still open or parked, against the
// truth.
func (s *deadDesk) compareCurrent(truth *storefront.Truth) {
	t := s.t
	t.Helper()
	states, err := s.reader.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	arrived := storefront.Arrived{Accepted: s.api.Accepted()}
	left := map[string]int{}
	all := new(dlq.Filter)
	snapshot, err := s.reader.Snapshot(t.Context(), all)
	if err == nil {
		_, err = s.reader.Scan(t.Context(), snapshot, all, dlq.ScanOptions{}, func(l *dlq.Letter) error {
			state, current := dlq.StateOf(l, states)
			if current {
				arrived.DeadLetters = append(arrived.DeadLetters, demo.Letter(l.Headers))
				left[state.Status+" "+l.ReasonText()]++
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	report := truth.Compare(arrived, 5)
	var text bytes.Buffer
	_ = report.WriteText(&text)
	if !report.Matches() || !report.AddsUp() {
		t.Errorf("what arrived is not what had to arrive:\n%s", text.Bytes())
		return
	}
	t.Logf("letters left: %v\n%s", left, text.Bytes())
}
