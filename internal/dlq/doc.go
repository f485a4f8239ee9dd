// Package dlq is the desk for dead letters: it reads, filters, groups, explains, repairs, replays and
// verifies them. The commands under eventworker dlq are thin callers, and a console would be one, too.
//
// A [Desk] takes a [Snapshot] of the offsets that a [Filter] leaves, and reads it with [Desk.Scan] (in
// order), [Desk.Newest] (backwards) or [Desk.Stats] (by cause). Each of them gives a [Report] that says
// what was read and whether that was all. Nothing here writes to standard output, and nothing holds
// more than a bounded part of a topic in memory.
package dlq
