package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It is written as a plain number or with a unit: B, KB, MB, GB (powers
// of 1,000), KiB, MiB, GiB (powers of 1,024).
type Size int64

// String writes the size with the largest unit that divides it, as ParseSize reads it.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		size Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= u.size && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var sizeUnits = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"ki": 1 << 10, "kib": 1 << 10, "mi": 1 << 20, "mib": 1 << 20, "gi": 1 << 30, "gib": 1 << 30, "ti": 1 << 40, "tib": 1 << 40,
}

// ParseSize reads a size such as 8MiB, 64MB, 1.5GiB or 1900000. It must be whole and not negative.
func ParseSize(text string) (Size, error) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := sizeUnits[strings.ToLower(text[len(number):])]
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !known || err != nil || strings.ContainsAny(number, "xXpP_") {
		return 0, fmt.Errorf("want a size such as 8MiB, 64MB or 1900000, got %s", quote(text))
	}
	bytes := value * unit
	if bytes < 0 || bytes != math.Trunc(bytes) || bytes > 1<<60 {
		return 0, fmt.Errorf("want a whole number of bytes from 0 to 1024 TiB, got %s", quote(text))
	}
	return Size(bytes), nil
}

// ParseDuration reads a duration such as 250ms, 95h, 1h30m or 7d. A number without a unit is
// refused, but for 0: nobody can know which unit was meant.
func ParseDuration(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && math.Abs(n) <= 36500 {
			return time.Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("want a duration with a unit, such as %sms or %ss, got %s", text, text, quote(text))
	}
	return 0, fmt.Errorf("want a duration such as 250ms, 10s or 95h, got %s", quote(text))
}

// formatDuration writes a duration as people write it: 24h, not 24h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Secret is text that is never printed: every way of formatting it gives *** (or nothing where it
// is empty). A conversion to string reveals it.
type Secret string

const redacted = "***"

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the secret from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxSecretFile bounds a secret's file: a wrong path must not be read into memory whole.
const maxSecretFile = 64 << 10

// readSecret gives the value, or the file's content without surrounding white space.
func readSecret(value Secret, file string) (string, error) {
	if file == "" {
		return string(value), nil
	}
	content, err := readBounded(file, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", errors.New(file + " is empty")
	}
	return secret, nil
}

// readBounded reads a regular file of at most limit bytes; links are followed. Anything else could block, or
// never end. Its errors do not name the file.
func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, errors.New("it is a directory")
	case !mode.IsRegular():
		return nil, errors.New("it is no regular file, but a device, a pipe or a socket")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1)) // its size may be told wrongly, as that of /proc is
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return content, withoutPath(err)
}

// withoutPath is what is wrong with a file, without its name.
func withoutPath(err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

func trimSlash(url string) string { return strings.TrimRight(url, "/") }

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// quote shows a value in an error, shortened.
func quote(s string) string {
	const longest = 60
	if len(s) > longest {
		return strconv.Quote(strings.ToValidUTF8(s[:longest], "")) + "…"
	}
	return strconv.Quote(s)
}
