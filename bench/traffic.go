package main

import (
	"strconv"

	"eventworker/internal/storefront"
)

// A traffic is a log of messages in which each is a function of the seed and its number: nothing is
// kept, any message can be made again, and a click can name an impression of long ago.
type traffic struct {
	Name     string
	Seed     uint64
	Messages int   // history included
	Start    int64 // time of message 0, milliseconds; each later one is a millisecond later
	build    func(t *traffic, dst []byte, i int) (value []byte, user int, events int)
}

// partitions is the number of partitions of every topic.
const partitions = 12

// tailAhead is how much later the last message of each partition is than the others. It is beyond
// join.allowed_lateness, so that nothing waits for join.wait at the end of the log.
const tailAhead = 10_000

// A record is one message as it lies in the topic. Its slices are valid until the next one is made.
type record struct {
	Key, Value []byte
	Partition  int32
	Time       int64
	Events     int // Insights events that must come of it
}

// at makes message i. Those from Messages on, one for each partition, end the log.
func (t *traffic) at(r *record, i int) {
	r.Time = t.Start + int64(i)
	value, user := r.Value[:0], 0
	if last := i - t.Messages; last >= 0 {
		r.Time += tailAhead
		user = t.userOf(int32(last))
		r.Value, r.Events = appendShown(value, t, i, user, 10, r.Time), 1
	} else {
		r.Value, user, r.Events = t.build(t, value, i)
	}
	r.Key = appendUser(r.Key[:0], user)
	r.Partition = storefront.PartitionOf(r.Key, partitions)
}

// all is the number of messages with those that end the log.
func (t *traffic) all() int { return t.Messages + partitions }

// userOf is the first user of a partition.
func (t *traffic) userOf(partition int32) int {
	var key []byte
	for user := 0; ; user++ {
		if key = appendUser(key[:0], user); storefront.PartitionOf(key, partitions) == partition {
			return user
		}
	}
}

// What is drawn for a message, each from a hash of its own.
const (
	drawType = iota
	drawUser
	drawCount
	drawObject
	drawQuery // two draws
	_
	drawMiss
	drawDistance
)

// draw is a number in [0, n) that belongs to message i.
func (t *traffic) draw(i, what, n int) int {
	return int(t.hash(i, what) % uint64(n))
}

// hash mixes seed, message and draw by the finalizer of splitmix64.
func (t *traffic) hash(i, what int) uint64 {
	h := t.Seed ^ uint64(i)*0x9e3779b97f4a7c15 ^ uint64(what)*0xd1342543de82ef95
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

const (
	users    = 1_000_000
	heavy    = users / 10 // users who make three quarters of the traffic
	products = 1_000_000
)

func (t *traffic) user(i int) int {
	h := t.hash(i, drawUser)
	if h>>62 < 3 {
		return int(h % heavy)
	}
	return heavy + int(h%(users-heavy))
}

// object is the k-th of the different objects that message i lists.
func (t *traffic) object(i, k int) int {
	return int((t.hash(i, drawObject) + uint64(k)*7919) % products)
}

func appendUser(dst []byte, user int) []byte {
	return appendPadded(append(dst, "user-"...), user, 8)
}

func appendObject(dst []byte, object int) []byte {
	return append(appendPadded(append(dst, `"product-`...), object, 7), '"')
}

func appendPadded(dst []byte, n, digits int) []byte {
	from := len(dst)
	for range digits {
		dst = append(dst, '0')
	}
	for k := len(dst) - 1; k >= from; k-- {
		dst[k] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// appendQueryID appends the queryID of the list that message i shows.
func (t *traffic) appendQueryID(dst []byte, i int) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for half := range 2 {
		h := t.hash(i, drawQuery+half)
		for range 16 {
			dst = append(dst, digits[h&15])
			h >>= 4
		}
	}
	return append(dst, '"')
}

// appendHead begins a message with what all have.
func appendHead(dst []byte, kind string, user int, time int64) []byte {
	dst = append(append(append(dst, `{"type":"recommendation.`...), kind...), `","userToken":"`...)
	dst = append(appendUser(dst, user), `","timestamp":`...)
	return strconv.AppendInt(dst, time, 10)
}
