package insights

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

// credentials are the headers of every request; they are replaced as a whole when the key changes.
type credentials struct {
	key    string
	header http.Header // shared by requests, never changed
}

// keyring holds the current credentials of an application.
type keyring struct {
	appID, userAgent string
	current          atomic.Pointer[credentials]

	mu   sync.Mutex
	file string
}

// newKeyring takes the key from the file if there is one, else as given.
func newKeyring(cfg *ApplicationConfig) (*keyring, error) {
	r := &keyring{appID: cfg.AppID, userAgent: cfg.UserAgent}
	if !headerSafe(cfg.AppID) {
		return nil, errors.New("app_id is empty or holds characters other than visible ASCII")
	}
	_, err := r.replace(cfg.APIKey, cfg.APIKeyFile)
	return r, err
}

// replace takes the key from the file if there is one, else as given, and reports whether it is
// another one than before. If that fails everything stays.
func (r *keyring) replace(key, file string) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if file != "" {
		changed, err = r.read(file)
	} else if c := r.current.Load(); c == nil || c.key != key {
		changed, err = true, r.set(key)
	}
	if err != nil {
		return false, err
	}
	r.file = file
	return changed, nil
}

// reload reads the key file again and reports whether the key is another one. Without a file, and if
// the file cannot be used, the key stays.
func (r *keyring) reload() (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == "" {
		return false, nil
	}
	return r.read(r.file)
}

// read takes the key from a file; the lock is held.
func (r *keyring) read(file string) (changed bool, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("api_key_file: %w", err)
	}
	key := string(bytes.TrimSpace(data))
	if c := r.current.Load(); c != nil && c.key == key {
		return false, nil
	}
	if err := r.set(key); err != nil {
		return false, fmt.Errorf("api_key_file %s: %w", file, err)
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

// ValidKey says whether an API key can stand in a request.
func ValidKey(key string) bool { return headerSafe(key) }

// headerSafe says whether s can stand in a header, and is something.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
