package dlq

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/check"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// PlanSchema names the form of a plan.
const PlanSchema = "eventworker.dlq.plan/v1"

// MaxPlan is how many letters one plan may replay or park; planning takes about 60 bytes of memory for
// each, for as many again of those that are refused once more, and 26 for each state that is noted. What is beyond waits for the next plan.
const MaxPlan = 1_000_000

// Plan is a replay, pinned: which letters, judged by which rules, with which edit, to where. What was
// counted is what is acted on.
type Plan struct {
	Schema  string    `json:"schema"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Version is the program's. By and Note say who and why.
	Version string `json:"version"`
	By      string `json:"by"`
	Note    string `json:"note"`
	// Filter is canonical; Group's letters are meant, unless AnyGroup.
	Filter   string `json:"filter"`
	Group    string `json:"group"`
	AnyGroup bool   `json:"any_group,omitempty"`
	// Topic holds the letters. Target is the replay topic, empty if each letter goes to the topic of its
	// first life.
	Topic  string `json:"topic"`
	Target string `json:"target"`
	// Partitions are those of Topic that were looked at.
	Partitions []PlanPartition `json:"partitions"`
	// TargetFrom is where each partition of the target topics ended: a record of this replay lies there or
	// later.
	TargetFrom []PlanTarget `json:"target_from"`
	Digests    PlanDigests  `json:"digests"`
	// Edit is what --edit had, empty without one.
	Edit json.RawMessage `json:"edit,omitempty"`
	// Rate is how many letters go in a second; Live is the rate of the input topics when the plan was made.
	Rate       float64 `json:"rate"`
	Live       float64 `json:"live"`
	MaxReplays int     `json:"max_replays"`
	// Scanned, Matched and Complete say what was read. Matched is the sum of the verdicts' counts, Planned
	// that of the verdicts pass and pass-after-edit.
	Scanned  int64  `json:"scanned"`
	Total    int64  `json:"total"`
	Complete bool   `json:"complete"`
	Why      string `json:"why,omitempty"`
	Matched  int64  `json:"matched"`
	Planned  int64  `json:"planned"`
	// Changed and Unchanged are the letters that the edit fits and does not fit.
	Changed   int64     `json:"changed"`
	Unchanged int64     `json:"unchanged"`
	Verdicts  []Verdict `json:"verdicts"`
	// Soon is in how many hours the letters that Verdict.Soon counts are too old.
	Soon int `json:"soon_hours"`
	// Diffs are up to three examples of the edit for each cause.
	Diffs []Example `json:"diffs,omitempty"`
}

// PlanPartition is what a plan has of one partition of the dead-letter topic: it looked at From ≤ o < To.
type PlanPartition struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
	// Letters are replayed, Parked are not any more; ranges such as 12-16,18-19.
	Letters offsets `json:"letters"`
	Parked  offsets `json:"parked,omitempty"`
	// First is the source of the first of Letters, and when it was written: it tells a topic that was made
	// anew, and that of another cluster.
	First string `json:"first,omitempty"`
}

// PlanTarget is where a partition of a target topic ended.
type PlanTarget struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// PlanDigests pin what the letters were judged by.
type PlanDigests struct {
	Rules         string `json:"rules"`
	Configuration string `json:"configuration"`
	Edit          string `json:"edit,omitempty"`
	// Plan is over all of the plan but its note: one that was changed by hand is refused.
	Plan string `json:"plan"`
}

// seal is the digest of the plan itself.
func (p *Plan) seal() string {
	own := *p
	own.Note, own.Digests.Plan, own.Edit = "", "", nil // the edit has a digest of its own
	text, err := json.Marshal(&own)
	if err != nil { // plain values always marshal
		return err.Error()
	}
	return digest(text)
}

// Example is a letter and what the edit changes in it.
type Example struct {
	Cause   string   `json:"cause"`
	Letter  string   `json:"letter"`
	Changes []Change `json:"changes"`
}

// PlanOptions say what to plan.
type PlanOptions struct {
	Filter *Filter
	// Check are the worker's rules; their Now is the time of the plan.
	Check check.Options
	// Edit is nil for none.
	Edit *Edit
	// ToOriginal puts letters on the topics of their first life, whose other readers get them too.
	ToOriginal bool
	// AnyGroup takes letters that another group wrote, too.
	AnyGroup bool
	// MaxReplays parks letters that were replayed as often; 0: 3.
	MaxReplays int
	// Max is how many letters are planned at most, parked ones included; 0: MaxPlan. Those that are left
	// out do not count, so that the next plan comes to the next ones.
	Max int64
	// Rate is how many letters go in a second; 0: 5 % of the live rate, at least 50.
	Rate float64
	// Soon is how far ahead letters that get too old are counted; 0: 6 h.
	Soon              time.Duration
	By, Note, Version string
	// Mask masks users' tokens in sentences and examples; nil masks nothing. FilterText stands for the
	// filter's canonical text, which may hold a token; empty: the canonical text.
	Mask       *Masker
	FilterText string
	Progress   func(Report)
}

const (
	defaultMaxReplays = 3
	defaultSoon       = 6 * time.Hour
)

// Plan judges each letter that the filter takes and pins what a replay would do. It writes nothing.
func (d *Desk) Plan(ctx context.Context, o PlanOptions) (*Plan, Report, error) {
	if o.MaxReplays <= 0 {
		o.MaxReplays = defaultMaxReplays
	}
	if o.Soon <= 0 {
		o.Soon = defaultSoon
	}
	if o.Max <= 0 || o.Max > MaxPlan {
		o.Max = MaxPlan
	}
	if !o.ToOriginal && d.Topics.Replay == "" {
		return nil, Report{}, &CallError{Problem: "kafka.replay_topic is empty: nowhere to replay to", Try: "eventworker config print --origin", Setting: "kafka.replay_topic"}
	}
	states, err := d.States(ctx)
	if err != nil {
		return nil, Report{}, err
	}
	snapshot, err := d.Snapshot(ctx, o.Filter)
	if err != nil {
		return nil, Report{}, err
	}
	p := &Plan{
		Schema: PlanSchema, ID: newPlanID(), Created: o.Check.Now.UTC().Truncate(time.Millisecond), Version: o.Version, By: o.By, Note: o.Note,
		Filter: o.Filter.String(), Group: d.Group, AnyGroup: o.AnyGroup, Topic: d.Topics.DeadLetter, MaxReplays: o.MaxReplays,
		Soon: int(o.Soon / time.Hour), Digests: digests(&o.Check, o.Edit),
	}
	if o.FilterText != "" {
		p.Filter = o.FilterText
	}
	if !o.ToOriginal {
		p.Target = d.Topics.Replay
	}
	if o.Edit != nil {
		p.Edit = o.Edit.Text()
	}
	if p.TargetFrom, err = d.targetEnds(ctx, p); err != nil {
		return nil, Report{}, err
	}
	w := newPlanner(d, p, &o, states)
	// One partition after the other: the same letters give the same plan.
	report, err := d.Scan(ctx, snapshot, o.Filter, ScanOptions{Partitions: 1, Progress: o.Progress}, func(l *Letter) error { return w.take(ctx, l) })
	if err != nil {
		return nil, report, err
	}
	if err := w.finish(ctx, snapshot, &report); err != nil {
		return nil, report, err
	}
	if err := d.pace(ctx, p, o.Rate); err != nil {
		return nil, report, err
	}
	p.Digests.Plan = p.seal()
	return p, report, nil
}

// pace sets the plan's rate.
func (d *Desk) pace(ctx context.Context, p *Plan, rate float64) (err error) {
	if p.Live, err = d.LiveRate(ctx); err != nil {
		return err
	}
	p.Rate = rate
	if rate <= 0 {
		p.Rate = max(leastRate, p.Live*defaultShare)
	}
	return nil
}

var planID = regexp.MustCompile(`^p-[0-9a-f]{8}$`)

func newPlanID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "p-" + hex.EncodeToString(b[:])
}

// targetEnds are the ends of the topics that the plan writes to, which must exist.
func (d *Desk) targetEnds(ctx context.Context, p *Plan) (list []PlanTarget, err error) {
	topics := []string{p.Target}
	if p.Target == "" {
		topics = d.Topics.Inputs
	}
	for _, topic := range topics {
		bounds, err := d.Bounds(ctx, topic)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("%w: the worker makes it with kafka.create_topics, or make it with as many partitions as the input topics have", err)
		}
		if err != nil {
			return nil, err
		}
		for _, b := range bounds {
			list = append(list, PlanTarget{topic, b.Partition, b.End})
		}
	}
	return list, nil
}

// LogAppendTopics are the input topics that give records the time of the broker: a letter that goes back to
// its own topic loses its original one there, which matters where the message has no timestamp itself.
func (d *Desk) LogAppendTopics(ctx context.Context) (topics []string, err error) {
	const setting = "message.timestamp.type"
	for _, topic := range d.Topics.Inputs {
		settings, err := d.in.Settings(ctx, topic, setting)
		if err != nil {
			return nil, err
		}
		if settings[setting] == "LogAppendTime" {
			topics = append(topics, topic)
		}
	}
	return topics, nil
}

// digests of what letters are judged by.
func digests(c *check.Options, edit *Edit) PlanDigests {
	r := &c.Rules
	configuration, err := json.Marshal([]any{
		r.Window, r.ClickWindow, r.ClockSkew, r.AllowedLateness, r.Attribution, r.OnMiss, r.SendViews, r.HashTokens, r.MaxEventAge,
		r.EventNames, r.Applications, c.AnyApplication, c.ShownTopics, c.ClickedTopics,
	})
	if err != nil { // plain values always marshal
		configuration = []byte(err.Error())
	}
	out := PlanDigests{Rules: digest([]byte(strings.Join(event.Rules(), "\n"))), Configuration: digest(configuration)}
	if edit != nil {
		out.Edit = edit.Digest()
	}
	return out
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// ParsePlan reads a plan from its file. The error is a [*CallError].
func ParsePlan(text []byte) (*Plan, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	// An export has one document a line: only the first is looked at.
	if json.NewDecoder(bytes.NewReader(text)).Decode(&head) == nil && head.Schema == MaskedExportSchema {
		return nil, callf("eventworker dlq replay --help", "the file is a masked copy of dead letters, which cannot be replayed")
	}
	p := new(Plan)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, callf("eventworker dlq replay --help", "the plan cannot be read: %v", err)
	}
	if p.Schema != PlanSchema {
		return nil, callf("eventworker dlq replay --help", "the file is no plan: its schema is %.60q, want %s", p.Schema, PlanSchema)
	}
	if !planID.MatchString(p.ID) || p.Topic == "" {
		return nil, callf("eventworker dlq replay --help", "the plan lacks an id or a topic")
	}
	n := int64(0)
	for i := range p.Partitions {
		n += p.Partitions[i].Letters.count()
	}
	if n != p.Planned {
		return nil, callf("eventworker dlq replay --help", "the plan lists %d letters and says %d: it was changed by hand", n, p.Planned)
	}
	if p.Edit != nil {
		e, err := ParseEdit(p.Edit)
		if err != nil {
			return nil, callf("eventworker dlq replay --help", "the plan's edit: %v", err)
		}
		if e.Digest() != p.Digests.Edit {
			return nil, callf("eventworker dlq replay --help", "the plan's edit is not the one that it was made with")
		}
	}
	if p.Digests.Plan != p.seal() {
		return nil, callf("eventworker dlq replay --help", "the plan is not the one that was made: it was changed by hand, or by another version")
	}
	return p, nil
}

// StaleError says that a plan no longer fits what it was made for.
type StaleError struct {
	ID string
	// Differences are sentences.
	Differences []string
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("plan %s is stale: %s", e.ID, strings.Join(e.Differences, "; "))
}

// Stale compares a plan with the rules and the topics as they are now. The error is a [*StaleError].
func (d *Desk) Stale(ctx context.Context, p *Plan, c *check.Options) error {
	var diffs []string
	add := func(format string, args ...any) { diffs = append(diffs, fmt.Sprintf(format, args...)) }
	now := digests(c, nil)
	if p.Digests.Rules != now.Rules {
		add("the rules of this version of eventworker are others (digest %s, the plan has %s)", now.Rules, p.Digests.Rules)
	}
	if p.Digests.Configuration != now.Configuration {
		add("the configuration judges otherwise (digest %s, the plan has %s)", now.Configuration, p.Digests.Configuration)
	}
	if p.Topic != d.Topics.DeadLetter {
		add("it is for topic %s, kafka.dead_letter_topic is %s", p.Topic, d.Topics.DeadLetter)
	}
	if p.Target != "" && p.Target != d.Topics.Replay {
		add("it replays to %s, kafka.replay_topic is %s", p.Target, d.Topics.Replay)
	}
	if p.Group != d.Group {
		add("it is for group %s, kafka.group is %s", p.Group, d.Group)
	}
	if len(diffs) == 0 {
		changed, err := d.topicChanged(ctx, p)
		if err != nil {
			return err
		}
		diffs = changed
	}
	if len(diffs) > 0 {
		return &StaleError{ID: p.ID, Differences: diffs}
	}
	return nil
}

// topicChanged says what became of the dead-letter topic since the plan.
func (d *Desk) topicChanged(ctx context.Context, p *Plan) (diffs []string, err error) {
	bounds, err := d.Bounds(ctx, p.Topic)
	if err != nil {
		return nil, err
	}
	for i := range p.Partitions {
		one := &p.Partitions[i]
		from, to := one.Letters.bounds()
		if from == to {
			continue
		}
		at := slices.IndexFunc(bounds, func(b consume.LogBounds) bool { return b.Partition == one.Partition })
		switch {
		case at < 0:
			diffs = append(diffs, fmt.Sprintf("partition %d of %s is gone", one.Partition, p.Topic))
		case bounds[at].Start > from:
			diffs = append(diffs, fmt.Sprintf("partition %d of %s was shortened: it begins at %d, the plan at %d", one.Partition, p.Topic, bounds[at].Start, from))
		case bounds[at].End < to:
			diffs = append(diffs, fmt.Sprintf("partition %d of %s ends at %d, before the plan's %d: the topic was made anew", one.Partition, p.Topic, bounds[at].End, to))
		default:
			same, err := d.isFirst(ctx, p.Topic, one.Partition, from, one.First)
			if err != nil {
				return nil, err
			}
			if !same {
				diffs = append(diffs, fmt.Sprintf("offset %d of partition %d of %s is another letter: the topic was made anew, or is that of another cluster", from, one.Partition, p.Topic))
			}
		}
	}
	return diffs, nil
}

func (d *Desk) isFirst(ctx context.Context, topic string, partition int32, offset int64, first string) (same bool, err error) {
	name, err := d.nameOf(ctx, topic, partition, offset)
	return name == first && name != "", err
}

// nameOf names the letter at an offset, empty where there is none any more.
func (d *Desk) nameOf(ctx context.Context, topic string, partition int32, offset int64) (name string, err error) {
	_, err = d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: partition, From: offset, To: offset + 1, FetchBytes: 1 << 16}, func(records []consume.Record, _ int64) error {
		for i := range records {
			if records[i].Offset == offset {
				name = firstOf(LetterOf(partition, &records[i]).Source(), records[i].Time)
			}
		}
		return nil
	})
	return name, err
}

// firstOf names a letter so that no other one has this name: two clusters have records of one place.
func firstOf(source Coordinates, written int64) string {
	return source.String() + " " + time.UnixMilli(written).UTC().Format(timeLayout)
}

// ParkedCount is how many letters the plan's cap parks.
func (p *Plan) ParkedCount() (n int64) {
	for i := range p.Partitions {
		n += p.Partitions[i].Parked.count()
	}
	return n
}

// claimed is the state of a letter that the plan is about to write.
func (p *Plan) claimed(at time.Time) deadletter.State {
	return deadletter.State{Status: deadletter.StateReplayed, ReplayID: p.ID, Note: p.Note, By: p.By, At: at}
}
