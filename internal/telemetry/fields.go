package telemetry

import (
	"time"

	"go.uber.org/zap"
)

// The keys of log lines. They are stable: people filter by them. A line holds no payload, no
// userToken, no record key and no credential under any key.
const (
	KeyTopic       = "topic"
	KeyPartition   = "partition"
	KeyOffset      = "offset"
	KeyGroup       = "group"
	KeyGeneration  = "generation"
	KeyMember      = "member"
	KeyTask        = "task"
	KeyApplication = "application"
	KeyReason      = "reason"   // of a dead letter, or why something paused
	KeyStage       = "stage"    // of the pipeline
	KeyCause       = "cause"    // the id that alike dead letters share
	KeyStatus      = "status"   // HTTP
	KeyAttempt     = "attempt"  // from 1
	KeyEvents      = "events"   // how many
	KeyMessages    = "messages" // how many
	KeyBytes       = "bytes"
	KeyDuration    = "duration"
	KeyRetryIn     = "retry_in"
	KeyCount       = "count"
	KeyPath        = "path"
	KeyAddress     = "address"
	KeyFrom        = "from"       // the address of a caller
	KeyDetail      = "detail"     // what a library or a server said
	KeySuppressed  = "suppressed" // lines of this message left out since the last one
)

// The functions below make the fields of the keys above.

// Topic is the name of a topic.
func Topic(name string) zap.Field { return zap.String(KeyTopic, name) }

// Partition is the number of a partition.
func Partition(id int32) zap.Field { return zap.Int32(KeyPartition, id) }

// Offset is an offset of a record.
func Offset(o int64) zap.Field { return zap.Int64(KeyOffset, o) }

// Generation is the number of a group's generation.
func Generation(id int32) zap.Field { return zap.Int32(KeyGeneration, id) }

// Task is the number of a task.
func Task(number int32) zap.Field { return zap.Int32(KeyTask, number) }

// Application is the configured name of an application, not its id.
func Application(name string) zap.Field { return zap.String(KeyApplication, name) }

// Reason says why.
func Reason(r string) zap.Field { return zap.String(KeyReason, r) }

// Status is an HTTP status.
func Status(code int) zap.Field { return zap.Int(KeyStatus, code) }

// Attempt is the number of a try, from 1.
func Attempt(n int) zap.Field { return zap.Int(KeyAttempt, n) }

// Events is a number of Insights events.
func Events(n int) zap.Field { return zap.Int(KeyEvents, n) }

// Messages is a number of messages.
func Messages(n int64) zap.Field { return zap.Int64(KeyMessages, n) }

// Bytes is a number of bytes.
func Bytes(n int64) zap.Field { return zap.Int64(KeyBytes, n) }

// Duration is how long something took.
func Duration(d time.Duration) zap.Field { return zap.Duration(KeyDuration, d) }

// RetryIn is the wait until the next try.
func RetryIn(d time.Duration) zap.Field { return zap.Duration(KeyRetryIn, d) }

// Detail is what a library or a server said.
func Detail(s string) zap.Field { return zap.String(KeyDetail, s) }
