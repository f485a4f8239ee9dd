package telemetry

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// bounded limits how many connections are open at a time. Beyond that the one that has been without a
// request for longest is closed; while all are being answered, further ones wait. So callers that keep
// connections open without asking, or never say what they want, do not make probes fail.
func bounded(l net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{}), rested: make(chan struct{}, 1)}
}

type boundedListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
	rested chan struct{} // has a value when a connection came to rest

	mu      sync.Mutex
	resting []net.Conn // those without a request, the longest first; at most as many as slots
}

func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for {
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: conn, slots: l.slots}, nil
		default:
		}
		l.closeLongest()
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: conn, slots: l.slots}, nil
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
	l.mu.Lock()
	var conn net.Conn
	if len(l.resting) > 0 {
		conn = l.resting[0]
		l.resting = l.resting[1:]
	}
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// state is the server's ConnState.
func (l *boundedListener) state(conn net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew, http.StateIdle:
		l.wake(conn) // it rests already where the server answered without a handler
		l.mu.Lock()
		l.resting = append(l.resting, conn)
		l.mu.Unlock()
		select {
		case l.rested <- struct{}{}:
		default:
		}
	case http.StateClosed, http.StateHijacked:
		l.wake(conn)
	case http.StateActive: // the first byte of a request; it rests until there is the whole head: see busy
	}
}

// wake says that a connection does not rest.
func (l *boundedListener) wake(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.resting {
		if l.resting[i] == conn {
			l.resting = append(l.resting[:i:i], l.resting[i+1:]...)
			return
		}
	}
}

// busy notes which connections have a request.
func (l *boundedListener) busy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, is := r.Context().Value(connKey{}).(net.Conn); is {
			l.wake(conn)
		}
		next.ServeHTTP(w, r)
	})
}

type connKey struct{}

// withConn is the server's ConnContext.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

type boundedConn struct {
	net.Conn
	once  sync.Once
	slots chan struct{}
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
