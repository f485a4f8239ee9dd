package storefront

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Generator makes the messages of a shop's traffic in log order. Visitors open pages with
// recommended lists; some come back to click, to fill a cart, to buy. What comes back, and what is
// late, waits in a heap by the time it reaches the log.
type Generator struct {
	config Config
	random *rand.Rand
	seq    uint64

	clock float64 // milliseconds of the simulated time
	step  float64

	userDraw *rand.Zipf
	users    []visitor
	objects  []string
	drawn    []uint32 // objects by Zipf's law, drawn in advance
	tags     [20][]string
	due      arrivals
	tie      uint64
	poisoned int // messages that do not go through
	spoiled  int // those among them that section 1 refuses
	orders   uint64
	run      string // part of the ids of carts and orders: those of two simulations in one topic are different
}

// visitor is what the generator keeps of a user: the last timestamps given out, by residue, so that
// no two messages of a user have the same one and an Insights event tells its message.
type visitor struct {
	token   string
	account string // the authenticatedUserToken, if the user has one
	last    [classes]int64
}

// NewGenerator checks the configuration and gets ready.
func NewGenerator(c Config) (*Generator, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	g := &Generator{
		config: c,
		random: rand.New(rand.NewPCG(c.Seed, 0x5ca1ab1e)),
		clock:  float64(c.End.UnixMilli() - c.Duration.Milliseconds()),
		step:   float64(c.Duration.Milliseconds()) / float64(c.Messages),
		users:  make([]visitor, c.Users),
	}
	g.run = c.name()
	g.userDraw = rand.NewZipf(g.random, c.UserSkew, 10, uint64(c.Users-1))
	g.objects = objectIDs(c.Objects)
	for i := range g.tags {
		g.tags[i] = []string{"shop", "page:" + strconv.Itoa(i)}
	}
	z := rand.NewZipf(g.random, c.ObjectSkew, 3, uint64(c.Objects-1))
	g.drawn = make([]uint32, 1<<16)
	for i := range g.drawn {
		g.drawn[i] = uint32(z.Uint64())
	}
	return g, nil
}

// objectIDs are those of a shop with so many objects. They are parts of one text, which the garbage
// collector sees once, however many lists they are in.
func objectIDs(count int) []string {
	var text []byte
	ends := make([]int, count)
	for i := range ends {
		text = strconv.AppendInt(append(text, "sku-"...), int64(100_000+i), 10)
		ends[i] = len(text)
	}
	all, ids, from := string(text), make([]string, count), 0
	for i, end := range ends {
		ids[i], from = all[from:end], end
	}
	return ids
}

// Config is the configuration with its defaults filled in.
func (g *Generator) Config() Config { return g.config }

// Next makes the next message, or says that there is none. The message's slices are valid until the
// next call with the same Message.
func (g *Generator) Next(m *Message) bool {
	if g.seq >= g.config.Messages {
		return false
	}
	g.clock += g.step
	now := int64(g.clock)
	var s *said
	for s == nil {
		s = g.next(now)
	}
	g.write(m, s, now)
	g.seq++
	return true
}

// next is what reaches the log now, or nil if it was put off.
func (g *Generator) next(now int64) *said {
	if len(g.due) > 0 && g.due[0].at <= now {
		a := g.due.pop()
		switch a.back {
		case toClick:
			return g.perhapsLate(g.click(a, now), now)
		case toBuy:
			return g.perhapsLate(g.buy(a, now), now)
		}
		return a.said
	}
	if g.chance(g.config.Poison) {
		return g.poison(now)
	}
	user := int(g.userDraw.Uint64())
	page := g.page(user, now)
	g.comeBack(user, page, now)
	return g.perhapsLate(page, now)
}

// write fills the record.
func (g *Generator) write(m *Message, s *said, now int64) {
	m.Seq, m.said = g.seq, s
	m.Topic = g.config.topicOf(s.kind)
	m.key = append(m.key[:0], s.key()...)
	m.Key = m.key
	m.Partition = PartitionOf(m.Key, g.config.Partitions)
	m.Time = now
	if s.recordTime != 0 {
		m.Time = s.recordTime
	}
	m.Headers = append(m.Headers[:0], Header{SeqHeader, strconv.AppendUint(m.seq[:0], g.seq, 10)})
	if m.Value = nil; s.tombstone {
		return
	}
	if m.buffer == nil {
		m.buffer = make([]byte, 0, 1024) // an empty value is not nil
	}
	m.buffer = encode(m.buffer[:0], s)
	m.Value = m.buffer
}

// comeBack plans the visits that a page leads to.
func (g *Generator) comeBack(user int, page *said, now int64) {
	mix := g.config.Mix
	for range g.times(mix.Clicked / mix.Shown) {
		g.push(arrival{at: now + g.after(), back: toClick, user: user, origin: page})
	}
	for range g.times(mix.Bought / mix.Shown) {
		g.push(arrival{at: now + g.after(), back: toBuy, user: user, origin: page})
	}
}

// after is how long a visitor takes, from 0.3 s to a third of the whole time: short times are
// likelier, as many between 1 and 10 s as between 10 and 100 s.
func (g *Generator) after() int64 {
	longest := max(float64(g.config.Duration.Milliseconds())/3, 1000)
	return int64(300 * math.Exp(g.random.Float64()*math.Log(longest/300)))
}

// perhapsLate puts a message off, and gives nil, or gives it back. It sends some purchases twice.
func (g *Generator) perhapsLate(s *said, now int64) *said {
	if s.recordTime != 0 {
		return s // its record time is its only one
	}
	if s.id != "" && (s.kind == addedToCart || s.kind == purchased) && g.chance(g.config.Copies) {
		g.push(arrival{at: now + g.between(50, maxDelay.Milliseconds()/2), said: s})
	}
	late := g.config.Rules.AllowedLateness.Milliseconds()
	switch {
	case g.chance(g.config.Late) && g.chance(0.1):
		g.push(arrival{at: now + g.between(60_000, maxDelay.Milliseconds()/2), said: s})
	case g.chance(g.config.Late):
		g.push(arrival{at: now + g.between(late/5+1, 3*late+2), said: s})
	case g.chance(g.config.OutOfOrder):
		g.push(arrival{at: now + g.between(1, 1500), said: s})
	default:
		return s
	}
	return nil
}

func (g *Generator) push(a arrival) {
	g.tie++
	a.tie = g.tie
	g.due.push(a)
}

func (g *Generator) chance(share float64) bool { return share > 0 && g.random.Float64() < share }

// times is a whole number whose mean is the given one.
func (g *Generator) times(mean float64) int {
	n := int(mean)
	if g.chance(mean - float64(n)) {
		n++
	}
	return n
}

// between is a number of [low, high).
func (g *Generator) between(low, high int64) int64 { return low + g.random.Int64N(max(high-low, 1)) }

func (g *Generator) visitor(user int) *visitor {
	v := &g.users[user]
	if v.token == "" {
		v.token = tokenOf(user)
		if user%3 == 0 {
			v.account = "account-" + strconv.Itoa(user)
		}
	}
	return v
}

// tokenOf is the token of a user, in the forms that storefronts use.
func tokenOf(user int) string {
	switch user % 4 {
	case 0:
		return "anonymous-" + strconv.FormatUint(uint64(user)*0x9e3779b97f4a7c15|1<<63, 16) + "-" + strconv.Itoa(user)
	case 1:
		return "dXNlcg+/" + strconv.Itoa(user) + "=="
	}
	return "user-" + strconv.Itoa(user)
}

// Classes of timestamps: their residue modulo the number of classes keeps those of a user apart.
const (
	regular = iota
	skewed
	ahead
	_
	classes // a power of two
)

// stamp gives a timestamp of a class near the wanted one that this user has not had.
func (v *visitor) stamp(wanted int64, class int64) int64 {
	t := wanted&^(classes-1) + class
	if t <= v.last[class] {
		t = v.last[class] + classes
	}
	v.last[class] = t
	return t
}

// tooOldBy and futureBy keep poison hours away from the bounds, so that it is poison whenever the
// log is read.
const (
	tooOldBy = 24 * time.Hour
	futureBy = 72 * time.Hour
)
