package worker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"eventworker/internal/config"
	"eventworker/internal/consume"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = template, newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue gives a certificate and its key in PEM form.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	private := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
}

// TestClientCertificatesRotateWithoutARestart: they are read for each connection, and the brokers'
// certificates are held against the CA of the configuration only.
func TestClientCertificatesRotateWithoutARestart(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	serverCert, serverKey := ours.issue("broker.test")
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ours.cert)
	seen := make(chan string, 100)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		VerifyConnection: func(s tls.ConnectionState) error {
			select {
			case seen <- s.PeerCertificates[0].Subject.CommonName:
			default:
			}
			return nil
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()

	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	k := config.Default().Kafka
	k.TLS = config.TLS{Enabled: true, ServerName: "broker.test", CAFile: write("ca.pem", ours.pem)}
	use := func(a *authority, name string) {
		cert, key := a.issue(name)
		k.TLS.CertFile, k.TLS.KeyFile = write("cert.pem", cert), write("key.pem", key)
	}
	use(ours, "first")
	secure, _, err := Security(&k)
	if err != nil {
		t.Fatal(err)
	}
	connect := func() error {
		admin, err := consume.NewAdmin(consume.Config{Brokers: cluster.ListenAddrs(), Group: group, Topics: []string{topic}, TLS: secure})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		_, err = admin.Group(t.Context())
		return err
	}
	met := func(name string) {
		t.Helper()
		if got := <-seen; got != name {
			t.Errorf("the broker met the certificate of %q, want %q", got, name)
		}
		for len(seen) > 0 {
			<-seen
		}
	}
	if err := connect(); err != nil {
		t.Fatal(err)
	}
	met("first")
	use(ours, "second")
	if err := connect(); err != nil {
		t.Fatal(err)
	}
	met("second")
	use(others, "stranger")
	if err := connect(); err == nil || !strings.Contains(err.Error(), "kafka.tls.cert_file") {
		t.Errorf("with a certificate that the broker refuses: %v", err)
	}
	use(ours, "third")
	if err := connect(); err != nil {
		t.Fatal(err)
	}

	k.TLS.CAFile = write("ca.pem", others.pem)
	if secure, _, err = Security(&k); err != nil {
		t.Fatal(err)
	}
	if err := connect(); err == nil || !strings.Contains(err.Error(), "kafka.tls.ca_file") {
		t.Errorf("with another CA: %v", err)
	}
	k.TLS.CAFile = write("ca.pem", []byte("no certificate"))
	if _, _, err := Security(&k); err == nil || !strings.Contains(err.Error(), "kafka.tls.ca_file") {
		t.Errorf("with a CA file without certificates: %v", err)
	}
}
