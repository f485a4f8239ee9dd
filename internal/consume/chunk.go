// Package consume reads messages from Kafka in chunks, tracks which of them are settled, and commits
// the contiguous frontier. Kafka's library stays behind it.
package consume

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. Its memory belongs to the chunk.
type Record struct {
	Offset int64
	// Time is the record's timestamp in milliseconds, -1 if it has none.
	Time int64
	Key  []byte
	// Value is nil for a tombstone, empty but not nil for an empty value.
	Value   []byte
	Headers []Header
}
