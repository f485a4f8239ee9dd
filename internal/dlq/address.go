package dlq

import (
	"fmt"
	"strconv"
	"strings"
)

// Coordinates are the place of a record in the topic where it was first read: its first life.
type Coordinates struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is topic/partition/offset.
func (c Coordinates) String() string { return fmt.Sprintf("%s/%d/%d", c.Topic, c.Partition, c.Offset) }

// ParseCoordinates is the inverse of String.
func ParseCoordinates(text string) (c Coordinates, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" {
		return c, false
	}
	partition, err1 := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
		return c, false
	}
	return Coordinates{parts[0], int32(partition), offset}, true
}

// Address names one dead letter: by its own place, written 3:18112, or by the place of the record
// that it was, written topic/3/18112.
type Address struct {
	// Partition and Offset are those in the dead-letter topic, unless Source is set.
	Partition int32
	Offset    int64
	// Source names the record's first life.
	Source *Coordinates
}

// ParseAddress reads an address.
func ParseAddress(text string) (Address, error) {
	if c, ok := ParseCoordinates(text); ok {
		return Address{Source: &c}, nil
	}
	p, o, ok := strings.Cut(text, ":")
	partition, err1 := strconv.ParseInt(p, 10, 32)
	offset, err2 := strconv.ParseInt(o, 10, 64)
	if !ok || err1 != nil || err2 != nil || partition < 0 || offset < 0 {
		return Address{}, callf("eventworker dlq list", "%q is no address: want PARTITION:OFFSET of the dead letter, such as 3:18112, or TOPIC/PARTITION/OFFSET of its source", text)
	}
	return Address{Partition: int32(partition), Offset: offset}, nil
}

// String is the address as it is written.
func (a Address) String() string {
	if a.Source != nil {
		return a.Source.String()
	}
	return fmt.Sprintf("%d:%d", a.Partition, a.Offset)
}
