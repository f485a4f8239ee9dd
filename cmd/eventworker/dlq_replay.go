package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/check"
	"eventworker/internal/dlq"
	"eventworker/internal/telemetry"
	"eventworker/internal/worker"
)

// newDLQWriteCommands are the commands under dlq that write something, or tell what was written.
func newDLQWriteCommands(a *app) []*cobra.Command {
	return []*cobra.Command{newDLQReplayCommand(a), newDLQVerifyCommand(a), newDLQReplaysCommand(a), newDLQDiscardCommand(a)}
}

// replay is a call of dlq replay.
type replay struct {
	flags deskFlags
	out   outFlags
	ask   asking

	plan, planOut, edit  string
	release              string
	patch                *dlq.Edit // of edit
	dryRun, detailed     bool
	toOriginal, anyGroup bool
	canary               int
	minSuccess, rate     float64
	wait                 time.Duration
	max                  int64
	maxReplays           int
}

func newDLQReplayCommand(a *app) *cobra.Command {
	r := &replay{}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Puts dead letters back, repaired, by a plan that is shown first",
		Long: `Judges each letter that the filter takes by the worker's own rules, after the
edit, shows what would come of it, asks, and puts those that pass on
kafka.replay_topic. A worker reads them as if it were their first time: with the
times of then, what the join had found, and only the parts that are missing.

The plan pins the letters, the rules, the edit and the configuration. With
--dry-run --plan-out it is kept in a file; --plan carries out exactly that, from
the file or by its id, and is refused when something changed. Calling it again
goes on after an interruption, and does nothing once all is written. --release
is for a plan that was interrupted and is refused since: the letters that it had
claimed, and did not write, are open again, and a new plan takes them.

An edit is a JSON Patch (RFC 6902) or a merge patch (RFC 7386). In a path, *
stands for all elements of an array. The operation rewrite changes a text, or
the digits of a number, by a regular expression:
  {"op": "rewrite", "path": "/items/*/price",
   "match": "^([0-9]+),([0-9]+)$", "with": "$1.$2"}

--canary puts some letters first, spread over causes and partitions, and waits
for what comes of them. Written is not delivered: dlq verify follows each one.
The pace is 5 % of what the input topics got in the last five minutes, at least
50 letters a second, and gives way while the workers are behind.`,
		Example: `  eventworker dlq replay --reason invalid --since 2h --edit fix.json --dry-run
  eventworker dlq replay --cause c1-9f2ab01c --dry-run --plan-out plan.json
  eventworker dlq replay --plan plan.json --canary 200 --yes
  eventworker dlq replay --plan p-7c1e09ab --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.out.verify(cmd); err != nil {
				return err
			}
			if r.out.format == "help" {
				return writeSchema(a.out, dlq.ReplayDocumentSchema)
			}
			if r.release != "" {
				return a.dlqRelease(cmd, r)
			}
			return a.dlqReplay(cmd, r)
		},
	}
	r.flags.add(a, cmd)
	r.out.add(cmd, "table", "json")
	r.out.pagerFlag(cmd)
	r.out.noHeaderFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&r.plan, "plan", "", "carry out this plan: a `FILE`, or the id of a replay that was begun")
	f.StringVar(&r.release, "release", "", "open what this plan, which cannot go on, claimed and did not write: a `FILE`, or an id")
	f.StringVar(&r.planOut, "plan-out", "", "keep the plan in a `FILE`")
	f.StringVar(&r.edit, "edit", "", "repair each letter by the patch in a `FILE`")
	f.BoolVar(&r.dryRun, "dry-run", false, "only show what would be done")
	f.BoolVar(&r.detailed, "detailed-exitcode", false, "with --dry-run: exit code 3 if something would be written")
	f.IntVar(&r.canary, "canary", 0, "put `N` letters first, and go on only if they end well")
	f.Float64Var(&r.minSuccess, "min-success", 0.95, "the `SHARE` of the canary's letters that must end well")
	f.DurationVar(&r.wait, "wait", 10*time.Minute, "how long to wait for the canary's letters")
	f.Float64Var(&r.rate, "rate", 0, "letters a second, `N` (default: 5 % of live traffic, at least 50)")
	f.Int64Var(&r.max, "max", 0, "plan at most `N` letters (default: a million)")
	f.IntVar(&r.maxReplays, "max-replays", 3, "park letters that were replayed `N` times")
	f.BoolVar(&r.toOriginal, "to-original", false, "put them on the topics they came from, whose other readers get them too")
	f.BoolVar(&r.anyGroup, "any-group", false, "also letters that another consumer group wrote")
	r.ask.add(cmd)
	a.completePlan(cmd)
	cmd.MarkFlagsMutuallyExclusive("dry-run", "yes")
	for _, name := range append([]string{"edit", "to-original", "any-group", "max", "max-replays", "plan-out", "query"}, dlq.FilterKeys...) {
		cmd.MarkFlagsMutuallyExclusive("plan", name)
		cmd.MarkFlagsMutuallyExclusive("release", name)
	}
	for _, name := range []string{"plan", "canary", "min-success", "wait", "rate", "detailed-exitcode"} {
		cmd.MarkFlagsMutuallyExclusive("release", name)
	}
	return cmd
}

// asking is what commands that write have in common: who, why, and whether to ask.
type asking struct {
	yes, noInput bool
	note         string
	auditTopic   string
}

func (q *asking) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&q.yes, "yes", false, "do not ask")
	f.BoolVar(&q.noInput, "no-input", false, "never ask: fail where --yes is missing")
	f.StringVar(&q.note, "note", "", "why, in your own `WORDS`; kept with what is written")
	q.addAudit(cmd)
}

func (q *asking) addAudit(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.auditTopic, "audit-topic", "", "write the audit line to this `TOPIC`, too")
}

// auditApart refuses to write audit lines to a topic that is read as something else.
func (q *asking) auditApart(cmd *cobra.Command, d *openDesk) error {
	t := &d.Topics
	if q.auditTopic == "" || !slices.Contains(append([]string{t.DeadLetter, t.Replay, t.State}, t.Inputs...), q.auditTopic) {
		return nil
	}
	return usagef(cmd.CommandPath()+" --help", "--audit-topic %s: the topic is one of the worker's own, which would read audit lines as messages: give it a topic for nothing else", q.auditTopic)
}

// can says whether somebody can be asked.
func (q *asking) can(a *app, out *outFlags) bool {
	return !q.noInput && out.format == "table" && telemetry.IsTerminal(a.err) && inIsTerminal(a)
}

// who is user@host.
func who() string {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// replayDocument is the JSON of dlq replay.
type replayDocument struct {
	Schema  string       `json:"schema"`
	Plan    *dlq.Plan    `json:"plan"`
	Applied *dlq.Applied `json:"applied"` // null: nothing was done, or would be
}

func (a *app) dlqReplay(cmd *cobra.Command, r *replay) error {
	if err := r.check(a, cmd); err != nil {
		return err
	}
	if r.edit != "" {
		patch, err := readEdit(cmd, r.edit)
		if err != nil {
			return err
		}
		r.patch = patch
	}
	ctx := cmd.Context()
	d, err := a.desk(ctx, &r.flags)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := r.ask.auditApart(cmd, d); err != nil {
		return err
	}
	options, err := a.judging(d)
	if err != nil {
		return err
	}
	plan, err := a.planOf(cmd, r, d, options)
	if err != nil {
		return a.kafkaError(err)
	}
	if r.planOut != "" {
		if err := writePlan(r.planOut, plan); err != nil {
			return err
		}
	}
	if r.out.format == "table" {
		// Who does not read the plan to its end has said --yes all the same.
		if err := a.writePlanText(r, plan); err != nil && !closedPipe(err) {
			return err
		}
	}
	if plan.Planned == 0 && plan.ParkedCount() == 0 {
		fmt.Fprintln(a.err, "no letter would be replayed")
		return errors.Join(a.replayed(r, plan, nil), a.remainder(plan, nil))
	}
	if err := a.warnOriginal(ctx, d, plan); err != nil {
		return a.kafkaError(err)
	}
	if !r.dryRun && !r.ask.yes && !a.confirm(cmd, fmt.Sprintf("Replay %s letters to %s?", dlq.Thousands(plan.Planned), targetOf(plan))) {
		return failf("", "nothing was written")
	}
	return a.carryOut(cmd, r, d, plan, options)
}

// check finds wrong calls before anything is asked of the brokers.
func (r *replay) check(a *app, cmd *cobra.Command) error {
	try := cmd.CommandPath() + " --help"
	switch {
	case r.canary < 0 || !(r.rate >= 0) || math.IsInf(r.rate, 0) || r.max < 0 || // a rate may be no number
		r.maxReplays < 1 || r.wait < 0:
		return usagef(try, "--canary, --rate, --max and --wait want 0 or more, --max-replays 1 or more")
	case !(r.minSuccess > 0 && r.minSuccess <= 1):
		return usagef(try, "--min-success wants a share above 0, at most 1, got %g", r.minSuccess)
	case r.detailed && !r.dryRun:
		return usagef(try, "--detailed-exitcode belongs to --dry-run")
	case dlq.CheckNote(r.ask.note) != nil:
		return callError(dlq.CheckNote(r.ask.note))
	case !r.dryRun && !r.ask.yes && !r.ask.can(a, &r.out):
		return usagef(a.again(cmd)+" --dry-run", "--yes is missing, and nobody can be asked here")
	case r.plan+r.release != "": // never both
		return isReplay(r.plan+r.release, true)
	}
	return nil
}

// judging is how the worker judges.
func (a *app) judging(d *openDesk) (check.Options, error) {
	loaded, err := a.loadConfig(false)
	if err != nil {
		return check.Options{}, err
	}
	return check.Options{Rules: *worker.JoinConfig(&loaded.Config), AnyApplication: !namesApplications(loaded),
		ShownTopics: loaded.Kafka.ShownTopics, ClickedTopics: loaded.Kafka.ClickedTopics, Now: d.now}, nil
}

// planOf reads the plan that was asked for, or makes one.
func (a *app) planOf(cmd *cobra.Command, r *replay, d *openDesk, options check.Options) (*dlq.Plan, error) {
	ctx := cmd.Context()
	if r.plan != "" {
		plan, err := a.readPlan(ctx, d, r.plan)
		if err != nil {
			return nil, callError(err)
		}
		var stale *dlq.StaleError
		if err := d.Stale(ctx, plan, &options); errors.As(err, &stale) {
			return nil, a.stale(ctx, r, d, plan, err)
		} else if err != nil {
			return nil, err
		}
		if plan.Partitions == nil && plan.Planned > 0 {
			return nil, usagef("eventworker dlq replay --plan FILE", "plan %s is too large to be kept beside the states: give its file", plan.ID)
		}
		if r.ask.note != "" {
			plan.Note = r.ask.note
		}
		return plan, nil
	}
	o := dlq.PlanOptions{Filter: d.filter, FilterText: d.filterForPeople(), Check: options, ToOriginal: r.toOriginal, AnyGroup: r.anyGroup,
		MaxReplays: r.maxReplays, Max: r.max, Rate: r.rate, By: who(), Note: r.ask.note, Version: buildOf().Version, Mask: d.mask}
	o.Edit = r.patch
	if _, err := a.snapshot(ctx, d); err != nil {
		return nil, err
	}
	progress := a.scanProgress()
	o.Progress = progress.tell
	plan, report, err := d.Plan(ctx, o)
	if err == nil {
		progress.end(&report)
	}
	return plan, err
}

func readEdit(cmd *cobra.Command, file string) (*dlq.Edit, error) {
	text, err := readSmall(file, dlq.MaxEdit+1)
	if err != nil {
		return nil, usagef(cmd.CommandPath()+" --help", "--edit: %w", err)
	}
	edit, err := dlq.ParseEdit(text)
	if err != nil {
		return nil, usagef(cmd.CommandPath()+" --help", "--edit %s: %w", file, err)
	}
	return edit, nil
}

// maxPlanFile is how large a plan's file may be: a million letters, none beside another.
const maxPlanFile = 64 << 20

func readSmall(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", file, most)
	}
	return text, nil
}

// readPlan reads a plan from its file, or the one of a replay that was begun.
func (a *app) readPlan(ctx context.Context, d *openDesk, name string) (*dlq.Plan, error) {
	text, err := readSmall(name, maxPlanFile)
	switch {
	case errors.Is(err, os.ErrNotExist) && replayID.MatchString(name):
		return d.KeptPlan(ctx, name)
	case err != nil:
		return nil, usagef("eventworker dlq replays", "%w", err)
	}
	return dlq.ParsePlan(text)
}

func writePlan(file string, plan *dlq.Plan) error {
	text, err := json.MarshalIndent(plan, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return failf("", "--plan-out: %w", err)
	}
	return nil
}

func targetOf(p *dlq.Plan) string {
	if p.Target == "" {
		return "the topics they came from"
	}
	return p.Target
}

// warnOriginal says what it means to put letters on the topics they came from.
func (a *app) warnOriginal(ctx context.Context, d *openDesk, plan *dlq.Plan) error {
	if plan.Target != "" {
		return nil
	}
	fmt.Fprintln(a.err, "! every reader of these topics gets the letters again, with their original times: retention may remove them soon")
	topics, err := d.LogAppendTopics(ctx)
	for _, topic := range topics {
		fmt.Fprintf(a.err, "! topic %s gives records the time of now: letters without a timestamp of their own count as new for its other readers\n", topic)
	}
	return err
}

// carryOut applies a plan and says how it went.
func (a *app) carryOut(cmd *cobra.Command, r *replay, d *openDesk, plan *dlq.Plan, options check.Options) error {
	ctx := cmd.Context()
	a.acts = !r.dryRun
	audit, err := a.openAudit(ctx, d, r.ask.auditTopic, r.dryRun)
	if err != nil {
		return err
	}
	progress := &replayProgress{a.liveLine(), "replayed"}
	o := dlq.ApplyOptions{Check: options, Rate: r.rate, Canary: r.canary, MinSuccess: r.minSuccess, Wait: r.wait, DryRun: r.dryRun, Progress: progress.tell, Clock: clock, Mask: d.mask}
	o.GoOn = func(v *dlq.Verification) bool {
		progress.clear()
		fmt.Fprintf(a.err, "canary: %s of %s ended well\n", dlq.Thousands(v.Good()), dlq.Thousands(v.Planned))
		a.sayCauses(v)
		return r.ask.yes || a.confirm(cmd, "Go on with the others?")
	}
	if r.dryRun {
		progress.verb = "would replay"
	}
	n, err := d.Apply(ctx, plan, o)
	progress.clear()
	var unaudited error
	if !r.dryRun {
		unaudited = audit(dlq.Audit{By: who(), Action: "dlq.replay", Plan: plan.ID, Filter: plan.Filter, Topic: plan.Topic, Target: plan.Target,
			Count: n.Written, Note: plan.Note, Result: resultOf(ctx, err)})
	}
	a.sayApplied(plan, &n)
	err = errors.Join(a.replayed(r, plan, &n), a.applyError(ctx, plan, &n, err), unaudited)
	switch {
	case err != nil:
		return err
	case r.dryRun && r.detailed && n.Written+n.Parked > 0:
		return withCode(exitRemainder, a.goOn(cmd, r, plan), fmt.Errorf("%s letters would be replayed, %s parked", dlq.Thousands(n.Written), dlq.Thousands(n.Parked)))
	case r.dryRun:
		fmt.Fprintf(a.err, "dry run: nothing was written\nTry: %s\n", a.goOn(cmd, r, plan))
		return nil
	}
	if n.Written+n.Before > 0 {
		fmt.Fprintf(a.err, "written is not delivered: %s\n", a.next("verify", plan.ID, "--wait", "10m"))
	}
	if !plan.Complete {
		try := a.again(cmd)
		if r.plan != "" { // once more it would do nothing
			try = a.anew(plan)
		}
		return withCode(exitGuard, try, fmt.Errorf("the plan is done, and there are more letters: %s", plan.Why))
	}
	return a.remainder(plan, &n)
}

// next is a command of this program with the settings of this call.
func (a *app) next(words ...string) string {
	for i := range words {
		words[i] = shellWord(words[i])
	}
	return "eventworker dlq " + strings.Join(words, " ") + a.settings()
}

// settings are --config and --set of this call, each with a space before it.
func (a *app) settings() string {
	var b strings.Builder
	if a.configFile != "" {
		b.WriteString(" --config " + shellWord(a.configFile))
	}
	shown := a.shownSetting()
	for _, set := range a.set {
		b.WriteString(" --set " + shellWord(shown(set)))
	}
	return b.String()
}

// shownSetting gives what shows a setting of --set. Where the configuration is wrong it shows no value: a secret may
// stand in any place then.
func (a *app) shownSetting() func(set string) string {
	if _, err := a.loadConfig(false); err == nil {
		return withoutSecret
	}
	return func(set string) string {
		if key, _, has := strings.Cut(set, "="); has && settingKey.MatchString(key) {
			return key + "=***"
		}
		return "***"
	}
}

// settingKey is what the keys of the configuration are made of.
var settingKey = regexp.MustCompile(`^[A-Za-z0-9_. -]{1,200}$`)

// withoutSecret is a setting of a good configuration as it may be shown. A secret is not taken from --set, and the
// call that gave one is told so without it.
func withoutSecret(set string) string {
	key, value, _ := strings.Cut(set, "=")
	last := key[strings.LastIndexByte(key, '.')+1:]
	for _, name := range []string{"password", "sentinel_password", "api_key", "token"} {
		if last == name || strings.HasPrefix(value, "{") && strings.Contains(value, name) {
			return key + "=***"
		}
	}
	return set
}

// anew is the command that makes another plan of the same letters.
func (a *app) anew(plan *dlq.Plan) string {
	words := []string{"replay"}
	if plan.Filter != "" {
		words = append(words, "-q", plan.Filter)
	}
	if plan.AnyGroup {
		words = append(words, "--any-group")
	}
	if plan.Edit != nil {
		words = append(words, "--edit", "FILE")
	}
	if plan.Target == "" {
		words = append(words, "--to-original")
	}
	return a.next(append(words, "--dry-run", "--plan-out", "plan.json")...)
}

// goOn is the command that carries the plan out.
func (a *app) goOn(cmd *cobra.Command, r *replay, plan *dlq.Plan) string {
	file := r.plan
	if file == "" {
		file = r.planOut
	}
	switch {
	case file == "":
		return a.again(cmd, "dry-run", "detailed-exitcode") + " --dry-run --plan-out plan.json"
	case plan.Planned > 1000:
		return a.next("replay", "--plan", file, "--canary", "200")
	}
	return a.next("replay", "--plan", file)
}

func resultOf(ctx context.Context, err error) string {
	var canary *dlq.CanaryError
	switch {
	case err == nil:
		return "done"
	case ctx.Err() != nil:
		return "interrupted"
	case errors.As(err, &canary), errors.As(err, new(*dlq.TwinError)), errors.Is(err, dlq.ErrNoCanary), errors.Is(err, dlq.ErrDeclined):
		return "stopped"
	}
	return "failed"
}

// applyError says how to go on after a replay that did not end.
func (a *app) applyError(ctx context.Context, plan *dlq.Plan, n *dlq.Applied, err error) error {
	var canary *dlq.CanaryError
	var twin *dlq.TwinError
	again := a.next("replay", "--plan", plan.ID, "--yes")
	switch {
	case err == nil:
		return nil
	case errors.As(err, &canary):
		if n.Canary != nil {
			a.sayCauses(n.Canary)
			a.sayDeaths(n.Canary)
		}
		return withCode(exitGuard, a.next("verify", plan.ID), err)
	case errors.As(err, &twin):
		return withCode(exitGuard, a.next("verify", plan.ID), err)
	case errors.Is(err, dlq.ErrNoCanary):
		return withCode(exitGuard, a.next("replay", "--plan", plan.ID, "--canary", "200"), fmt.Errorf("%w: %s letters are left", err, dlq.Thousands(n.Left)))
	case errors.Is(err, dlq.ErrDeclined):
		return failf(again, "%w: %s letters are left", err, dlq.Thousands(n.Left))
	case ctx.Err() != nil:
		fmt.Fprintf(a.err, "%s letters are written, %s are left; go on: %s\n", dlq.Thousands(n.Written+n.Before), dlq.Thousands(n.Left), again)
		return err
	}
	return failf(again, "%s letters are written, %s are left: %w", dlq.Thousands(n.Written+n.Before), dlq.Thousands(n.Left), err)
}

// remainder is the error of a replay that leaves letters which need a person; n is nil where nothing was
// to be done.
func (a *app) remainder(plan *dlq.Plan, n *dlq.Applied) error {
	left := int64(0)
	for _, v := range plan.Verdicts {
		switch v.Verdict {
		case dlq.StillInvalid, dlq.TooOld, dlq.OverTheCap, dlq.Unreadable:
			left += v.Count
		}
	}
	if n != nil {
		left += n.TooOld + n.Refused + n.Gone
	}
	if left == 0 {
		return nil
	}
	return withCode(exitRemainder, a.next("stats"), fmt.Errorf("%s letters are not replayed and need a person", dlq.Thousands(left)))
}

// replayed writes the document of -o json.
func (a *app) replayed(r *replay, plan *dlq.Plan, n *dlq.Applied) error {
	if r.out.format != "json" {
		return nil
	}
	err := writeDocument(a.out, &replayDocument{Schema: dlq.AppliedSchema, Plan: plan, Applied: n})
	if closedPipe(err) {
		return nil // how it ended is still to be told
	}
	return err
}

// audit leaves a line of what was done on standard error.
func (a *app) audit(line dlq.Audit) { fmt.Fprintf(a.err, "audit %s\n", line.Line()) }

// openAudit gives what leaves a line of what was done: on standard error, and in the topic that --audit-topic
// names. Where that topic cannot be written nothing is done.
func (a *app) openAudit(ctx context.Context, d *openDesk, topic string, dryRun bool) (write func(dlq.Audit) error, err error) {
	if topic == "" || dryRun {
		return func(one dlq.Audit) error { a.audit(one); return nil }, nil
	}
	to, err := d.OpenAudit(ctx, topic)
	if err != nil {
		return nil, a.kafkaError(err)
	}
	return func(one dlq.Audit) error {
		defer to.Close()
		line := one.Line()
		fmt.Fprintf(a.err, "audit %s\n", line)
		return a.kafkaError(to.Write(ctx, one.By, line))
	}, nil
}
