package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/check"
	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/worker"
)

func newDLQExplainCommand(a *app) *cobra.Command {
	var flags deskFlags
	var out outFlags
	var admin string
	cmd := &cobra.Command{
		Use:   "explain ADDRESS | REASON",
		Short: "Why a letter is dead, step by step, or what a reason means",
		Long: `With an ADDRESS: judges the message again by today's rules, one line for each
step of the pipeline, and prints the events that would be sent. What the store
knows of the user is not asked for, unless --admin names a worker. Then follows
what the runbook says of the letter's reason.

With a REASON: prints its section of the runbook, docs/dead-letters.md.`,
		Example: `  eventworker dlq explain 3:18112 --config eventworker.yaml
  eventworker dlq explain events/3/991 --admin 127.0.0.1:9402
  eventworker dlq explain invalid`,
		ValidArgsFunction: cobra.FixedCompletions(dlq.Reasons(), cobra.ShellCompDirectiveNoFileComp),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && !helpWanted(cmd) {
				return usagef(cmd.CommandPath()+" --help", "%s wants one ADDRESS or REASON", cmd.CommandPath())
			}
			if len(args) == 0 || slices.Contains(dlq.Reasons(), args[0]) {
				return nil
			}
			if !strings.ContainsAny(args[0], ":/") {
				_, err := dlq.Runbook(args[0])
				return callError(err)
			}
			_, err := dlq.ParseAddress(args[0])
			return callError(err)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.verify(cmd); err != nil {
				return err
			}
			switch {
			case out.format == "help":
				return writeSchema(a.out, dlq.ExplainSchema)
			case slices.Contains(dlq.Reasons(), args[0]):
				return a.explainReason(args[0], &out)
			}
			return a.dlqExplain(cmd, args[0], &flags, &out, admin)
		},
	}
	a.configFlags(cmd)
	flags.addTokens(cmd)
	out.add(cmd, "text", "json")
	out.addPager(cmd)
	cmd.Flags().StringVar(&admin, "admin", "", "ask the worker with this admin server, `HOST:PORT`, what its store knows of the user")
	return cmd
}

// explained is the document of dlq explain.
type explained struct {
	Schema  string         `json:"schema"`
	Letters []explainedOne `json:"letters"`
	Reason  string         `json:"reason"`  // that was asked about, or that of the newest letter
	Runbook string         `json:"runbook"` // Markdown
	Store   *storeSays     `json:"store"`   // null: not asked, or the worker cannot tell
}

type explainedOne struct {
	Letter  json.RawMessage   `json:"letter"`
	Steps   []dlq.Step        `json:"steps"`
	Today   string            `json:"today"`        // delivered, refused or absorbed
	Reason  string            `json:"today_reason"` // of a refusal or absorption
	Changed bool              `json:"changed"`      // it is not refused for the letter's reason any more
	Hints   []check.Hint      `json:"hints"`
	Objects []check.Object    `json:"objects"`
	Events  []json.RawMessage `json:"events"`
}

func (a *app) explainReason(reason string, out *outFlags) error {
	text, err := dlq.Runbook(reason)
	if err != nil {
		return callError(err)
	}
	if out.format == "json" {
		return writeDocument(a.out, &explained{Schema: "eventworker.dlq.explain/v1", Letters: []explainedOne{}, Reason: reason, Runbook: text})
	}
	return a.page(text+"\n", out)
}

func (a *app) dlqExplain(cmd *cobra.Command, address string, flags *deskFlags, out *outFlags, admin string) error {
	ctx := cmd.Context()
	d, err := a.desk(ctx, flags)
	if err != nil {
		return err
	}
	defer d.Close()
	letters, err := a.find(cmd, d, []string{address})
	if err != nil {
		return err
	}
	loaded, err := a.loadConfig(false)
	if err != nil {
		return err
	}
	options := dlq.ExplainOptions{Rules: *worker.JoinConfig(&loaded.Config), AnyApplication: !namesApplications(loaded), ShownTopics: loaded.Kafka.ShownTopics,
		ClickedTopics: loaded.Kafka.ClickedTopics, Now: d.now, Mask: d.mask, Limits: d.limits}
	var explanations []*dlq.Explanation
	for _, l := range letters {
		x, err := dlq.Explain(ctx, l, options)
		if err != nil {
			return err
		}
		explanations = append(explanations, x)
	}
	newest := letters[len(letters)-1]
	store := a.askStore(ctx, admin, newest, explanations[len(explanations)-1], d)
	runbook, err := dlq.Runbook(newest.ReasonText())
	if err != nil {
		runbook = err.Error()
	}
	if out.format == "json" {
		return writeDocument(a.out, explainDocument(explanations, newest.ReasonText(), runbook, store))
	}
	var b buffered
	style := a.style(out)
	for i, x := range explanations {
		if i > 0 {
			b.line("")
		}
		writeExplanation(&b, x, &style)
	}
	if store != nil {
		writeStore(&b, store, admin)
	}
	b.line("\n%s", runbook)
	return a.page(b.String(), out)
}

func explainDocument(list []*dlq.Explanation, reason, runbook string, store *storeSays) *explained {
	doc := &explained{Schema: "eventworker.dlq.explain/v1", Letters: []explainedOne{}, Reason: reason, Runbook: runbook, Store: store}
	for _, x := range list {
		doc.Letters = append(doc.Letters, explainedOne{Letter: object(rowColumns, &x.Row, ""), Steps: x.Steps, Today: x.Today, Reason: x.Reason,
			Changed: x.Changed, Hints: orEmpty(x.Hints), Objects: orEmpty(x.Objects), Events: orEmpty(x.Events)})
	}
	return doc
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// signs and colours of outcomes.
var (
	stepSigns  = map[dlq.Outcome]string{dlq.Passed: "✓", dlq.Failed: "✗", dlq.Skipped: "·", dlq.Unknown: "?"}
	stepColors = map[dlq.Outcome]string{dlq.Passed: green, dlq.Failed: red, dlq.Skipped: faint, dlq.Unknown: yellow}
)

func writeExplanation(b *buffered, x *dlq.Explanation, s *outStyle) {
	r := &x.Row
	b.line("%s", s.paint(bold, fmt.Sprintf("dead letter %d:%d   %s   %s", r.Partition, r.Offset, orDash(clean(r.Reason)), orDash(clean(r.Cause)))))
	sentence := r.Message
	if r.Field != "" {
		sentence = r.Field + ": " + sentence
	}
	b.line("  then   %s %s: %s", orDash(clean(r.Stage)), s.time(r.Failed), clean(sentence))
	b.line("  now    %s", todayWords(x))
	b.line("")
	for i := range x.Steps {
		step := &x.Steps[i]
		text := step.Text
		if step.Field != "" {
			text = step.Field + ": " + text
		}
		if step.Rule != "" {
			text += " (" + step.Rule + ")"
		}
		b.line("  %s", strings.TrimRight(fmt.Sprintf("%-9s %s %s", step.Name, s.paint(stepColors[step.Outcome], stepSigns[step.Outcome]), clean(text)), " "))
	}
	for i := range x.Objects {
		o := &x.Objects[i]
		b.line("  object %d  %s: queryID %s, index %s%s", o.Object, clean(o.ObjectID), orDash(clean(o.QueryID)), orDash(clean(o.Index)), withText(o.Text))
	}
	for _, h := range x.Hints {
		b.line("  hint      %s (%s)", clean(h.Text), h.Rule)
	}
	if len(x.Events) > 0 {
		b.line("\n%s that would be sent", plural(len(x.Events), "event"))
		for _, e := range x.Events {
			var laid bytes.Buffer
			if json.Indent(&laid, e, "  ", "  ") != nil {
				laid.Reset()
				laid.Write(e)
			}
			b.line("  %s", cleanLines(laid.String()))
		}
	}
}

// todayWords say what would become of the message.
func todayWords(x *dlq.Explanation) string {
	switch {
	case x.Today == string(check.Delivered) && x.Changed:
		return "it would be sent: no rule refuses it any more"
	case x.Today == string(check.Delivered):
		return "it would be sent again; only the API can say whether it takes it"
	case x.Changed:
		return x.Today + ", " + x.Reason + ": not " + orDash(clean(x.Row.Reason)) + " any more"
	}
	return "still " + x.Today + ", " + x.Reason
}

func withText(text string) string {
	if text == "" {
		return ""
	}
	return "; " + clean(text)
}

// storeTimeout bounds each question what a worker's store knows of a user, maxStoreObjects their number.
const (
	storeTimeout    = 5 * time.Second
	maxStoreObjects = 20
)

// storeSays is what a worker's store knows now of a letter's user.
type storeSays struct {
	Impressions int `json:"impressions"`
	Clicks      int `json:"clicks"`
	// Complete is false while the store still lacks what earlier messages left.
	Complete bool          `json:"complete"`
	Objects  []storeObject `json:"objects"`
}

// storeObject is what an object of the message would take now, at the message's time.
type storeObject struct {
	Object   int    `json:"object"`
	ObjectID string `json:"object_id"`
	QueryID  string `json:"query_id"` // empty: plain
	Index    string `json:"index"`
	Position int32  `json:"position"`
	// From is click, impression, later-impression, or empty.
	From string `json:"from"`
}

// askStore asks a worker for what it knows of a letter's user, and what the objects of the message
// would take. That it cannot tell is said, and is no failure.
func (a *app) askStore(ctx context.Context, admin string, l *dlq.Letter, x *dlq.Explanation, d *openDesk) *storeSays {
	if admin == "" {
		return nil
	}
	said, err := storeKnows(ctx, admin, l, x, d)
	if err != nil {
		fmt.Fprintf(a.err, "note: the store is not known: %s\n", d.mask.Text(err.Error(), l.Tokens()...))
		return nil
	}
	return said
}

func storeKnows(ctx context.Context, admin string, l *dlq.Letter, x *dlq.Explanation, d *openDesk) (*storeSays, error) {
	client, err := adminOf(d.config, admin)
	if err != nil {
		return nil, err
	}
	ask := func(objectID string) (*worker.UserHistory, error) {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		q := worker.UserQuery{Application: string(l.Payload().Application), UserToken: l.User(), ObjectID: objectID, At: l.EventTime()}
		if q.Application == "" {
			q.Application = config.DefaultApplication
		}
		var h worker.UserHistory
		status, err := client.call(ctx, worker.StoreUserPath, &q, &h)
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
			err = fmt.Errorf("the worker does not tell what its store knows of this user: %w", err)
		}
		return &h, err
	}
	h, err := ask("")
	if err != nil {
		return nil, err
	}
	said := &storeSays{Impressions: len(h.Impressions) + h.MoreImpressions, Clicks: len(h.Clicks) + h.MoreClicks, Complete: h.Complete, Objects: []storeObject{}}
	for i := range x.Objects[:min(len(x.Objects), maxStoreObjects)] {
		o := &x.Objects[i]
		if h, err = ask(o.ObjectID); err != nil {
			return nil, err
		}
		if e := h.Explanation; e != nil {
			said.Objects = append(said.Objects, storeObject{o.Object, o.ObjectID, e.QueryID, e.Index, e.Position, e.From})
		}
	}
	return said, nil
}

// writeStore writes what the store knows.
func writeStore(b *buffered, said *storeSays, admin string) {
	b.line("\nthe store of %s knows %s and %s of the user", clean(admin), plural(said.Impressions, "impression"), plural(said.Clicks, "click"))
	if !said.Complete {
		b.line("  it still lacks what earlier messages left")
	}
	for i := range said.Objects {
		o := &said.Objects[i]
		if o.QueryID == "" {
			b.line("  object %d  %s: nothing answers", o.Object, clean(o.ObjectID))
			continue
		}
		b.line("  object %d  %s: queryID %s, index %s, by the %s", o.Object, clean(o.ObjectID), clean(o.QueryID), orDash(clean(o.Index)), clean(o.From))
	}
}
