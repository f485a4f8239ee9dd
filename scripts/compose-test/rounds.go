//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
)

// The messages of each round. Each has a seed of its own, so that no order is a copy of another.
const (
	firstCount = 3000
	killCount  = 2000
	scaleCount = 2000
	redisCount = 1000
)

const topic = "recommendation-events"

// firstRound waits for the simulator that came up with the stack and checks what came of its log, by
// the simulator's own truth too.
func (t *test) firstRound(ctx context.Context) error {
	if err := t.ended(ctx, "simulator"); err != nil {
		return err
	}
	t.traffic += firstCount
	t.lastEnd = time.Now().Add(-time.Minute) // the simulator's default
	if err := t.settled(ctx, "worker"); err != nil {
		return err
	}
	if err := t.checkOwnTruth(ctx); err != nil {
		return err
	}
	return t.checkTruth(ctx, nil)
}

// checkOwnTruth holds what arrived against the file that the simulator left in its volume.
func (t *test) checkOwnTruth(ctx context.Context) error {
	id, err := t.container(ctx, "simulator")
	if err != nil {
		return err
	}
	path := t.path("truth.jsonl")
	if _, err := t.output(ctx, "docker", "cp", id+":/var/lib/eventworker/truth.jsonl", path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	truth, err := storefront.ReadTruth(file)
	if err != nil {
		return err
	}
	arrived, err := t.arrived(ctx, bySimulator)
	if err != nil {
		return err
	}
	return verdict("the simulator's truth", truth.Compare(*arrived, 5))
}

// killRound kills the worker's container while the API has taken events and not answered yet, and brings
// it up again.
func (t *test) killRound(ctx context.Context) error {
	slow := insightsfake.Fault{Kind: insightsfake.LateAnswer, Delay: insightsfake.Duration(5 * time.Second), For: insightsfake.Duration(time.Hour)}
	if err := t.setFaults(ctx, slow); err != nil {
		return err
	}
	before, err := t.accepted(ctx)
	if err != nil {
		return err
	}
	if err := t.publish(ctx, killCount); err != nil {
		return err
	}
	err = until(ctx, func(ctx context.Context) error {
		now, err := t.accepted(ctx)
		if err == nil && now == before {
			err = errors.New("the API has taken nothing")
		}
		return err
	})
	if err != nil {
		return err
	}
	killed, err := t.kill(ctx, "worker")
	if err != nil {
		return err
	}
	if err := t.setFaults(ctx); err != nil {
		return err
	}
	if err := t.composed(ctx, "up", "-d", "--no-deps", "worker"); err != nil {
		return err
	}
	if err := t.healthy(ctx, "worker"); err != nil {
		return err
	}
	if err := t.settled(ctx, "worker"); err != nil {
		return err
	}
	return t.checkTruth(ctx, killed)
}

// kill ends a worker's container as a crash would and tells what was committed then.
func (t *test) kill(ctx context.Context, worker string) (*consume.Group, error) {
	id, err := t.container(ctx, worker)
	if err != nil {
		return nil, err
	}
	if _, err := t.output(ctx, "docker", "kill", "-s", "KILL", id); err != nil {
		return nil, err
	}
	group, err := t.group(ctx)
	if err != nil {
		return nil, err
	}
	committed := int64(0)
	for _, p := range group.Partitions {
		committed += p.Committed
	}
	say("killed with %d of %d messages committed", committed, endOf(group))
	return group, nil
}

// accepted is how many events the fake API has taken.
func (t *test) accepted(ctx context.Context) (int64, error) {
	var stats insightsfake.Stats
	err := get(ctx, t.url("FAKE_PORT", "/stats"), decode(&stats))
	return stats.Events.Accepted, err
}

// setFaults replaces the fake API's faults, but for the objects that it always refuses.
func (t *test) setFaults(ctx context.Context, faults ...insightsfake.Fault) error {
	refuse := insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: storefront.DefaultRules().RefusedObjects, For: insightsfake.Duration(24 * time.Hour)}
	body, err := json.Marshal(insightsfake.Faults{Faults: append(faults, refuse)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, t.url("FAKE_PORT", "/faults"), bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT /faults: %s", res.Status)
	}
	return nil
}

// scaleRound lets three workers share the partitions.
func (t *test) scaleRound(ctx context.Context) error {
	if err := t.composed(ctx, "--profile", "scale", "up", "-d", "--no-deps", "worker-2", "worker-3"); err != nil {
		return err
	}
	for _, service := range []string{"worker-2", "worker-3"} {
		if err := t.healthy(ctx, service); err != nil {
			return err
		}
	}
	err := until(ctx, func(ctx context.Context) error {
		group, err := t.group(ctx)
		if err == nil && (group.State != "Stable" || len(group.Members) != 3) {
			err = fmt.Errorf("the group is %s with %d members", group.State, len(group.Members))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := t.publish(ctx, scaleCount); err != nil {
		return err
	}
	if err := t.settled(ctx, "worker", "worker-2", "worker-3"); err != nil {
		return err
	}
	if err := t.checkTruth(ctx, nil); err != nil {
		return err
	}
	return t.composed(ctx, "--profile", "scale", "stop", "worker-2", "worker-3")
}

// redisRound moves the worker's store to Redis by its setting: what it lacks there, it reads again from
// Kafka. Afterwards the worker has its disk again.
func (t *test) redisRound(ctx context.Context) error {
	for _, kind := range []string{"redis", "disk"} {
		t.setting("STORE_KIND", kind)
		if err := t.composed(ctx, "up", "-d", "--no-deps", "worker"); err != nil {
			return err
		}
		if err := t.healthy(ctx, "worker"); err != nil {
			return err
		}
		if err := t.publish(ctx, redisCount); err != nil {
			return err
		}
		if err := t.settled(ctx, "worker"); err != nil {
			return err
		}
		if err := t.checkTruth(ctx, nil); err != nil {
			return fmt.Errorf("STORE_KIND=%s: %w", kind, err)
		}
	}
	return nil
}

// The time that a further round spans, and what lies between rounds: nothing of a round decides what
// becomes of an earlier one.
const (
	roundSpan = 15 * time.Second
	roundGap  = 10 * time.Second
	// roundAge is how far back the last message lies: some of the shop's clocks are ahead, and what is
	// ahead of the worker's is sent with the worker's time.
	roundAge = time.Minute
)

// publish writes further traffic through the published port, as fast as can be, with times of its own
// after those of the round before. Nothing comes minutes late, for that would be after the round. The
// simulator numbers carts and purchases from 0, so those of a round get ids of their own.
func (t *test) publish(ctx context.Context, count uint64) error {
	end := time.Now().Add(-roundAge)
	if next := t.lastEnd.Add(roundGap + roundSpan); end.Before(next) {
		end = next
	}
	t.lastEnd = end
	select {
	case <-time.After(time.Until(end.Add(roundAge))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	group, err := t.group(ctx)
	if err != nil {
		return err
	}
	t.seed++
	shop, err := storefront.NewGenerator(storefront.Config{Seed: 100 + t.seed, Messages: count, Topic: topic, Partitions: int32(len(group.Partitions)),
		Poison: 0.03, Late: -1, Duration: roundSpan, End: end})
	if err != nil {
		return err
	}
	t.traffic += count
	own := []byte(fmt.Sprintf(`"round-%d-`, t.seed))
	rename := func(m *storefront.Message) {
		for _, id := range [][]byte{[]byte(`"addedToCart-`), []byte(`"purchased-`)} {
			m.Value = bytes.ReplaceAll(m.Value, id, append(own, id[1:]...))
		}
	}
	return demo.Produce(ctx, []string{t.address("KAFKA_PORT")}, shop, rename, func() {})
}

// group is the consumer group as the broker sees it.
func (t *test) group(ctx context.Context) (*consume.Group, error) {
	admin, err := consume.NewAdmin(consume.Config{Brokers: []string{t.address("KAFKA_PORT")}, ClientID: "compose-test", Group: "eventworker", Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return admin.Group(ctx)
}

func endOf(g *consume.Group) (end int64) {
	for _, p := range g.Partitions {
		end += p.End
	}
	return end
}

// settled waits until the group has committed everything that was sent, and until then holds the
// equation of every worker at each scrape.
func (t *test) settled(ctx context.Context, workers ...string) error {
	scrapes := 0
	err := until(ctx, func(ctx context.Context) error {
		for _, w := range workers {
			m, err := t.scrape(ctx, w)
			if err != nil {
				return err
			}
			scrapes++
			if err := m.equation(); err != nil {
				return &wrong{fmt.Errorf("%s: %w", w, err)}
			}
		}
		return t.committed(ctx)
	})
	if err == nil {
		say("settled: all of %d messages are committed; the equation held in %d scrapes", t.traffic, scrapes)
	}
	return err
}

// committed says whether all that was sent is there and committed.
func (t *test) committed(ctx context.Context) error {
	group, err := t.group(ctx)
	if err != nil {
		return err
	}
	if end := endOf(group); uint64(end) != t.traffic {
		return fmt.Errorf("topic %s holds %d messages, %d were sent", topic, end, t.traffic)
	}
	for _, p := range group.Partitions {
		if p.Committed != p.End && p.End > 0 {
			return fmt.Errorf("partition %d is committed up to %d of %d", p.Partition, p.Committed, p.End)
		}
	}
	return nil
}
