package querystore

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// trusting is a client's configuration that trusts a certificate (PEM), or none.
func trusting(t *testing.T, pem []byte) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if pem != nil && !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
