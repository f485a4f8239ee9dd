package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
)

func newDLQShowCommand(a *app) *cobra.Command {
	var flags deskFlags
	var out outFlags
	var raw bool
	cmd := &cobra.Command{
		Use:   "show ADDRESS...",
		Short: "All that is known of dead letters, with their payload",
		Long: `Shows dead letters whole. An ADDRESS is the partition and offset in the
dead-letter topic, such as 3:18112, or the topic, partition and offset where the
message was read first, such as events/3/991.

The payload is laid out with > before the line of the offending field. --raw
writes the value of one letter byte for byte, and needs --show-tokens.`,
		Example: `  eventworker dlq show 3:18112 --config eventworker.yaml
  eventworker dlq show 3:18112 events/3/991 -o json
  eventworker dlq show 3:18112 --raw --show-tokens > value.json`,
		Args: atLeastOne("ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.verify(cmd); err != nil {
				return err
			}
			switch {
			case out.format == "help":
				return writeSchema(a.out, dlq.ShowSchema)
			case raw && !flags.showTokens:
				return usagef(cmd.CommandPath()+" "+args[0]+" --raw --show-tokens", "--raw writes the value as it is, user tokens included, and needs --show-tokens")
			case raw && (len(args) != 1 || out.format != "text"):
				return usagef(cmd.CommandPath()+" --help", "--raw wants one ADDRESS, and no other --output")
			}
			return a.dlqShow(cmd, args, &flags, &out, raw)
		},
	}
	a.configFlags(cmd)
	flags.addTokens(cmd)
	out.add(cmd, "text", "json")
	out.addPager(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "only the value, byte for byte")
	return cmd
}

// addPager defines --no-pager and --time-format, for commands that print text.
func (o *outFlags) addPager(cmd *cobra.Command) {
	o.pagerFlag(cmd)
	cmd.Flags().StringVar(&o.timeFormat, "time-format", "", "times: relative (terminal), iso (elsewhere) or raw, as `FORMAT`")
	fixedValues(cmd, "time-format", timeFormats)
}

func (o *outFlags) pagerFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.noPager, "no-pager", false, "do not page long texts on a terminal")
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !helpWanted(cmd) {
			return usagef(cmd.CommandPath()+" --help", "%s wants one %s or more", cmd.CommandPath(), what)
		}
		for _, arg := range args {
			if _, err := dlq.ParseAddress(arg); err != nil {
				return callError(err)
			}
		}
		return nil
	}
}

// helpWanted says whether -o help was given, which needs no arguments.
func helpWanted(cmd *cobra.Command) bool {
	f := cmd.Flags().Lookup("output")
	return f != nil && f.Value.String() == "help"
}

// find finds the letters of all addresses.
func (a *app) find(cmd *cobra.Command, d *openDesk, addresses []string) (found []*dlq.Letter, err error) {
	for _, text := range addresses {
		address, err := dlq.ParseAddress(text)
		if err != nil {
			return nil, callError(err)
		}
		progress := a.scanProgress()
		letters, report, err := d.Find(cmd.Context(), address)
		if address.Source != nil || report.Gone > 0 {
			progress.end(&report)
		}
		var call *dlq.CallError
		if errors.As(err, &call) {
			return nil, failIn(categoryData, call.Try, "%w", err)
		}
		if err != nil {
			return nil, a.kafkaError(err)
		}
		found = append(found, letters...)
	}
	return found, nil
}

func (a *app) dlqShow(cmd *cobra.Command, addresses []string, flags *deskFlags, out *outFlags, raw bool) error {
	d, err := a.desk(cmd.Context(), flags)
	if err != nil {
		return err
	}
	defer d.Close()
	letters, err := a.find(cmd, d, addresses)
	if err != nil {
		return err
	}
	switch {
	case raw:
		_, err := a.out.Write(letters[len(letters)-1].Value)
		return err
	case out.format == "json":
		doc := shownLetters{Schema: "eventworker.dlq.show/v1", Letters: []shownLetter{}}
		for _, l := range letters {
			doc.Letters = append(doc.Letters, letterDocument(l, d))
		}
		return writeDocument(a.out, &doc)
	}
	var b buffered
	style := a.style(out)
	for i, l := range letters {
		if i > 0 {
			b.line("")
		}
		writeLetter(&b, l, d, &style)
	}
	return a.page(b.String(), out)
}

// writeLetter writes one letter for a person.
func writeLetter(b *buffered, l *dlq.Letter, d *openDesk, s *outStyle) {
	r := l.Row(d.mask, d.limits)
	b.line("%s", s.paint(bold, fmt.Sprintf("dead letter %d:%d   %s   %s", r.Partition, r.Offset, orDash(clean(r.Reason)), orDash(clean(r.Cause)))))
	sentence := r.Message
	if r.Field != "" {
		sentence = r.Field + ": " + sentence
	}
	b.line("  %s", s.paint(red, clean(sentence)))
	b.line("")
	fact := func(name, value string) {
		if value != "" {
			b.line("  %-12s %s", name, clean(value))
		}
	}
	fact("stage", r.Stage)
	fact("rule", r.Rule)
	fact("type", orDash(r.Type))
	fact("application", orDash(r.Application))
	fact("user", r.User)
	fact("source", r.Source.String())
	fact("event time", s.time(r.EventTime))
	fact("failed", fmt.Sprintf("first %s, last %s", s.time(r.FirstFailed), s.time(r.Failed)))
	fact("written", s.time(r.Time))
	fact("deadline", deadlineWords(&r, d, s))
	fact("attempts", attemptWords(&r))
	fact("replays", replayWords(&r))
	writeContext(fact, l)
	fact("group", r.Group)
	writeHeaders(b, l, d.mask)
	b.line("")
	b.line("payload, %s", plural(len(l.Value), "byte"))
	for _, line := range l.Pretty(d.mask) {
		if line.Marked {
			b.line("%s", s.paint(red, "> "+clean(line.Text)))
		} else {
			b.line("  %s", clean(line.Text))
		}
	}
}

func deadlineWords(r *dlq.Row, d *openDesk, s *outStyle) string {
	switch {
	case r.Deadline.IsZero():
		return "none"
	case !r.Deadline.After(d.now):
		return s.time(r.Deadline) + ": it can no longer be replayed"
	case r.Deadline.Sub(d.now) <= deadlineSoon:
		return s.time(r.Deadline) + " !"
	}
	return s.time(r.Deadline)
}

func attemptWords(r *dlq.Row) string {
	if r.Attempts == 0 && r.Status == 0 {
		return ""
	}
	if r.Status == 0 {
		return fmt.Sprint(r.Attempts)
	}
	return fmt.Sprintf("%d, the API answered %d", r.Attempts, r.Status)
}

func replayWords(r *dlq.Row) string {
	if r.Replays == 0 {
		return ""
	}
	text := fmt.Sprintf("%d, last by %s", r.Replays, orDash(r.ReplayID))
	if r.Edited != "" {
		text += ", edited by " + r.Edited
	}
	return text
}

// writeContext tells what only the strict reading of the headers gives.
func writeContext(fact func(string, string), l *dlq.Letter) {
	c, err := l.Context()
	if err != nil {
		fact("headers", err.Error())
	}
	if c == nil {
		return
	}
	var parts []string
	for _, p := range c.Parts {
		parts = append(parts, fmt.Sprintf("%d (%s)", p.Index, p.Reason))
	}
	if len(parts) > 0 {
		fact("parts", "not delivered: "+strings.Join(parts, ", ")+"; the others were")
	}
	for _, r := range c.Resolved {
		text := fmt.Sprintf("object %d: ", r.Index)
		if r.QueryID == "" {
			text += "no queryID"
		} else {
			text += "queryID " + r.QueryID
		}
		if r.IndexName != "" {
			text += ", index " + r.IndexName
		}
		if r.Position > 0 {
			text += fmt.Sprintf(", position %d", r.Position)
		}
		fact("resolved", text)
	}
	fact("trace", c.Traceparent)
}

func writeHeaders(b *buffered, l *dlq.Letter, mask *dlq.Masker) {
	own := l.Original()
	if len(own) == 0 {
		return
	}
	b.line("")
	b.line("headers of the record")
	for _, h := range own {
		b.line("  %s: %s", clean(h.Key), clean(headerText(h, mask, l)))
	}
}

func headerText(h deadletter.Header, mask *dlq.Masker, l *dlq.Letter) string {
	switch {
	case h.Value == nil:
		return "(null)"
	case !utf8.Valid(h.Value):
		return fmt.Sprintf("(%s that are no text)", plural(len(h.Value), "byte"))
	}
	return mask.Text(string(h.Value), l.Tokens()...)
}
