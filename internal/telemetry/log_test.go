package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func newTestLogger(t *testing.T, format, level string) (*zap.Logger, *bytes.Buffer, *int) {
	t.Helper()
	var out bytes.Buffer
	suppressed := 0
	log, err := NewLogger(LogOptions{Level: level, Format: format, Out: &out, Suppressed: func() { suppressed++ }})
	if err != nil {
		t.Fatal(err)
	}
	return log, &out, &suppressed
}

func TestAutoFormatIsJSONOffATerminal(t *testing.T) {
	log, out, _ := newTestLogger(t, "auto", "info")
	log.Named("consume").Info("partition assigned", Topic("events"), Partition(3), Duration(1500*time.Millisecond), zap.Error(errors.New("x")))
	log.Debug("not shown")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for key, want := range map[string]any{"level": "info", "logger": "consume", "message": "partition assigned", KeyTopic: "events", KeyPartition: 3.0, KeyDuration: "1.5s"} {
		if line[key] != want {
			t.Errorf("%s = %v, want %v", key, line[key], want)
		}
	}
	if _, err := time.Parse(time.RFC3339, line["time"].(string)); err != nil {
		t.Error(err)
	}
}

func TestConsoleFormatIsForPeople(t *testing.T) {
	log, out, _ := newTestLogger(t, "console", "debug")
	log.Warn("the API is away", RetryIn(time.Second))
	if got := out.String(); !strings.Contains(got, " WARN  the API is away ") || !strings.Contains(got, `"retry_in": "1s"`) {
		t.Errorf("got %q", got)
	}
}

func TestUnknownLevelAndFormatAreNamed(t *testing.T) {
	for _, o := range []LogOptions{{Level: "loud", Format: "json"}, {Level: "info", Format: "xml"}, {Level: "fatal", Format: "json"}} {
		o.Out = &bytes.Buffer{}
		if _, err := NewLogger(o); err == nil || !strings.Contains(err.Error(), "known: ") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

func TestRepeatedLinesAreLimitedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out, suppressed := newTestLogger(t, "json", "debug")
		for i := range 100 {
			log.With(Attempt(i)).Warn("cannot reach the broker")
			log.Debug("details")
		}
		log.Warn("something else")
		count := func(message string) int { return strings.Count(out.String(), `"message":"`+message) }
		if n := count("cannot reach the broker"); n != logBurst || *suppressed != 100-logBurst {
			t.Errorf("%d lines and %d left out, want %d and %d", n, *suppressed, logBurst, 100-logBurst)
		}
		if count("something else") != 1 || count("details") != 100 {
			t.Error("other messages and debug lines were limited too")
		}
		out.Reset()
		time.Sleep(logPeriod)
		log.Warn("cannot reach the broker")
		if want := fmt.Sprintf(`%q:%d`, KeySuppressed, 100-logBurst); !strings.Contains(out.String(), want) {
			t.Errorf("the next line does not say how many were left out: %s", out)
		}
	})
}

func TestTableOfMessagesIsBounded(t *testing.T) {
	l := newLimiter(1, time.Minute, 10)
	now := time.Now()
	for i := range 1000 {
		if ok, _ := l.pass(fmt.Sprint(i), now); !ok {
			t.Fatal("a message that was never seen was left out")
		}
	}
	if len(l.seen) > 10 {
		t.Errorf("%d messages are kept, want at most 10", len(l.seen))
	}
	l.pass("later", now.Add(time.Hour))
	if ok, _ := l.pass("later", now.Add(time.Hour)); ok {
		t.Error("old messages do not make room for new ones")
	}
}

func TestKafkaLinesKeepTheirLevelAndAreLimited(t *testing.T) {
	core, lines := observer.New(zapcore.DebugLevel)
	normal, failure := KafkaLoggers(zap.New(core))
	for i := range 50 {
		failure.Printf("failed to dial %d", i)
	}
	failure.Printf("join failed: %s", "[15] Group Coordinator Not Available: wait")
	normal.Printf("fetched %d", 1)
	failure.Printf("%s", strings.Repeat("x", 5000))
	var got []string
	for _, e := range lines.All() {
		got = append(got, e.Level.String()+" "+e.LoggerName+" "+fmt.Sprint(len(e.Message)))
	}
	want := []string{"warn kafka 16", "warn kafka 16", "debug kafka 55", "debug kafka 9", "warn kafka 1027"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
