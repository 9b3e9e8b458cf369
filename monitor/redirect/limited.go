package redirect

import (
	"net"
	"sync"
)

// maxConns bounds the connections of one listener. More wait in the system's
// queue.
const maxConns = 1024

// limited accepts only while there is room.
type limited struct {
	net.Listener
	room   chan struct{} // holds one token for each connection
	once   sync.Once
	closed chan struct{}
}

func newLimited(l net.Listener, conns int) *limited {
	return &limited{Listener: l, room: make(chan struct{}, conns), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{Conn: conn, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
