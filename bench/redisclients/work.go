package main

import (
	"fmt"
	"math/rand/v2"
)

// messages is how many messages a chunk has.
const messages = 512

// Members as the store writes them, in bytes: an impression of 20 objects, a click, a mark.
const (
	impressionSize = 430
	clickSize      = 96
	markSize       = 64
)

// record is a member of a set.
type record struct {
	key    string
	time   int64
	member string
}

// chunk is what the store has to do with a server for some messages.
type chunk struct {
	asked   []string // keys, each once
	written []record
}

// work is what tasks ask and write. It is drawn beforehand, so that what is measured are clients.
type work struct {
	rng            *rand.Rand
	shown, clicked []string // keys, by user
	time           int64
	content        []byte
}

func newWork(seed uint64, users int) *work {
	w := &work{rng: rand.New(rand.NewPCG(seed, 7)), time: 1_700_000_000_000 + int64(seed)<<20, content: make([]byte, 64<<10)}
	for i := range w.content {
		w.content[i] = byte(w.rng.Uint32())
	}
	for u := range users {
		w.shown = append(w.shown, fmt.Sprintf("bench:shown:default:user-token-%08d", u))
		w.clicked = append(w.clicked, fmt.Sprintf("bench:clicked:default:user-token-%08d", u))
	}
	return w
}

// record gives a member that is like no other.
func (w *work) record(key string, size int) record {
	w.time++
	from := w.rng.IntN(len(w.content) - size)
	member := append(fmt.Appendf(nil, "%016x", w.time), w.content[from:from+size-16]...)
	return record{key, w.time, string(member)}
}

// history is one record for each set.
func (w *work) history() (list []record) {
	for u := range w.shown {
		list = append(list, w.record(w.shown[u], impressionSize), w.record(w.clicked[u], clickSize))
	}
	return list
}

// chunk draws what 512 messages of the mix ask and leave: 70 % leave an impression, 20 % look at impressions and leave a
// click, 10 % look at impressions and clicks and leave a mark. Three quarters come from a tenth of the users.
func (w *work) chunk() (c chunk) {
	seen := make(map[string]bool)
	ask := func(key string) {
		if !seen[key] {
			seen[key] = true
			c.asked = append(c.asked, key)
		}
	}
	for range messages {
		user := w.rng.IntN(len(w.shown))
		if w.rng.IntN(4) > 0 {
			user = w.rng.IntN(max(1, len(w.shown)/10))
		}
		switch n := w.rng.IntN(10); {
		case n < 7:
			c.written = append(c.written, w.record(w.shown[user], impressionSize))
		case n < 9:
			ask(w.shown[user])
			c.written = append(c.written, w.record(w.clicked[user], clickSize))
		default:
			ask(w.shown[user])
			ask(w.clicked[user])
			c.written = append(c.written, w.record(w.clicked[user], markSize))
		}
	}
	return c
}
