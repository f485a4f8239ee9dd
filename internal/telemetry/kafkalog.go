package telemetry

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Printf is a logger with the one method that kafka-go's loggers have. Its lines are limited by
// format, so that a broker that is away does not fill the disk.
type Printf struct {
	log   *zap.Logger
	level zapcore.Level
	limit *limiter
}

// The Kafka library repeats itself every few hundred milliseconds while a broker is away.
const (
	printfBurst   = 2
	printfPeriod  = 10 * time.Second
	printfFormats = 256
)

// KafkaLoggers are for kafka-go's Logger and ErrorLogger. What it calls normal is debug here: it
// tells every fetch. What it calls an error is a warning: the worker tries again, and says itself
// when it cannot go on.
func KafkaLoggers(log *zap.Logger) (normal, failure *Printf) {
	log = log.Named("kafka")
	return newPrintf(log, zapcore.DebugLevel), newPrintf(log, zapcore.WarnLevel)
}

func newPrintf(log *zap.Logger, level zapcore.Level) *Printf {
	return &Printf{log: log, level: level, limit: newLimiter(printfBurst, printfPeriod, printfFormats)}
}

// passing are messages of a cluster that is starting or moving: they are no failures.
var passing = []string{
	"Group Coordinator Not Available", "Rebalance In Progress", "Leader Not Available", "Not Leader For Partition",
}

// Printf logs one line.
func (p *Printf) Printf(format string, args ...any) {
	if !p.log.Core().Enabled(p.level) {
		return
	}
	ok, suppressed := p.limit.pass(format, time.Now())
	if !ok {
		return
	}
	text, level := fmt.Sprintf(format, args...), p.level
	for _, words := range passing {
		if strings.Contains(text, words) {
			level = zapcore.DebugLevel
		}
	}
	if entry := p.log.Check(level, shorten(text, 1024)); entry != nil {
		if suppressed > 0 {
			entry.Write(zap.Int(KeySuppressed, suppressed))
			return
		}
		entry.Write()
	}
}

// shorten bounds a text that others wrote.
func shorten(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
