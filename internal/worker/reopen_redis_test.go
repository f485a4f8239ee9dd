package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/realtest"
)

// A Redis that loses everything while the worker runs: the generation ends, what was lost is read again, and
// what is clicked and bought afterwards has the queryIDs that were lost.
func TestARedisThatLosesEverythingIsFilledAgain(t *testing.T) {
	server := realtest.OwnRedis(t)
	w := newWorld(t)
	run := w.start(w.config(onRedis(server.Addr, newPrefix())))
	const users = 20
	user := func(i int) string { return fmt.Sprintf("user-%d", i) }
	var records []*kgo.Record
	for i := range users {
		at := time.Now().Add(-time.Minute)
		records = append(records, record(user(i), shown(user(i), at, user(i))), record(user(i), bareClick(user(i), user(i), at.Add(time.Second))),
			record(user(i), cart(user(i), "id-"+user(i), user(i))))
	}
	w.send(records...)
	run.settles(3 * users)
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	records = nil
	for i := range users {
		records = append(records, record(user(i), fmt.Sprintf(`{"type":"recommendation.purchased","id":"order-%d","userToken":%q,"items":[{"objectID":%q}]}`, i, user(i), user(i))),
			record(user(i), cart(user(i), "id-"+user(i), user(i)))) // a copy
	}
	w.send(records...)
	run.await("all purchases", func() bool { return w.purchases() == users })
	run.settlesSome(5 * users)
	run.ready()
	w.mu.Lock()
	carts := 0
	for _, e := range w.events {
		if e.EventSubtype == "purchase" && (len(e.ObjectData) != 1 || e.ObjectData[0].QueryID != query) {
			t.Errorf("the purchase of %v came without its queryID", e.ObjectIDs)
		}
		if e.EventSubtype == "addToCart" {
			carts++
		}
	}
	w.mu.Unlock()
	if carts != users {
		t.Errorf("%d add-to-carts arrived, want %d: copies are known again", carts, users)
	}
	if n := strings.Count(run.lines(), "must be opened anew"); n < 1 {
		t.Errorf("nobody said that the store was lost:\n%s", run.lines())
	}
	run.stop()
}

// Topics that are keyed otherwise meet in Redis, with different numbers of partitions.
func TestTopicsThatAreKeyedOtherwiseMeetInRedis(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	w := newWorld(t)
	w.create("shown", 3)
	run := w.start(w.config(onRedis(address, prefix), func(c *config.Config) {
		c.Kafka.Copartitioned, c.Kafka.Topics, c.Kafka.ShownTopics = false, []string{topic, "shown"}, []string{"shown"}
		c.Join.Wait = time.Second
	}))
	at := time.Now()
	r := record("keyed by session", shown("u", at, "a", "b"))
	r.Topic, r.Partition = "shown", 2
	w.send(r)
	run.settles(1)
	w.send(record("u", bareClick("u", "a", at.Add(time.Millisecond))))
	run.settles(2)
	w.send(record("u", bareClick("u", "later", at.Add(time.Millisecond))))
	r = record("keyed by session", shown("u", at, "later"))
	r.Topic, r.Partition = "shown", 1
	w.send(r)
	run.settles(4)
	run.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	clicks := 0
	for _, e := range w.events {
		if e.EventType == "click" {
			if clicks++; e.QueryID != query {
				t.Errorf("the click on %v came without its queryID", e.ObjectIDs)
			}
		}
	}
	if clicks != 2 {
		t.Errorf("%d clicks arrived", clicks)
	}
}
