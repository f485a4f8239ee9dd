package consume

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// Partition is one partition of one topic for the time of a generation. Peek, Pop and SetWaiting
// belong to the task's goroutine; the rest may be called from anywhere.
type Partition struct {
	Topic string
	ID    int32

	task    *Task
	budget  *Budget
	shown   bool // takes from the whole budget
	poison  bool
	numbers []int  // of all partitions of the topic, for the balancer
	wake    func() // tells the fetchers to plan anew

	start    int64
	first    int64 // what is read first
	endKnown bool
	tracker  tracker
	position atomic.Int64 // the next offset to fetch; written by the fetcher
	end      atomic.Int64 // last known end: the last stable offset
	leader   atomic.Int32 // broker id, -1: none known
	live     atomic.Bool  // end is what the broker said last, and it is still being asked
	times    atomic.Pointer[lagClock]
	lastTime atomic.Int64 // timestamp of the last record that was fetched, -1: none
	waiting  atomic.Bool
	pinned   atomic.Int32 // chunks whose buffer is held
	held     atomic.Int64 // bytes counted in the budget for this partition
	kept     atomic.Int64 // of held: what belongs to detached records
	wanted   atomic.Bool  // the fetcher left it out because its queue was full
	busy     atomic.Bool  // a fetcher is at it: leaders may change under way, and two must not fetch it

	mu     sync.Mutex
	queue  []*Chunk
	queued atomic.Int64 // bytes of the queue

	committed atomic.Int64 // -1: nothing was committed yet
	metadata  string       // of the commit this generation started from
	said      string       // the committer's: the metadata last committed
	mute      bool         // the committer's: the broker refuses the metadata

	fetch fetchState // belongs to whoever set busy
}

// Peek is the next chunk of the queue, nil when it is empty.
func (p *Partition) Peek() *Chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil
	}
	return p.queue[0]
}

// Pop takes the next chunk from the queue, nil when it is empty.
func (p *Partition) Pop() *Chunk {
	p.mu.Lock()
	if len(p.queue) == 0 {
		p.mu.Unlock()
		return nil
	}
	c := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	if len(p.queue) == 0 {
		p.queue = nil
	}
	p.mu.Unlock()
	p.queued.Add(-(c.bufBytes + c.recBytes))
	if p.wanted.Load() && p.wanted.CompareAndSwap(true, false) {
		p.wake()
	}
	return c
}

// AtEnd says that everything up to the last known end was popped, and that the end is known: the
// partition's last fetch was answered, and it is being fetched. A partition that waits, is paused, or
// whose leader is away is not at its end, whatever was popped.
func (p *Partition) AtEnd() bool {
	if !p.live.Load() || p.waiting.Load() {
		return false
	}
	// The fetcher queues a chunk before it moves the position, so the position is read first.
	return p.position.Load() >= p.end.Load() && p.queueLen() == 0
}

// Expects says whether Java's default partitioner, murmur2, puts a key into this partition.
func (p *Partition) Expects(key []byte) bool {
	return len(p.numbers) == 0 || kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: key}, p.numbers...) == int(p.ID)
}

// Fetched is the offset after what was fetched so far.
func (p *Partition) Fetched() int64 { return p.position.Load() }

// Start is the offset that the generation starts at: the committed one or what start_offset says.
func (p *Partition) Start() int64 { return p.start }

// Frontier is the offset below which every message is settled.
func (p *Partition) Frontier() int64 { return p.tracker.sweep() }

// End is the last known end of the partition: no committed message at or beyond it was seen.
func (p *Partition) End() int64 { return p.end.Load() }

// EndKnown says whether the leader told the end when the generation began; where it was away, End is
// the start until the first fetch.
func (p *Partition) EndKnown() bool { return p.endKnown }

// CommitMetadata is the metadata of the commit that the generation started from.
func (p *Partition) CommitMetadata() string { return p.metadata }

// SetWaiting stops or resumes the fetching of this partition, such as when its messages wait for
// other partitions and hold their share of the budget. A detached record does not pin its chunk, so
// without it a partition whose records are all detached would count as one that holds nothing, which may
// always take one batch more.
func (p *Partition) SetWaiting(waiting bool) {
	if p.waiting.Swap(waiting) && !waiting {
		p.wake()
	}
}

// Waiting says what SetWaiting said last.
func (p *Partition) Waiting() bool { return p.waiting.Load() }

// letGo notes that detached records gave bytes back.
func (p *Partition) letGo(n int64) {
	p.kept.Add(-n)
	if p.task.awaited.Load() {
		p.task.notify()
	}
}

// deliver queues a chunk (nil: the fetch held no message) and moves the position to next.
func (p *Partition) deliver(c *Chunk, next int64) {
	p.tracker.add(c, next)
	if c != nil {
		p.queued.Add(c.bufBytes + c.recBytes)
		p.mu.Lock()
		p.queue = append(p.queue, c)
		p.mu.Unlock()
	}
	p.position.Store(next)
}

func (p *Partition) queueLen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

func (p *Partition) hold(n int64) {
	p.held.Add(n)
	p.budget.take(p.shown, n)
}

func (p *Partition) unhold(n int64) {
	p.held.Add(-n)
	p.budget.release(p.shown, n)
}

// Kept is this partition's part of [Task.Kept].
func (p *Partition) Kept() int64 { return p.kept.Load() }

// unknown notes that the end is not known any more, and wakes the task if it was.
func (p *Partition) unknown() {
	if p.live.Swap(false) {
		p.task.notify()
	}
}

// Task is the partitions of one number over all topics.
type Task struct {
	Number     int32
	Partitions []*Partition
	wake       chan struct{}
	awaited    atomic.Bool // somebody waits for detached records to be settled
}

// Wake gives a token when a chunk was queued or AtEnd of a partition changed, and after
// [Task.AwaitRoom] when detached records were settled.
func (t *Task) Wake() <-chan struct{} { return t.wake }

// Kept is how many bytes of the budget detached records of the task hold: their copies, and the record
// slices of their chunks. They do so until they are settled.
func (t *Task) Kept() (n int64) {
	for _, p := range t.Partitions {
		n += p.kept.Load()
	}
	return n
}

// AwaitRoom says whether Wake is to tell when [Task.Kept] shrinks. Called before Kept is read, nothing
// that shrinks it afterwards is missed.
func (t *Task) AwaitRoom(await bool) { t.awaited.Store(await) }

func (t *Task) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// fetchState is what the fetcher remembers of a partition.
type fetchState struct {
	retryAt  time.Time
	failures int
	// unfold is how many bytes held one byte of the wire becomes, as last seen: at least 1.
	unfold float64
	said   string // the error that was last logged
}
