package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/segmentio/kafka-go"
	"github.com/spf13/cobra"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/dlq"
	"eventworker/internal/worker"
)

func newDLQCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Looks at dead letters, repairs, replays and verifies them",
		Long: `Dead letters are messages that could not become events: each is the original
record with headers that say why. Begin with stats, which says in one line a
cause what is wrong; show and explain tell of one letter.

User tokens and e-mail addresses are masked unless --show-tokens is given.`,
		Example: `  eventworker dlq stats --config eventworker.yaml --since 2h
  eventworker dlq list --reason invalid --limit 20
  eventworker dlq explain 3:18112
  eventworker dlq explain invalid`,
	}
	cmd.AddCommand(newDLQStatsCommand(a), newDLQListCommand(a), newDLQShowCommand(a), newDLQExplainCommand(a),
		newDLQTailCommand(a), newDLQWatchCommand(a), newDLQExportCommand(a))
	cmd.AddCommand(newDLQWriteCommands(a)...)
	return cmd
}

// deskFlags are what the commands that read dead letters have in common.
type deskFlags struct {
	values     map[string]*[]string // of each key of a filter
	query      []string
	showTokens bool
}

// add defines --config, --set, the filter's flags and --show-tokens.
func (d *deskFlags) add(a *app, cmd *cobra.Command) {
	a.configFlags(cmd)
	d.addFilter(a, cmd)
	d.addTokens(cmd)
}

func (d *deskFlags) addTokens(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&d.showTokens, "show-tokens", false, "do not mask user tokens and e-mail addresses, in this call")
}

func (d *deskFlags) addFilter(a *app, cmd *cobra.Command) {
	d.values = map[string]*[]string{}
	f := cmd.Flags()
	for _, key := range dlq.FilterKeys {
		d.values[key] = f.StringArray(key, nil, filterUsage(key))
	}
	f.StringArrayVarP(&d.query, "query", "q", nil, "the same as one `QUERY`, such as 'reason:invalid -cause:c1-9f2ab01c'")
	fixedValues(cmd, "reason", dlq.Reasons())
	fixedValues(cmd, "stage", dlq.Stages())
	fixedValues(cmd, "type", []string{"shown", "clicked", "addedToCart", "purchased"})
	fixedValues(cmd, "parts", append([]string{"some", "none"}, dlq.Reasons()...))
	a.asked(cmd, "cause", completeCauses)
	a.asked(cmd, "partition", completePartitions)
	a.configured(cmd, "topic", inputTopics)
	a.configured(cmd, "app", applicationNames)
}

// asked completes a flag's values by what Kafka holds.
func (a *app) asked(cmd *cobra.Command, flag string, complete func(context.Context, *dlq.Desk) []cobra.Completion) {
	completes(cmd, flag, func(cmd *cobra.Command) []cobra.Completion { return a.completeFromDesk(cmd.Context(), complete) })
}

// completeReplays are the ids of replays that were begun, the newest first.
func completeReplays(ctx context.Context, d *dlq.Desk) (list []cobra.Completion) {
	replays, err := d.Replays(ctx)
	if err != nil {
		return nil
	}
	for i := range replays {
		list = append(list, cobra.CompletionWithDesc(replays[i].ID, clean(shortened(replays[i].Note, 60))))
	}
	return list
}

// filterUsage is the help of a filter's flag.
func filterUsage(key string) string {
	wants, about := dlq.DescribeKey(key)
	switch {
	case wants == "TIME":
		return strings.TrimSuffix(about, " it") + " `TIME`"
	case wants == strings.ToUpper(wants) && !strings.Contains(wants, " "):
		return about + ": `" + wants + "`"
	}
	return about + ": `" + strings.ToUpper(key) + "`, such as " + wants
}

// filter makes the filter of the flags and the query; times count from now.
func (d *deskFlags) filter(now time.Time) (*dlq.Filter, error) {
	f := new(dlq.Filter)
	for _, key := range dlq.FilterKeys {
		if d.values[key] == nil {
			continue
		}
		for _, values := range *d.values[key] {
			if err := f.Add(key, values, false, now); err != nil {
				return nil, callError(err)
			}
		}
	}
	for _, query := range d.query {
		if strings.TrimSpace(query) == "" { // a variable that is not set must not mean everything
			return nil, usagef("eventworker help filters", "--query wants words such as reason:invalid, got %q", query)
		}
		if err := f.AddQuery(query, now); err != nil {
			return nil, callError(err)
		}
	}
	return f, nil
}

// callError makes a wrong call of the desk's one of exit code 2.
func callError(err error) error {
	var call *dlq.CallError
	if errors.As(err, &call) {
		return usagef(call.Try, "%w", err)
	}
	return err
}

// openDesk is a desk with what the configuration says of it.
type openDesk struct {
	*dlq.Desk
	config *config.Config
	filter *dlq.Filter
	mask   *dlq.Masker // nil with --show-tokens
	limits dlq.Limits
	now    time.Time
}

// desk opens the desk of the configured dead-letter topic. Close it.
func (a *app) desk(ctx context.Context, flags *deskFlags) (*openDesk, error) {
	// A plan of a million letters fits into a small container only if the collector knows how small it is. Where
	// there is no limit, or it cannot be read, none is set.
	_, _ = memlimit.Set(memlimit.WithRatio(0.9))
	now := clock()
	f, err := flags.filter(now)
	if err != nil {
		return nil, err
	}
	loaded, err := a.loadConfig(false)
	if err != nil {
		return nil, err
	}
	d, err := newDesk(&loaded.Config)
	if err != nil {
		return nil, callError(err)
	}
	open := &openDesk{Desk: d, config: &loaded.Config, filter: f, now: now, limits: dlq.Limits{MaxAge: loaded.Delivery.MaxEventAge}}
	masker, why := dlq.LoadMasker(a.configDir(), loaded.Kafka.Group)
	f.Mask = masker.Token
	if flags.showTokens {
		fmt.Fprintln(a.err, "note: user tokens are shown as they are")
	} else {
		open.mask = masker
		if why != nil {
			fmt.Fprintf(a.err, "note: masks are keyed by the name of the group, and can be guessed by who knows it: %v\n", why)
		}
	}
	if a.errIsTerminal() {
		fmt.Fprintf(a.err, "reading offsets of %s…\n", d.Topics.DeadLetter)
	}
	if open.limits.Retention, _, err = d.Retention(ctx); err != nil {
		d.Close()
		return nil, a.kafkaError(err)
	}
	return open, nil
}

func newDesk(c *config.Config) (*dlq.Desk, error) {
	k := &c.Kafka
	secure, mechanism, err := worker.Security(k)
	if err != nil {
		return nil, failIn(categoryConfig, "eventworker config check", "%w", err)
	}
	return dlq.New(dlq.Cluster{Brokers: k.Brokers, ClientID: k.ClientID, TLS: secure, SASL: mechanism},
		dlq.Topics{DeadLetter: k.DeadLetterTopic, Replay: k.ReplayTopic, Inputs: k.Topics}, k.Group, nil)
}

// kafkaError adds what to look at to an error of the brokers.
func (a *app) kafkaError(err error) error {
	var f *failure
	if err == nil || errors.As(err, &f) || errors.Is(err, context.Canceled) {
		return err
	}
	var stopped *interrupted
	if errors.As(err, &stopped) {
		return err
	}
	const try = "eventworker config print --origin"
	said := errors.As(err, new(*consume.UnansweredError))
	if !said && (errors.Is(err, kafka.BrokerNotAvailable) || errors.Is(err, syscall.ECONNREFUSED)) {
		if loaded, wrong := a.loadConfig(false); wrong == nil {
			return failIn(categoryNetwork, try, "no broker answers at %s, which kafka.brokers names (BROKER_NOT_AVAILABLE)", strings.Join(loaded.Kafka.Brokers, ", "))
		}
	}
	return failf(try, "%w", callError(err))
}

// snapshot resolves the filter, and says on standard error what will be read.
func (a *app) snapshot(ctx context.Context, d *openDesk) (dlq.Snapshot, error) {
	s, err := d.Snapshot(ctx, d.filter)
	if err != nil {
		return s, a.kafkaError(err)
	}
	if !d.filter.Since.IsZero() || !d.filter.Until.IsZero() {
		since, until := "the beginning", isoTime(d.now)
		if !d.filter.Since.IsZero() {
			since = isoTime(d.filter.Since)
		}
		if !d.filter.Until.IsZero() {
			until = isoTime(d.filter.Until)
		}
		fmt.Fprintf(a.err, "window %s .. %s\n", since, until)
	}
	fmt.Fprintf(a.err, "topic %s, %s", s.Topic, plural(s.Partitions, "partition"))
	if filter := d.filter.String(); filter != "" {
		fmt.Fprintf(a.err, "   filter %s", clean(d.filterForPeople()))
	}
	fmt.Fprintln(a.err)
	return s, nil
}

// filterForPeople is the filter's canonical text without user tokens.
func (d *openDesk) filterForPeople() string { return d.filter.Told(d.mask) }

// configDir is the user's directory of configurations, empty if there is none.
func (a *app) configDir() string {
	if dir := a.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	home := a.getenv("HOME")
	switch {
	case runtime.GOOS == "windows":
		return a.getenv("AppData")
	case home == "":
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support")
	}
	return filepath.Join(home, ".config")
}

// scanProgress tells on standard error how far a scan is: on a terminal in one line that is written
// over, elsewhere in a line every ten seconds.
type scanProgress struct{ liveLine }

func (a *app) scanProgress() *scanProgress { return &scanProgress{a.liveLine()} }

func (p *scanProgress) tell(r dlq.Report) {
	now := time.Now()
	line := fmt.Sprintf("scanned %s/%s", dlq.Thousands(r.Scanned), dlq.Thousands(r.Total))
	if r.Total > 0 {
		line += fmt.Sprintf(" %d%%", r.Scanned*100/r.Total)
	}
	if seconds := now.Sub(p.start).Seconds(); seconds > 0.5 {
		line += fmt.Sprintf(" %s/s", dlq.Thousands(int64(float64(r.Scanned)/seconds)))
	}
	line += " matched " + dlq.Thousands(r.Matched)
	p.show(line, now)
}

// end clears the line of progress and says what was read and whether that was all.
func (p *scanProgress) end(r *dlq.Report) {
	p.clear()
	fmt.Fprintln(p.a.err, r)
	if !r.Complete {
		fmt.Fprintf(p.a.err, "offsets %s\n", r.Snapshot.Offsets())
	}
	if r.Matched == 0 && r.Complete {
		fmt.Fprintln(p.a.err, "no dead letter matches")
	}
}

// completionTime bounds how long Tab waits for Kafka.
const completionTime = time.Second

// completeFromDesk asks Kafka, silently and for a second.
func (a *app) completeFromDesk(ctx context.Context, complete func(context.Context, *dlq.Desk) []cobra.Completion) []cobra.Completion {
	loaded, err := a.loadConfig(false)
	if err != nil {
		return nil
	}
	d, err := newDesk(&loaded.Config)
	if err != nil {
		return nil
	}
	defer d.Close()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	return complete(ctx, d)
}

// completionLetters is how many letters of each partition are looked at for their causes.
const completionLetters = "-20000"

func completeCauses(ctx context.Context, d *dlq.Desk) (list []cobra.Completion) {
	f := new(dlq.Filter)
	if f.Add("offsets", completionLetters, false, time.Now()) != nil {
		return nil
	}
	s, err := d.Snapshot(ctx, f)
	if err != nil {
		return nil
	}
	stats, _, _ := d.Stats(ctx, s, f, dlq.StatsOptions{Mask: dlq.NewMasker(nil)}) // what was found in time
	for i := range stats.Causes {
		c := &stats.Causes[i]
		list = append(list, cobra.CompletionWithDesc(c.Cause, clean(shortened(c.Reason+" "+c.What, 60))))
	}
	return list
}

func completePartitions(ctx context.Context, d *dlq.Desk) (list []cobra.Completion) {
	bounds, err := d.Bounds(ctx, d.Topics.DeadLetter)
	if err != nil {
		return nil
	}
	for _, b := range bounds {
		list = append(list, fmt.Sprint(b.Partition))
	}
	return list
}

// rows says what a command that prints rows of dead letters prints.
type rows struct {
	schema  []byte
	columns []string
	what    string // the rows are
	run     func(cmd *cobra.Command, d *openDesk, states *stateFlag, out *outFlags) error
}

// limitOr is --limit, or where none is given, on a terminal, that of a table.
func limitOr[T any](out *outFlags, l *list[T]) int {
	if out.limit == 0 && l.style.terminal && out.format == "table" {
		return terminalRows
	}
	return out.limit
}

// rowsCommand gives a command the flags of all that print rows of dead letters.
func (a *app) rowsCommand(cmd *cobra.Command, r rows) *cobra.Command {
	var flags deskFlags
	var states stateFlag
	var out outFlags
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.verify(cmd); err != nil {
			return err
		}
		if out.format == "help" {
			return writeSchema(a.out, r.schema)
		}
		d, err := a.desk(cmd.Context(), &flags)
		if err != nil {
			return err
		}
		defer d.Close()
		return r.run(cmd, d, &states, &out)
	}
	out.add(cmd, "table", "json", "jsonl", "csv")
	out.addTable(cmd, r.columns)
	out.addLimit(cmd, "at most `N` "+r.what+" (default: 50 on a terminal, elsewhere all)")
	flags.add(a, cmd)
	states.add(cmd)
	return cmd
}
