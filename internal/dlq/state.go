package dlq

import (
	"context"
	"errors"
	"strings"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// planKey is the key of a plan in the state topic: unlike that of a state it has no slash.
const planKey = "replay:"

// States are what became of dead letters, by the first life of their messages: the state topic as it is
// now. A topic that does not exist holds none. It takes about 200 bytes of memory for each.
func (d *Desk) States(ctx context.Context) (map[Coordinates]deadletter.State, error) {
	states, _, err := d.readStates(ctx, nil)
	return states, err
}

// readStates reads the state topic: the states, and of the plans that were kept there what plan gives; nil:
// none. A plan's text is valid only during the call. What cannot be read is passed over: a newer version may
// have written it.
func (d *Desk) readStates(ctx context.Context, plan func(id string, text []byte) *Plan) (states map[Coordinates]deadletter.State, plans map[string]*Plan, err error) {
	states, plans = make(map[Coordinates]deadletter.State), make(map[string]*Plan)
	names := make(map[string]string) // so that a million states share their topics' names and replay ids
	shared := func(s string) string {
		if own, ok := names[s]; ok {
			return own
		}
		s = strings.Clone(s)
		names[s] = s
		return s
	}
	err = d.Read(ctx, d.Topics.State, func(_ int32, r *consume.Record) error {
		if id, ok := strings.CutPrefix(string(r.Key), planKey); ok {
			if plan != nil {
				delete(plans, id)
				if p := plan(id, r.Value); r.Value != nil && p != nil {
					plans[id] = p
				}
			}
			return nil
		}
		topic, partition, offset, err := deadletter.ParseStateKey(string(r.Key))
		if err != nil {
			return nil
		}
		at := Coordinates{shared(topic), partition, offset}
		if r.Value == nil {
			delete(states, at)
			return nil
		}
		s, err := deadletter.ParseState(r.Value)
		if err != nil {
			return nil
		}
		s.ReplayID, s.Status, s.Outcome = shared(s.ReplayID), shared(s.Status), shared(s.Outcome)
		s.Note, s.By = shared(s.Note), shared(s.By)
		states[at] = s
		return nil
	})
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return states, plans, nil
	}
	return states, plans, err
}

// StateOf is the state of a letter: open where nothing was noted of its message, or what was noted came of
// an earlier dead letter of it. current is false where the letter is not the message's last one, or its
// replay has not ended yet.
func StateOf(l *Letter, states map[Coordinates]deadletter.State) (s deadletter.State, current bool) {
	s, noted := states[l.Source()]
	if !noted {
		return deadletter.State{V: 1, Status: deadletter.StateOpen}, true
	}
	if s.ReplayID != l.ReplayID() {
		return s, false
	}
	if s.Status == deadletter.StateReplayed && s.ReplayID != "" {
		s.Status = deadletter.StateOpen // this letter is what came of the replay
	}
	return s, true
}

// stateWriter writes states; it makes their topic, which nothing else may have made, with as many partitions
// as the dead-letter topic has.
func (d *Desk) stateWriter(ctx context.Context) (*deadletter.StateWriter, error) {
	bounds, err := d.Bounds(ctx, d.Topics.DeadLetter)
	if err != nil {
		return nil, err
	}
	return deadletter.NewStateWriter(deadletter.Config{
		Brokers: d.Cluster.Brokers, ClientID: d.Cluster.ClientID, TLS: d.Cluster.TLS, SASL: d.Cluster.SASL, Dial: d.Cluster.Dial,
		Topic: d.Topics.DeadLetter, CreateTopic: true, Partitions: len(bounds),
	}, d.log), nil
}
