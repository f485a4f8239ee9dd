package querystore

import "hash/crc32"

// ring holds the newest bytes of an address space: the byte at an address lies at that address
// modulo the ring's size, which is a multiple of [unit]. Its memory comes in pieces, each when the
// first byte is put there, so that a ring that fills up copies nothing.
type ring struct {
	pieces [][]byte // nil where nothing was put yet
	size   uint64
	held   int // bytes of the pieces that are there
	// low is the lowest address that the ring may hold; what was before it was never put there.
	low uint64
}

// pieceBytes is the size of a piece; the last one may be smaller.
const pieceBytes = 64 << 10

func newRing(size int, low uint64) ring {
	return ring{pieces: make([][]byte, (size+pieceBytes-1)/pieceBytes), size: uint64(size), low: low}
}

// oldest is the lowest address the ring still holds when the address space ends at tail.
func (r *ring) oldest(tail uint64) uint64 {
	if tail > r.size && tail-r.size > r.low {
		return tail - r.size
	}
	return r.low
}

// room sees to the memory for the n bytes at an address, of a ring that is at least as large, and
// gives their first part as [ring.piece] does.
func (r *ring) room(addr uint64, n int) []byte {
	off := addr % r.size
	for left := n; ; {
		i := off / pieceBytes
		end := min((i+1)*pieceBytes, r.size)
		if r.pieces[i] == nil {
			r.pieces[i] = make([]byte, end-i*pieceBytes)
			r.held += len(r.pieces[i])
		}
		if left -= int(end - off); left <= 0 {
			return r.piece(addr, n)
		}
		off = end % r.size
	}
}

// piece gives the n bytes at an address, or as many of them as lie in one piece.
func (r *ring) piece(addr uint64, n int) []byte {
	off := addr % r.size
	p := r.pieces[off/pieceBytes][off%pieceBytes:]
	n = min(n, len(p))
	return p[:n:n]
}

func (r *ring) put(addr uint64, p []byte) {
	for len(p) > 0 {
		n := copy(r.room(addr, len(p)), p)
		addr, p = addr+uint64(n), p[n:]
	}
}

func (r *ring) copyTo(dst []byte, addr uint64) {
	for len(dst) > 0 {
		n := copy(dst, r.piece(addr, len(dst)))
		addr, dst = addr+uint64(n), dst[n:]
	}
}

func (r *ring) checksum(addr uint64, n int) (sum uint32) {
	for n > 0 {
		p := r.piece(addr, n)
		sum = crc32.Update(sum, castagnoli, p)
		addr, n = addr+uint64(len(p)), n-len(p)
	}
	return sum
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// resize gives the ring another size and keeps the newest of what it holds.
func (r *ring) resize(size int, tail uint64) {
	next := newRing(size, r.low)
	next.low = max(r.oldest(tail), next.oldest(tail))
	for addr := next.low; addr < tail; {
		p := r.piece(addr, int(min(tail-addr, pieceBytes)))
		next.put(addr, p)
		addr += uint64(len(p))
	}
	*r = next
}
