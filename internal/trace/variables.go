package trace

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// What the variables of whole numbers may be. OpenTelemetry takes any, and panics at some.
const (
	maxQueue        = 1_000_000      // spans; each takes a kilobyte or two
	maxMilliseconds = 60 * 60 * 1000 // an hour
	maxLimit        = math.MaxInt32  // of attributes, events and links of a span, and of an attribute's length
	maxFile         = 1 << 20        // bytes of a certificate's file
	defaultQueue    = 2048           // spans, where OTEL_BSP_MAX_QUEUE_SIZE does not say
	exporterPrefix  = "OTEL_EXPORTER_OTLP_"
	tracesPrefix    = exporterPrefix + "TRACES_"
	noSecretInError = "it is not shown here, for it may hold a secret"
)

// check says which of the variables that OpenTelemetry reads cannot be used, each by its name: it would
// itself panic at some, pass over others without a word, and complain of the rest without saying of which.
// A variable that is empty is one that is not set.
func check() error {
	var errs []error
	note := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	each := func(names []string, check func(value string) error) {
		for _, name := range names {
			if value := os.Getenv(name); value != "" {
				note(name, check(value))
			}
		}
	}
	queue := int64(defaultQueue)
	each([]string{"OTEL_BSP_MAX_QUEUE_SIZE"}, func(value string) (err error) {
		queue, err = whole(value, 1, maxQueue)
		return err
	})
	if len(errs) > 0 {
		queue = maxQueue // one mistake is told once
	}
	each([]string{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}, func(value string) error { return inRange(value, 1, queue) })
	each(append(both("TIMEOUT"), "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"), milliseconds)
	each([]string{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"}, func(value string) error { return inRange(value, -1, maxLimit) })
	each(both("COMPRESSION"), oneOf("gzip", "none"))
	each(both("PROTOCOL"), oneOf("http/protobuf", "grpc"))
	each(append(both("INSECURE"), "OTEL_SDK_DISABLED"), isBool)
	each([]string{"OTEL_TRACES_EXPORTER"}, oneOf("otlp", "none"))
	each([]string{"OTEL_TRACES_SAMPLER"}, func(value string) error {
		return oneOf("always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")(strings.ToLower(value))
	})
	each([]string{"OTEL_TRACES_SAMPLER_ARG"}, ratio)
	each(both("ENDPOINT"), address)
	each(both("HEADERS"), headers)
	each(both("CERTIFICATE"), authorities)
	return errors.Join(append(errs, clientPair(tracesPrefix), clientPair(exporterPrefix))...)
}

// both are a setting's variables: that of traces, which counts, and that of all signals.
func both(setting string) []string { return []string{tracesPrefix + setting, exporterPrefix + setting} }

// whole reads a whole number, as OpenTelemetry does.
func whole(value string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < low || n > high {
		return n, fmt.Errorf("want a whole number from %d to %d, got %s", low, high, quote(value))
	}
	return n, nil
}

func inRange(value string, low, high int64) error {
	_, err := whole(value, low, high)
	return err
}

// milliseconds: OpenTelemetry's durations have no unit.
func milliseconds(value string) error {
	if inRange(value, 1, maxMilliseconds) != nil {
		return fmt.Errorf("want milliseconds, a whole number from 1 to %d without a unit, got %s", maxMilliseconds, quote(value))
	}
	return nil
}

func oneOf(known ...string) func(string) error {
	return func(value string) error {
		value = strings.TrimSpace(value)
		if slices.Contains(known, value) {
			return nil
		}
		return fmt.Errorf("want one of %s, got %s", strings.Join(known, ", "), quote(value))
	}
}

func isBool(value string) error {
	if value = strings.TrimSpace(value); strings.EqualFold(value, "true") || strings.EqualFold(value, "false") {
		return nil
	}
	return fmt.Errorf("want true or false, got %s", quote(value))
}

func ratio(value string) error {
	if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil || !(n >= 0 && n <= 1) {
		return fmt.Errorf("want a number from 0 to 1, got %s", quote(value))
	}
	return nil
}

// address does not show what it refuses: it may hold a password.
func address(value string) error {
	if to, err := url.Parse(strings.TrimSpace(value)); err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return errors.New("want an address such as http://collector:4318")
	}
	return nil
}

// headers are pairs of name and value as in a URL.
func headers(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		name, content, found := strings.Cut(pair, "=")
		_, err := url.PathUnescape(content)
		if name = strings.TrimSpace(name); !found || err != nil || name == "" || strings.ContainsFunc(name, notInHeaderName) {
			return errors.New("want NAME=VALUE,NAME=VALUE with values escaped as in a URL; " + noSecretInError)
		}
	}
	return nil
}

// notInHeaderName: RFC 9110, section 5.6.2.
func notInHeaderName(c rune) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// file: OpenTelemetry reads it whole, so it must be one that ends.
func file(value string) error {
	_, err := read(value)
	return err
}

func read(name string) ([]byte, error) {
	name = strings.TrimSpace(name)
	info, err := os.Stat(name) //nolint:gosec // whoever starts the worker names the file
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d KiB", name, maxFile>>10)
	}
	return os.ReadFile(name) //nolint:gosec // see above
}

func authorities(value string) error {
	content, err := read(value)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(content) {
		err = fmt.Errorf("%s holds no certificate in PEM", strings.TrimSpace(value))
	}
	return err
}

// clientPair checks a certificate with its key, of which OpenTelemetry takes both or neither.
func clientPair(prefix string) error {
	name, key := os.Getenv(prefix+"CLIENT_CERTIFICATE"), os.Getenv(prefix+"CLIENT_KEY")
	switch {
	case name == "" && key == "":
		return nil
	case name == "" || key == "":
		return fmt.Errorf("%sCLIENT_CERTIFICATE and %sCLIENT_KEY: want both or neither", prefix, prefix)
	case file(name) != nil:
		return fmt.Errorf("%sCLIENT_CERTIFICATE: %w", prefix, file(name))
	case file(key) != nil:
		return fmt.Errorf("%sCLIENT_KEY: %w", prefix, file(key))
	}
	if _, err := tls.LoadX509KeyPair(strings.TrimSpace(name), strings.TrimSpace(key)); err != nil {
		return fmt.Errorf("%sCLIENT_CERTIFICATE and %sCLIENT_KEY: %w", prefix, prefix, err)
	}
	return nil
}

// quote shows a value in an error, shortened.
func quote(value string) string {
	const longest = 60
	if len(value) > longest {
		return strconv.Quote(strings.ToValidUTF8(value[:longest], "")) + "…"
	}
	return strconv.Quote(value)
}
