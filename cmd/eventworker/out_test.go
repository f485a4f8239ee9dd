package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	for _, c := range []struct {
		env   []string
		mode  string
		width int
		want  bool
	}{
		{nil, "auto", 80, true}, {nil, "auto", 0, false}, {nil, "always", 0, true}, {nil, "never", 80, false},
		{[]string{"NO_COLOR=1"}, "auto", 80, false}, {[]string{"NO_COLOR="}, "auto", 80, true}, {[]string{"NO_COLOR=1"}, "always", 80, true},
		{[]string{"TERM=dumb"}, "auto", 80, false}, {[]string{"TERM=xterm"}, "auto", 80, true},
	} {
		pretendWidth = c.width
		a := &app{streams: streams{env: c.env}}
		if s := a.style(&outFlags{color: c.mode}); s.color != c.want || s.terminal != (c.width > 0) {
			t.Errorf("%v, --color %s, width %d: colour %v", c.env, c.mode, c.width, s.color)
		}
	}
	pretendWidth = 0
}

func TestTimesAreToldAsAsked(t *testing.T) {
	now := time.Date(2026, 8, 3, 12, 0, 0, 0, time.UTC)
	at := func(format string, d time.Duration) string {
		s := outStyle{timeFormat: format, now: now}
		return s.time(now.Add(d))
	}
	for want, got := range map[string]string{
		"0s ago": at("relative", 0), "59s ago": at("relative", -59*time.Second), "in 59m": at("relative", 59*time.Minute), "47h ago": at("relative", -47*time.Hour),
		"in 3d": at("relative", 80*time.Hour), "2026-08-03T11:59:59.000Z": at("iso", -time.Second), "1785758400000": at("raw", 0),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if s := (outStyle{timeFormat: "iso"}); s.time(time.Time{}) != "–" {
		t.Error(s.time(time.Time{}))
	}
}

func TestWhatOthersWroteCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü ✓": "plain ü ✓", "\x1b[31mred": `\x1b[31mred`, "a\tb\nc\rd": `a\tb\nc\rd`, "bell\x07": `bell\a`, "\u202Eflip": `\u202eflip`, "bad\xffbyte": `bad\ufffdbyte`,
	} {
		if got := clean(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := cleanLines("a\nb\x1b"); got != "a\nb\\x1b" {
		t.Errorf("%q", got)
	}
}

type tableRow struct{ a, b, c string }

var tableColumns = []column[tableRow]{
	{name: "a", value: func(r *tableRow) any { return r.a }},
	{name: "b", right: true, optional: 1, value: func(r *tableRow) any { return r.b }},
	{name: "c", value: func(r *tableRow) any { return r.c }},
}

func writeRows(t *testing.T, width int, o outFlags, rows ...tableRow) string {
	t.Helper()
	onTerminal(t, width)
	var out bytes.Buffer
	a := &app{streams: streams{out: &out}}
	o.color = "never"
	l, err := newList(a, &cobra.Command{}, &o, "test/v1", "rows", tableColumns)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if err := l.add(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTablesFitTheirTerminal(t *testing.T) {
	long := strings.Repeat("x", 60)
	rows := []tableRow{{"1", "22", "short"}, {"333", "4", long}}
	for width, want := range map[int]string{
		100: "A     B  C\n1    22  short\n333   4  " + long + "\n",
		40:  "A     B  C\n1    22  short\n333   4  " + strings.Repeat("x", 30) + "…\n",
		30:  "A    C\n1    short\n333  " + strings.Repeat("x", 24) + "…\n",
		0:   "A\tB\tC\n1\t22\tshort\n333\t4\t" + long + "\n",
	} {
		if got := writeRows(t, width, outFlags{format: "table"}, rows...); got != want {
			t.Errorf("width %d:\n%swant\n%s", width, got, want)
		}
	}
	if got := writeRows(t, 80, outFlags{format: "table", noHeader: true, fields: []string{"c", "a"}}, rows[0]); got != "short  1\n" {
		t.Errorf("%q", got)
	}
	var many []tableRow
	for range 3 * widthRows {
		many = append(many, tableRow{"1", "2", "3"})
	}
	if got := writeRows(t, 80, outFlags{format: "table"}, many...); strings.Count(got, "\n") != len(many)+1 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
	if got := writeRows(t, 80, outFlags{format: "table"}); got != "" {
		t.Errorf("an empty table is %q", got)
	}
}

func TestThePagerIsTheUsersChoice(t *testing.T) {
	a := &app{streams: streams{out: &bytes.Buffer{}, env: []string{"PAGER=more"}}}
	if got := a.pager(strings.Repeat("line\n", 1000), &outFlags{}); got != "" {
		t.Errorf("off a terminal: %s", got)
	}
}
