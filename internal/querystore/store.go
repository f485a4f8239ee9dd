// Package querystore keeps what earlier messages left for the join: impressions, remembered clicks
// and marks of delivered messages. It is a cache that happens to survive restarts: everything in it
// can be made again from Kafka.
package querystore

// Place is where a record came from in the log. Places order records of equal time.
type Place struct {
	// Source is the number of the topic in the section, given by [Section.Source].
	Source uint16
	Offset int64
}

// Outside is the source of records that no message left: a storefront wrote them into a shared store.
// Every look-up sees them.
const Outside = 1<<16 - 1

// Kind is the kind of a stored record.
type Kind uint8

// The kinds of records.
const (
	KindImpression Kind = iota + 1
	KindClick
	KindMark
)

// Impression is what one shown list with a queryID leaves behind.
type Impression struct {
	// Time is the event time in milliseconds (docs/contract.md, section 2).
	Time  int64
	Place Place
	// List is the list's place in its message: of equal impressions the first list wins.
	List uint16
	// QueryID is 32 lower-case hexadecimal digits, stored as 16 bytes, or a message_ id, stored as it is.
	QueryID      []byte
	Index, Model []byte // Model may be nil; Index may be nil where the application has a default
	// PositionOffset is added to an object's place in ObjectIDs (from 1).
	PositionOffset int64
	ObjectIDs      [][]byte // 1 to 1,000
	Tags           [][]byte
}

// Click is one clicked object that ended with a queryID.
type Click struct {
	Time     int64
	Place    Place
	Object   uint16 // the object's place in its message
	ObjectID []byte
	QueryID  []byte
	Index    []byte
}

// Mark says that a message of an id was delivered. The 16 bytes are a hash of (type, id).
type Mark struct {
	Time  int64
	Place Place
	Hash  [MarkSize]byte
}

// Coverage says what of one source a section's effects hold.
type Coverage struct {
	// Applied: the effects of every message below this offset are in the section.
	Applied int64
	// Written: no effect of a message at or beyond this offset is in the section. Between the two,
	// effects may be present or missing.
	Written int64
}

// Section is the store of one task: the partitions of one number over all topics. It is used by
// one goroutine, but for Sync, which may run beside the others' calls.
//
// user is the key of (application, userToken): the application's name, a zero byte, the token.
type Section interface {
	// Source gives the number of a topic in this section; the same topic has the same number for
	// the life of the section, restarts included.
	Source(topic string) uint16
	// Coverage is what the section holds of a source; SetCoverage changes it and becomes durable
	// with the next Sync, not before the effects it speaks of. Adding a record raises Written beyond
	// its place.
	Coverage(source uint16) Coverage
	SetCoverage(source uint16, c Coverage)

	AddImpression(user []byte, v *Impression) error
	AddClick(user []byte, v *Click) error
	AddMark(user []byte, v *Mark) error

	// Walk hands the user's records to visit, the last added first, until visit says false or none
	// is left. A record is valid only during the call, in which the section must not be called.
	// A record whose time is far ahead of its neighbours' may be handed out twice, or out of turn.
	Walk(user []byte, visit func(r *Record) bool) error

	// Expire lets go of records whose time is before the given one; it may keep them for longer.
	Expire(before int64) error
	// Sync makes everything added so far durable.
	Sync() error
	// Close syncs and gives the section back.
	Close() error
}

// Remote is a section whose records lie across a network. Its caller works chunk by chunk: Prefetch, then
// Walk and Add…, then Flush. Records stand under ids that make writing them again harmless, so nobody looks
// for a record before it is added, and of Coverage only Applied matters.
//
// All methods but Sync are called from one goroutine, the methods of Section included. The caller settles
// no message before the Flush of what it left has returned without an error. So Sync has nothing to write or
// to wait for: what was added since the last Flush belongs to messages that are not settled. It fails only
// while the last Flush failed or the store is known to have lost data, so that nothing is committed then.
type Remote interface {
	Section
	// Prefetch reads the records of the keys in one pipelined round trip (one per node). Until the next
	// Prefetch, Walk of a key is answered from memory, over what was added since, flushed or not; a key
	// that was not prefetched costs a round trip of its own, and is answered with what was added but not
	// flushed, too. The keys may repeat; they are copied.
	Prefetch(keys [][]byte) error
	// Flush writes what was added and the coverage set since the last Flush in one pipelined round trip,
	// and returns when it is acknowledged. After an error it is called again; nothing is written twice
	// (writing is idempotent).
	Flush() error
}

// Store gives sections out.
type Store interface {
	// Open takes the section of a task number. A section is open at most once.
	Open(task int32) (Section, error)
	Close() error
}
