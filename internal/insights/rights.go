package insights

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rights are what a key may do, as the API says.
type Rights struct {
	// ACL are the names of its rights; sending events needs search.
	ACL []string
	// ExpiresIn is how long it is valid; 0: without end.
	ExpiresIn time.Duration
}

// MaySend says whether events can be sent with the key.
func (r Rights) MaySend() bool { return slices.Contains(r.ACL, "search") }

// appIDs are the application ids there are. The id becomes part of a host's name, so anything else
// could lead the key elsewhere (insights-api.md, section 1).
var appIDs = regexp.MustCompile(`^[A-Za-z0-9]{10}$`)

const (
	rightsTimeout = 10 * time.Second
	rightsBytes   = 64 << 10
)

// ReadRights asks the API what the key of an application may do. It sends no event.
//
// The request is the one place where a key stands in a URL, as the API has it: endpoint, which stands
// for https://{appID}.algolia.net in tests and is empty else, must be https or a loopback address; no
// redirect is followed; and no error shows the key. transport may be nil.
//
// Errors are *MisconfiguredError if the API refuses the credentials, *RetryableError if it could not be
// asked, or say what is wrong with the arguments.
func ReadRights(ctx context.Context, appID, key, endpoint string, transport http.RoundTripper) (Rights, error) {
	u, err := rightsURL(appID, key, endpoint)
	if err != nil {
		return Rights{}, err
	}
	if transport == nil {
		own := newTransport(1)
		defer own.CloseIdleConnections()
		transport = own
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rightsTimeout, errNoAnswer)
	defer cancel()
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"X-Algolia-Application-Id": {appID}, "X-Algolia-Api-Key": {key}}}).WithContext(ctx)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return Rights{}, rightsFailure(ctx, err, u.Host, key)
	}
	defer resp.Body.Close()
	return readRights(resp, key, u.Host)
}

func rightsURL(appID, key, endpoint string) (*url.URL, error) {
	if !appIDs.MatchString(appID) {
		return nil, errors.New("app_id is not an application id: these have 10 letters and digits")
	}
	if !headerSafe(key) {
		return nil, errors.New("the API key is empty or holds characters other than visible ASCII")
	}
	if endpoint == "" {
		endpoint = "https://" + appID + ".algolia.net"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && !isLoopback(u) {
		return nil, errors.New("the address to ask for rights must be https://host[:port], or http on a loopback address")
	}
	u.Path, u.RawPath = "/1/keys/"+key, "/1/keys/"+url.PathEscape(key)
	return u, nil
}

func isLoopback(u *url.URL) bool {
	return u.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
}

// rightsFailure tells of a request without an answer. What the transport says is made free of the key.
func rightsFailure(ctx context.Context, err error, host, key string) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = errors.New(without(err.Error(), key))
	return &RetryableError{Cause: fmt.Errorf("ask %s for the key's rights: %w", host, err)}
}

// without replaces the key, as it is and as it stands in a URL.
func without(s, key string) string {
	return strings.NewReplacer(key, "[key]", url.PathEscape(key), "[key]").Replace(s)
}

func readRights(resp *http.Response, key, host string) (Rights, error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, rightsBytes))
	if resp.StatusCode == http.StatusOK {
		var answer struct {
			ACL      []string `json:"acl"`
			Validity int64    `json:"validity"` // seconds
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.ACL == nil {
			return Rights{}, &RetryableError{Status: resp.StatusCode, Words: host + " did not answer with a key's rights"}
		}
		return Rights{ACL: answer.ACL, ExpiresIn: time.Duration(answer.Validity) * time.Second}, nil
	}
	said := words(resp.StatusCode, resp.Header.Get("Content-Type"), body[:min(len(body), maxWords)])
	said = without(said, key)
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusNotFound:
		return Rights{}, &MisconfiguredError{Status: s, Words: said, Hint: "check app_id and api_key: this application does not know the key, or not from this address"}
	case s >= 300 && s < 400:
		return Rights{}, &MisconfiguredError{Status: s, Words: said, Hint: "something between here and " + host + " redirects, and redirects are not followed"}
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500:
		return Rights{}, &RetryableError{Status: s, Words: said}
	default:
		return Rights{}, &MisconfiguredError{Status: s, Words: said, Hint: "check what stands between here and " + host}
	}
}
