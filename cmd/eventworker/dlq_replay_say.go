package main

import (
	"fmt"
	"strings"
	"time"

	"eventworker/internal/dlq"
)

// verdictWords are what a plan's verdicts mean to a person.
var verdictWords = map[string]string{
	dlq.Pass: "pass", dlq.PassAfterEdit: "pass after edit", dlq.StillInvalid: "still invalid", dlq.TooOld: "too old",
	dlq.ReplayedBefore: "replayed before", dlq.OverTheCap: "over the cap", dlq.Duplicate: "duplicate", dlq.Discarded: "discarded",
	dlq.Parked: "parked", dlq.NotServed: "not served", dlq.OtherGroup: "of another group", dlq.OtherTopic: "of another topic", dlq.Unreadable: "unreadable",
}

// writePlanText writes a plan for people: it is the data of this command. Off a terminal its lines are
// separated by tabs, with the names of columns first, and have no examples. On one, examples that are longer than it go through the pager, and
// the verdicts stand right above the question; with --yes nobody is there to leave the pager.
func (a *app) writePlanText(r *replay, p *dlq.Plan) error {
	var b buffered
	style := a.style(&r.out)
	if style.terminal {
		a.planExamples(&b, p, &style)
		paged := r.out
		paged.noPager = paged.noPager || r.ask.yes
		if err := a.page(b.String(), &paged); err != nil {
			return err
		}
		b.Reset()
	}
	if !style.terminal && !r.out.noHeader && len(p.Verdicts) > 0 {
		b.line("VERDICT\tCOUNT\tSOON\tCAUSE\tREASON\tFIELD\tLETTER\tWHAT")
	}
	for i := range p.Verdicts {
		v := &p.Verdicts[i]
		if !style.terminal {
			b.line("%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s", v.Verdict, v.Count, v.Soon, clean(v.Cause), clean(v.Reason), clean(v.Field), v.Letter, clean(v.What))
			continue
		}
		what := clean(v.What)
		if v.Field != "" {
			what = clean(v.Field) + ": " + what
		}
		if v.Soon > 0 {
			what = fmt.Sprintf("%s too old within %dh; %s", dlq.Thousands(v.Soon), p.Soon, what)
		}
		line := fmt.Sprintf("  %-16s %9s  %-11s  %s", verdictWords[v.Verdict], dlq.Thousands(v.Count), clean(v.Cause), what)
		tail := fmt.Sprintf("  (dlq show %s)", v.Letter)
		b.line("%s%s", shortened(line, max(style.width-len(tail), 40)), tail)
	}
	if style.terminal {
		a.planSummary(&b, p)
	}
	_, err := a.out.Write(b.Bytes())
	if !style.terminal {
		var s buffered
		a.planSummary(&s, p)
		fmt.Fprint(a.err, s.String())
	}
	return err
}

// planExamples shows what the edit changes, up to three letters of each cause.
func (a *app) planExamples(b *buffered, p *dlq.Plan, s *outStyle) {
	cause := ""
	for i := range p.Diffs {
		e := &p.Diffs[i]
		if e.Cause != cause {
			cause = e.Cause
			b.line("%s", s.paint(bold, clean(cause)))
		}
		b.line("  %s", e.Letter)
		for _, c := range e.Changes {
			if c.Before != "" {
				b.line("    %s", s.paint(red, "- "+clean(c.Path)+": "+clean(c.Before)))
			}
			if c.After != "" {
				b.line("    %s", s.paint(green, "+ "+clean(c.Path)+": "+clean(c.After)))
			}
		}
	}
	if len(p.Diffs) > 0 {
		b.line("")
	}
}

func (a *app) planSummary(b *buffered, p *dlq.Plan) {
	if p.Edit != nil {
		b.line("edit %s   changed %s   unchanged %s", p.Digests.Edit, dlq.Thousands(p.Changed), dlq.Thousands(p.Unchanged))
	}
	if !p.Complete {
		b.line("! the plan is not complete: %s", clean(p.Why))
	}
	pace := fmt.Sprintf("%.0f/s", p.Rate)
	switch {
	case p.Live >= p.Rate:
		pace = fmt.Sprintf("%.0f%% of live = %s", 100*p.Rate/p.Live, pace)
	case p.Live > 0:
		pace += fmt.Sprintf(" (live %.0f/s)", p.Live)
	}
	about := time.Duration(float64(p.Planned) / max(p.Rate, 1) * float64(time.Second)).Round(time.Second)
	b.line("plan %s   %s of %s letters   %s   about %s   target %s", p.ID, dlq.Thousands(p.Planned), dlq.Thousands(p.Matched), pace, about, targetOf(p))
}

// sayApplied says what was done of a plan.
func (a *app) sayApplied(p *dlq.Plan, n *dlq.Applied) {
	verb := "written to " + targetOf(p)
	if n.DryRun {
		verb = "would be written to " + targetOf(p)
	}
	parts := []string{fmt.Sprintf("%s of %s %s", dlq.Thousands(n.Written), dlq.Thousands(n.Planned), verb)}
	for _, one := range []struct {
		n    int64
		what string
	}{{n.Before, "written before"}, {n.Passed, "replayed or decided otherwise since"}, {n.TooOld, "too old by now"}, {n.Refused, "refused by now"},
		{n.Gone, "removed by retention"}, {n.Left, "left"}, {n.Parked, "parked"}} {
		if one.n > 0 {
			parts = append(parts, dlq.Thousands(one.n)+" "+one.what)
		}
	}
	fmt.Fprintf(a.err, "%s: %s\n", p.ID, strings.Join(parts, ", "))
}

// sayCauses says how the letters of each cause ended.
func (a *app) sayCauses(v *dlq.Verification) {
	for _, c := range v.Causes {
		total := c.Good + c.Dead + c.Open
		fmt.Fprintf(a.err, "  %-11s  %3d%%  %s of %s ended well, %s dead again, %s open\n", clean(c.Cause), c.Good*100/max(total, 1),
			dlq.Thousands(c.Good), dlq.Thousands(total), dlq.Thousands(c.Dead), dlq.Thousands(c.Open))
	}
}

// sayDeaths says what letters are dead again of.
func (a *app) sayDeaths(v *dlq.Verification) {
	for _, d := range v.Deaths {
		fmt.Fprintf(a.err, "  %s → %s  %s  %s %s (dlq show %s)\n", orDash(clean(d.Old)), orDash(clean(d.New)), dlq.Thousands(d.Count), clean(d.Reason), clean(d.Field), orDash(d.Letter))
	}
}

// replayProgress tells on standard error how far a replay is: on a terminal in one line that is written
// over, elsewhere in a line every ten seconds.
type replayProgress struct {
	liveLine
	verb string
}

func (p *replayProgress) tell(n dlq.Applied) {
	now := time.Now()
	done := n.Planned - n.Left
	line := fmt.Sprintf("%s %d/%d", p.verb, done, n.Planned)
	if n.Planned > 0 {
		line += fmt.Sprintf(" %d%%", done*100/n.Planned)
	}
	if seconds := now.Sub(p.start).Seconds(); seconds > 0.5 && n.Written > 0 {
		rate := float64(n.Written) / seconds
		line += fmt.Sprintf(" %.0f/s refused %d left %s", rate, n.TooOld+n.Refused, time.Duration(float64(n.Left)/rate*float64(time.Second)).Round(time.Second))
	}
	if n.Yields != "" {
		line += fmt.Sprintf(" (giving way: %s; %.0f/s at most)", n.Yields, n.Rate)
	}
	p.show(line, now)
}
