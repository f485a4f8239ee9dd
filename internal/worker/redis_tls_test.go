package worker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
	"eventworker/internal/realtest"
)

// A Redis that asks its clients for certificates takes the one of store.redis.tls; without it, or with one of another
// authority, the error says what to configure, over either version of TLS.
func TestRedisThatAsksForClientCertificates(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pair := func(name string, a *authority) config.RedisTLS {
		cert, key := a.issue(name)
		return config.RedisTLS{CertFile: file(name+".pem", cert), KeyFile: file(name+".key", key)}
	}
	trusted, strange := pair("worker.test", ours), pair("stranger.test", others)
	server := realtest.OwnRedisTLS(t, "--tls-ca-cert-file", file("clients.pem", ours.pem))
	admin := redis.NewClient(&redis.Options{Addr: server.Addr, TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	defer admin.Close()
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		if err := admin.ConfigSet(t.Context(), "tls-protocols", version).Err(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			files config.RedisTLS
			says  []string // nothing: it works
		}{
			{"its own", trusted, nil},
			{"none", config.RedisTLS{}, []string{"asks for a client certificate", "store.redis.tls.cert_file", "key_file"}},
			{"another authority's", strange, []string{"client certificate", "store.redis.tls.cert_file", "trust"}},
		} {
			t.Run(fmt.Sprintf("%s, certificate %s", version, c.name), func(t *testing.T) {
				// The connection of before goes on without a certificate.
				if err := admin.ConfigSet(t.Context(), "tls-auth-clients", "yes").Err(); err != nil {
					t.Fatal(err)
				}
				cfg := config.Default()
				c.files.Enabled, c.files.CAFile = true, server.CAFile
				onRedis(server.Addr, newPrefix())(cfg)
				cfg.Store.Redis.TLS = c.files
				o, err := RedisOptions(cfg)
				if err != nil {
					t.Fatal(err)
				}
				store, err := querystore.OpenRedis(o)
				if err != nil {
					t.Fatal(err)
				}
				err = store.Check(t.Context())
				if c.says == nil && err != nil {
					t.Error(err)
				}
				for _, text := range c.says {
					if err == nil || !strings.Contains(err.Error(), text) {
						t.Errorf("want an error with %q, got: %v", text, err)
					}
				}
				if away := (*querystore.RedisError)(nil); err != nil && !errors.As(err, &away) {
					t.Errorf("%T: it is not tried again", err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
