package querystore

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// mostReply bounds what a server may answer to one pipeline, in bytes. Members are at most some 300 KB
// (maxOutsideObjects of maxOutsideName), so that one alone always fits.
const mostReply = 8 << 20

// errReplyTooLarge ends an exchange whose answer is larger than that. The connection is given up; the caller asks for
// less.
var errReplyTooLarge = errors.New("the answer is too large")

// redisConn is a connection that reads a bounded number of bytes after each write: what a client library collects of
// one answer is otherwise bounded by nothing.
type redisConn struct {
	net.Conn
	most, left int
	// certificate says what is known of the client's certificate; nil for plain connections.
	certificate *clientCertificate
	heard       bool // the server has answered
}

// Write begins another exchange.
func (c *redisConn) Write(b []byte) (int, error) {
	c.left = c.most
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

func (c *redisConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := c.Conn.Read(b)
	c.left -= n
	c.heard = c.heard || n > 0
	return n, c.explain(err)
}

// explain says so where a server may have ended the connection for the certificate: over TLS 1.3 it says nothing
// before the first answer is due, and its word may be lost with the connection.
func (c *redisConn) explain(err error) error {
	if c.heard {
		return err
	}
	return c.certificate.explain(err)
}

// redisTCP is one whose socket the client library can look at, as it does before it uses a connection again.
type redisTCP struct {
	*redisConn
	socket syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (c redisTCP) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// dialer makes connections, with or without TLS.
func (s *RedisStore) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		o := &redis.Options{DialTimeout: s.opts.DialTimeout}
		var certificate *clientCertificate
		if s.opts.TLS != nil {
			certificate = &clientCertificate{}
			o.TLSConfig = certificate.watch(s.opts.TLS)
		}
		conn, err := redis.NewDialer(o)(ctx, network, address)
		if err != nil {
			return nil, certificate.explain(err)
		}
		c := &redisConn{Conn: conn, most: s.mostReply, left: s.mostReply, certificate: certificate}
		if socket, ok := conn.(syscall.Conn); ok {
			return redisTCP{c, socket}, nil
		}
		return c, nil
	}
}
