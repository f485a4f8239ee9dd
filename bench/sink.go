package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// tick is how often the sink says what it has counted.
const tick = 20 * time.Millisecond

// sink is a server in place of the Insights API that takes everything and counts events without
// reading them: decoding them would cost more than the worker does.
type sink struct {
	latency  time.Duration
	events   atomic.Int64
	requests atomic.Int64
	bytes    atomic.Int64
}

// runSink is the role of the sink: it prints its URL and from then on, every tick, its counts.
func runSink(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	latency := flags.Duration("latency", 0, "")
	certificate := flags.String("certificate", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	scheme := "http"
	if *certificate != "" {
		scheme = "https"
		if l, err = secure(l, *certificate); err != nil {
			return err
		}
	}
	ctx, cancel := untilStopped(ctx)
	defer cancel()
	s := &sink{latency: *latency}
	go s.serve(l)
	fmt.Printf("%s://%s\n", scheme, l.Addr())
	for ctx.Err() == nil {
		time.Sleep(tick)
		fmt.Println(s.events.Load(), s.requests.Load(), s.bytes.Load())
	}
	return nil
}

// secure wraps a listener in TLS with a certificate of its own, which it writes to a file.
func secure(l net.Listener, file string) (net.Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}), nil
}

func (s *sink) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if err := s.talk(c); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "sink:", err)
			}
		}()
	}
}

const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n" + `{"status":200,"message":"OK"}`

// talk answers the requests of a connection, one after the other.
func (s *sink) talk(c net.Conn) error {
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		length, err := readHead(in)
		if err != nil {
			return err
		}
		n, err := countEvents(in, length)
		if err != nil {
			return err
		}
		if s.latency > 0 {
			time.Sleep(s.latency)
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return err
		}
		s.events.Add(int64(n))
		s.bytes.Add(length)
		s.requests.Add(1)
	}
}

// readHead reads a request up to its body and returns the length of that.
func readHead(in *bufio.Reader) (length int64, err error) {
	name := []byte("content-length:")
	length = -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			if len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 && !first:
			if length < 0 {
				return 0, errors.New("a request without Content-Length")
			}
			return length, nil
		case len(line) > len(name) && bytes.EqualFold(line[:len(name)], name):
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64); err != nil {
				return 0, err
			}
		}
	}
}

// eventMark stands once in each Insights event.
var eventMark = []byte(`"eventType"`)

// countEvents reads a body piece by piece, where it lies in the reader's buffer.
func countEvents(in *bufio.Reader, length int64) (n int, err error) {
	for length > 0 {
		if in.Buffered() < len(eventMark) {
			if _, err := in.Peek(int(min(length, int64(len(eventMark))))); err != nil {
				return 0, err
			}
		}
		piece, _ := in.Peek(int(min(length, int64(in.Buffered()))))
		n += bytes.Count(piece, eventMark)
		use := len(piece)
		if int64(use) < length {
			// A mark may go on beyond the piece: what could begin one stays, unless it was counted.
			from := use - len(eventMark) + 1
			if last := bytes.LastIndex(piece[max(0, from-len(eventMark)):], eventMark); last >= 0 {
				from = max(from, max(0, from-len(eventMark))+last+len(eventMark))
			}
			use = from
		}
		if use, err = in.Discard(use); err != nil {
			return 0, err
		}
		length -= int64(use)
	}
	return n, nil
}
