package querystore

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// answers takes in what servers answer to the commands that read ahead, as they send it: a string for each record, as
// the client library makes them, costs as much as all the rest of reading. Records are slices of it until the next
// Prefetch, so what an exchange brought stays where it is.
type answers struct {
	buf []byte
	// from is where the exchange that is under way begins.
	from int
}

// leastAnswers is what room begins with, in bytes.
const leastAnswers = 64 << 10

// begin begins an exchange.
func (a *answers) begin() { a.from = len(a.buf) }

// undo lets go of what the exchange brought so far, and of the room that was made for it alone.
func (a *answers) undo() {
	if a.buf = a.buf[:a.from]; a.from == 0 {
		a.buf = nil
	}
}

// reset lets go of everything. Room for at most so many bytes is kept for another use.
func (a *answers) reset(most int) {
	a.buf, a.from = a.buf[:0], 0
	if cap(a.buf) > most {
		a.buf = nil
	}
}

// room makes room for n bytes behind what is there. Earlier exchanges stay where they were.
func (a *answers) room(n int) {
	if cap(a.buf)-len(a.buf) >= n {
		return
	}
	have := len(a.buf) - a.from
	a.buf = append(make([]byte, 0, max(leastAnswers, have+have/2+n)), a.buf[a.from:]...)
	a.from = 0
}

// Write implements io.Writer.
func (a *answers) Write(b []byte) (int, error) {
	a.room(len(b))
	a.buf = append(a.buf, b...)
	return len(b), nil
}

// ReadFrom implements io.ReaderFrom: with it the client library's copy of a member is made in one step.
func (a *answers) ReadFrom(r io.Reader) (n int64, err error) {
	bounded, ok := r.(*io.LimitedReader)
	for {
		want := 4 << 10
		if ok {
			want = int(min(bounded.N, mostReply))
		}
		if want == 0 {
			return n, nil
		}
		a.room(want)
		m, err := r.Read(a.buf[len(a.buf) : len(a.buf)+want])
		a.buf = a.buf[:len(a.buf)+m]
		n += int64(m)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// refusal is an error that a server answered.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError makes it one of those that the client library tells from failures.
func (refusal) RedisError() {}

// errAnswer says that an answer is none to the command that was sent.
var errAnswer = errors.New("the server's answer is not of the protocol")

// split appends the members of an answer, which is an array of strings, to dst.
func split(answer []byte, dst [][]byte) (members [][]byte, err error) {
	mark, n, rest, ok := answerLine(answer)
	if ok && mark == '-' {
		return dst, refusal(bytes.TrimRight(answer[1:], "\r\n"))
	}
	if !ok || mark != '*' {
		return dst, errAnswer
	}
	for range max(n, 0) {
		mark, n, rest, ok = answerLine(rest)
		if !ok || mark != '$' || n < 0 || len(rest)-2 < n {
			return dst, errAnswer
		}
		dst, rest = append(dst, rest[:n:n]), rest[n+2:]
	}
	if len(rest) > 0 {
		return dst, errAnswer
	}
	return dst, nil
}

// answerLine reads a line of the protocol: a mark, and the number behind it where there is one.
func answerLine(b []byte) (mark byte, n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	mark = b[0]
	if mark == '-' || len(b) > 1 && b[1] == '-' { // an error; nothing
		return mark, -1, nil, true
	}
	const mostDigits = 10
	for i := 1; i < len(b)-1 && i <= mostDigits+1; i++ {
		if c := b[i]; c >= '0' && c <= '9' && i <= mostDigits {
			n = 10*n + int(c-'0')
			continue
		}
		return mark, n, b[i+2:], i > 1 && b[i] == '\r' && b[i+1] == '\n'
	}
	return 0, 0, nil, false
}

// answer gives the answer of n bytes at a place of the exchange, and the place of the next one.
func (a *answers) answer(at int, n int64) (answer []byte, next int) {
	from := min(a.from+at, len(a.buf))
	to := min(from+int(max(n, 0)), len(a.buf))
	return slices.Clip(a.buf[from:to]), at + int(n)
}
