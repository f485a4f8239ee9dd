// Package storefront is a seeded simulator of a shop's traffic that knows the truth: what must come
// of every message it makes.
//
// A [Generator] makes messages in log order. A [Truth] reads them in the same order and says of each
// what must become of it; [Truth.Compare] holds that against what arrived. Both derive from
// docs/contract.md, sections 1, 2, 3 and 6, and from nothing else: the package shares no code with
// the worker's decoder, join or encoder, and prefers lists and linear scans to anything clever, so
// that a mistake on one side is caught by the other.
//
// # What the truth speaks of
//
// One topic, keyed by userToken and partitioned by murmur2, whose messages are all in the log before
// its reader comes to the end of a partition: a reader that catches up decides its misses by the
// clock (join.wait), and no simulator knows when. A log over several topics can be generated, but
// has no truth.
//
// # Memory
//
// The generator holds the pages whose visitors will come back, about 1 KB each: with the default
// mix some 1 % of the messages. The truth holds, until [Truth.Seal], the impressions and clicks
// inside the join's windows, about 200 bytes a shown list; for good it holds one byte a message and
// 24 bytes an expected Insights event.
package storefront
