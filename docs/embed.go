// Package docs embeds the documents that commands print, so that the text that people read and the one
// that the program shows are the same.
package docs

import _ "embed"

// DeadLetters is the runbook of dead letters, one section for each reason.
//
//go:embed dead-letters.md
var DeadLetters string
