package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// stutter hands out a few bytes at a time, so that marks are torn everywhere.
type stutter struct {
	io.Reader
	rand *rand.Rand
}

func (s stutter) Read(p []byte) (int, error) {
	return s.Reader.Read(p[:min(len(p), 1+s.rand.IntN(40))])
}

func TestSinkCountsEventsHoweverTheyAreTorn(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		var stream, body bytes.Buffer
		var want []int
		for range 3 {
			body.Reset()
			n := r.IntN(30)
			for range n {
				body.WriteString(strings.Repeat(`"eventT`, r.IntN(4)) + `"eventType":"view"`)
			}
			body.WriteString(strings.Repeat("x", r.IntN(12)))
			want = append(want, n)
			fmt.Fprintf(&stream, "POST /1/events HTTP/1.1\r\nHost: x\r\ncontent-Length: %d\r\nAccept: */*\r\n\r\n%s", body.Len(), body.Bytes())
		}
		in := bufio.NewReaderSize(stutter{&stream, r}, 64+r.IntN(200))
		for i, n := range want {
			length, err := readHead(in)
			if err != nil {
				t.Fatalf("seed %d, request %d: %v", seed, i, err)
			}
			if got, err := countEvents(in, length); got != n || err != nil {
				t.Fatalf("seed %d, request %d: %d events, %v, want %d", seed, i, got, err, n)
			}
		}
		if _, err := readHead(in); err != io.EOF {
			t.Fatalf("seed %d: %v at the end", seed, err)
		}
	}
}

func TestSinkReadsNothingBeyondABrokenRequest(t *testing.T) {
	for name, text := range map[string]string{
		"no length":   "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
		"torn head":   "POST / HTTP/1.1\r\nHost",
		"odd length":  "POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
		"torn body":   "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n123",
		"endless row": strings.Repeat("x", 1000),
	} {
		in := bufio.NewReaderSize(strings.NewReader(text), 64)
		length, err := readHead(in)
		if err == nil {
			_, err = countEvents(in, length)
		}
		if err == nil || name != "torn body" && err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
}
