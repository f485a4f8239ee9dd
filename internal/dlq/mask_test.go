package dlq

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"eventworker/internal/deadletter"
)

func TestNoFormOfATokenGetsPastTheMask(t *testing.T) {
	m := NewMasker([]byte("k"))
	token := m.Token([]byte("user-1234"))
	if !isMask(token) || token != m.Token([]byte("user-1234")) || token == m.Token([]byte("user-1235")) || token == NewMasker([]byte("l")).Token([]byte("user-1234")) {
		t.Errorf("the mask is %s", token)
	}
	for text, want := range map[string]string{
		`{"userToken":"user-1234","a":1}`:               `{"userToken":"` + token + `","a":1}`,
		`{"authenticatedUserToken" : "user-1234"}`:      `{"authenticatedUserToken" : "` + token + `"}`,
		`{"queryParameters":{"userToken":"user-1234"}}`: `{"queryParameters":{"userToken":"` + token + `"}}`,
		`{"user_token":"user-1234"}`:                    `{"user_token":"` + token + `"}`,
		`{'userToken': 'user-1234'`:                     `{'userToken': '` + m.Token([]byte("user-1234")) + `'`,
		`userToken=user-1234&x=1`:                       `userToken=` + token + `&x=1`,
		`{"userToken":"user-1234`:                       `{"userToken":"` + token,
		`{"userToken":"user-123\u0034"}`:                `{"userToken":"` + token + `"}`,
		`{"userToken":12345}`:                           `{"userToken":` + m.Token([]byte("12345")) + `}`,
		`{"userToken":null}`:                            `{"userToken":null}`,
		`{\"userToken\":\"user-1234\"}`:                 `{\"userToken\":\"` + token + `\"}`,
		`mail to shopper@example.com now`:               `mail to ` + m.mask(addressMask, []byte("shopper@example.com")) + ` now`,
		`?mail=jane%40example.com`:                      `?mail=` + m.mask(addressMask, []byte("jane%40example.com")),
		`nothing here`:                                  `nothing here`,
	} {
		if got := m.Text(text); got != want {
			t.Errorf("%s\nis   %s\nwant %s", text, got, want)
		}
	}
	if got := m.Text("the key user-1234 said user-1234", []byte("user-1234")); strings.Contains(got, "user-1234") {
		t.Error(got)
	}
	if got := (*Masker)(nil).Text("user-1234"); got != "user-1234" {
		t.Error(got)
	}
}

func TestTheKeyOfMasksIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadMasker(dir, "g")
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadMasker(dir, "other")
	if err != nil || again.Token([]byte("u")) != first.Token([]byte("u")) {
		t.Errorf("%v", err)
	}
	path := filepath.Join(dir, "eventworker", "mask.key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{dir, ""} {
		m, why := LoadMasker(where, "g")
		other, _ := LoadMasker(where, "h")
		if why == nil || m.Token([]byte("u")) == other.Token([]byte("u")) {
			t.Errorf("%q: %v", where, why)
		}
	}
}

func TestAnExportReadsBackByteForByte(t *testing.T) {
	odd := purchase(2, 1)
	odd.Key, odd.Value = nil, []byte{0xFF, 0, '<'}
	odd.Headers = []deadletter.Header{{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "raw", Value: []byte{0xFE}}, {Key: "text", Value: []byte("<ü\u2028>")}}
	letters := []*Letter{letterOf(purchase(0, 0)), letterOf(odd), letterOf(&deadletter.Letter{Value: nil, Key: []byte{}})}
	var b bytes.Buffer
	e, err := NewExporter(&b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		if err := e.Write(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []*Letter
	if err := ReadExport(&b, func(l *Letter) error { got = append(got, l); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(letters) {
		t.Fatalf("%d letters", len(got))
	}
	for i, l := range letters {
		g := got[i]
		if !reflect.DeepEqual(g.Headers, l.Headers) || !reflect.DeepEqual(g.Key, l.Key) || !reflect.DeepEqual(g.Value, l.Value) || !g.Time.Equal(l.Time) || g.Address() != l.Address() {
			t.Errorf("letter %d is %+v, want %+v", i, g, l)
		}
	}
}

func TestAMaskedCopyCannotBeTakenForTheLetters(t *testing.T) {
	var b bytes.Buffer
	m := NewMasker([]byte("k"))
	e, err := NewExporter(&b, m)
	if err != nil {
		t.Fatal(err)
	}
	l := letterOf(purchase(0, 3))
	if err := errors.Join(e.Write(l), e.Flush()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.Contains(text, "user-3") || !strings.Contains(text, m.Token([]byte("user-3"))) {
		t.Error(text)
	}
	first, rest, _ := strings.Cut(text, "\n")
	var head struct {
		Schema string
		Masked bool
	}
	if json.Unmarshal([]byte(first), &head) != nil || head.Schema != MaskedExportSchema || !head.Masked {
		t.Errorf("the first line is %s", first)
	}
	for _, masked := range []string{text, rest} { // also without its first line
		var call *CallError
		err := ReadExport(strings.NewReader(masked), func(*Letter) error { t.Error("a letter was read"); return nil })
		if !errors.As(err, &call) || !strings.Contains(err.Error(), "masked copy") {
			t.Errorf("%v", err)
		}
	}
	for _, wrong := range []string{"nonsense", `{"schema":"other/v1"}`, `{"schema":"eventworker.dlq.export/v1","time":"x"}`} {
		var call *CallError
		if err := ReadExport(strings.NewReader(wrong), func(*Letter) error { return nil }); !errors.As(err, &call) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestPayloadsHideTheirTokensWhateverTheirForm(t *testing.T) {
	m := NewMasker([]byte("k"))
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`[A-Za-z0-9]{2}[A-Za-z0-9_=/+-]{4,30}`).Draw(t, "token")
		if isMask(token) {
			return
		}
		shapes := []string{`{"userToken":"%"}`, `{"items":[1],"userToken" : "%", "x":{"userToken":"%"}}`, `{"userToken":"%"`, `% alone`, `{"other":"%"}`}
		one := purchase(0, 0)
		one.Key = []byte(token)
		one.Value = []byte(strings.ReplaceAll(rapid.SampledFrom(shapes).Draw(t, "shape"), "%", token))
		l := letterOf(one)
		for _, line := range l.Pretty(m) {
			if strings.Contains(line.Text, token) {
				t.Fatalf("%q shows %q", line.Text, token)
			}
		}
		var b bytes.Buffer
		e, _ := NewExporter(&b, m)
		if errors.Join(e.Write(l), e.Flush()) != nil || strings.Contains(b.String(), token) {
			t.Fatalf("%s shows %q", b.String(), token)
		}
	})
}
