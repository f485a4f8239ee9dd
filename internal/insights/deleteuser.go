package insights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Deletion says how to reach the API that deletes a user's events.
type Deletion struct {
	// Base is scheme://host[:port] of the Insights API; AppID and Key are the credentials. The key needs
	// the right deleteObject, which a key for sending does not have.
	Base, AppID, Key string
	// Transport is nil for an own one.
	Transport http.RoundTripper
}

// deletionTimeout bounds the request.
const deletionTimeout = 20 * time.Second

// DeleteUser asks the API to delete the events of a user, which it does within 48 hours. It answers nil
// once the API has taken the order. An error holds neither key nor token.
func (d *Deletion) DeleteUser(ctx context.Context, token string) error {
	u, err := url.Parse(d.Base)
	if err != nil || u.Host == "" {
		return errors.New("insights.endpoint is no URL")
	}
	if !headerSafe(d.AppID) || !headerSafe(d.Key) {
		return errors.New("app_id or API key is empty, or holds characters other than visible ASCII")
	}
	base := strings.TrimRight(u.Path, "/") + "/1/usertokens/"
	u.Path, u.RawPath = base+token, base+url.PathEscape(token)
	transport := d.Transport
	if transport == nil {
		own := newTransport(1)
		defer own.CloseIdleConnections()
		transport = own
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deletionTimeout, errNoAnswer)
	defer cancel()
	req := (&http.Request{Method: http.MethodDelete, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"X-Algolia-Application-Id": {d.AppID}, "X-Algolia-Api-Key": {d.Key}}}).WithContext(ctx)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		var e *url.Error // its text would show the address, and the token in it
		if errors.As(err, &e) {
			err = e.Err
		}
		return fmt.Errorf("%s gives no answer: %w", u.Host, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s answers %d: the key needs the right deleteObject", u.Host, resp.StatusCode)
	case resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%s answers 429: deletions are limited; try again later", u.Host)
	}
	return fmt.Errorf("%s answers %s", u.Host, resp.Status)
}
