package consume

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// ConnConfig says how to reach the brokers. The library's Transport and Dialer are configured apart;
// both are built from this one struct, so that they cannot differ.
type ConnConfig struct {
	// Brokers are host:port addresses, at least one.
	Brokers []string
	// ClientID is what the brokers' logs and quotas call this client.
	ClientID string
	// Topics are those whose metadata the Transport keeps, at least one. It is asked for without
	// creating them.
	Topics []string
	// TLS is nil for plaintext.
	TLS *tls.Config
	// SASL is nil where the brokers want no authentication.
	SASL sasl.Mechanism
	// Dial opens connections; nil means TCP with a time-out of 3 s.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// dialTimeout bounds a connection's set-up, TLS and SASL included.
const dialTimeout = 5 * time.Second

// Addr is the brokers' address as the library's Client and Transport take it.
func (c ConnConfig) Addr() net.Addr { return kafka.TCP(c.Brokers...) }

func (c ConnConfig) dial() func(context.Context, string, string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial
	}
	d := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return d.DialContext
}

// Transport builds the library's Transport. Its metadata is at most a second old, so that it follows
// leaders that move. Call CloseIdleConnections when it is not needed any more.
func Transport(cfg ConnConfig) *kafka.Transport {
	return &kafka.Transport{
		Dial:           cfg.dial(),
		DialTimeout:    dialTimeout,
		IdleTimeout:    30 * time.Second,
		MetadataTTL:    time.Second,
		MetadataTopics: cfg.Topics,
		ClientID:       cfg.ClientID,
		TLS:            cfg.TLS,
		SASL:           cfg.SASL,
	}
}

// Dialer builds the library's Dialer, which groups and readers use.
func Dialer(cfg ConnConfig) *kafka.Dialer {
	return &kafka.Dialer{
		ClientID:      cfg.ClientID,
		DialFunc:      cfg.dial(),
		Timeout:       dialTimeout,
		DualStack:     true,
		TLS:           cfg.TLS,
		SASLMechanism: cfg.SASL,
	}
}

// connections remembers the open connections, because the library's calls cannot be cancelled while
// they read: closing the connection is what ends them.
type connections struct {
	dial func(context.Context, string, string) (net.Conn, error)

	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

type trackedConn struct {
	net.Conn
	owner *connections
}

func newConnections(dial func(context.Context, string, string) (net.Conn, error)) *connections {
	return &connections{dial: dial, open: map[*trackedConn]struct{}{}}
}

func (c *connections) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	t := &trackedConn{conn, c}
	c.open[t] = struct{}{}
	return t, nil
}

func (t *trackedConn) Close() error {
	t.owner.mu.Lock()
	delete(t.owner.open, t)
	t.owner.mu.Unlock()
	return t.Conn.Close()
}

// closeAll closes what is open; nothing can be dialled any more.
func (c *connections) closeAll() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = map[*trackedConn]struct{}{}
	c.mu.Unlock()
	for t := range open {
		t.Conn.Close()
	}
}
