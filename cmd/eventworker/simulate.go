package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/storefront"
)

// simulation is what the flags of simulate say.
type simulation struct {
	shop    storefront.Config
	rate    float64
	end     string
	brokers []string
	create  bool
	out     string
	format  string
	truth   string
}

func newSimulateCommand(a *app) *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Writes a shop's traffic to a broker, a file or standard output",
		Long: `Makes the messages of a simulated shop: recommendations shown, clicks, carts and
purchases, some of them late, out of order, sent twice or broken. The same flags
with the same --end give the same bytes.

Without --brokers the messages go to standard output or to --out, a JSON object
a line: as records with key, partition and time, or with --format value just the
messages, as eventworker check reads them.

--truth writes what must come of each message, for one topic and a worker with
default settings and two applications: default (default_index: products;
indices: products, products_fashion, products_home) and outlet.

With --rate the messages have the time at which they are written; without it
they are written as fast as can be, with times that end a minute ago, or at
--end.`,
		Example: `  eventworker simulate --count 1000 --format value | eventworker check -
  eventworker simulate --brokers localhost:9092 --count 5000 --truth truth.jsonl
  eventworker simulate --brokers localhost:9092 --count 60000 --rate 200
  eventworker simulate --count 500 --seed 7 --poison 0.2 --out poison.jsonl`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(cmd); err != nil {
				return err
			}
			return a.simulate(cmd.Context(), cmd, &s)
		},
	}
	s.flags(cmd)
	return cmd
}

func (s *simulation) flags(cmd *cobra.Command) {
	f, c := cmd.Flags(), &s.shop
	f.Uint64VarP(&c.Messages, "count", "n", 10_000, "how many messages, `N`")
	f.Float64Var(&s.rate, "rate", 0, "`N` messages per second; 0: as fast as can be")
	f.Uint64Var(&c.Seed, "seed", 1, "another `N` makes other traffic")
	f.IntVar(&c.Users, "users", 0, "`N` shoppers; 0: a tenth of the messages")
	f.Float64Var(&c.Skewed, "skew", 0.02, "`SHARE` of clicks stamped before what they came from")
	f.Float64Var(&c.Late, "late", 0.01, "`SHARE` of messages that arrive seconds or minutes late")
	f.Float64Var(&c.OutOfOrder, "out-of-order", 0.05, "`SHARE` of messages that arrive a little late")
	f.Float64Var(&c.Copies, "copies", 0.02, "`SHARE` of carts and purchases sent twice")
	f.Float64Var(&c.Poison, "poison", 0.01, "`SHARE` of messages that must become dead letters, and tombstones")
	f.StringVar(&c.Topic, "topic", "recommendation-events", "the `TOPIC` of all types")
	f.StringVar(&c.ShownTopic, "shown-topic", "", "a `TOPIC` of its own for what was shown")
	f.StringVar(&c.ClickedTopic, "clicked-topic", "", "a `TOPIC` of its own for clicks")
	f.Int32Var(&c.Partitions, "partitions", 0, "`N` of each topic; 0: as the broker has them, else 12")
	f.DurationVar(&c.Duration, "duration", 0, "`TIME` that the traffic spans; 0: 5 ms a message, 10m to 6h")
	f.StringVar(&s.end, "end", "", "`TIME` of the last message, as 2026-08-03T10:00:00Z")
	f.StringSliceVar(&s.brokers, "brokers", nil, "write to Kafka at these `HOST:PORT`s")
	f.BoolVar(&s.create, "create-topics", false, "create topics that do not exist")
	f.StringVar(&s.out, "out", "-", "write to this `FILE`; -: standard output")
	f.StringVar(&s.format, "format", "record", "`FORM` of lines: record or value")
	f.StringVar(&s.truth, "truth", "", "write what must come of each message to this `FILE`")
	cmd.MarkFlagsMutuallyExclusive("brokers", "out")
	cmd.MarkFlagsMutuallyExclusive("brokers", "format")
	cmd.MarkFlagsMutuallyExclusive("rate", "end")
	cmd.MarkFlagsMutuallyExclusive("rate", "duration")
}

// check makes a configuration of what the flags say. In storefront.Config 0 means the default, so a
// share that is to be none is set below it.
func (s *simulation) check(cmd *cobra.Command) error {
	const try = "eventworker simulate --help"
	if err := oneOf(cmd, "format", s.format, "record", "value"); err != nil {
		return err
	}
	if s.shop.Messages < 1 {
		return usagef(try, "--count wants 1 or more")
	}
	if s.rate < 0 || s.rate > 1e7 {
		return usagef(try, "--rate wants 0 to 10,000,000 messages per second, got %v", s.rate)
	}
	if s.create && len(s.brokers) == 0 {
		return usagef(try, "--create-topics needs --brokers")
	}
	for flag, share := range map[string]*float64{
		"skew": &s.shop.Skewed, "late": &s.shop.Late, "out-of-order": &s.shop.OutOfOrder, "copies": &s.shop.Copies, "poison": &s.shop.Poison,
	} {
		if !(*share >= 0 && *share <= 1) {
			return usagef(try, "--%s wants a share from 0 to 1, got %v", flag, *share)
		}
		if *share == 0 {
			*share = -1
		}
	}
	if s.shop.Partitions < 0 {
		return usagef(try, "--partitions wants 0 or more, got %d", s.shop.Partitions)
	}
	return s.times()
}

// times fits the simulated time to the rate: messages are then made for the moment they are written.
func (s *simulation) times() error {
	if s.end != "" {
		end, err := time.Parse(time.RFC3339, s.end)
		if err != nil {
			return usagef("eventworker simulate --end 2026-08-03T10:00:00Z", "--end wants a time such as 2026-08-03T10:00:00Z, got %q", s.end)
		}
		s.shop.End = end
	}
	if s.rate > 0 {
		seconds := float64(s.shop.Messages) / s.rate
		if seconds > 12*3600 {
			return usagef("eventworker simulate --count 100000 --rate 1000", "%d messages at %v per second take longer than 12 hours; lower --count", s.shop.Messages, s.rate)
		}
		s.shop.Duration = max(time.Second, time.Duration(seconds*float64(time.Second)))
		s.shop.End = time.Now().Add(s.shop.Duration)
	}
	return nil
}

// destination takes messages in log order.
type destination interface {
	// write takes messages; they may be used again when it returned.
	write(ctx context.Context, messages []storefront.Message) error
	// finish lets go of what write used.
	finish() error
}

func (a *app) simulate(ctx context.Context, cmd *cobra.Command, s *simulation) (err error) {
	to, err := a.destination(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.finish()) }()
	g, err := storefront.NewGenerator(s.shop)
	if err != nil {
		return usagef(cmd.CommandPath()+" --help", "%w", err)
	}
	if s.truth == "-" || s.truth != "" && filepath.Clean(s.truth) == filepath.Clean(s.out) {
		return usagef("eventworker simulate --out log.jsonl --truth truth.jsonl", "--truth wants a file of its own, got %q", s.truth)
	}
	truth, err := newTruthFile(s.truth, g.Config())
	if err != nil {
		return err
	}
	p := a.newProgress("simulated", int64(s.shop.Messages))
	err = s.pump(ctx, g, to, truth, p)
	if !a.readerGone() {
		p.finish()
	}
	return errors.Join(err, truth.close(a.err, err == nil))
}

// pump moves messages from the generator to the destination, in groups: large ones at full speed, a
// twentieth of a second's at a rate.
func (s *simulation) pump(ctx context.Context, g *storefront.Generator, to destination, truth *truthFile, p *progress) error {
	const largest = 4096
	group := make([]storefront.Message, largest)
	if s.rate > 0 {
		group = group[:min(largest, max(1, int(s.rate/20)))]
	}
	start := time.Now()
	for written := 0; ; {
		n := 0
		for n < len(group) && g.Next(&group[n]) {
			truth.add(&group[n])
			n++
		}
		if n == 0 {
			return nil
		}
		if s.rate > 0 {
			due := start.Add(time.Duration(float64(written+n) / s.rate * float64(time.Second)))
			if err := sleepUntil(ctx, due); err != nil {
				return err
			}
		}
		if err := to.write(ctx, group[:n]); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		written += n
		p.add(n)
	}
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// destination opens where the messages go, and says it before the first of them.
func (a *app) destination(ctx context.Context, s *simulation) (destination, error) {
	if len(s.brokers) > 0 {
		return a.brokerDestination(ctx, s)
	}
	where, w := "standard output", a.out
	var file *os.File
	if s.out != "-" {
		f, err := os.Create(s.out)
		if err != nil {
			return nil, err
		}
		where, w, file = s.out, f, f
	}
	fmt.Fprintf(a.err, "simulating %d messages, seed %d, to %s\n", s.shop.Messages, s.shop.Seed, where)
	return &lines{w: bufio.NewWriterSize(w, 1<<16), file: file, values: s.format == "value", err: a.err}, nil
}

// lines writes a JSON object a line.
type lines struct {
	w      *bufio.Writer
	file   *os.File // nil: standard output
	values bool
	buf    []byte
	err    io.Writer
	absent int // tombstones, which have no line as a value
}

func (l *lines) write(_ context.Context, messages []storefront.Message) error {
	for i := range messages {
		m := &messages[i]
		switch {
		case !l.values:
			l.buf = m.AppendJSON(l.buf[:0])
		case m.Value == nil:
			l.absent++
			continue
		default:
			l.buf = append(l.buf[:0], m.Value...)
			for j, c := range l.buf {
				if c == '\n' || c == '\r' {
					l.buf[j] = ' '
				}
			}
		}
		if _, err := l.w.Write(append(l.buf, '\n')); err != nil {
			return err
		}
	}
	return l.w.Flush()
}

func (l *lines) finish() error {
	if l.absent > 0 {
		fmt.Fprintf(l.err, "left out %s: as a value they have no line\n", plural(l.absent, "tombstone"))
	}
	if l.file != nil {
		return l.file.Close()
	}
	return nil
}

// truthFile gathers the truth and writes it at the end; nil where none is wanted.
type truthFile struct {
	file  *os.File
	truth *storefront.Truth
}

// newTruthFile creates the file at once, so that a wrong path fails before the traffic.
func newTruthFile(name string, c storefront.Config) (*truthFile, error) {
	if name == "" {
		return nil, nil
	}
	truth, err := storefront.NewTruthOf(c)
	if err != nil {
		return nil, usagef("eventworker simulate --help", "--truth: %w", err)
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &truthFile{f, truth}, nil
}

func (t *truthFile) add(m *storefront.Message) {
	if t != nil {
		t.truth.Add(m)
	}
}

// close writes the truth, or removes the file where the log is not whole.
func (t *truthFile) close(stderr io.Writer, whole bool) error {
	if t == nil {
		return nil
	}
	if !whole {
		fmt.Fprintln(stderr, "no truth is written: the log is not whole")
		return errors.Join(t.file.Close(), os.Remove(t.file.Name()))
	}
	t.truth.Seal()
	_, err := t.truth.WriteTo(t.file)
	if err = errors.Join(err, t.file.Close()); err == nil {
		fmt.Fprintf(stderr, "truth written to %s\n", t.file.Name())
	}
	return err
}
