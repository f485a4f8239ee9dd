package dlq

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// planKey is the key of a plan in the state topic: unlike that of a state it has no slash.
const planKey = "replay:"

// States are what became of dead letters, by the first life of their messages. They take 26 bytes of memory
// for each message, and all of the text only once. The times of states are not kept. They belong to one
// goroutine; nil has none.
type States struct {
	d      *Desk
	next   map[int32]int64 // offsets from which the state topic is read on
	number spots[uint32]   // of kinds
	kinds  []deadletter.State
	kindOf map[deadletter.State]uint32
	newest []time.Time // of each kind

	// own is a plan whose claims are looked at: claims has those that nothing but claims came after, with the
	// number, plus one, of the state of somebody else that the first of them came upon; 0: there was none.
	own    string
	claims spots[uint32]
	// plan is called for each plan that is kept beside the states; a nil text removes one. The text is valid
	// only during the call. nil: nobody is.
	plan func(id string, text []byte)
}

// States reads the state topic as it is now. A topic that does not exist holds none.
func (d *Desk) States(ctx context.Context) (*States, error) {
	s := d.newStates("")
	return s, s.read(ctx, nil)
}

func (d *Desk) newStates(own string) *States {
	s := &States{d: d, own: own}
	s.forget()
	return s
}

func (s *States) forget() {
	s.next, s.number, s.claims = map[int32]int64{}, spots[uint32]{}, spots[uint32]{}
}

// noted is a record of the state topic, valid only during a call.
type noted struct {
	at    Coordinates
	value []byte // nil: the state was removed
	state deadletter.State
}

// claims says that a record is what somebody wrote who was about to act: it counts only if no other claim came
// before it. All else is a fact, from which on the claims of a message begin anew.
func (n *noted) claims() bool {
	if n.value == nil || n.state.Status == deadletter.StateOpen {
		return false
	}
	return bytes.HasPrefix(n.value, claimStart) || isClaim(&n.state, n.state.ReplayID)
}

// read reads on to the end of the topic. each is called for the record of each state, nil: nobody is. What
// cannot be read is passed over: a newer version may have written it. A topic that was made anew is read from
// its start.
func (s *States) read(ctx context.Context, each func(*noted)) error {
	return s.d.readOn(ctx, s.d.Topics.State, s.next, s.forget, func(r *consume.Record) {
		if id, ok := strings.CutPrefix(string(r.Key), planKey); ok {
			if s.plan != nil {
				s.plan(id, r.Value)
			}
			return
		}
		topic, partition, offset, err := deadletter.ParseStateKey(string(r.Key))
		if err != nil {
			return
		}
		one := noted{at: Coordinates{topic, partition, offset}, value: r.Value}
		if r.Value != nil {
			if one.state, err = deadletter.ParseState(r.Value); err != nil {
				return
			}
		}
		s.note(&one)
		if each != nil {
			each(&one)
		}
	})
}

// readOn calls fn for the records of a topic from the offsets of next on, which it moves to the topic's end.
// A topic that does not exist holds nothing; one that was made anew is told and read from its start.
func (d *Desk) readOn(ctx context.Context, topic string, next map[int32]int64, anew func(), fn func(*consume.Record)) error {
	bounds, err := d.Bounds(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, b := range bounds {
		if b.End < next[b.Partition] {
			clear(next)
			anew()
			break
		}
	}
	return d.readTo(ctx, topic, bounds, next, fn)
}

// readTo calls fn for the records of a topic from the offsets of next on up to bounds, and moves next there.
func (d *Desk) readTo(ctx context.Context, topic string, bounds []consume.LogBounds, next map[int32]int64, fn func(*consume.Record)) error {
	for _, b := range bounds {
		from := max(b.Start, next[b.Partition])
		if from >= b.End {
			continue
		}
		_, err := d.in.Read(ctx, consume.LogRange{Topic: topic, Partition: b.Partition, From: from, To: b.End}, func(records []consume.Record, after int64) error {
			for i := range records {
				fn(&records[i])
			}
			next[b.Partition] = after
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *States) note(one *noted) {
	if s.own != "" {
		s.follow(one)
	}
	if one.value == nil {
		s.number.remove(one.at)
		return
	}
	kind := one.state
	kind.At = time.Time{}
	n := s.kind(kind)
	if one.state.At.After(s.newest[n]) {
		s.newest[n] = one.state.At
	}
	s.number.set(one.at, n)
}

// follow keeps in mind where own has a claim. Who came second gives back what came first, so a claim is met
// again behind others: only the first time says what it came upon.
func (s *States) follow(one *noted) {
	switch {
	case !one.claims():
		s.claims.remove(one.at)
	case isClaim(&one.state, s.own) && !s.claims.has(one.at):
		upon := uint32(0)
		if before, ok := s.number.get(one.at); ok && s.kinds[before].ReplayID != s.own {
			upon = before + 1
		}
		s.claims.set(one.at, upon)
	}
}

// upon is the state of somebody else that own's claim of a message came upon.
func (s *States) upon(c Coordinates) (state deadletter.State, ok bool) {
	n, _ := s.claims.get(c)
	if n == 0 {
		return state, false
	}
	state = s.kinds[n-1]
	state.At = s.newest[n-1]
	return state, true
}

func (s *States) kind(kind deadletter.State) uint32 {
	n, known := s.kindOf[kind]
	if !known {
		if s.kindOf == nil {
			s.kindOf = map[deadletter.State]uint32{}
		}
		n = uint32(len(s.kinds))
		s.kindOf[kind] = n
		s.kinds, s.newest = append(s.kinds, kind), append(s.newest, time.Time{})
	}
	return n
}

// Get is the state of a message.
func (s *States) Get(c Coordinates) (state deadletter.State, noted bool) {
	if s == nil {
		return state, false
	}
	n, noted := s.number.get(c)
	if !noted {
		return state, false
	}
	return s.kinds[n], true
}

// Len is how many messages have a state.
func (s *States) Len() int {
	if s == nil {
		return 0
	}
	return s.number.len()
}

// All are the states of all messages, in no order.
func (s *States) All() iter.Seq2[Coordinates, deadletter.State] {
	return func(yield func(Coordinates, deadletter.State) bool) {
		if s == nil {
			return
		}
		for c, n := range s.number.all() {
			if !yield(c, s.kinds[n]) {
				return
			}
		}
	}
}

// StateOf is the state of a letter: open where nothing was noted of its message, or what was noted came of
// an earlier dead letter of it. current is false where the letter is not the message's last one, or its
// replay has not ended yet.
func StateOf(l *Letter, states *States) (s deadletter.State, current bool) {
	s, noted := states.Get(l.Source())
	if !noted {
		return deadletter.State{V: 1, Status: deadletter.StateOpen}, true
	}
	return stateUpon(l.ReplayID(), s)
}

// stateUpon is the state of a letter that a replay ended with, where s was noted of its message.
func stateUpon(replay string, s deadletter.State) (of deadletter.State, current bool) {
	if s.ReplayID != replay {
		return s, false
	}
	if s.Status == deadletter.StateReplayed && s.ReplayID != "" {
		s.Status = deadletter.StateOpen // this letter is what came of the replay
	}
	return s, true
}

// isClaim says that a state is what a replay writes before its record.
func isClaim(s *deadletter.State, replay string) bool {
	return s.Status == deadletter.StateReplayed && s.ReplayID == replay && s.Outcome == ""
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
