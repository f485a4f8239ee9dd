// Package insightsfake is a strict fake of Algolia's Insights API, for tests,
// for the demo and for trying the worker out by hand.
//
// It is written from the API's published specification and documentation and
// shares no code with the worker's own model of the events, so that a mistake
// on one side is caught by the other.
//
// # What it answers
//
//	POST   /1/events               the API: 200, 400, 401, 404, 405, 413, 422
//	DELETE /1/usertokens/{token}   204 (counted, nothing is deleted)
//	GET    /stats                  [Stats] as JSON
//	GET    /accepted               digests and counts of what was accepted, see [ReadAccepted]
//	GET    /faults, PUT /faults    the script of faults, see [Faults]
//	POST   /reset                  forgets events, counts and faults
//
// The last four are the fake's own and need no credentials.
//
// # Strictness
//
// A request is taken whole or not at all. By default the fake refuses, beyond
// what the API refuses, what a careful sender must not send although the API
// tolerates it or its documentation contradicts itself: see the rules whose
// names start with "Strict". [Options.Lenient] turns these off. A message about
// such a rule starts with "Strict:", so that nobody takes it for the API's own
// words.
//
// # Memory
//
// With [Options.Keep] the fake holds a 128-bit digest and a count for each
// distinct event: 20 bytes a slot, at most 35 bytes an event once there are a
// few thousand. Without it memory does not grow with the number of events:
// per request in progress it is the body (below 2 MB) and at most as much again
// for strings with escapes, kept in a pool; [Options.KeepEvents] whole events
// come on top.
//
// # Speed
//
// Counting and keeping digests costs about 2 µs an event and no allocation.
// [Options.OnAccept] and [Options.KeepEvents] read each event that they need
// a second time and copy it, which doubles that or more.
package insightsfake
