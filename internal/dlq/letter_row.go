package dlq

import (
	"time"

	"eventworker/internal/deadletter"
)

// Row is a letter without key, value and headers: what lists and documents tell of it. It shares no
// memory with the letter.
type Row struct {
	Partition int32
	Offset    int64
	// Time is when the letter was written, Failed and FirstFailed when the message failed.
	Time, Failed, FirstFailed time.Time

	Reason, Stage, Field, Rule, Cause string
	// Message is masked, and so is User.
	Message string
	// Type and Application are the message's own, empty where it names none.
	Type, Application, User string
	Source                  Coordinates
	// EventTime is the message's own time, or its record's; zero: none.
	EventTime time.Time
	Group     string
	// Status is the API's last answer, Attempts how many requests carried the message.
	Status, Attempts int
	// Parts: only parts of the message are dead.
	Parts    bool
	Replays  int
	ReplayID string
	Edited   string
	// Deadline is when it can no longer be replayed, zero: never.
	Deadline time.Time
}

// Limits are what deadlines are reckoned by.
type Limits struct {
	// MaxAge is delivery.max_event_age; 0: events do not grow too old.
	MaxAge time.Duration
	// Retention is how long the topic keeps a letter; 0: for ever, or it is not known.
	Retention time.Duration
}

// rower makes rows. It keeps the texts that repeat, a bounded number of them. It belongs to one
// goroutine.
type rower struct {
	mask   *Masker
	limits Limits
	texts  map[string]string
	masks  map[string]string // of tokens
}

const maxTexts = 4096

func (w *rower) text(b []byte) string {
	if s, ok := w.texts[string(b)]; ok {
		return s
	}
	s := string(b)
	if w.texts == nil {
		w.texts = map[string]string{}
	}
	if len(w.texts) < maxTexts && len(s) < 128 {
		w.texts[s] = s
	}
	return s
}

func (w *rower) row(l *Letter) Row {
	p := l.Payload()
	r := Row{
		Partition: l.Partition, Offset: l.Offset, Time: l.Time.UTC(), Failed: l.FailedAt(), FirstFailed: l.FirstFailedAt(),
		Reason: w.text(l.raw[slotReason]), Stage: w.text(l.raw[slotStage]), Field: w.text(l.raw[slotField]), Rule: w.text(l.raw[slotRule]),
		Cause: w.text(l.raw[slotCause]), Type: w.text(p.Type), Application: w.text(p.Application),
		Source: Coordinates{w.text(l.raw[slotTopic]), int32(number(l.raw[slotPartition])), number(l.raw[slotOffset])},
		Group:  w.text(l.raw[slotGroup]), Status: l.Status(), Attempts: l.Attempts(), Parts: l.raw[slotParts] != nil,
		Replays: l.ReplayCount(), ReplayID: w.text(l.raw[slotReplayID]), Edited: w.text(l.raw[slotEdited]),
		Deadline: l.Deadline(w.limits.MaxAge, w.limits.Retention),
	}
	if t := l.EventTime(); t > 0 {
		r.EventTime = time.UnixMilli(t).UTC()
	}
	if w.mask == nil {
		r.User, r.Message = l.User(), l.Message()
		return r
	}
	r.User = w.user(l)
	if message := l.raw[slotMessage]; w.mask.finds(message, p.User, p.Authenticated, l.Key) {
		r.Message = w.mask.Text(string(message), l.Tokens()...)
	} else {
		r.Message = w.text(message)
	}
	return r
}

// user is the mask of the letter's user.
func (w *rower) user(l *Letter) string {
	token := l.Payload().User
	if len(token) == 0 {
		token = l.Key
	}
	if m, ok := w.masks[string(token)]; ok {
		return m
	}
	m := w.mask.Token(token)
	if w.masks == nil {
		w.masks = map[string]string{}
	}
	if len(w.masks) < maxTexts {
		w.masks[string(token)] = m
	}
	return m
}

// Row is what lists tell of the letter.
func (l *Letter) Row(mask *Masker, limits Limits) Row {
	w := rower{mask: mask, limits: limits}
	return w.row(l)
}

// Original are the record's own headers, without those of the dead letter.
func (l *Letter) Original() []deadletter.Header { return deadletter.Originals(l.Headers) }
