package insights

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// errNoAnswer is the cause of a request's end when delivery.timeout passed.
var errNoAnswer = errors.New("no complete answer within delivery.timeout")

// failure says what kind of failure err is, which the transport returned. outer is the context of
// the caller, limited the same with the time limit.
func (c *client) failure(outer, limited context.Context, w *wire, err error) error {
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	if limited.Err() != nil {
		return &RetryableError{Cause: errNoAnswer, TimedOut: true, MayHaveBeenTaken: w.complete.Load()}
	}
	if hint := c.misconfigurationHint(w, err); hint != "" {
		return &MisconfiguredError{Cause: err, Hint: hint}
	}
	return &RetryableError{Cause: err, MayHaveBeenTaken: w.complete.Load()}
}

// misconfigurationHint is empty for failures of the network, which pass.
func (c *client) misconfigurationHint(w *wire, err error) string {
	host := c.url.Host
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return "check insights.region, insights.endpoint and the name servers: no host has this name"
	}
	if errors.Is(err, errProxySetting) {
		return "check HTTPS_PROXY and HTTP_PROXY"
	}
	var proxy *proxyRefusal
	if errors.As(err, &proxy) {
		switch proxy.status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
			http.StatusProxyAuthRequired:
			return "check HTTPS_PROXY and whether the proxy lets requests through to " + host
		}
		return ""
	}
	if isTLS(err) || w.refused.Load() {
		return "check insights.endpoint and the trusted certificates of this machine: no TLS connection to " + host
	}
	return ""
}

// isTLS says whether the two sides could not agree on a secure connection.
func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &record) ||
		errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

// isBroken says whether a handshake ended because the connection did, which passes, and not because
// one side refused the other. An alert "internal error" is a server in trouble.
func isBroken(err error) bool {
	var timeout net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		strings.HasSuffix(err.Error(), "tls: internal error")
}
