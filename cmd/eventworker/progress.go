package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells on standard error how far a command is: a bar on a terminal, elsewhere a full line
// every ten seconds and one at the end. It is used by one goroutine.
type progress struct {
	out   io.Writer
	verb  string // in the past tense, such as simulated
	total int64
	done  int64
	start time.Time
	last  time.Time
	bar   *progressbar.ProgressBar
}

const progressEvery = 10 * time.Second

func (a *app) newProgress(verb string, total int64) *progress {
	now := time.Now()
	p := &progress{out: a.err, verb: verb, total: total, start: now, last: now}
	if a.errIsTerminal() {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(verb),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	return p
}

// add counts n more.
func (p *progress) add(n int) {
	p.done += int64(n)
	if p.bar != nil {
		_ = p.bar.Add(n) // a bar that cannot be drawn is no failure
		return
	}
	if now := time.Now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		fmt.Fprintln(p.out, p.line(now))
	}
}

// finish ends the bar and says what was done.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Exit() // as above
	}
	fmt.Fprintln(p.out, p.line(time.Now()))
}

// line is such as: simulated 12000/40000 30% 950/s left 29s.
func (p *progress) line(now time.Time) string {
	percent := int64(100)
	if p.total > 0 {
		percent = p.done * 100 / p.total
	}
	text := fmt.Sprintf("%s %d/%d %d%%", p.verb, p.done, p.total, percent)
	seconds := now.Sub(p.start).Seconds()
	if p.done == 0 || seconds < 0.001 {
		return text
	}
	rate := float64(p.done) / seconds
	text += fmt.Sprintf(" %.0f/s", rate)
	if p.done < p.total {
		left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
		text += " left " + left.Round(time.Second).String()
	}
	return text
}

// liveLine tells on standard error how far something is: on a terminal in one line that is written over,
// elsewhere in a line every progressEvery.
type liveLine struct {
	a     *app
	start time.Time
	last  time.Time
	drawn bool
}

func (a *app) liveLine() liveLine {
	now := time.Now()
	return liveLine{a: a, start: now, last: now}
}

func (p *liveLine) show(line string, now time.Time) {
	switch {
	case p.a.errIsTerminal():
		fmt.Fprintf(p.a.err, "\r\x1b[K%s", line)
		p.drawn = true
	case now.Sub(p.last) >= progressEvery:
		fmt.Fprintln(p.a.err, line)
		p.last = now
	}
}

func (p *liveLine) clear() {
	if p.drawn {
		fmt.Fprint(p.a.err, "\r\x1b[K")
		p.drawn = false
	}
}
