package consume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"
)

// libraryBatch lets the library encode a record set, so that two readings of the format meet.
func libraryBatch(t testing.TB, base int64, attributes protocol.Attributes, records ...protocol.Record) []byte {
	t.Helper()
	rs := protocol.RecordSet{Version: 2, Attributes: attributes, Records: protocol.NewRecordReader(records...)}
	var buf bytes.Buffer
	if _, err := rs.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	set := buf.Bytes()[4:] // without the size
	binary.BigEndian.PutUint64(set, uint64(base))
	return set
}

// edit changes a batch's bytes and makes its checksum right again.
func edit(set []byte, change func(set []byte)) []byte {
	change(set)
	binary.BigEndian.PutUint32(set[17:], crc32.Checksum(set[21:], castagnoli))
	return set
}

// asProducer makes a batch part of a producer's transaction.
func asProducer(set []byte, producer int64, control bool) []byte {
	return edit(set, func(set []byte) {
		attributes := binary.BigEndian.Uint16(set[21:]) | attrTransactional
		if control {
			attributes |= attrControl
		}
		binary.BigEndian.PutUint16(set[21:], attributes)
		binary.BigEndian.PutUint64(set[43:], uint64(producer))
	})
}

func marker(t testing.TB, base, producer int64, abort bool) []byte {
	key := []byte{0, 0, 0, 1}
	if abort {
		key[3] = 0
	}
	return asProducer(libraryBatch(t, base, 0, protocol.Record{Key: protocol.NewBytes(key), Value: protocol.NewBytes([]byte{0, 0, 0, 0, 0, 0})}), producer, true)
}

func record(key, value []byte, headers ...protocol.Header) protocol.Record {
	r := protocol.Record{Time: time.UnixMilli(1764000000000), Headers: headers}
	if key != nil {
		r.Key = protocol.NewBytes(key)
	}
	if value != nil {
		r.Value = protocol.NewBytes(value)
	}
	return r
}

// build reads a record set as if a fetch from an offset had brought it.
func build(set []byte, from int64, room int64, aborted ...abortedTxn) built {
	b := getBuffer(len(set))
	copy(b.b, set)
	bld := builder{maxBatch: 1 << 20}
	defer bld.unpack.close()
	return bld.build(&partResponse{p: &Partition{Topic: "t"}, offset: from, set: b, aborted: aborted}, room)
}

func offsets(out built) (os []int64) {
	for _, r := range out.records {
		os = append(os, r.Offset)
	}
	return os
}

const plenty = 1 << 30

var codecs = map[string]protocol.Attributes{"none": 0, "gzip": protocol.Gzip, "snappy": protocol.Snappy, "lz4": protocol.Lz4, "zstd": protocol.Zstd}

func TestWhatTheLibraryWritesIsReadAlike(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				var set []byte
				var want []protocol.Record
				base := rapid.Int64Range(0, 1<<40).Draw(rt, "base")
				from := base
				some := rapid.SliceOfN(rapid.Byte(), 0, 300)
				for range rapid.IntRange(1, 3).Draw(rt, "batches") {
					var rs []protocol.Record
					for range rapid.IntRange(1, 40).Draw(rt, "records") {
						var key, value []byte
						if rapid.Bool().Draw(rt, "has key") {
							key = append([]byte{}, some.Draw(rt, "key")...)
						}
						if rapid.Bool().Draw(rt, "has value") {
							value = append([]byte{}, some.Draw(rt, "value")...)
						}
						var hs []protocol.Header
						for range rapid.IntRange(0, 3).Draw(rt, "headers") {
							hs = append(hs, protocol.Header{Key: rapid.SampledFrom([]string{"", "a", "traceparent"}).Draw(rt, "name"), Value: some.Draw(rt, "header")})
						}
						r := record(key, value, hs...)
						r.Time = time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(rt, "time"))
						rs = append(rs, r)
					}
					set = append(set, libraryBatch(t, base, codec, rs...)...)
					for i := range rs {
						rs[i].Offset = base + int64(i)
					}
					want = append(want, rs...)
					base += int64(len(rs)) + rapid.Int64Range(0, 2).Draw(rt, "gap")
				}
				out := build(set, from, plenty)
				if out.err != nil {
					rt.Fatal(out.err)
				}
				if len(out.records) != len(want) {
					rt.Fatalf("%d records, want %d", len(out.records), len(want))
				}
				for i, r := range out.records {
					compareRecord(rt, r, want[i])
				}
				if last := want[len(want)-1].Offset; out.next != last+1 {
					rt.Fatalf("next %d, want %d", out.next, last+1)
				}
			})
		})
	}
}

func compareRecord(t *rapid.T, got Record, want protocol.Record) {
	t.Helper()
	read := func(b protocol.Bytes) []byte {
		if b == nil {
			return nil
		}
		if s, ok := b.(io.Seeker); ok {
			s.Seek(0, io.SeekStart)
		}
		data, err := protocol.ReadAll(b)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{}, data...)
	}
	key, value := read(want.Key), read(want.Value)
	if !bytes.Equal(got.Key, key) || (got.Key == nil) != (key == nil) {
		t.Fatalf("key %q, want %q", got.Key, key)
	}
	if !bytes.Equal(got.Value, value) || (got.Value == nil) != (value == nil) {
		t.Fatalf("value %q, want %q", got.Value, value)
	}
	if got.Offset != want.Offset || got.Time != want.Time.UnixMilli() {
		t.Fatalf("offset %d time %d, want %d %d", got.Offset, got.Time, want.Offset, want.Time.UnixMilli())
	}
	if len(got.Headers) != len(want.Headers) {
		t.Fatalf("%d headers, want %d", len(got.Headers), len(want.Headers))
	}
	for i, h := range got.Headers {
		if h.Key != want.Headers[i].Key || !bytes.Equal(h.Value, want.Headers[i].Value) {
			t.Fatalf("header %q=%q, want %q=%q", h.Key, h.Value, want.Headers[i].Key, want.Headers[i].Value)
		}
	}
}

func values(n int, prefix string) (rs []protocol.Record) {
	for i := range n {
		rs = append(rs, record([]byte("k"), fmt.Appendf(nil, "%s%d", prefix, i)))
	}
	return rs
}

// TestReadCommitted: records of aborted transactions and control records are dropped, and the
// position moves past all of them.
func TestReadCommitted(t *testing.T) {
	var set []byte
	set = append(set, libraryBatch(t, 0, 0, values(2, "plain")...)...)                           // 0, 1
	set = append(set, asProducer(libraryBatch(t, 2, 0, values(2, "aborted")...), 7, false)...)   // 2, 3
	set = append(set, asProducer(libraryBatch(t, 4, 0, values(1, "committed")...), 8, false)...) // 4
	set = append(set, asProducer(libraryBatch(t, 5, 0, values(1, "aborted")...), 7, false)...)   // 5
	set = append(set, marker(t, 6, 7, true)...)
	set = append(set, marker(t, 7, 8, false)...)
	set = append(set, asProducer(libraryBatch(t, 8, 0, values(1, "committed")...), 7, false)...) // 8: a new transaction
	set = append(set, marker(t, 9, 7, false)...)
	out := build(set, 0, plenty, abortedTxn{producer: 7, first: 2})
	if out.err != nil {
		t.Fatal(out.err)
	}
	if got, want := fmt.Sprint(offsets(out)), "[0 1 4 8]"; got != want {
		t.Errorf("offsets %s, want %s", got, want)
	}
	if out.next != 10 || out.control != 3 || out.abortedRecords != 3 {
		t.Errorf("next %d, %d control batches, %d aborted records, want 10, 3, 3", out.next, out.control, out.abortedRecords)
	}
	if got := fmt.Sprint(out.offsets); got != "[0 1 4 8]" {
		t.Errorf("offsets kept as %s", got)
	}
}

func TestATailWithoutMessagesStillMovesThePosition(t *testing.T) {
	set := append(asProducer(libraryBatch(t, 5, protocol.Lz4, values(3, "aborted")...), 7, false), marker(t, 8, 7, true)...)
	out := build(set, 5, plenty, abortedTxn{producer: 7, first: 1})
	if out.err != nil || len(out.records) != 0 || out.next != 9 {
		t.Errorf("%d records, next %d, error %v, want 0, 9, none", len(out.records), out.next, out.err)
	}
}

func TestRecordsBeforeTheOffsetAskedForAreSkipped(t *testing.T) {
	out := build(libraryBatch(t, 10, 0, values(5, "v")...), 12, plenty)
	if got := fmt.Sprint(offsets(out)); got != "[12 13 14]" || out.err != nil {
		t.Errorf("offsets %s, error %v", got, out.err)
	}
}

func TestASetCutInTheMiddleOfABatchGivesWhatIsWhole(t *testing.T) {
	whole := libraryBatch(t, 0, 0, values(2, "a")...)
	cut := libraryBatch(t, 2, 0, values(50, "b")...)
	for n := range cut {
		out := build(append(bytes.Clone(whole), cut[:n]...), 0, plenty)
		if out.err != nil || len(out.records) != 2 || out.next != 2 {
			t.Fatalf("cut after %d bytes: %d records, next %d, error %v", n, len(out.records), out.next, out.err)
		}
	}
}

func TestLogAppendTimeReplacesTheRecordsTimes(t *testing.T) {
	set := edit(libraryBatch(t, 0, 0, values(2, "v")...), func(set []byte) {
		set[22] |= attrLogAppendTime
		binary.BigEndian.PutUint64(set[35:], 1764000009999)
	})
	out := build(set, 0, plenty)
	if out.err != nil || out.records[0].Time != 1764000009999 || out.records[1].Time != 1764000009999 {
		t.Errorf("times %v, error %v", out.records, out.err)
	}
}

func TestACorruptBatchStopsThereAndIsNamed(t *testing.T) {
	good := libraryBatch(t, 0, 0, values(2, "a")...)
	for name, c := range map[string]struct {
		change func(set []byte)
		fix    bool
		want   string
	}{
		"checksum":      {func(set []byte) { set[len(set)-1] ^= 1 }, false, "checksum"},
		"old format":    {func(set []byte) { set[16] = 1 }, false, "message format v1"},
		"record count":  {func(set []byte) { binary.BigEndian.PutUint32(set[57:], 1<<30) }, true, "records in"},
		"record length": {func(set []byte) { set[batchHeader] = 0x7e }, true, "record of"},
		"codec":         {func(set []byte) { set[22] |= 6 }, true, "codec 6"},
		"gzip garbage":  {func(set []byte) { set[22] |= 1 }, true, "gzip"},
		"lz4 garbage":   {func(set []byte) { set[22] |= 3 }, true, "lz4"},
		"zstd garbage":  {func(set []byte) { set[22] |= 4 }, true, "zstd"},
		"offset delta":  {func(set []byte) { binary.BigEndian.PutUint32(set[23:], ^uint32(0)) }, true, "last offset delta"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := libraryBatch(t, 2, 0, values(3, "b")...)
			if c.fix {
				edit(bad, c.change)
			} else {
				c.change(bad)
			}
			out := build(append(bytes.Clone(good), bad...), 0, plenty)
			if out.err == nil || !strings.Contains(out.err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", out.err, c.want)
			}
			if len(out.records) != 2 || out.next != 2 {
				t.Errorf("%d records up to %d, want 2 up to 2", len(out.records), out.next)
			}
		})
	}
}

// TestABatchThatUnfoldsTooFarIsRefused: a first batch up to the bound for batches, a later one up to
// the room there is.
func TestABatchThatUnfoldsTooFarIsRefused(t *testing.T) {
	for name, codec := range codecs {
		if codec == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			small := libraryBatch(t, 0, codec, values(2, "a")...)
			half := libraryBatch(t, 2, codec, record(nil, make([]byte, 500<<10)))
			bomb := libraryBatch(t, 3, codec, record(nil, make([]byte, 3<<20)))
			if out := build(append(bytes.Clone(half), bomb...), 2, plenty); out.err != nil || !out.short || len(out.records) != 1 {
				t.Errorf("a later bomb: %d records, short %v, error %v", len(out.records), out.short, out.err)
			}
			if out := build(bomb, 3, plenty); out.err == nil || out.next != 3 {
				t.Errorf("a bomb alone: next %d, error %v", out.next, out.err)
			}
			if out := build(append(bytes.Clone(small), half...), 0, 200<<10); out.err != nil || !out.short || out.next != 2 {
				t.Errorf("no room for the second batch: next %d, short %v, error %v", out.next, out.short, out.err)
			}
			if out := build(half, 2, 1); out.err != nil || out.short || out.next != 3 {
				t.Errorf("the first batch is taken whatever the room: next %d, short %v, error %v", out.next, out.short, out.err)
			}
		})
	}
}

// TestXerialSnappy reads the framing that Java's producers write.
func TestXerialSnappy(t *testing.T) {
	plain := libraryBatch(t, 0, 0, values(100, "value ")...)
	payload := bytes.Clone(plain[batchHeader:])
	framed := append(bytes.Clone(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for len(payload) > 0 {
		n := min(len(payload), 512)
		// A snappy block of literals: the length, then literals of up to 60 bytes.
		block := binary.AppendUvarint(nil, uint64(n))
		for rest := payload[:n]; len(rest) > 0; {
			k := min(len(rest), 60)
			block = append(append(block, byte(k-1)<<2), rest[:k]...)
			rest = rest[k:]
		}
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(block))), block...)
		payload = payload[n:]
	}
	set := append(bytes.Clone(plain[:batchHeader]), framed...)
	binary.BigEndian.PutUint32(set[8:], uint32(len(set)-batchOverhead))
	edit(set, func(set []byte) { set[22] |= codecSnappy })
	out := build(set, 0, plenty)
	if out.err != nil || len(out.records) != 100 || string(out.records[99].Value) != "value 99" {
		t.Errorf("%d records, error %v", len(out.records), out.err)
	}
}

// FuzzBuild feeds any bytes as a record set, with checksums made right so that they are looked into.
func FuzzBuild(f *testing.F) {
	for _, codec := range codecs {
		f.Add(libraryBatch(f, 3, codec, values(3, "v")...), int64(3), int64(1<<20))
	}
	f.Add(append(asProducer(libraryBatch(f, 5, 0, values(1, "v")...), 7, false), marker(f, 6, 7, true)...), int64(0), int64(100))
	f.Add([]byte{}, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, set []byte, from, room int64) {
		for rest := set; len(rest) >= batchHeader; {
			n := int64(int32(binary.BigEndian.Uint32(rest[8:]))) + batchOverhead
			if n < batchHeader || n > int64(len(rest)) {
				break
			}
			edit(rest[:n], func([]byte) {})
			rest = rest[n:]
		}
		from = max(from, 0)
		out := build(set, from, room, abortedTxn{producer: 7, first: 1})
		if out.next < from {
			t.Errorf("the position went back from %d to %d", from, out.next)
		}
		last := from - 1
		for i, r := range out.records {
			if r.Offset <= last || r.Offset >= out.next {
				t.Fatalf("record %d has offset %d after %d, next is %d", i, r.Offset, last, out.next)
			}
			last = r.Offset
			want := out.records[0].Offset + int64(i)
			if out.offsets != nil {
				want = out.offsets[i]
			}
			if r.Offset != want {
				t.Fatalf("record %d has offset %d, the chunk would say %d", i, r.Offset, want)
			}
		}
		if held := out.memory.bufferBytes(); held > 4<<20+int64(len(set)) {
			t.Errorf("%d bytes are held for a set of %d", held, len(set))
		}
	})
}

// FuzzReadResponse feeds any bytes as the answer to a fetch.
func FuzzReadResponse(f *testing.F) {
	for version := int16(4); version <= 11; version++ {
		f.Add(version, response(version, libraryBatch(f, 0, 0, values(2, "v")...)))
	}
	f.Add(int16(11), []byte{0, 0, 0, 4, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, version int16, data []byte) {
		req := &fetchRequest{version: 4 + version&7, maxSet: 1 << 20, parts: []fetchPart{{p: &Partition{Topic: "t", ID: 1}, offset: 5}}}
		var res fetchResponse
		err := req.read(bytes.NewReader(data), &res)
		for _, p := range res.parts {
			if err == nil && p.set != nil && len(p.set.b) > len(data) {
				t.Errorf("a set of %d bytes from %d", len(p.set.b), len(data))
			}
		}
		res.free()
	})
}

// response is the answer to a fetch of partition 1 of topic t.
func response(version int16, set []byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint32([]byte{0, 0, 0, 0}, correlation)
	b = be.AppendUint32(b, 0) // throttle
	if version >= 7 {
		b = append(b, 0, 0, 0, 0, 0, 0)
	}
	b = be.AppendUint32(b, 1)
	b = appendString(b, "t")
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint16(b, 0)
	b = be.AppendUint64(b, 1000)
	b = be.AppendUint64(b, 1000)
	if version >= 5 {
		b = be.AppendUint64(b, 0)
	}
	b = be.AppendUint32(b, 1)
	b = be.AppendUint64(b, 7)
	b = be.AppendUint64(b, 100)
	if version >= 11 {
		b = be.AppendUint32(b, ^uint32(0))
	}
	b = be.AppendUint32(b, uint32(len(set)))
	b = append(b, set...)
	be.PutUint32(b, uint32(len(b)-4))
	return b
}

func TestEveryVersionOfTheResponseIsRead(t *testing.T) {
	set := libraryBatch(t, 5, 0, values(2, "v")...)
	for version := int16(4); version <= 11; version++ {
		p := &Partition{Topic: "t", ID: 1}
		req := &fetchRequest{version: version, maxSet: 1 << 20, parts: []fetchPart{{p: p, offset: 5}}}
		var res fetchResponse
		if err := req.read(bytes.NewReader(response(version, set)), &res); err != nil {
			t.Fatalf("v%d: %v", version, err)
		}
		part := res.parts[0]
		if part.p != p || part.offset != 5 || part.lastStable != 1000 || !bytes.Equal(part.set.b, set) || part.aborted[0] != (abortedTxn{7, 100}) {
			t.Errorf("v%d: %+v", version, part)
		}
	}
}

func TestTheRequestIsWhatTheLibraryWouldWrite(t *testing.T) {
	for version := int16(4); version <= 11; version++ {
		a, b := &Partition{Topic: "a", ID: 1}, &Partition{Topic: "b", ID: 2}
		req := &fetchRequest{version: version, clientID: "me", maxWait: 500, minBytes: 1, maxBytes: 99, parts: []fetchPart{{a, 5, 10}, {b, 6, 20}}}
		v, _, client, msg, err := protocol.ReadRequest(bytes.NewReader(req.encode(nil)))
		if err != nil || v != version || client != "me" {
			t.Fatalf("v%d: version %d client %q error %v", version, v, client, err)
		}
		got := fmt.Sprintf("%+v", msg)
		for _, want := range []string{"MaxBytes:99", "IsolationLevel:1", "Topic:a", "FetchOffset:5", "PartitionMaxBytes:10", "Topic:b", "FetchOffset:6", "PartitionMaxBytes:20"} {
			if !strings.Contains(got, want) {
				t.Errorf("v%d: %s lacks %s", version, got, want)
			}
		}
	}
}

// loopConn answers every request with the same response.
type loopConn struct {
	response []byte
	rest     []byte
}

func (c *loopConn) Write(b []byte) (int, error) { c.rest = c.response; return len(b), nil }

func (c *loopConn) Read(b []byte) (int, error) {
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// benchSet is a record set of about a mebibyte of messages of 347 bytes in batches of 16 KiB.
func benchSet(b *testing.B, codec protocol.Attributes) (set []byte, n int) {
	value := []byte(`{"type":"recommendation.clicked","id":"01JXXXXXXXXXXXXXXXXXXXXXXX","userToken":"user-1234567","timestamp":1764000004000,"objectID":"sku-2","position":3,"queryID":"43b15df305339e827f0ac0bdc5ebcaa7","index":"products","model":"related-products"}`)
	for len(set) < 1<<20 {
		var rs []protocol.Record
		for i := range 47 {
			v := bytes.Clone(value)
			copy(v[40:], fmt.Sprintf("%07d", n+i))
			rs = append(rs, record(fmt.Appendf(nil, "user-%07d", n+i), v, protocol.Header{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}))
		}
		batch := libraryBatch(b, int64(n), codec, rs...)
		set = append(set, batch...)
		n += len(rs)
		if codec != 0 && n > 3000 {
			break
		}
	}
	return set, n
}

// BenchmarkConsume is everything between the socket and the committed frontier, per message: the
// response is read from memory, parsed, queued, popped, settled, swept.
func BenchmarkConsume(b *testing.B) {
	for _, name := range []string{"none", "lz4", "snappy", "zstd", "gzip"} {
		b.Run(name, func(b *testing.B) {
			set, n := benchSet(b, codecs[name])
			p := testPartition(1 << 40)
			p.ID, p.poison = 1, false
			conn := &loopConn{response: response(11, set)}
			bld := builder{maxBatch: 64 << 20}
			defer bld.unpack.close()
			g := &Generation{}
			b.ReportAllocs()
			b.SetBytes(int64(len(set) / n))
			for done := 0; done < b.N; done += n {
				p.tracker = tracker{}
				req := &fetchRequest{version: 11, maxSet: 64 << 20, parts: []fetchPart{{p: p}}}
				msg, err := req.RawExchange(conn)
				if err != nil {
					b.Fatal(err)
				}
				out := bld.build(&msg.(*fetchResponse).parts[0], plenty)
				if out.err != nil || len(out.records) != n {
					b.Fatal(len(out.records), out.err)
				}
				c := g.chunk(p, &out)
				p.hold(c.bufBytes + c.recBytes)
				p.deliver(c, out.next)
				c = p.Pop()
				for i := range c.Records {
					c.Settle(i)
				}
				if p.Frontier() != int64(n) {
					b.Fatal(p.Frontier())
				}
			}
		})
	}
}
