package event

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// oddValues are what senders write where something else is wanted.
var oddValues = []string{`null`, `true`, `0`, `-0`, `1`, `-1`, `1.0`, `1e2`, `1e400`, `1e999999999`, `01`, `2147483647`, `2147483648`, `999999999999`,
	`1000000000000`, `0.123456789`, `0.1234567890`, `1234567890123456`, `100000000000`, `99999999999`, `9223372036854775807`, `9223372036854775808`,
	`18446744073709551616000`, `""`, `"a"`, `"1"`, `"1.50"`, `"01.5"`, `"1."`, `".5"`, `"1e3"`, `"-1"`, `"a@b"`, `"\u0000"`, `"\ud83d\ude00"`, `"\ud83d"`, `"é"`,
	"\"\xff\"", `"message_x"`, `"message_"`, `"message_ "`, `"0123456789ABCDEF0123456789abcdef"`, `"0123456789abcdef0123456789abcdeg"`,
	`"2026-01-31T12:00:00Z"`, `"2024-02-29t23:59:60z"`, `"2023-02-29T00:00:00Z"`, `"2026-01-31T24:00:00Z"`, `"2026-06-30T23:59:60.5+00:00"`,
	`"2026-01-01T00:59:60+01:00"`, `"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.9999999999-23:59"`, `"2026-01-31T12:00:00.Z"`, `"2026-01-31T12:00:00+24:00"`,
	`"` + strings.Repeat("x", 64) + `"`, `"` + strings.Repeat("x", 65) + `"`, `"` + strings.Repeat("x", 128) + `"`, `"` + strings.Repeat("x", 129) + `"`,
	`"` + strings.Repeat("x", 256) + `"`, `"` + strings.Repeat("x", 257) + `"`, `"` + strings.Repeat("ü", 129) + `"`, `"message_` + strings.Repeat("x", 120) + `"`,
	`"message_` + strings.Repeat("x", 121) + `"`, `[]`, `{}`, `[[]]`, `[{}]`, `["a"]`, `{"objectID":"a"}`, `{"objectID":"a","objectID":"b"}`, `{"x":1,"x":2}`,
	strings.Repeat("[", 31) + strings.Repeat("]", 31), strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), `tru`, `nan`, `"`,
	`"recommendation.shown"`, `"recommendation.clicked"`, `"recommendation.addedToCart"`, `"recommendation.purchased"`, `"trending-facets"`}

// bounds are lengths at which arrays begin to be refused.
var bounds = []int{10, 11, 20, 21, 50, 51, 100, 101}

// mutator changes trees of messages and writes them in unusual but equal ways.
type mutator struct {
	*rand.Rand
	names []string // known ones of every place
	buf   []byte
}

func newMutator(seed uint64) *mutator {
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 1))}
	for _, names := range knownNames {
		m.names = append(m.names, strings.Fields(names)...)
	}
	slices.Sort(m.names)
	return m
}

// raw is a value already written.
type raw string

func (m *mutator) odd() node { return raw(oddValues[m.IntN(len(oddValues))]) }

// change gives a tree with about one thing in rate changed.
func (m *mutator) change(n node, rate int) node {
	if m.IntN(rate) == 0 {
		return m.odd()
	}
	switch n := n.(type) {
	case array:
		list := array{}
		for _, v := range n {
			switch m.IntN(rate) {
			case 0:
			case 1:
				list = append(list, v, m.change(v, rate))
			case 2:
				list = append(list, slices.Repeat(array{v}, bounds[m.IntN(len(bounds))])...)
			default:
				list = append(list, m.change(v, rate))
			}
		}
		return list
	case *object:
		o := &object{}
		for i, v := range n.values {
			name := n.names[i]
			switch m.IntN(rate) {
			case 0:
				continue
			case 1:
				if m.IntN(3) == 0 {
					o.names, o.values = append(o.names, name), append(o.values, v)
				}
			case 2:
				name = m.names[m.IntN(len(m.names))]
			case 3:
				name = strings.ToUpper(name)
			}
			o.names, o.values = append(o.names, name), append(o.values, m.change(v, rate))
		}
		if m.IntN(rate/2) == 0 {
			o.names, o.values = append(o.names, m.names[m.IntN(len(m.names))]), append(o.values, m.odd())
		}
		m.Shuffle(m.IntN(2)*len(o.names), func(i, j int) {
			o.names[i], o.names[j] = o.names[j], o.names[i]
			o.values[i], o.values[j] = o.values[j], o.values[i]
		})
		return o
	}
	return n
}

func (m *mutator) write(n node, escapes, spaces bool) {
	m.space(spaces)
	switch n := n.(type) {
	case raw:
		m.buf = append(m.buf, n...)
	case number:
		m.buf = append(m.buf, n...)
	case bool:
		m.buf = strconv.AppendBool(m.buf, n)
	case string:
		m.text(n, escapes)
	case array:
		m.buf = append(m.buf, '[')
		for i, v := range n {
			if i > 0 {
				m.buf = append(m.buf, ',')
			}
			m.write(v, escapes, spaces)
		}
		m.buf = append(m.buf, ']')
	case *object:
		m.buf = append(m.buf, '{')
		for i, v := range n.values {
			if i > 0 {
				m.buf = append(m.buf, ',')
			}
			m.space(spaces)
			m.text(n.names[i], escapes)
			m.space(spaces)
			m.buf = append(m.buf, ':')
			m.write(v, escapes, spaces)
		}
		m.buf = append(m.buf, '}')
	default:
		m.buf = append(m.buf, "null"...)
	}
	m.space(spaces)
}

func (m *mutator) space(spaces bool) {
	for spaces && m.IntN(3) == 0 {
		m.buf = append(m.buf, " \t\r\n"[m.IntN(4)])
	}
}

// text writes a string, with every tenth character as an escape if wanted.
func (m *mutator) text(s string, escapes bool) {
	m.buf = append(m.buf, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			m.buf = append(m.buf, '\\', byte(r))
		case r < 0x20 || escapes && r < 0x10000 && m.IntN(10) == 0:
			m.buf = fmt.Appendf(m.buf, `\u%04x`, r)
		default:
			m.buf = append(m.buf, string(r)...)
		}
	}
	m.buf = append(m.buf, '"')
}

// message makes a new message out of an old one.
func (m *mutator) message(o *object) []byte {
	m.buf = m.buf[:0]
	m.write(m.change(o, 6+m.IntN(60)), m.IntN(3) == 0, m.IntN(3) == 0)
	if len(m.buf) > 0 && m.IntN(20) == 0 {
		m.buf[m.IntN(len(m.buf))] = byte(m.IntN(256))
	}
	if m.IntN(40) == 0 {
		m.buf = m.buf[:m.IntN(len(m.buf)+1)]
	}
	return m.buf
}

// goodTrees are the good examples of a size that keeps the tests quick.
func goodTrees(t testing.TB) (trees []*object) {
	for _, e := range examples(t) {
		if o, ok := judge(e.value); ok && e.Reason == "" && len(e.value) < 4000 {
			trees = append(trees, o)
		}
	}
	return trees
}

func TestDecoderAgreesWithSchemaAndJudgeOnMutatedExamples(t *testing.T) {
	trees := goodTrees(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := newMutator(seed)
	reject, hash := NewDecoder(Options{}), NewDecoder(Options{HashTokens: true})
	for range 20_000 {
		value := m.message(trees[m.IntN(len(trees))])
		compare(t, reject, value)
		compare(t, hash, value)
	}
}

// FuzzMutated is the same for as long as one likes: every seed gives a thousand messages.
func FuzzMutated(f *testing.F) {
	trees := goodTrees(f)
	f.Add(uint64(1))
	d := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, seed uint64) {
		m := newMutator(seed)
		for range 1000 {
			compare(t, d, m.message(trees[m.IntN(len(trees))]))
		}
	})
}
