package dlq

import (
	"strings"

	"eventworker/docs"
	"eventworker/internal/config"
)

// Runbook is the section of docs/dead-letters.md about a reason, in Markdown. It is embedded: the
// document and the command are one text.
func Runbook(reason string) (string, error) {
	if section, ok := sectionOf(docs.DeadLetters, reason); ok {
		return section, nil
	}
	if near := config.Nearest(reason, Reasons()); near != "" {
		return "", callf("eventworker dlq explain "+near, "unknown reason %q; did you mean %s?", reason, near)
	}
	return "", callf("eventworker help reasons", "unknown reason %q; known: %s", reason, strings.Join(Reasons(), ", "))
}

// sectionOf finds the section with a heading of the second level.
func sectionOf(text, heading string) (string, bool) {
	var b strings.Builder
	within := false
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			within = strings.TrimSpace(strings.ReplaceAll(title, "`", "")) == heading
		}
		if within {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String()), b.Len() > 0
}

// ReasonSummary is the first sentence of a reason's section.
func ReasonSummary(reason string) string {
	section, _ := sectionOf(docs.DeadLetters, reason)
	_, body, _ := strings.Cut(section, "\n")
	paragraph, _, _ := strings.Cut(strings.TrimSpace(body), "\n\n")
	paragraph = strings.Join(strings.Fields(paragraph), " ")
	if sentence, _, ok := strings.Cut(paragraph, ". "); ok {
		return sentence + "."
	}
	return paragraph
}
