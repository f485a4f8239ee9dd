package telemetry

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// bounded limits how many connections are open at a time. Beyond that the one that rests for longest is
// closed; while none rests, further ones wait. A connection rests while it is the caller's turn: to ask, to
// say the rest of what it asks, or to take the answer. So callers that keep connections open, never say
// what they want, or do not read what they get, do not make probes fail.
func bounded(l net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{}), rested: make(chan struct{}, 1)}
}

// sendBuffer bounds what the system holds for a caller who does not take it.
const sendBuffer = 128 << 10

type boundedListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
	rested chan struct{} // has a value when a connection came to rest

	mu      sync.Mutex
	resting []*boundedConn // the longest first; at most as many as slots
}

func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetWriteBuffer(sendBuffer) // a wish
	}
	for {
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: conn, listener: l}, nil
		default:
		}
		l.closeLongest()
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: conn, listener: l}, nil
		case <-l.rested:
		case <-l.closed:
			conn.Close()
			return nil, net.ErrClosed
		}
	}
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *boundedListener) closeLongest() {
	for {
		l.mu.Lock()
		if len(l.resting) == 0 {
			l.mu.Unlock()
			return
		}
		conn := l.resting[0]
		l.resting = l.resting[1:]
		l.mu.Unlock()
		if !conn.closed.Load() { // one that is closed already has given its slot back
			conn.Close()
			return
		}
	}
}

// state is the server's ConnState.
func (l *boundedListener) state(c net.Conn, s http.ConnState) {
	conn, is := c.(*boundedConn)
	if !is {
		return
	}
	switch s {
	case http.StateNew, http.StateIdle:
		l.rest(conn)
	case http.StateClosed, http.StateHijacked:
		l.wake(conn)
	case http.StateActive: // the first byte of a request; it rests until there is the whole head: see busy
	}
}

// rest says that it is the caller's turn, from now on.
func (l *boundedListener) rest(conn *boundedConn) {
	l.mu.Lock()
	l.remove(conn)
	if !conn.closed.Load() {
		l.resting = append(l.resting, conn)
	}
	l.mu.Unlock()
	select {
	case l.rested <- struct{}{}:
	default:
	}
}

// wake says that a connection does not rest.
func (l *boundedListener) wake(conn *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(conn)
}

func (l *boundedListener) remove(conn *boundedConn) {
	if i := slices.Index(l.resting, conn); i >= 0 {
		l.resting = slices.Delete(l.resting, i, i+1)
	}
}

// busy notes which connections are being worked for. What the server does after the handler, such as
// reading the rest of a body that nobody wanted, is waiting for the caller again.
func (l *boundedListener) busy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := connOf(r)
		conn.works(true)
		defer conn.works(false)
		next.ServeHTTP(w, r)
	})
}

type connKey struct{}

// withConn is the server's ConnContext.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// connOf is the connection that a request came by; nil where it did not come by this server.
func connOf(r *http.Request) *boundedConn {
	conn, _ := r.Context().Value(connKey{}).(*boundedConn)
	return conn
}

type boundedConn struct {
	net.Conn
	listener *boundedListener
	working  atomic.Bool // a handler works for it
	closed   atomic.Bool
}

// works says whether a handler works for the connection, or it is the caller's turn. The connection may be nil.
func (c *boundedConn) works(is bool) {
	if c == nil {
		return
	}
	c.working.Store(is)
	if is {
		c.listener.wake(c)
	} else {
		c.listener.rest(c)
	}
}

// writeBytes is how much is handed to the system at a time: a connection cannot be closed while the system
// takes it.
const writeBytes = 64 << 10

// Write implements net.Conn. While a caller does not take what is written, its connection rests.
func (c *boundedConn) Write(p []byte) (n int, err error) {
	if c.working.Load() {
		c.listener.rest(c)
		defer func() {
			if c.working.Load() {
				c.listener.wake(c)
			}
		}()
	}
	for {
		wrote, err := c.Conn.Write(p[n:min(len(p), n+writeBytes)])
		if n += wrote; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	if !c.closed.Swap(true) {
		<-c.listener.slots
	}
	return err
}
