// Package schemas holds the published shape of the raw messages: one JSON Schema (draft 2020-12) per
// type, in files that people and other programs read as they are. The rules of package event are
// the same; the tests of that package hold both together on the examples and under fuzzing.
package schemas

import "embed"

// Files are the schemas, each named after its type: recommendation.shown.schema.json and so on.
//
//go:embed *.schema.json
var Files embed.FS
