package batch

import (
	"errors"
	"io"
	"sync"
)

// Part is a contiguous part of a batch as a request body. It is a value; Open may be called any
// number of times while the part's events have no outcome, so that it serves http.Request.GetBody.
type Part struct {
	events []byte
	n      int
	hold   func(int)
}

// Len is the number of events.
func (p Part) Len() int { return p.n }

// Size is the exact length of the body in bytes.
func (p Part) Size() int { return Envelope + len(p.events) }

// Open returns a reader of the body. It keeps the batch's memory from being used again until it is
// closed: an HTTP transport may read a request's body even after it answered.
func (p Part) Open() io.ReadCloser {
	p.hold(1)
	b := &body{hold: p.hold}
	b.rest = [3][]byte{bodyPrefix, p.events, bodySuffix}
	return b
}

var (
	bodyPrefix = []byte(prefix)
	bodySuffix = []byte(suffix)

	errClosed = errors.New("batch: read of a request body that was closed")
)

// body reads three slices one after the other. Its lock makes sure that no Read is still copying
// when Close returns, since HTTP/2 transports close a body beside a Read.
type body struct {
	mu   sync.Mutex
	rest [3][]byte
	hold func(int)
}

// Read fills p across the borders of the slices.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hold == nil {
		return 0, errClosed
	}
	left := 0
	for i := range b.rest {
		if n < len(p) {
			m := copy(p[n:], b.rest[i])
			b.rest[i] = b.rest[i][m:]
			n += m
		}
		left += len(b.rest[i])
	}
	if left == 0 && (n == 0 || len(p) > n) {
		err = io.EOF
	}
	return n, err
}

// Close gives the body's hold on the batch back. Only the first call does something.
func (b *body) Close() error {
	b.mu.Lock()
	hold := b.hold
	b.hold, b.rest = nil, [3][]byte{}
	b.mu.Unlock()
	if hold != nil {
		hold(-1)
	}
	return nil
}
