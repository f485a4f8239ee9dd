package deadletter

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// health knows whether letters are being written, and says once when that changes.
type health struct {
	topic string
	log   *zap.Logger

	mu      sync.Mutex
	failing map[int32]error // by lane: what it meets
	since   time.Time       // of the first failure
	last    error
	held    map[*letter]string // refused for themselves, each with its explanation
	said    time.Time          // when a held letter was last logged
}

// sayHeld is how often held letters are logged at most.
const sayHeld = time.Minute

func newHealth(topic string, log *zap.Logger) *health {
	return &health{topic: topic, log: log, failing: make(map[int32]error), held: make(map[*letter]string)}
}

// failed notes that a lane could not write.
func (h *health) failed(lane int32, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failing) == 0 {
		h.since = time.Now()
		h.log.Warn("dead letters cannot be written; they are kept and tried again, and their messages stay uncommitted",
			zap.String("topic", h.topic), zap.Error(err))
	}
	h.failing[lane], h.last = err, err
}

// recovered notes that a lane wrote.
func (h *health) recovered(lane int32) {
	if after, wasLast := h.ended(lane); wasLast {
		h.log.Info("dead letters are written again", zap.String("topic", h.topic), zap.Duration("after", after))
	}
}

// ended notes that a lane has nothing left to write, and says whether it was the last that failed and
// how long ago the first one did.
func (h *health) ended(lane int32) (after time.Duration, wasLast bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, failed := h.failing[lane]; !failed {
		return 0, false
	}
	delete(h.failing, lane)
	return time.Since(h.since), len(h.failing) == 0
}

// hold notes a letter that is set aside.
func (h *health) hold(one *letter, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &one.message
	h.held[one] = fmt.Sprintf("the dead letter of %s partition %d offset %d is refused: %s", m.Topic, m.Partition, m.Offset, why)
	if len(h.held) > 1 && time.Since(h.said) < sayHeld {
		return
	}
	h.said = time.Now()
	h.log.Error("a dead letter is refused; it is kept and tried again, its message stays uncommitted, and other dead letters go on",
		zap.String("topic", m.Topic), zap.Int32("partition", m.Partition), zap.Int64("offset", m.Offset),
		zap.String("why", why), zap.Int("held", len(h.held)))
}

// unhold notes that a letter that was set aside is written.
func (h *health) unhold(one *letter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, one)
	if len(h.held) == 0 {
		h.log.Info("no dead letter is refused any more", zap.String("topic", h.topic))
	}
}

// abandoned notes that no letter is waited for any more.
func (h *health) abandoned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.failing)
	clear(h.held)
}

func (h *health) state() (ok bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failing) > 0 {
		return false, fmt.Sprintf("dead letters cannot be written since %s: %v", h.since.UTC().Format(time.RFC3339), h.last)
	}
	for _, text := range h.held {
		if len(h.held) > 1 {
			text += fmt.Sprintf(" (%d are refused in all)", len(h.held))
		}
		return false, text
	}
	return true, ""
}
