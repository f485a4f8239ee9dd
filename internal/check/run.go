package check

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
)

// Options say how messages are judged.
type Options struct {
	// Rules are those of the worker. Its Now is not asked.
	Rules join.Config
	// AnyApplication takes every application that a message names for a configured one without a
	// default index, instead of those of Rules: for those who have no configuration at hand.
	AnyApplication bool
	// ShownTopics and ClickedTopics are the topics that carry these types; empty: any may.
	ShownTopics, ClickedTopics []string
	// Now is the clock that ages are judged by, and the time of what has none.
	Now time.Time
	// Explain tells of each object how it came by its queryID.
	Explain bool
}

// Run judges the records. Those of one partition are read in their order; raw messages are in
// partition 0. A message waits for others as it would in the worker, and when the last one is
// read, what still waits is decided as at the end of the log.
//
// Its error is ctx's, or one that should not be: then nothing can be said.
func Run(ctx context.Context, o Options, records []Record) (*Report, error) {
	c := &checker{opts: o, records: records, known: make([]known, len(records)),
		report: &Report{Now: o.Now, Messages: make([]Message, len(records))}}
	c.opts.Rules.Now = func() time.Time { return o.Now }
	c.manyFiles = slices.ContainsFunc(records, func(r Record) bool { return r.File != records[0].File })
	c.survey()
	if o.AnyApplication {
		c.assume()
	}
	partitions := map[int32][]int{}
	for i := range records {
		partitions[records[i].Partition] = append(partitions[records[i].Partition], i)
	}
	for _, number := range slices.Sorted(maps.Keys(partitions)) {
		if err := c.partition(ctx, partitions[number]); err != nil {
			return nil, err
		}
	}
	if o.Explain {
		c.look()
	}
	c.report.sum()
	return c.report, nil
}

// checker judges records.
type checker struct {
	opts    Options
	records []Record
	known   []known
	report  *Report
	// manyFiles: a line alone does not say where a message is.
	manyFiles bool
	// unanswered are the objects that nothing the user left could answer for, by objectID.
	unanswered map[string][]unanswered
}

// known is what the survey found of a record.
type known struct {
	application string
	// identity is (application, userToken, type, id) where the message has an id.
	identity string
	user     string
	time     int64 // the record's timestamp, or now
	foreign  bool  // the record's key is not the message's userToken
	valid    bool
}

// survey decodes all messages once, for what must be known before they are judged.
func (c *checker) survey() {
	decoder, ev := event.NewDecoder(event.Options{HashTokens: c.opts.Rules.HashTokens}), new(event.Event)
	now := c.opts.Now.UnixMilli()
	for i := range c.records {
		r, k, m := &c.records[i], &c.known[i], &c.report.Messages[i]
		m.File, m.Line = r.File, r.Line
		k.time = r.Time
		if r.Value == nil {
			k.time = max(k.time, 0)
			continue
		}
		k.valid = decoder.Decode(r.Value, ev) == nil
		k.application = "default"
		if ev.Application != nil {
			k.application = string(ev.Application)
		}
		m.Type = ev.Type.String()
		m.time = ev.Timestamp
		if k.time < 0 {
			k.time = now // that of a message which has none; an earlier one of its own counts
		}
		if m.time == 0 {
			m.time = k.time
		}
		if !k.valid {
			continue
		}
		k.user = string(ev.UserToken)
		if ev.ID != nil {
			k.identity = fmt.Sprintf("%s\x00%s\x00%s\x00%s", k.application, k.user, m.Type, ev.ID)
		}
		k.foreign = r.Key != nil && string(r.Key) != k.user
	}
}

// applicationForm is what a configuration takes for the name of an application, of at most 64 bytes.
var applicationForm = regexp.MustCompile(`^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$`)

// assume adds the applications that valid messages name.
func (c *checker) assume() {
	names := map[string]bool{}
	for i := range c.known {
		if k := &c.known[i]; k.valid && len(k.application) <= 64 && applicationForm.MatchString(k.application) {
			names[k.application] = true
		}
	}
	c.report.Assumed = slices.Sorted(maps.Keys(names))
	c.opts.Rules.Applications = nil
	for _, name := range c.report.Assumed {
		c.opts.Rules.Applications = append(c.opts.Rules.Applications, join.Application{Name: name, Served: true})
	}
}

// partition judges the records of one partition.
func (c *checker) partition(ctx context.Context, numbers []int) error {
	size := int64(0)
	for _, n := range numbers {
		size += int64(len(c.records[n].Value))
	}
	// What a message leaves is smaller than four times its text but for what each record has anyway.
	memory := 4*size + 1024*int64(len(numbers)) + 1<<20
	store := querystore.NewMemory(querystore.Options{Memory: memory})
	section, err := store.Open(0)
	if err != nil {
		return err
	}
	j := newJudge(c, section, numbers)
	err = j.read(ctx, numbers)
	if err == nil {
		err = j.end(numbers)
	}
	dropped := store.Stats().Dropped
	if err = firstOf(err, section.Close(), store.Close()); err == nil && dropped > 0 {
		return fmt.Errorf("%d impressions or clicks did not fit into %d bytes of memory: check a part of the users at a time", dropped, memory)
	}
	return err
}
