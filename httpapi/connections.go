package httpapi

import (
	"maps"
	"net"
	"slices"
	"sync"
)

// connections holds what must be closed at the end of a shutdown that took too
// long. (fasthttp would leave such connections to their time-outs.)
type connections struct {
	// mu guards the fields below.
	mu        sync.Mutex
	closed    bool
	listeners []net.Listener
	open      map[net.Conn]struct{}
}

// listen notes l, or reports false after closeListeners.
func (c *connections) listen(l net.Listener) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.listeners = append(c.listeners, l)
	}
	return !c.closed
}

func (c *connections) closeListeners() {
	c.mu.Lock()
	c.closed = true
	listeners := c.listeners
	c.listeners = nil
	c.mu.Unlock()
	for _, l := range listeners {
		// The only error is that it is closed already.
		_ = l.Close()
	}
}

func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[net.Conn]struct{}{}
	}
	c.open[conn] = struct{}{}
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// closeAll closes every connection under its handler.
func (c *connections) closeAll() {
	c.mu.Lock()
	conns := slices.Collect(maps.Keys(c.open))
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}
