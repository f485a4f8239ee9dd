package dlq

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// The keys of filters that other code names.
const (
	keyPartition  = "partition"
	keyOffsets    = "offsets"
	keyUser       = "user"
	keySince      = "since"
	keyUntil      = "until"
	keyEventSince = "event-since"
	keyEventUntil = "event-until"
)

// filterKey is what a key means.
type filterKey struct {
	// wants says in a few words which values there are, about in a sentence what is compared.
	wants, about string
	// dear: the payload is looked at.
	dear bool
	// bound is set for the four keys of time.
	bound func(*Filter, time.Time) error
	// parse gives a value's canonical text and its test.
	parse func(value string) (string, matcher, error)
}

// FilterKeys are the keys in the order of their explanation.
var FilterKeys = []string{"reason", "stage", "cause", "field", "topic", keyPartition, keyOffsets, keySince, keyUntil, keyEventSince,
	keyEventUntil, "type", "app", keyUser, "status", "parts", "replays", "header", "text"}

// DescribeKey says what the values of a key are, and what is compared.
func DescribeKey(key string) (wants, about string) {
	k := filterKeys[key]
	return k.wants, k.about
}

// filterKeys is what each key means.
var filterKeys = map[string]filterKey{
	"reason": {wants: "REASON", about: "why it is dead, see help reasons", parse: parseReasonValue},
	"stage":  {wants: "decode, validate, join, encode or deliver", about: "the step that refused it", parse: parseStageValue},
	"cause":  {wants: "c1-9f2ab01c", about: "the id of its cause, as dlq stats prints it", parse: parseCauseValue},
	"field":  {wants: "items[].price", about: "the offending field; [] is any place, a * at the end any ending", parse: parseFieldValue},
	"topic":  {wants: "NAME", about: "the topic it came from", parse: exactly(func(l *Letter) []byte { return l.raw[slotTopic] })},
	keyPartition: {wants: "N", about: "the partition of the dead-letter topic", parse: func(v string) (string, matcher, error) {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 0 {
			return "", nil, fmt.Errorf("%q is no partition's number", v)
		}
		return strconv.FormatInt(n, 10), func(_ *Filter, l *Letter) bool { return int64(l.Partition) == n }, nil
	}},
	keyOffsets: {wants: "3:1200-1300, 3:1200-end, 3:1200 or -500", about: "offsets of the dead-letter topic, the second one not included; -500 are the last 500 of each partition", parse: func(v string) (string, matcher, error) {
		r, err := parseOffsets(v)
		return r.String(), func(_ *Filter, l *Letter) bool { return r.covers(l) }, err
	}},
	keySince:      {wants: "TIME", about: "failed at or after it", bound: bound(func(f *Filter) *time.Time { return &f.Since }, true)},
	keyUntil:      {wants: "TIME", about: "failed before it", bound: bound(func(f *Filter) *time.Time { return &f.Until }, false)},
	keyEventSince: {wants: "TIME", about: "happened at or after it", dear: true, bound: bound(func(f *Filter) *time.Time { return &f.EventSince }, true)},
	keyEventUntil: {wants: "TIME", about: "happened before it", dear: true, bound: bound(func(f *Filter) *time.Time { return &f.EventUntil }, false)},
	"type":        {wants: "shown, clicked, addedToCart or purchased", about: "the message's type, or any other text as it stands there", dear: true, parse: parseTypeValue},
	"app": {wants: "NAME", about: "the message's application; default is also that of those that name none", dear: true, parse: func(v string) (string, matcher, error) {
		return v, func(_ *Filter, l *Letter) bool {
			app := l.Payload().Application
			return string(app) == v || app == nil && v == config.DefaultApplication
		}, nil
	}},
	keyUser:   {wants: "TOKEN or MASK", about: "the userToken, or its mask as tables show it", dear: true, parse: parseUserValue},
	"status":  {wants: "422 or 4xx", about: "the API's last answer", parse: parseStatusValue},
	"parts":   {wants: "some, none or REASON", about: "whether only parts of the message are dead, and why", parse: parsePartsValue},
	"replays": {wants: "0, 2, >0, >=2 or <3", about: "how often it was replayed", parse: parseReplaysValue},
	"header":  {wants: "NAME or NAME=VALUE", about: "a header of the original record", parse: parseHeaderValue},
	"text": {wants: "TEXT", about: "in the sentence or the payload, letters in either case", dear: true, parse: func(v string) (string, matcher, error) {
		word := []byte(strings.ToLower(v))
		return v, func(_ *Filter, l *Letter) bool {
			return containsFold(l.raw[slotMessage], word) || containsFold(l.Value, word)
		}, nil
	}},
}

func unknownKey(key string) error {
	if near := config.Nearest(key, FilterKeys); near != "" {
		return callf("eventworker help filters", "unknown filter %q; did you mean %s?", key, near)
	}
	return callf("eventworker help filters", "unknown filter %q; known: %s", key, strings.Join(FilterKeys, ", "))
}

func keyOrder(word string) int {
	key, _, _ := strings.Cut(strings.TrimPrefix(word, "-"), ":")
	for i, k := range FilterKeys {
		if k == key {
			return i
		}
	}
	return len(FilterKeys)
}

// ParseQuery reads a filter as -q has it: words such as reason:invalid, -cause:c1-9f2ab01c and
// text:"two words", separated by spaces. A key that is not known is a [*CallError] with the nearest one:
// a filter that was dropped would widen what is acted on.
func ParseQuery(query string) (*Filter, error) {
	f := new(Filter)
	return f, f.AddQuery(query, time.Now())
}

// AddQuery adds the words of a query to the filter; times count from now.
func (f *Filter) AddQuery(query string, now time.Time) error {
	words, err := queryWords(query)
	if err != nil {
		return err
	}
	for _, word := range words {
		not := strings.HasPrefix(word, "-")
		key, values, ok := strings.Cut(strings.TrimPrefix(word, "-"), ":")
		if !ok {
			return callf("eventworker help filters", "%q has no key: to search for it, write text:%s", word, quoteValue(word))
		}
		if err := f.Add(key, values, not, now); err != nil {
			return err
		}
	}
	return nil
}

// ParseValues reads a filter from the parameters of a URL: key=values, or -key=values.
func ParseValues(v url.Values, now time.Time) (*Filter, error) {
	f := new(Filter)
	for key, list := range v {
		for _, values := range list {
			var err error
			if key == "q" {
				err = f.AddQuery(values, now)
			} else {
				err = f.Add(strings.TrimPrefix(key, "-"), values, strings.HasPrefix(key, "-"), now)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// queryWords separates words at spaces outside of quotes, which stay.
func queryWords(query string) (words []string, err error) {
	var b strings.Builder
	quoted := false
	flush := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c == '\\' && quoted && i+1 < len(query):
			b.WriteString(query[i : i+2])
			i++
		case c == '"':
			quoted = !quoted
			b.WriteByte(c)
		case (c == ' ' || c == '\t' || c == '\n' || c == '\r') && !quoted:
			flush()
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return nil, callf("eventworker help filters", "the query ends within quotes: %s", query)
	}
	flush()
	return words, nil
}

// bound narrows one of the four times; of two the narrower one holds.
func bound(of func(*Filter) *time.Time, lower bool) func(*Filter, time.Time) error {
	return func(f *Filter, at time.Time) error {
		b := of(f)
		if b.IsZero() || lower == at.After(*b) {
			*b = at
		}
		return nil
	}
}

// ParseTime reads a time: RFC 3339, a date (UTC), a duration before now such as 2h or 3d, now, or 13
// digits of milliseconds. Ten digits are refused: they are seconds.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if len(text) != 13 {
			return time.Time{}, fmt.Errorf("%q has %d digits, want 13: milliseconds since 1970; seconds times 1000", text, len(text))
		}
		return time.UnixMilli(n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: want RFC 3339, a date, a duration such as 2h or 3d, or 13 digits of milliseconds", text)
}

// Reasons are the names of all reasons, in the order of precedence.
func Reasons() []string {
	var names []string
	for r := event.NoReason + 1; r < event.NumReasons; r++ {
		names = append(names, r.String())
	}
	return names
}

// Stages are the names of all stages, in the order of the pipeline.
func Stages() []string {
	return []string{string(event.StageDecode), string(event.StageValidate), string(event.StageJoin), string(event.StageEncode), string(event.StageDeliver)}
}

// known checks a value against the ones there are.
func known(value string, all []string) error {
	if slices.Contains(all, value) {
		return nil
	}
	if near := config.Nearest(value, all); near != "" {
		return fmt.Errorf("unknown %q; did you mean %s?", value, near)
	}
	return fmt.Errorf("unknown %q; known: %s", value, strings.Join(all, ", "))
}

func parseReasonValue(v string) (string, matcher, error) {
	return v, func(_ *Filter, l *Letter) bool { return string(l.raw[slotReason]) == v }, known(v, Reasons())
}

func parseStageValue(v string) (string, matcher, error) {
	return v, func(_ *Filter, l *Letter) bool { return string(l.raw[slotStage]) == v }, known(v, Stages())
}

func exactly(of func(*Letter) []byte) func(string) (string, matcher, error) {
	return func(v string) (string, matcher, error) {
		return v, func(_ *Filter, l *Letter) bool { return string(of(l)) == v }, nil
	}
}

func parseCauseValue(v string) (string, matcher, error) {
	version, digits, ok := strings.Cut(v, "-")
	if _, err := strconv.ParseUint(digits, 16, 32); !ok || err != nil || len(digits) != 8 || len(version) < 2 || version[0] != 'c' {
		return "", nil, fmt.Errorf("%q is no cause's id: want one such as c1-9f2ab01c, from dlq stats", v)
	}
	v = strings.ToLower(v)
	return v, func(_ *Filter, l *Letter) bool { return string(l.raw[slotCause]) == v }, nil
}

func parseFieldValue(v string) (string, matcher, error) {
	prefix, open := strings.CutSuffix(v, "*")
	plain := deadletter.BareField(prefix) == prefix // no place is named: any will do
	return v, func(_ *Filter, l *Letter) bool {
		field := l.Field()
		if plain {
			field = deadletter.BareField(field)
		}
		return field == v || open && strings.HasPrefix(field, prefix)
	}, nil
}

func parseTypeValue(v string) (string, matcher, error) {
	if _, ok := event.ParseType("recommendation." + v); ok {
		v = "recommendation." + v
	}
	return v, func(_ *Filter, l *Letter) bool { return string(l.Payload().Type) == v }, nil
}

func parseUserValue(v string) (string, matcher, error) {
	masked := isMask(v)
	return v, func(f *Filter, l *Letter) bool {
		p := l.Payload()
		if string(l.Key) == v || string(p.User) == v || string(p.Authenticated) == v {
			return true
		}
		if !masked || f.Mask == nil {
			return false
		}
		return f.Mask([]byte(l.User())) == v || len(p.Authenticated) > 0 && f.Mask(p.Authenticated) == v
	}, nil
}

func parseStatusValue(v string) (string, matcher, error) {
	if class, ok := strings.CutSuffix(strings.ToLower(v), "xx"); ok && len(class) == 1 && class >= "1" && class <= "5" {
		return class + "xx", func(_ *Filter, l *Letter) bool { return l.Status()/100 == int(class[0]-'0') }, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 100 || n > 599 {
		return "", nil, fmt.Errorf("%q is no HTTP status: want one such as 422 or 4xx", v)
	}
	return v, func(_ *Filter, l *Letter) bool { return l.Status() == n }, nil
}

func parsePartsValue(v string) (string, matcher, error) {
	switch v {
	case "some":
		return v, func(_ *Filter, l *Letter) bool { return l.raw[slotParts] != nil }, nil
	case "none":
		return v, func(_ *Filter, l *Letter) bool { return l.raw[slotParts] == nil }, nil
	}
	if err := known(v, append([]string{"some", "none"}, Reasons()...)); err != nil {
		return "", nil, err
	}
	name := []byte(`"` + v + `"`)
	return v, func(_ *Filter, l *Letter) bool { return bytes.Contains(l.raw[slotParts], name) }, nil
}

func parseReplaysValue(v string) (string, matcher, error) {
	op := strings.TrimRight(v, "0123456789")
	n, err := strconv.Atoi(v[len(op):])
	if err != nil {
		return "", nil, fmt.Errorf("%q is no number: want one such as 0, >0, >=2 or <3", v)
	}
	tests := map[string]func(int) bool{
		"": func(c int) bool { return c == n }, "=": func(c int) bool { return c == n },
		">": func(c int) bool { return c > n }, ">=": func(c int) bool { return c >= n },
		"<": func(c int) bool { return c < n }, "<=": func(c int) bool { return c <= n },
	}
	test := tests[op]
	if test == nil {
		return "", nil, fmt.Errorf("%q compares with %q: want =, >, >=, < or <=", v, op)
	}
	return op + strconv.Itoa(n), func(_ *Filter, l *Letter) bool { return test(l.ReplayCount()) }, nil
}

func parseHeaderValue(v string) (string, matcher, error) {
	name, value, compare := strings.Cut(v, "=")
	if name == "" {
		return "", nil, errors.New("want NAME or NAME=VALUE")
	}
	return v, func(_ *Filter, l *Letter) bool {
		for i := range l.Headers {
			if h := &l.Headers[i]; h.Key == name && (!compare || string(h.Value) == value) {
				return true
			}
		}
		return false
	}, nil
}

// parseOffsets reads [P:]FROM-TO, [P:]FROM-end, [P:]FROM:end, P:FROM, [P:]-N.
func parseOffsets(v string) (r OffsetRange, err error) {
	bad := fmt.Errorf("%q is no range: want 3:1200-1300 (partition:from-to, to not included), 3:1200-end, 3:1200, or -500 for the last 500", v)
	r = OffsetRange{Partition: -1}
	rest := v
	if p, after, ok := strings.Cut(v, ":"); ok && after != "end" {
		n, err := strconv.ParseInt(p, 10, 32)
		if err != nil || n < 0 {
			return r, bad
		}
		r.Partition, rest = int32(n), after
	}
	if last, ok := strings.CutPrefix(rest, "-"); ok {
		r.Last, err = strconv.ParseInt(last, 10, 64)
		if err != nil || r.Last <= 0 {
			return r, bad
		}
		return r, nil
	}
	rest = strings.Replace(rest, ":end", "-end", 1)
	from, to, open := strings.Cut(rest, "-")
	if r.From, err = strconv.ParseInt(from, 10, 64); err != nil || r.From < 0 {
		return r, bad
	}
	switch {
	case to == "end":
		r.To = -1
	case open:
		if r.To, err = strconv.ParseInt(to, 10, 64); err != nil || r.To < r.From {
			return r, bad
		}
	case r.Partition < 0:
		return r, bad
	default:
		r.To = r.From + 1
	}
	return r, nil
}
