// Package consume reads messages from Kafka in chunks, tracks which of them are settled, and commits
// the contiguous frontier. Kafka's library stays behind it.
//
// A [Consumer] joins the group and hands each generation to its [Handler]. A generation has tasks, a
// task has the partitions of one number over all topics, a partition has a queue of chunks. The
// handler pops chunks and settles their records in any order, from any goroutine; the committer
// commits, per partition, the offset below which everything is settled.
//
// Memory is bounded by [Budget]: everything that is fetched counts in it until it is settled. The
// bound may be passed by one record batch per partition, so that a partition that holds nothing
// always gets on.
package consume
