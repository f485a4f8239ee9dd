package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// LogOptions say how a logger writes.
type LogOptions struct {
	// Level is "debug", "info", "warn" or "error".
	Level string
	// Format is "console", "json", or "auto": console where Out is a terminal, JSON elsewhere.
	Format string
	// Out is where lines go, usually standard error.
	Out io.Writer
	// Live, if not nil, holds the level from then on, so that it can be changed while lines are written.
	Live *zap.AtomicLevel
	// Suppressed is called for each line that the rate limit leaves out; nil: nobody counts.
	Suppressed func()
}

// NewLogger builds the process's logger. Lines of one message are limited (see [logBurst]); a line that
// follows left-out ones says how many they were. JSON lines have time, level, logger, message and the
// keys of this package.
func NewLogger(o LogOptions) (*zap.Logger, error) {
	level, err := ParseLevel(o.Level)
	if err != nil {
		return nil, err
	}
	var enabled zapcore.LevelEnabler = level
	if o.Live != nil {
		*o.Live = zap.NewAtomicLevelAt(level)
		enabled = *o.Live
	}
	encoder, err := encoderOf(o.Format, o.Out)
	if err != nil {
		return nil, err
	}
	sink := zapcore.Lock(zapcore.AddSync(o.Out))
	core := newLimited(zapcore.NewCore(encoder, sink, enabled), o.Suppressed)
	return zap.New(core, zap.ErrorOutput(sink)), nil
}

// ParseLevel reads the name of a level.
func ParseLevel(name string) (zapcore.Level, error) {
	level, err := zapcore.ParseLevel(name)
	if err != nil || level > zapcore.ErrorLevel {
		return 0, fmt.Errorf("unknown log level %q; known: debug, info, warn, error", name)
	}
	return level, nil
}

func encoderOf(format string, out io.Writer) (zapcore.Encoder, error) {
	console := IsTerminal(out)
	switch format {
	case "auto":
	case "console", "json":
		console = format == "console"
	default:
		return nil, fmt.Errorf("unknown log format %q; known: auto, console, json", format)
	}
	keys := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "message",
		EncodeTime:     zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00"),
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
		EncodeName:     zapcore.FullNameEncoder,
	}
	if !console {
		return zapcore.NewJSONEncoder(keys), nil
	}
	keys.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	keys.EncodeLevel = func(l zapcore.Level, enc zapcore.PrimitiveArrayEncoder) {
		enc.AppendString(fmt.Sprintf("%-5s", strings.ToUpper(l.String())))
	}
	keys.ConsoleSeparator = " "
	return zapcore.NewConsoleEncoder(keys), nil
}

// IsTerminal says whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
