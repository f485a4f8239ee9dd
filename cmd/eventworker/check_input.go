package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"eventworker/internal/check"
)

// readMessages reads all files; - is standard input.
func (a *app) readMessages(ctx context.Context, files []string) ([]check.Record, error) {
	left := int64(check.MaxInput)
	var records []check.Record
	for _, name := range files {
		part, size, err := a.readFile(ctx, name, left)
		switch {
		case errors.Is(err, check.ErrTooMuch):
			return nil, usagef("eventworker check --help", "%s: %w; check a part of the users at a time", name, err)
		case errors.Is(err, os.ErrNotExist):
			return nil, usagef("eventworker check --help", "%w", err)
		case err != nil:
			return nil, err
		}
		left -= size
		records = append(records, part...)
	}
	return records, nil
}

func (a *app) readFile(ctx context.Context, name string, limit int64) ([]check.Record, int64, error) {
	if name == "-" {
		return check.Read(name, &cancellable{ctx, a.in}, limit)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	return check.Read(name, f, limit)
}

// cancellable is standard input that ends with ctx, even while it waits for someone to type. A read
// that waits then ends with the process.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	// The buffer is the read's own: p is the caller's again when ctx ends.
	done, own := make(chan result, 1), make([]byte, min(len(p), 64<<10))
	go func() {
		n, err := c.r.Read(own)
		done <- result{n, err}
	}()
	select {
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	case r := <-done:
		return copy(p, own[:r.n]), r.err
	}
}

// parseMoment reads the time of a flag; empty: now.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" || text == "now" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch len(text) {
		case 13:
			return time.UnixMilli(number), nil
		case 10:
			return time.Time{}, usagef("eventworker check --now "+text+"000 FILE", "--now wants milliseconds, and %s looks like seconds", text)
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, usagef("eventworker check --now 2026-08-03T10:00:00Z FILE",
		"--now wants a time such as 2026-08-03T10:00:00Z, a date, milliseconds, or how long ago, such as 2h; got %q", text)
}
