package dlq

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Masker replaces user tokens and e-mail addresses by masks: equal ones get equal masks, so that one
// user's letters line up, and nobody finds the token of a mask without the key. A nil Masker masks
// nothing.
type Masker struct{ key []byte }

// A mask is u- (a token) or e- (an e-mail address) and eight hexadecimal digits.
const (
	tokenMask   = "u-"
	addressMask = "e-"
	maskDigits  = 8
	maskLength  = len(tokenMask) + maskDigits
)

// isMask says whether a text has the form of a token's mask.
func isMask(s string) bool {
	if len(s) != maskLength || !strings.HasPrefix(s, tokenMask) {
		return false
	}
	_, err := hex.DecodeString(s[len(tokenMask):])
	return err == nil
}

// NewMasker makes a Masker with a key.
func NewMasker(key []byte) *Masker { return &Masker{key: bytes.Clone(key)} }

const maskKeyBytes = 32

// LoadMasker makes the Masker of this installation: its key is in the file eventworker/mask.key below
// dir, the user's directory of configurations, and is made at the first call. Where that cannot be,
// the key is derived from the name of the group, and why says what is wrong: who knows the name can
// then test a guessed token against a mask.
func LoadMasker(dir, group string) (m *Masker, why error) {
	key, err := maskKey(dir)
	if err == nil {
		return NewMasker(key), nil
	}
	sum := sha256.Sum256([]byte("eventworker masks of group " + group))
	return NewMasker(sum[:]), err
}

func maskKey(dir string) ([]byte, error) {
	if dir == "" {
		return nil, errors.New("there is no directory for configurations: neither XDG_CONFIG_HOME nor HOME is set")
	}
	path := filepath.Join(dir, "eventworker", "mask.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeMaskKey(path); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != maskKeyBytes {
		return nil, fmt.Errorf("%s does not hold %d bytes as hexadecimal digits: remove it, and it is made anew", path, maskKeyBytes)
	}
	return key, nil
}

// writeMaskKey makes the file as a whole under another name first: of two calls at the same time one
// wins, and both read the winner's.
func writeMaskKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	key := make([]byte, maskKeyBytes)
	_, _ = rand.Read(key) // never fails
	f, err := os.CreateTemp(filepath.Dir(path), "mask-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Token is the mask of a token; an empty one stays empty.
func (m *Masker) Token(token []byte) string {
	if m == nil || len(token) == 0 {
		return string(token)
	}
	return m.mask(tokenMask, token)
}

func (m *Masker) mask(kind string, value []byte) string {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(kind))
	mac.Write(value)
	return kind + hex.EncodeToString(mac.Sum(nil)[:maskDigits/2])
}

var (
	mailAddress = regexp.MustCompile(`[A-Za-z0-9._%+\-]+(?:@|%40)[A-Za-z0-9.\-]+\.[A-Za-z]{2,}`)
	// tokenField finds the value of any field whose name ends in userToken, in text that need not be
	// JSON: as a string, which may be cut off, or as anything else up to a separator.
	tokenField = regexp.MustCompile(`(?i)(user_?token\\?["']?\s*[:=]\s*)(?:` +
		`(")((?:[^"\\]|\\.)*)|(\\")((?:[^"\\]|\\[^"])*)|(')((?:[^'\\]|\\.)*)|([^\s"',}\]&\\][^\s"',}\]&]*))`)
)

// leastToken is how long a token must be to be looked for in the midst of other text.
const leastToken = 4

// Text masks what stands in a text: e-mail addresses, the values of fields named userToken and the
// like, and the tokens given.
func (m *Masker) Text(text string, tokens ...[]byte) string {
	if m == nil || text == "" {
		return text
	}
	if mayHoldToken([]byte(text)) {
		text = m.fields(text)
	}
	for _, token := range tokens {
		if len(token) == 0 {
			continue
		}
		if mask := m.Token(token); len(token) >= leastToken {
			text = strings.ReplaceAll(text, string(token), mask)
		} else {
			text = strings.ReplaceAll(text, `"`+string(token)+`"`, `"`+mask+`"`)
		}
	}
	if !mayHoldMail([]byte(text)) {
		return text
	}
	return mailAddress.ReplaceAllStringFunc(text, func(found string) string { return m.mask(addressMask, []byte(found)) })
}

// fields masks the values of fields named userToken and the like.
func (m *Masker) fields(text string) string {
	return tokenField.ReplaceAllStringFunc(text, func(found string) string {
		part := tokenField.FindStringSubmatch(found)
		for i := 2; i < 8; i += 2 {
			if part[i] != "" {
				return part[1] + part[i] + m.fieldValue(part[i+1])
			}
		}
		return part[1] + m.fieldValue(part[8])
	})
}

// finds says whether there may be something to mask in a text, without allocating.
func (m *Masker) finds(text []byte, tokens ...[]byte) bool {
	for _, token := range tokens {
		if len(token) > 0 && bytes.Contains(text, token) {
			return true
		}
	}
	return mayHoldMail(text) || mayHoldToken(text)
}

func mayHoldMail(text []byte) bool {
	return bytes.IndexByte(text, '@') >= 0 || bytes.Contains(text, []byte("%40"))
}

// mayHoldToken says whether oken is in a text, in any case of its letters, as in userToken.
func mayHoldToken(text []byte) bool { return containsFold(text, []byte("oken")) }

// fieldValue masks the value of a field, unless it is a mask, a literal or the beginning of an object.
func (m *Masker) fieldValue(value string) string {
	switch {
	case value == "" || value == "null" || value == "true" || value == "false" || isMask(value) || strings.ContainsAny(value[:1], "{["):
		return value
	case strings.Contains(value, `\`):
		var plain string
		if json.Unmarshal([]byte(`"`+value+`"`), &plain) == nil {
			value = plain
		}
	}
	return m.Token([]byte(value))
}

// Tokens are the tokens of a letter, for [Masker.Text].
func (l *Letter) Tokens() [][]byte {
	var tokens [][]byte
	p := l.Payload()
	for _, t := range [][]byte{p.User, p.Authenticated, l.Key} {
		if len(t) > 0 {
			tokens = append(tokens, t)
		}
	}
	return append(tokens, p.inside...)
}
