package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/worker"
)

// adminClient calls a worker's admin server. The token of admin.token goes along where the configuration
// has one.
type adminClient struct {
	address string // as it was given: host:port, or a URL
	base    *url.URL
	token   string
}

// adminTimeout bounds a call.
const adminTimeout = 45 * time.Second

// adminAnswerBytes bounds an answer.
const adminAnswerBytes = 16 << 20

// errNoWorker: nobody listens at the address.
var errNoWorker = errors.New("no worker answers")

// adminOf is the client of an admin server; an empty address is that of the configuration.
func adminOf(c *config.Config, address string) (*adminClient, error) {
	if address == "" {
		address = reachable(c.Admin.Listen)
	}
	token, err := c.Admin.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("admin.token_file: %w", err)
	}
	text := address
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("eventworker --help", "--admin wants HOST:PORT or http(s)://HOST[:PORT], got %q", address)
	}
	return &adminClient{address: address, base: base, token: token}, nil
}

// call posts a JSON body and reads the JSON answer. Codes other than 200 are errors with the answer's
// words; nobody there at all is errNoWorker.
func (c *adminClient) call(ctx context.Context, path string, body, into any) (status int, err error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(encoded))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return 0, fmt.Errorf("%w at %s", errNoWorker, c.address)
		}
		return 0, failf("curl "+c.base.JoinPath("livez").String(), "the worker's admin server at %s does not answer: %w", c.address, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, adminAnswerBytes))
	if err != nil {
		return 0, failf("", "the answer of %s: %w", c.address, err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, into); err != nil {
			return 0, failf("", "%s does not answer as a worker's admin server does", c.address)
		}
		return res.StatusCode, nil
	}
	var said worker.AdminError
	if json.Unmarshal(text, &said) != nil || said.Error == "" {
		said.Error = strings.TrimSpace(string(text[:min(len(text), 500)]))
	}
	return res.StatusCode, refusalOf(c.address, res.StatusCode, said.Error)
}

// refusalOf is the error of an answer other than 200. One for want of the token, or for a wrong one, says where
// the token belongs: no second try helps before it is there.
func refusalOf(address string, status int, said string) error {
	refused := &adminRefusal{status, address + ": " + said}
	switch {
	case status == http.StatusUnauthorized:
		refused.text = address + " refuses the call: set admin.token or admin.token_file to the token of that worker; it says: " + said
	case status == http.StatusForbidden:
		refused.text = address + " refuses the call: the worker itself needs an admin.token, and then so does this command; it says: " + said
	default:
		return refused
	}
	return &failure{exitFailed, refused, "the same command with --set admin.token_file=FILE", categoryAuth}
}

// failAdmin gives an error of a call a hint, unless it has a better one.
func failAdmin(try string, err error) error {
	if errors.As(err, new(*failure)) {
		return err
	}
	return failf(try, "%w", err)
}
