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

// metered is a connection that reads a bounded number of bytes after each write: what a client library collects of
// one answer is otherwise bounded by nothing.
type metered struct {
	net.Conn
	most, left int
}

// Write begins another exchange.
func (c *metered) Write(b []byte) (int, error) {
	c.left = c.most
	return c.Conn.Write(b)
}

func (c *metered) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := c.Conn.Read(b)
	c.left -= n
	return n, err
}

// meteredTCP is one whose socket the client library can look at, as it does before it uses a connection again.
type meteredTCP struct {
	*metered
	socket syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (c meteredTCP) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// dialer makes connections, with or without TLS, that are bounded.
func (s *RedisStore) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := redis.NewDialer(&redis.Options{DialTimeout: s.opts.DialTimeout, TLSConfig: s.opts.TLS})
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m := &metered{conn, s.mostReply, s.mostReply}
		if socket, ok := conn.(syscall.Conn); ok {
			return meteredTCP{m, socket}, nil
		}
		return m, nil
	}
}
