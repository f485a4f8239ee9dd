package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
)

// clock is the time that ages are told by; tests set it, and pretendWidth, the width of the terminal
// that standard output then is.
var (
	clock        = time.Now
	pretendWidth int
)

// outFlags are the flags of output that commands share.
type outFlags struct {
	format     string
	formats    []string
	fields     []string
	timeFormat string
	color      string
	known      []string // of fields
	noHeader   bool
	noPager    bool
	limit      int
}

// The values of --time-format and --color.
var (
	timeFormats = []string{"relative", "iso", "raw"}
	colorModes  = []string{"auto", "always", "never"}
)

// add defines -o with its formats, of which help prints the schema, and --color.
func (o *outFlags) add(cmd *cobra.Command, formats ...string) {
	o.formats = slices.Concat(formats, []string{"help"})
	outputFlag(cmd, &o.format, o.formats...)
	cmd.Flags().StringVar(&o.color, "color", "auto", "colours, as `WHEN`: auto (on a terminal), always or never")
	fixedValues(cmd, "color", colorModes)
}

// addTable defines --fields, --no-header and --time-format, for commands that print rows.
func (o *outFlags) addTable(cmd *cobra.Command, fields []string) {
	o.known = fields
	f := cmd.Flags()
	f.StringSliceVar(&o.fields, "fields", nil, "only these `FIELDS`, in this order, in any format")
	f.BoolVar(&o.noHeader, "no-header", false, "leave out the names of the columns")
	f.StringVar(&o.timeFormat, "time-format", "", "times in tables and CSV, as `FORMAT`: relative (on a terminal), iso (elsewhere) or raw milliseconds")
	fixedValues(cmd, "time-format", timeFormats)
	fixedValues(cmd, "fields", fields)
}

func (o *outFlags) addLimit(cmd *cobra.Command, about string) {
	cmd.Flags().IntVar(&o.limit, "limit", 0, about)
}

// verify checks the values that were given.
func (o *outFlags) verify(cmd *cobra.Command) error {
	if err := oneOf(cmd, "output", o.format, o.formats...); err != nil {
		return err
	}
	if err := oneOf(cmd, "color", o.color, colorModes...); err != nil {
		return err
	}
	if o.timeFormat != "" {
		if err := oneOf(cmd, "time-format", o.timeFormat, timeFormats...); err != nil {
			return err
		}
	}
	if o.limit < 0 {
		return usagef(cmd.CommandPath()+" --help", "--limit wants 0 or more, got %d", o.limit)
	}
	if len(o.fields) == 0 && cmd.Flags().Changed("fields") {
		return unknownField(cmd, "", o.known)
	}
	for _, name := range o.fields {
		if !slices.Contains(o.known, name) {
			return unknownField(cmd, name, o.known)
		}
	}
	for _, flag := range []string{"no-header", "time-format"} {
		if f := cmd.Flags().Lookup(flag); f != nil && f.Changed && o.format != "table" && o.format != "text" && o.format != "csv" {
			return usagef(cmd.CommandPath()+" --help", "--%s belongs to text, tables and CSV, not to --output %s", flag, o.format)
		}
	}
	return nil
}

// outStyle is how text is to look.
type outStyle struct {
	terminal   bool
	width      int
	color      bool
	timeFormat string
	now        time.Time
}

// style is how standard output is written to.
func (a *app) style(o *outFlags) outStyle {
	s := outStyle{width: a.outWidth(), timeFormat: o.timeFormat, now: clock()}
	if pretendWidth > 0 {
		s.width = pretendWidth
	}
	s.terminal = s.width > 0
	if s.timeFormat == "" {
		s.timeFormat = "iso"
		if s.terminal {
			s.timeFormat = "relative"
		}
	}
	s.color = o.color == "always" || o.color != "never" && s.terminal && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	return s
}

// getenv is a variable of the environment that the command was given.
func (a *app) getenv(name string) string {
	value := ""
	for _, one := range a.env {
		if k, v, ok := strings.Cut(one, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// The colours that are used; each stands beside a word or a sign that says the same.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	faint  = "2"
)

// paint colours a text where colours are wanted.
func (s *outStyle) paint(color, text string) string {
	if !s.color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// time writes a point in time; – for none.
func (s *outStyle) time(at time.Time) string {
	switch {
	case at.IsZero():
		return "–"
	case s.timeFormat == "raw":
		return strconv.FormatInt(at.UnixMilli(), 10)
	case s.timeFormat == "iso":
		return isoTime(at)
	}
	if d := s.now.Sub(at); d >= 0 {
		return span(d) + " ago"
	}
	return "in " + span(at.Sub(s.now))
}

// isoTime is RFC 3339, which ends with the year 9999: what claims to be later, such as microseconds that were
// taken for milliseconds, is told as its last moment.
func isoTime(at time.Time) string {
	if at = at.UTC(); at.Year() > 9999 {
		at = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	}
	return at.Format("2006-01-02T15:04:05.000Z07:00")
}

// span writes how long something takes in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// clean makes a text that somebody else wrote safe for a terminal and for one cell of a table: what is
// not printable is escaped.
func clean(text string) string {
	if !strings.ContainsFunc(text, notPrintable) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if notPrintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func notPrintable(r rune) bool {
	return r != ' ' && !unicode.IsPrint(r) || r == unicode.ReplacementChar
}

// cleanLines is clean for a text of several lines.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// shortened cuts a text to a width.
func shortened(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:max(width-1, 0)]) + "…"
	}
	return text
}

// unknownField names the nearest of the known fields.
func unknownField(cmd *cobra.Command, name string, all []string) error {
	try := cmd.CommandPath() + " --help"
	if near := config.Nearest(name, all); near != "" && name != "" {
		return usagef(try, "--fields: unknown field %q; did you mean %s? Known: %s", name, near, strings.Join(all, ", "))
	}
	return usagef(try, "--fields: unknown field %q; known: %s", name, strings.Join(all, ", "))
}

// page writes a text, through a pager where it is longer than the terminal.
func (a *app) page(text string, o *outFlags) error {
	pager := a.pager(text, o)
	if pager == "" {
		_, err := io.WriteString(a.out, text)
		return err
	}
	cmd := exec.Command("sh", "-c", pager) // what the user's own environment says
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), a.terminal(), a.err
	cmd.Env = a.env
	if a.getenv("LESS") == "" {
		cmd.Env = append(slices.Clip(a.env), "LESS=FRX")
	}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() != 127 {
			return nil // somebody left it
		}
		_, err := io.WriteString(a.out, text)
		return err
	}
	return nil
}

func (a *app) pager(text string, o *outFlags) string {
	if o.noPager || a.terminal() == nil || strings.Count(text, "\n") < terminalHeight(a.terminal()) {
		return ""
	}
	for _, name := range []string{"EVENTWORKER_PAGER", "PAGER"} {
		if pager := a.getenv(name); pager != "" {
			if pager == "cat" {
				return ""
			}
			return pager
		}
	}
	return "less -FRX"
}

// terminal is the file of standard output if it is a terminal.
func (a *app) terminal() *os.File {
	if !a.outIsTerminal() {
		return nil
	}
	if r, ok := a.out.(*reader); ok {
		if f, ok := r.to.(*os.File); ok {
			return f
		}
	}
	return nil
}

// buffered collects a text that may go to a pager.
type buffered struct{ bytes.Buffer }

func (b *buffered) line(format string, args ...any) { fmt.Fprintf(&b.Buffer, format+"\n", args...) }
