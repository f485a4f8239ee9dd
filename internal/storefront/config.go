package storefront

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"
)

// Config says what traffic to make. The zero value of a field means its default; a share that is to
// be none is set below 0. The same Config, Start included, gives the same bytes.
type Config struct {
	Seed     uint64 `json:"seed"`
	Messages uint64 `json:"messages"` // default 10,000; at most 2³²−1

	Users   int `json:"users"`   // default a tenth of the messages, at least 50
	Objects int `json:"objects"` // default 20,000
	// UserSkew and ObjectSkew are the s of Zipf's law, above 1; default 1.1 and 1.2.
	UserSkew   float64 `json:"user_skew"`
	ObjectSkew float64 `json:"object_skew"`

	Topic      string `json:"topic"`      // default recommendation-events
	Partitions int32  `json:"partitions"` // default 12
	// ShownTopic and ClickedTopic take these types to topics of their own; such a log has no truth.
	ShownTopic   string `json:"shown_topic,omitempty"`
	ClickedTopic string `json:"clicked_topic,omitempty"`

	// End is the time of the last message; default a minute before the generator is made. The
	// messages spread evenly over Duration before it: by default 5 ms each, at least 10 minutes and
	// at most 6 hours, or 1 ms each where that is more; at most 48 hours.
	End      time.Time     `json:"end"`
	Duration time.Duration `json:"duration"`

	Mix Mix `json:"mix"`

	// Shares of messages, 0 to 1, each by default what its comment says.
	Late       float64 `json:"late"`         // 0.01: arrive up to three times the allowed lateness after their time, a tenth of them minutes after
	OutOfOrder float64 `json:"out_of_order"` // 0.05: arrive up to 1.5 s after their time
	Skewed     float64 `json:"skewed"`       // 0.02: of the clicks, stamped before what they came from
	Organic    float64 `json:"organic"`      // 0.05: of the clicks, and four times that of the items, on objects that nobody was shown
	Copies     float64 `json:"copies"`       // 0.02: of the add-to-carts and purchases, sent twice
	Poison     float64 `json:"poison"`       // 0.01: messages for every reason of a dead letter that can be had, and tombstones

	// Rules are those of the worker that will read the log; default DefaultRules. Rules.Now is set
	// to a minute after End where it is 0: some clients' clocks are seconds ahead, and what is ahead
	// of the worker's clock is sent otherwise. So a worker should not read the log's end before that.
	Rules Rules `json:"rules"`
}

// Mix is the share of the types among the traffic, in any unit; default 70, 20, 10.
type Mix struct {
	Shown   float64 `json:"shown"`
	Clicked float64 `json:"clicked"`
	Bought  float64 `json:"bought"` // three in five of them add-to-carts
}

// maxDelay is the longest that a message arrives after its time, copies included.
const maxDelay = 10 * time.Minute

func or[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

func (c Config) withDefaults() Config {
	or(&c.Messages, 10_000)
	or(&c.Users, max(50, int(c.Messages/10)))
	or(&c.Objects, 20_000)
	or(&c.UserSkew, 1.1)
	or(&c.ObjectSkew, 1.2)
	or(&c.Topic, "recommendation-events")
	or(&c.Partitions, 12)
	if c.End.IsZero() {
		c.End = time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	}
	dense := time.Duration(c.Messages) * time.Millisecond
	or(&c.Duration, max(min(5*dense, 6*time.Hour), dense, 10*time.Minute))
	or(&c.Mix, Mix{Shown: 70, Clicked: 20, Bought: 10})
	for _, s := range []struct {
		share    *float64
		standard float64
	}{{&c.Late, 0.01}, {&c.OutOfOrder, 0.05}, {&c.Skewed, 0.02}, {&c.Organic, 0.05}, {&c.Copies, 0.02}, {&c.Poison, 0.01}} {
		or(s.share, s.standard)
	}
	if c.Rules.Applications == nil {
		now := c.Rules.Now
		c.Rules = DefaultRules()
		c.Rules.Now = now
	}
	or(&c.Rules.Now, c.End.Add(time.Minute).UnixMilli())
	return c
}

func (c Config) check() error {
	switch {
	case c.Messages > 1<<32-1:
		return fmt.Errorf("%d messages: at most %d", c.Messages, uint64(1<<32-1))
	case c.Users < 1 || c.Objects < 100:
		return fmt.Errorf("%d users and %d objects: at least 1 and 100", c.Users, c.Objects)
	case c.UserSkew <= 1 || c.ObjectSkew <= 1:
		return fmt.Errorf("skews %g and %g: both must be above 1", c.UserSkew, c.ObjectSkew)
	case c.Partitions < 1:
		return fmt.Errorf("%d partitions: at least 1", c.Partitions)
	case c.Mix.Shown <= 0 || c.Mix.Clicked < 0 || c.Mix.Bought < 0:
		return fmt.Errorf("mix %+v: shown must be above 0, the others not below", c.Mix)
	}
	for _, share := range []float64{c.Late, c.OutOfOrder, c.Skewed, c.Organic, c.Copies, c.Poison} {
		if share > 1 {
			return fmt.Errorf("share %g: at most 1", share)
		}
	}
	if c.Duration < time.Second || c.Duration > 12*time.Hour {
		return fmt.Errorf("duration %v: between a second and 12 hours", c.Duration)
	}
	if begin := c.End.Add(-c.Duration); begin.Before(earliest) {
		return fmt.Errorf("traffic from %s: a timestamp of a message is not before %s", begin.UTC().Format(time.RFC3339), earliest.Format(time.RFC3339))
	}
	if dense := time.Duration(c.Messages) * time.Duration(classes) * time.Millisecond / time.Duration(min(c.Users, 4)); c.Duration < dense {
		return fmt.Errorf("duration %v: %d messages of %d users need %v for times of their own", c.Duration, c.Messages, c.Users, dense)
	}
	return nil
}

// leastTimestamp is the first timestamp that a raw message may have, in milliseconds (contract, section 1).
const leastTimestamp = 100_000_000_000

var earliest = time.UnixMilli(leastTimestamp).UTC()

// name tells this traffic from another one, of the same seed at another time for instance.
func (c Config) name() string {
	h := fnv.New32a()
	fmt.Fprint(h, c.Seed, c.End.UnixMilli())
	return strconv.FormatUint(uint64(h.Sum32()), 36)
}

// topics are the different topics of the log.
func (c Config) topics() []string {
	topics := []string{c.Topic}
	for _, t := range []string{c.ShownTopic, c.ClickedTopic} {
		if t != "" && t != topics[0] && t != topics[len(topics)-1] {
			topics = append(topics, t)
		}
	}
	return topics
}

func (c Config) topicOf(k kind) string {
	switch {
	case k == shown && c.ShownTopic != "":
		return c.ShownTopic
	case k == clicked && c.ClickedTopic != "":
		return c.ClickedTopic
	}
	return c.Topic
}
