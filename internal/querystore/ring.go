package querystore

import "hash/crc32"

// ring holds the newest bytes of an address space: the byte at an address lies at that address
// modulo the ring's size, which is a multiple of [unit].
type ring struct {
	buf []byte
	// low is the lowest address that the ring may hold; what was before it was never put there.
	low uint64
}

// oldest is the lowest address the ring still holds when the address space ends at tail.
func (r *ring) oldest(tail uint64) uint64 {
	if n := uint64(len(r.buf)); tail > n && tail-n > r.low {
		return tail - n
	}
	return r.low
}

// cut gives the n bytes at an address, in two parts where they cross the end of the buffer.
func (r *ring) cut(addr uint64, n int) (a, b []byte) {
	if n == 0 {
		return nil, nil
	}
	off := int(addr % uint64(len(r.buf)))
	if off+n <= len(r.buf) {
		return r.buf[off : off+n : off+n], nil
	}
	return r.buf[off:], r.buf[:off+n-len(r.buf)]
}

func (r *ring) put(addr uint64, p []byte) {
	a, b := r.cut(addr, len(p))
	copy(b, p[copy(a, p):])
}

func (r *ring) copyTo(dst []byte, addr uint64) {
	a, b := r.cut(addr, len(dst))
	copy(dst[copy(dst, a):], b)
}

func (r *ring) checksum(addr uint64, n int) uint32 {
	a, b := r.cut(addr, n)
	return crc32.Update(crc32.Checksum(a, castagnoli), castagnoli, b)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// resize gives the ring another size and keeps the newest of what it holds.
func (r *ring) resize(size int, tail uint64) {
	next := ring{buf: make([]byte, size), low: r.low}
	next.low = max(r.oldest(tail), next.oldest(tail))
	for addr := next.low; addr < tail; {
		a, _ := r.cut(addr, int(min(tail-addr, uint64(len(r.buf)))))
		next.put(addr, a)
		addr += uint64(len(a))
	}
	*r = next
}
