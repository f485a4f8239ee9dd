package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"eventworker/internal/check"
	"eventworker/internal/config"
	"eventworker/internal/event"
)

// outWidth is how wide the terminal of standard output is; 0: it is none.
func (a *app) outWidth() int {
	if !a.outIsTerminal() {
		return 0
	}
	if r, ok := a.out.(*reader); ok {
		if f, ok := r.to.(*os.File); ok {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
		}
	}
	return helpWidth
}

// mostCauses is how many kinds of refusals are told of.
const mostCauses = 10

// sayReport adds the messages up on standard error, says what was taken for granted, and puts the
// refused ones in groups.
func (a *app) sayReport(c *checking, r *check.Report) {
	if len(r.Assumed) > 0 {
		fmt.Fprintf(a.err, "no application is configured; assumed, without a default_index: %s\n", strings.Join(r.Assumed, ", "))
	}
	if c.now != "" {
		fmt.Fprintf(a.err, "ages judged as at %s\n", r.Now.UTC().Format(time.RFC3339))
	}
	if r.Summary.Messages == 0 {
		fmt.Fprintln(a.err, "no message was found")
		return
	}
	causes := r.Causes()
	if r.Summary.Refused > 1 {
		for i, cause := range causes {
			if i == mostCauses {
				fmt.Fprintf(a.err, "  and %s more\n", plural(len(causes)-i, "cause"))
				break
			}
			words := []string{cause.Reason.String()}
			for _, word := range []string{cause.Field, cause.Rule} {
				if word != "" {
					words = append(words, word)
				}
			}
			if cause.Application != config.DefaultApplication {
				words = append(words, "in application "+cause.Application)
			}
			fmt.Fprintf(a.err, "  refused %d× %s, first in %s:%d\n", cause.Count, strings.Join(words, " "), cause.FirstOfFile, cause.FirstLine)
		}
	}
	s := &r.Summary
	fmt.Fprintf(a.err, "%s: %d delivered, %d refused, %d absorbed; %s\n",
		plural(s.Messages, "message"), s.Delivered, s.Refused, s.Absorbed, plural(s.Events, "event"))
}

// nextCheck is the command to type after a refusal: one that shows more, or one that repairs what
// is most often the matter.
func (a *app) nextCheck(c *checking, r *check.Report, files []string) string {
	command := "eventworker check"
	for _, name := range files {
		command += " " + shellWord(name)
	}
	if a.configFile != "" {
		command += " --config " + shellWord(a.configFile)
	}
	for _, one := range a.set {
		command += " --set " + shellWord(one)
	}
	cause := r.Causes()[0]
	switch cause.Reason {
	case event.NoIndex:
		return command + " --set insights.applications." + cause.Application + ".default_index=INDEX"
	case event.TooOld, event.Future:
		return command + " --now " + r.Newest(cause.Reason).Format(time.RFC3339)
	case event.Unmatched:
		if !c.explain {
			return command + " --explain"
		}
		return ""
	case event.UnknownApplication:
		return "eventworker config print --set insights.applications.NAME.default_index=INDEX"
	}
	if c.now != "" {
		command += " --now " + shellWord(c.now)
	}
	if c.only == "" && r.Summary.Messages > r.Summary.Refused {
		return command + " --only refused"
	}
	return ""
}

// shellWord quotes a word for a shell where it needs that.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,:=+@%", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
