package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
)

// judge takes the messages of one partition through a task of the join. Its messages are the
// numbers of the records. It is the task's Output.
type judge struct {
	*checker
	task    *join.Task[int]
	sources map[string]int // by topic
	places  [][]int        // the numbers of the records, by source and offset
	offsets map[int]int64  // of waiting messages
	claimed []int          // whose outcome the task wants to hear
	// delivered are the first of messages with an id, which copies of them are absorbed for.
	delivered map[string]int
	counted   join.Counters
	err       error // of an explanation
}

func newJudge(c *checker, section querystore.Section, numbers []int) *judge {
	j := &judge{checker: c, sources: map[string]int{}, offsets: map[int]int64{}, delivered: map[string]int{}}
	var from []join.SourceConfig
	carries := func(topics []string, topic string) bool {
		return len(topics) == 0 || topic == "" || slices.Contains(topics, topic)
	}
	for _, n := range numbers {
		topic := c.records[n].Topic
		if _, there := j.sources[topic]; !there {
			j.sources[topic] = len(from)
			from = append(from, join.SourceConfig{Topic: topic,
				Shown: carries(c.opts.ShownTopics, topic), Clicked: carries(c.opts.ClickedTopics, topic)})
		}
	}
	j.places = make([][]int, len(from))
	j.task = join.NewTask(&c.opts.Rules, section, from, j)
	j.task.Clock(c.opts.Now.UnixMilli())
	return j
}

// chunk is how many messages are read between two looks at ctx and at what can be let go.
const chunk = 1000

func (j *judge) read(ctx context.Context, numbers []int) error {
	for part := range slices.Chunk(numbers, chunk) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, n := range part {
			source := j.sources[j.records[n].Topic]
			offset := int64(len(j.places[source]))
			j.places[source] = append(j.places[source], n)
			j.offsets[n] = offset
			if err := j.settle(j.task.Handle(source, n, j.message(n))); err != nil {
				return err
			}
		}
		if err := j.task.EndChunk(); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) message(n int) join.Message {
	r := &j.records[n]
	return join.Message{Offset: j.offsets[n], Time: j.known[n].time, Key: r.Key, Value: r.Value}
}

// end tells the task that nothing more comes, and lets the clock go on until nothing waits.
func (j *judge) end(numbers []int) error {
	for i := range j.places {
		if err := j.settle(j.task.AtEnd(i, true)); err != nil {
			return err
		}
	}
	for at := j.task.NextTick(); at != math.MaxInt64; at = j.task.NextTick() {
		before := j.task.Waiting()
		if err := j.settle(j.task.Tick(at)); err != nil {
			return err
		}
		if j.task.Waiting() >= before {
			break
		}
	}
	for _, n := range numbers {
		if m := &j.report.Messages[n]; m.Outcome == "" {
			return fmt.Errorf("%s, line %d: the message still waits at the end: this is a mistake of eventworker, please report it", m.File, m.Line)
		}
	}
	return nil
}

// settle takes the encoded events and says that they were delivered, which may decide copies.
func (j *judge) settle(err error) error {
	for {
		j.take()
		if err != nil || j.err != nil {
			return firstOf(err, j.err)
		}
		if len(j.claimed) == 0 {
			return nil
		}
		n := j.claimed[0]
		j.claimed = j.claimed[1:]
		j.delivered[j.known[n].identity] = n
		err = j.task.Outcome(n, true)
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// take moves the encoded events to their messages.
func (j *judge) take() {
	for app := range j.task.Runs {
		run := &j.task.Runs[app]
		for i := range run.Entries {
			e := &run.Entries[i]
			m := &j.report.Messages[e.Ref.Message]
			m.Events = append(m.Events, json.RawMessage(bytes.Clone(run.Buf[e.Start:e.End])))
		}
		run.Reset()
	}
}

// decided notes the outcome of a message, with what was counted on the way.
func (j *judge) decided(n int, outcome Outcome, reason, text string) *Message {
	delete(j.offsets, n)
	m := &j.report.Messages[n]
	m.Outcome, m.Reason, m.Text = outcome, reason, text
	m.Application = j.known[n].application
	counted := j.task.Counters.Since(&j.counted)
	j.counted = j.task.Counters
	m.Hints = hints(&counted, j.known[n].foreign)
	return m
}

// Encoded implements join.Output.
func (j *judge) Encoded(n, _ int, claimed bool) {
	j.decided(n, Delivered, "", "")
	j.explain(n)
	if claimed {
		j.claimed = append(j.claimed, n)
	}
}

// Absorbed implements join.Output.
func (j *judge) Absorbed(n int, why join.Absorption) {
	j.decided(n, Absorbed, why.String(), j.absorption(n, why))
	if why == join.Dropped {
		j.explain(n)
	}
}

// Refused implements join.Output.
func (j *judge) Refused(n int, r *event.Refusal, _ join.About) {
	m := j.decided(n, Refused, r.Reason.String(), r.Message)
	m.Stage, m.Field, m.Rule, m.reason = string(r.Stage), r.Field, r.Rule, r.Reason
	if r.Stage == event.StageJoin {
		j.explain(n)
	}
}

// Restored implements join.Output: nothing is read twice here.
func (j *judge) Restored(int) {}

// Keep implements join.Output: the records stay where they are.
func (j *judge) Keep(int) {}

// Kept implements join.Output.
func (j *judge) Kept(n int) join.Message { return j.message(n) }

// Wide implements join.Output.
func (j *judge) Wide(int, uint16, []uint16) {}

// absorption says why a message gives no event.
func (j *judge) absorption(n int, why join.Absorption) string {
	switch why {
	case join.Stored:
		if !j.opts.Rules.SendViews {
			return "views.send is off: what was shown is remembered, and not sent"
		}
		return "nothing was shown"
	case join.Duplicate:
		if first, ok := j.delivered[j.known[n].identity]; ok {
			return "the message of the same id in " + j.where(first) + " is delivered"
		}
		return "a message of the same id is delivered"
	case join.Tombstone:
		return "the value is null"
	case join.Dropped:
		return "no impression or click of the user answers for any object, and join.on_miss is drop"
	case join.OtherApplication:
		return "insights.only leaves the application to another group"
	}
	return ""
}

// where names a record's place.
func (c *checker) where(n int) string {
	r := &c.records[n]
	if c.manyFiles {
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return fmt.Sprintf("line %d", r.Line)
}
