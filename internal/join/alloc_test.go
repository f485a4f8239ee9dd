package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// counting takes what becomes of messages and keeps nothing.
type counting struct{ events, others int }

func (c *counting) Encoded(_ uint64, n int, _ bool)               { c.events += n }
func (c *counting) Absorbed(uint64, join.Absorption)              { c.others++ }
func (c *counting) Restored(uint64)                               { c.others++ }
func (c *counting) Refused(uint64, *event.Refusal, join.About)    { c.others++ }
func (c *counting) Keep(uint64)                                   { c.others++ }
func (c *counting) Kept(uint64) join.Message                      { return join.Message{} }
func (c *counting) Wide(m uint64, event uint16, objects []uint16) {}

const sessionLength = 5

// session is what one user does, without anything that must wait: what is shown is clicked and
// bought, with and without own queryIDs.
func session(user int, at int64) (values [][]byte) {
	const queryID = "43b15df305339e827f0ac0bdc5ebcaa7"
	head := func(kind string) string {
		return fmt.Sprintf(`{"type":"recommendation.%s","userToken":"user-%d","timestamp":%d,`, kind, user, at)
	}
	return [][]byte{
		[]byte(head("shown") + `"index":"products","queryID":"` + queryID + `","objectIDs":["a","b","c","d","e","f"]}`),
		[]byte(head("clicked") + `"objectID":"b"}`),
		[]byte(head("clicked") + `"index":"products","queryID":"` + queryID + `","objectID":"c","position":3}`),
		[]byte(head("addedToCart") + `"index":"products","queryID":"` + queryID + `","currency":"EUR","items":[{"objectID":"c","price":"19.90","quantity":2}]}`),
		[]byte(head("purchased") + `"currency":"EUR","items":[{"objectID":"b","price":"19.90"},{"objectID":"c","price":5}]}`),
	}
}

// sessions gives a function that puts the next message of many sessions through a task.
func sessions(tb testing.TB) (next func(), out *counting) {
	const base, users = int64(1_764_000_000_000), 1000
	store := querystore.NewMemory(querystore.Options{})
	section, err := store.Open(0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close() })
	var messages []join.Message
	for user := range users {
		for _, value := range session(user, base) {
			messages = append(messages, join.Message{Time: base, Key: fmt.Appendf(nil, "user-%d", user), Value: value})
		}
	}
	out = &counting{}
	task := join.NewTask(configOf(storefront.DefaultRules()), section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, out)
	task.Clock(base)
	offset := int64(0)
	return func() {
		m := messages[offset%int64(len(messages))]
		m.Offset = offset
		if err := task.Handle(0, uint64(offset), m); err != nil {
			tb.Fatal(err)
		}
		if offset++; offset%100 == 0 {
			for i := range task.Runs {
				task.Runs[i].Reset()
			}
		}
	}, out
}

func TestAMessageThatNeedNotWaitAllocatesNothing(t *testing.T) {
	next, out := sessions(t)
	for range 50_000 { // until ring, index and buffers have their size
		next()
	}
	*out = counting{}
	one := func() { // a whole session: the average is rounded down
		for range sessionLength {
			next()
		}
	}
	if n := testing.AllocsPerRun(4_000, one); n > 0 {
		t.Errorf("%v allocations a session of %d messages", n, sessionLength)
	}
	if out.events < 4_000*sessionLength || out.others > 0 {
		t.Errorf("%d events were encoded and %d messages did something else", out.events, out.others)
	}
}

func BenchmarkSession(b *testing.B) {
	next, _ := sessions(b)
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

// BenchmarkWaiting is a click that waits for the log to say more, and is decided.
func BenchmarkWaiting(b *testing.B) {
	const base, users = int64(1_764_000_000_000), 1000
	store := querystore.NewMemory(querystore.Options{})
	section, err := store.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	clock := base
	c := configOf(storefront.DefaultRules())
	out := &keeping{}
	task := join.NewTask(c, section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, out)
	var users10 [users][]byte
	for i := range users10 {
		users10[i] = fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"user-%d","objectID":"never","index":"products"}`, i)
	}
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		clock += 10 // a message waits behind 500 to 600 others
		task.Clock(clock)
		out.last = join.Message{Offset: i, Time: clock, Key: []byte("u"), Value: users10[i%users]}
		if err := task.Handle(0, uint64(i), out.last); err != nil {
			b.Fatal(err)
		}
		if i%100 == 0 {
			for k := range task.Runs {
				task.Runs[k].Reset()
			}
		}
	}
	if out.events == 0 {
		b.Fatal("nothing was decided")
	}
}

// keeping keeps the messages that wait.
type keeping struct {
	counting
	last join.Message
	ring [4096]join.Message
}

func (k *keeping) Keep(m uint64)              { k.ring[m%4096] = k.last }
func (k *keeping) Kept(m uint64) join.Message { return k.ring[m%4096] }
