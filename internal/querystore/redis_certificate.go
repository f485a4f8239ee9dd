package querystore

import (
	"crypto/tls"
	"errors"
	"os"
)

// clientCertificate knows whether a server asked for the client's certificate, and whether there was one. A server that
// is not content ends the connection, often without a word that arrives.
type clientCertificate struct {
	asked, given bool
}

// watch gives a configuration like the given one that takes note of the question. The server's own certificate is
// good by then.
func (c *clientCertificate) watch(config *tls.Config) *tls.Config {
	if len(config.Certificates) > 0 { // chosen by what the server asks
		return config
	}
	config = config.Clone()
	get := config.GetClientCertificate
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.asked = true
		if get == nil {
			return new(tls.Certificate), nil
		}
		cert, err := get(request)
		c.given = err == nil && len(cert.Certificate) > 0
		return cert, err
	}
	return config
}

// explain adds to an error of a connection that was never answered what the certificate may have to do with it.
func (c *clientCertificate) explain(err error) error {
	switch {
	case err == nil || c == nil || !c.asked || errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.given:
		return &certificateError{"the server asked for a client certificate and ended the connection: it may not trust that of store.redis.tls.cert_file", err}
	}
	return &certificateError{"the server asks for a client certificate: name one in store.redis.tls.cert_file and store.redis.tls.key_file", err}
}

// certificateError is what ended a connection, and why it may have.
type certificateError struct {
	why string
	err error
}

func (e *certificateError) Error() string { return e.why + " (" + e.err.Error() + ")" }

// Unwrap gives a list: the client library takes the one error that an error wraps for the whole of it.
func (e *certificateError) Unwrap() []error { return []error{e.err} }
