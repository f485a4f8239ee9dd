package check

import (
	"bufio"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A table is columns of text. On a terminal they stand under one another and what the last one
// holds is folded or shortened; elsewhere they are separated by tabs and hold full values.
type table struct {
	head []string
	// right are the columns of numbers; short those that a terminal may show shortened, with their width there.
	right map[int]bool
	short map[int]int
	// folds: the last column is a text for people, which goes on below where it does not fit.
	folds bool
	rows  [][]string
}

// smallestText is how wide a text must be to stand beside the other columns.
const smallestText = 32

// write writes the table for a terminal of a width, or with 0 for a pipe.
func (t *table) write(b *bufio.Writer, width int, header bool) {
	if width <= 0 {
		if header {
			b.WriteString(strings.Join(t.head, "\t") + "\n")
		}
		for _, row := range t.rows {
			for i, cell := range row {
				if i > 0 {
					b.WriteByte('\t')
				}
				b.WriteString(clean(cell))
			}
			b.WriteByte('\n')
		}
		return
	}
	t.onTerminal(b, width, header)
}

func (t *table) onTerminal(b *bufio.Writer, width int, header bool) {
	last := len(t.head) - 1
	widths := t.widths(header)
	margin := 0
	for i, w := range widths[:last] {
		if w > 0 {
			widths[i] = max(w, 1)
			margin += w + 2
		}
	}
	beside := width - margin
	line := func(row []string) {
		var text strings.Builder
		for i, cell := range row[:last] {
			if widths[i] == 0 {
				continue
			}
			cell = t.fit(i, clean(cell))
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
			if t.right[i] {
				text.WriteString(pad + cell + "  ")
			} else {
				text.WriteString(cell + pad + "  ")
			}
		}
		rest := clean(row[last])
		switch n := utf8.RuneCountInString(rest); {
		case !t.folds:
			rest = shorten(rest, max(beside, 8))
		case n > beside && beside < smallestText:
			text.WriteString("\n      ")
			rest = fold(rest, 6, width)
		default:
			rest = fold(rest, margin, width)
		}
		for part := range strings.SplitSeq(text.String()+rest, "\n") {
			b.WriteString(strings.TrimRight(part, " ") + "\n")
		}
	}
	if header {
		line(t.head)
	}
	for _, row := range t.rows {
		line(row)
	}
}

// widths are those of the columns; one that holds nothing at all has none.
func (t *table) widths(header bool) []int {
	widths := make([]int, len(t.head))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(t.fit(i, clean(cell))))
		}
	}
	for i, head := range t.head {
		if header && widths[i] > 0 {
			widths[i] = max(widths[i], utf8.RuneCountInString(head))
		}
	}
	return widths
}

func (t *table) fit(i int, cell string) string {
	if n, ok := t.short[i]; ok {
		return shorten(cell, n)
	}
	return cell
}

// shorten cuts a text to n characters, the last of which then is ….
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clean keeps a value from moving the cursor, ending a line or a column.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04X", r)
		}
	}
	return b.String()
}

// fold breaks a text into lines that fit beside a margin, which all but the first begin with.
func fold(text string, margin, width int) string {
	var b strings.Builder
	at := margin
	for i, word := range strings.Fields(text) {
		switch n := utf8.RuneCountInString(word); {
		case i == 0:
			at += n
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", margin))
			at = margin + n
		default:
			b.WriteByte(' ')
			at += 1 + n
		}
		b.WriteString(word)
	}
	return b.String()
}
