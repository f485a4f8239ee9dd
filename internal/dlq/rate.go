package dlq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
)

const (
	// defaultShare is the share of the live rate that a replay takes, leastRate what it takes at least, in
	// letters a second.
	defaultShare = 0.05
	leastRate    = 50
	// liveSpan is the time over which the live rate is measured.
	liveSpan = 5 * time.Minute
	// lagEvery is how often a replay looks at how far behind the workers are.
	lagEvery = 2 * time.Second
	// backlogSeconds is how many seconds' worth of letters may wait on the replay topic.
	backlogSeconds = 10
	leastBacklog   = 500
	// lagSeconds is how far behind live traffic the workers may be, leastLag the messages that always may.
	lagSeconds = 10
	leastLag   = 1000
)

// LiveRate is how many messages a second the input topics got in the last five minutes.
func (d *Desk) LiveRate(ctx context.Context) (float64, error) {
	n, now := int64(0), time.Now()
	for _, topic := range d.Topics.Inputs {
		bounds, err := d.Bounds(ctx, topic)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			continue
		}
		if err != nil {
			return 0, err
		}
		from, err := d.in.OffsetsAt(ctx, topic, bounds, now.Add(-liveSpan))
		if err != nil {
			return 0, err
		}
		for i, b := range bounds {
			n += b.End - from[i]
		}
	}
	return float64(n) / liveSpan.Seconds(), nil
}

// Lag is how far behind the group is.
type Lag struct {
	// Active says that the group has members.
	Active bool
	// Inputs and Replays are the messages that wait on the input topics and on the replay topic.
	Inputs, Replays int64
}

// groupAdmin asks about the group. The caller closes it.
func (d *Desk) groupAdmin() (*consume.Admin, error) {
	return consume.NewAdmin(consume.Config{
		Brokers: d.Cluster.Brokers, ClientID: d.Cluster.ClientID, TLS: d.Cluster.TLS, SASL: d.Cluster.SASL, Dial: d.Cluster.Dial,
		Group: d.Group, Topics: d.Topics.Inputs, ReplayTopic: d.Topics.Replay,
	})
}

func (d *Desk) lagOf(g *consume.Group) Lag {
	l := Lag{Active: g.Active()}
	for _, p := range g.Partitions {
		behind := max(p.End-max(p.Committed, p.Start), 0)
		if p.Topic == d.Topics.Replay {
			l.Replays += behind
		} else {
			l.Inputs += behind
		}
	}
	return l
}

// pacer says when the next letters may go: as many a second as the plan says, fewer while the workers fall
// behind. It is for one goroutine.
type pacer struct {
	most  float64 // letters a second
	live  float64
	rate  float64 // now
	due   time.Time
	input int64  // the lag at the last look
	why   string // what it yields to; empty: nothing
	hold  bool   // nothing goes
}

func newPacer(most, live float64) *pacer { return &pacer{most: most, live: live, rate: most} }

// batch is how many letters go at once: about a fifth of a second's.
func (p *pacer) batch() int { return int(min(max(p.rate/5, 1), 500)) }

// look takes a look at the lag into account. While the lag of live traffic is large and grows, the rate
// halves; then it comes back step by step. Nothing goes while too much waits on the replay topic.
func (p *pacer) look(l Lag) {
	grew := l.Inputs > p.input
	p.input = l.Inputs
	p.why, p.hold = "", false
	most := int64(max(leastLag, p.live*lagSeconds))
	switch {
	case !l.Active: // what is written waits for a worker
	case l.Inputs > most && grew:
		p.rate = max(p.rate/2, 1)
		p.why = fmt.Sprintf("the workers are %s messages behind", Thousands(l.Inputs))
	case l.Inputs > most:
		p.why = fmt.Sprintf("the workers are %s messages behind", Thousands(l.Inputs))
	default:
		p.rate = min(p.rate*1.25+1, p.most)
	}
	if waiting := int64(max(leastBacklog, p.most*backlogSeconds)); l.Active && l.Replays > waiting {
		p.hold = true
		p.why = fmt.Sprintf("%s replayed messages wait for the workers", Thousands(l.Replays))
	}
}

// wait waits until n letters may go, and reserves their time. Time that was not used is lost but for one
// second.
func (p *pacer) wait(ctx context.Context, n int) error {
	now := time.Now()
	if p.due.Before(now.Add(-time.Second)) {
		p.due = now.Add(-time.Second)
	}
	until := p.due
	p.due = p.due.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	return pause(ctx, until.Sub(now))
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
