//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
)

// get asks a URL; another status than 200 is an error.
func get(ctx context.Context, url string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return read(res.Body)
}

// samples are the sums of metrics over their labels, without the prefix eventworker_.
type samples map[string]float64

var adminPort = map[string]string{"worker": "ADMIN_PORT", "worker-2": "ADMIN_PORT_2", "worker-3": "ADMIN_PORT_3"}

func (t *test) scrape(ctx context.Context, worker string) (samples, error) {
	s := samples{}
	err := get(ctx, t.url(adminPort[worker], "/metrics"), func(r io.Reader) error {
		for lines := bufio.NewScanner(r); ; {
			if !lines.Scan() {
				return lines.Err()
			}
			name, is := strings.CutPrefix(lines.Text(), "eventworker_")
			value := name[strings.LastIndexByte(name, ' ')+1:]
			if n, err := strconv.ParseFloat(value, 64); is && err == nil {
				s[name[:strings.IndexAny(name, "{ ")]] += n
			}
		}
	})
	return s, err
}

// equation: everything that was received is accounted for.
func (s samples) equation() error {
	received, known := s["messages_received_total"]
	sum := s["messages_delivered_total"] + s["messages_dead_lettered_total"] + s["messages_absorbed_total"] + s["messages_released_total"] + s["messages_in_flight"]
	if !known || received != sum {
		return fmt.Errorf("received %v, but delivered %v + dead-lettered %v + absorbed %v + released %v + in flight %v = %v", received, s["messages_delivered_total"],
			s["messages_dead_lettered_total"], s["messages_absorbed_total"], s["messages_released_total"], s["messages_in_flight"], sum)
	}
	return nil
}

// numbered finds the number of a dead letter's message; ^0: none.
type numbered func(deadletter.Record) uint64

// bySimulator takes the number that the simulator gave.
func bySimulator(r deadletter.Record) uint64 { return demo.Letter(r.Headers).Seq }

// place is where a message lies in the log.
type place struct {
	partition int32
	offset    int64
}

// byPlace takes the place in the log that the dead letter names.
func byPlace(seqs map[place]uint64) numbered {
	return func(r deadletter.Record) uint64 {
		var p place
		for _, h := range r.Headers {
			n, err := strconv.ParseInt(string(h.Value), 10, 64)
			switch h.Key {
			case deadletter.Prefix + "partition":
				p.partition = int32(n)
			case deadletter.Prefix + "offset":
				p.offset = n
			}
			_ = err // it leaves a place that is not there
		}
		if seq, known := seqs[p]; known {
			return seq
		}
		return ^uint64(0)
	}
}

// arrived is what the fake API took and what lies in the dead-letter topic.
func (t *test) arrived(ctx context.Context, number numbered) (*storefront.Arrived, error) {
	var a storefront.Arrived
	err := get(ctx, t.url("FAKE_PORT", "/accepted"), func(r io.Reader) error {
		counts, err := insightsfake.ReadAccepted(r)
		a.Accepted = storefront.Counts(counts)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = deadletter.Read(ctx, []string{t.address("KAFKA_PORT")}, topic+".dead-letter", func(r deadletter.Record) {
		l := demo.Letter(r.Headers)
		l.Seq = number(r)
		a.DeadLetters = append(a.DeadLetters, l)
	})
	return &a, err
}

// checkTruth reads the whole log, works out what must have come of it, and holds what arrived against
// that. Where a worker was killed, what it had not committed may have come twice.
func (t *test) checkTruth(ctx context.Context, killed *consume.Group) error {
	rules := storefront.DefaultRules()
	rules.Now = time.Now().UnixMilli()
	truth := storefront.NewTruth(rules)
	seqs, open := map[place]uint64{}, map[uint64]bool{}
	wanted := map[uint64]*storefront.Verdict{}
	truth.OnVerdict = func(v *storefront.Verdict) { wanted[v.Seq] = v }
	records := map[uint64]deadletter.Record{}
	if killed != nil {
		t.killed = killed.Partitions
	}
	err := deadletter.Read(ctx, []string{t.address("KAFKA_PORT")}, topic, func(r deadletter.Record) {
		m := &storefront.Message{Seq: uint64(len(seqs)), Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Time: r.Time.UnixMilli()}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, storefront.Header{Key: h.Key, Value: h.Value})
		}
		seqs[place{r.Partition, r.Offset}] = m.Seq
		open[m.Seq] = inFlight(t.killed, r)
		records[m.Seq] = r
		truth.Add(m)
	})
	if err != nil {
		return err
	}
	truth.Seal()
	a, err := t.arrived(ctx, byPlace(seqs))
	if err != nil {
		return err
	}
	a.InFlight = func(seq uint64) bool { return open[seq] }
	report := truth.Compare(*a, 5)
	for _, d := range report.Differences {
		if r, known := records[uint64(d.Seq)]; known {
			say("%s: partition %d, offset %d, at %s: %s", d.Class, r.Partition, r.Offset, r.Time.Format("15:04:05.000"), r.Value)
			if v := wanted[uint64(d.Seq)]; v != nil {
				say("it must give %+v", v.Events)
			}
		}
	}
	return verdict("the truth of the log", report)
}

// inFlight says whether a message was there and not committed when the worker was killed.
func inFlight(partitions []consume.GroupPartition, r deadletter.Record) bool {
	for _, p := range partitions {
		if p.Partition == r.Partition {
			return r.Offset >= p.Committed
		}
	}
	return false
}

func verdict(name string, r *storefront.Report) error {
	m, e := &r.Messages, &r.Events
	say("%s: %d messages, %d events as they had to, %d dead letters, %d repeated that were in flight at the kill",
		name, m.Total, e.AsExpected, r.DeadLetters.Arrived, r.Duplicates.InFlight)
	if r.Matches() && r.AddsUp() && e.AsExpected > 0 {
		return nil
	}
	if err := r.WriteText(os.Stdout); err != nil {
		return err
	}
	return fmt.Errorf("what arrived differs from %s", name)
}
