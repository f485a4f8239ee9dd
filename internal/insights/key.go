package insights

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
)

// credentials are the headers of every request; they are replaced as a whole when the key changes.
type credentials struct {
	key    string
	header http.Header // shared by requests, never changed
}

// keyring holds the current credentials of an application.
type keyring struct {
	appID, userAgent, file string
	current                atomic.Pointer[credentials]
}

// newKeyring takes the key from the file if there is one, else as given.
func newKeyring(cfg *ApplicationConfig) (*keyring, error) {
	r := &keyring{appID: cfg.AppID, userAgent: cfg.UserAgent, file: cfg.APIKeyFile}
	if !headerSafe(cfg.AppID) {
		return nil, errors.New("app_id is empty or holds characters other than visible ASCII")
	}
	if r.file == "" {
		return r, r.set(cfg.APIKey)
	}
	_, err := r.reload()
	return r, err
}

// reload reads the key file again and reports whether the key is another one. Without a file, and if
// the file cannot be used, the key stays.
func (r *keyring) reload() (changed bool, err error) {
	if r.file == "" {
		return false, nil
	}
	data, err := os.ReadFile(r.file)
	if err != nil {
		return false, fmt.Errorf("api_key_file: %w", err)
	}
	key := string(bytes.TrimSpace(data))
	if c := r.current.Load(); c != nil && c.key == key {
		return false, nil
	}
	if err := r.set(key); err != nil {
		return false, fmt.Errorf("api_key_file %s: %w", r.file, err)
	}
	return true, nil
}

func (r *keyring) set(key string) error {
	if !headerSafe(key) {
		return errors.New("the API key is empty or holds characters other than visible ASCII")
	}
	h := http.Header{
		"X-Algolia-Application-Id": {r.appID},
		"X-Algolia-Api-Key":        {key},
		"Content-Type":             {"application/json"},
	}
	if r.userAgent != "" {
		h.Set("User-Agent", r.userAgent)
	}
	r.current.Store(&credentials{key: key, header: h})
	return nil
}

// headerSafe says whether s can stand in a header, and is something.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
