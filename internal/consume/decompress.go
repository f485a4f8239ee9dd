package consume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The compression codecs of record batches.
const (
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

// errFull says that the destination was too small.
var errFull = errors.New("destination full")

// decompressor unfolds the payloads of batches, into buffers that hold several each.
type decompressor struct {
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
	src  bytes.Reader

	open *buffer // the buffer that takes the next payload, the last one of the chunk's
	used int
}

// begin starts a chunk.
func (d *decompressor) begin() { d.open, d.used = nil, 0 }

// unfold decompresses src and adds the buffer it needs to m. It gives errNoRoom where the result, or
// the buffer it would need, is larger than limit bytes.
func (d *decompressor) unfold(codec uint16, src []byte, limit int64, m *chunkMemory) ([]byte, error) {
	want, err := unfoldedSize(codec, src)
	if err != nil {
		return nil, err
	}
	if int64(want) > limit {
		return nil, errNoRoom
	}
	if d.open != nil && cap(d.open.b)-d.used >= max(want, 1) {
		out, err := d.decode(codec, src, d.open.b[d.used:d.used:cap(d.open.b)])
		if err == nil {
			d.used += len(out)
			return slices.Clip(out), nil
		}
		if !errors.Is(err, errFull) {
			return nil, err
		}
	}
	for size := max(want, 4*len(src), 1<<16); ; size *= 2 {
		size = min(size, int(limit))
		b := getBuffer(size)
		out, err := d.decode(codec, src, b.b[:0:size])
		if err == nil {
			b.b = b.b[:cap(b.b)]
			m.buffers = append(m.buffers, b)
			d.open, d.used = b, len(out)
			return slices.Clip(out), nil
		}
		putBuffer(b)
		if !errors.Is(err, errFull) {
			return nil, err
		}
		if int64(size) >= limit {
			return nil, fmt.Errorf("%w: %w", errNoRoom, err)
		}
	}
}

// unfoldedSize is what the payload says about its size, 0 where it says nothing.
func unfoldedSize(codec uint16, src []byte) (int, error) {
	switch codec {
	case codecSnappy:
		return snappySize(src)
	case codecZstd:
		var h zstd.Header
		if h.Decode(src) == nil && h.HasFCS && h.FrameContentSize < 1<<31 {
			return int(h.FrameContentSize), nil
		}
	}
	return 0, nil
}

// decode decompresses src into dst, up to its capacity.
func (d *decompressor) decode(codec uint16, src, dst []byte) ([]byte, error) {
	d.src.Reset(src)
	switch codec {
	case codecGzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.src); err != nil {
			return nil, corrupt("gzip: %v", err)
		}
		return readAll(d.gzip, dst, "gzip")
	case codecLZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(&d.src)
		return readAll(d.lz4, dst, "lz4")
	case codecSnappy:
		return snappyDecode(src, dst)
	case codecZstd:
		return d.decodeZstd(src, dst)
	}
	return nil, corrupt("unknown compression codec %d", codec)
}

func (d *decompressor) decodeZstd(src, dst []byte) ([]byte, error) {
	if d.zstd == nil {
		var err error
		// One goroutine, and never more than the destination holds.
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	out, err := d.zstd.DecodeAll(src, dst)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, zstd.ErrReservedBlockType),
		errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrUnknownDictionary), errors.Is(err, zstd.ErrFrameSizeMismatch):
		return nil, corrupt("zstd: %v", err)
	}
	// A full destination shows as one of several errors of the library, which have no name of their own.
	return nil, fmt.Errorf("%w: zstd: %w", errFull, err)
}

// close gives the codecs' memory back.
func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

func readAll(r io.Reader, dst []byte, codec string) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			var one [1]byte
			switch n, err := io.ReadFull(r, one[:]); {
			case n > 0:
				return nil, errFull
			case errors.Is(err, io.EOF):
				return dst, nil
			default:
				return nil, corrupt("%s: %v", codec, err)
			}
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, corrupt("%s: %v", codec, err)
		}
	}
}

// xerial is the framing that Java's snappy stream puts around blocks: a header of 16 bytes, then
// blocks, each behind its length in 4 bytes.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

// snappyBlocks calls do for each block of the payload, framed or not.
func snappyBlocks(src []byte, do func(block []byte) error) error {
	if !bytes.HasPrefix(src, xerial) {
		return do(src)
	}
	if len(src) < xerialHeader {
		return corrupt("snappy: cut header")
	}
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return corrupt("snappy: cut block length")
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return corrupt("snappy: cut block")
		}
		if err := do(src[:n]); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

func snappySize(src []byte) (size int, err error) {
	err = snappyBlocks(src, func(block []byte) error {
		n, err := s2.DecodedLen(block)
		if err != nil {
			return corrupt("snappy: %v", err)
		}
		size += n
		return nil
	})
	return size, err
}

func snappyDecode(src, dst []byte) ([]byte, error) {
	err := snappyBlocks(src, func(block []byte) error {
		n, err := s2.DecodedLen(block)
		if err != nil {
			return corrupt("snappy: %v", err)
		}
		if n > cap(dst)-len(dst) {
			return errFull
		}
		out, err := s2.Decode(dst[len(dst):len(dst)+n], block)
		if err != nil {
			return corrupt("snappy: %v", err)
		}
		if len(out) != n {
			return corrupt("snappy: block of %d bytes instead of %d", len(out), n)
		}
		dst = dst[:len(dst)+n]
		return nil
	})
	return dst, err
}
