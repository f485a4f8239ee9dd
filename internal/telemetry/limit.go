package telemetry

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The rate limit of log lines: of each message at a level, logBurst lines in logPeriod pass. It counts the constant
// text of a message, not its fields; debug lines always pass.
const (
	logBurst  = 20
	logPeriod = 10 * time.Second
	// logMessages bounds the table of messages: the program has a few hundred. Beyond it lines pass.
	logMessages = 1024
)

// limiter counts what passes, by key. It is safe for concurrent use.
type limiter struct {
	burst  int
	period time.Duration
	most   int

	mu   sync.Mutex
	seen map[string]*window
}

// window is the count of a key since start.
type window struct {
	start      time.Time
	passed     int
	suppressed int
}

func newLimiter(burst int, period time.Duration, most int) *limiter {
	return &limiter{burst: burst, period: period, most: most, seen: map[string]*window{}}
}

// pass says whether a line may pass, and how many were left out before it.
func (l *limiter) pass(key string, now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.seen[key]
	if w == nil {
		if len(l.seen) >= l.most && !l.forget(now) {
			return true, 0
		}
		w = &window{start: now}
		l.seen[key] = w
	}
	if now.Sub(w.start) >= l.period {
		suppressed = w.suppressed
		*w = window{start: now}
	}
	if w.passed >= l.burst {
		w.suppressed++
		return false, 0
	}
	w.passed++
	return true, suppressed
}

// forget drops the keys whose period is over, and says whether that made room.
func (l *limiter) forget(now time.Time) bool {
	for key, w := range l.seen {
		if now.Sub(w.start) >= l.period {
			delete(l.seen, key)
		}
	}
	return len(l.seen) < l.most
}

// limited is a core behind a limiter, which all cores that With makes of it share.
type limited struct {
	zapcore.Core
	limit      *limiter
	suppressed func()
}

func newLimited(core zapcore.Core, suppressed func()) zapcore.Core {
	if suppressed == nil {
		suppressed = func() {}
	}
	return &limited{Core: core, limit: newLimiter(logBurst, logPeriod, logMessages), suppressed: suppressed}
}

func (l *limited) With(fields []zapcore.Field) zapcore.Core {
	return &limited{Core: l.Core.With(fields), limit: l.limit, suppressed: l.suppressed}
}

func (l *limited) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return ce.AddCore(e, l)
	}
	return ce
}

func (l *limited) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level < zapcore.InfoLevel || e.Level > zapcore.ErrorLevel {
		return l.Core.Write(e, fields)
	}
	ok, before := l.limit.pass(e.Level.String()+e.LoggerName+"\x00"+e.Message, e.Time)
	if !ok {
		l.suppressed()
		return nil
	}
	if before > 0 {
		fields = append(slices.Clip(fields), zap.Int(KeySuppressed, before))
	}
	return l.Core.Write(e, fields)
}
