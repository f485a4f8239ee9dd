//go:build unix

package dlq

import (
	"testing"
	"time"
)

// BenchmarkWatchFirstLook is what the first look of a watch costs, which reads the topic whole.
func BenchmarkWatchFirstLook(b *testing.B) {
	benchRead(b, func(d *Desk, _ Snapshot) (Report, error) {
		n, err := NewWatch(d, WatchOptions{MaxAge: 95 * time.Hour}).Look(b.Context())
		if err != nil {
			return Report{}, err
		}
		return Report{Records: n.Total}, nil
	})
}

// BenchmarkWatchNextLook is what a later look costs, of a topic where nothing was written meanwhile: each
// letter is judged again.
func BenchmarkWatchNextLook(b *testing.B) {
	d, _ := benchDesk(b)
	w := NewWatch(d, WatchOptions{MaxAge: 95 * time.Hour})
	if _, err := w.Look(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Look(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
