package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in the configuration.
type Problem struct {
	// Source is where the value came from: file(line,col), "env NAME" or "--set"; empty where no
	// source gave it.
	Source string
	// Path is the key, such as kafka.brokers; empty where the source as a whole is to blame.
	Path string
	// Message says what was seen, what is wanted and, where it helps, what to do. It never holds a secret.
	Message string
}

// String is the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Source != "" && p.Path != "" {
		b.WriteByte(' ')
	}
	b.WriteString(p.Path)
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error is a configuration that cannot be used, with every mistake in it.
type Error struct {
	// Problems are in the order of the sources; there is at least one.
	Problems []Problem
}

// Error writes one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems puts those of the file first, by line, then those of the other sources in the order
// they were met, then those that no source gave.
func sortProblems(problems []Problem, file string) {
	rank := func(p Problem) (source, line, column int) {
		switch {
		case p.Source == "":
			return 2, 0, 0
		case file == "" || !strings.HasPrefix(p.Source, file):
			return 1, 0, 0
		}
		_, _ = fmt.Sscanf(p.Source[len(file):], "(%d,%d)", &line, &column) // without a place they stay 0
		return 0, line, column
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		as, al, ac := rank(a)
		bs, bl, bc := rank(b)
		return slices.Compare([]int{as, al, ac}, []int{bs, bl, bc})
	})
}

// errorOf makes an error of problems, nil if there is none.
func errorOf(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Problems: problems}
}
