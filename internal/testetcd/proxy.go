package testetcd

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and one server, and can be in the way.
type Proxy struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	target string
	// refuse ends new connections; holdUp and holdDown keep what is on its way to
	// the server and from it.
	refuse, holdUp, holdDown bool
	// delay is for how long each piece is kept.
	delay   time.Duration
	changed chan struct{}
	conns   map[net.Conn]bool
}

// NewProxy starts a proxy before target, which stops when the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.serving.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		p.serving.Wait()
	})
	return p
}

// Addr is where clients of the proxy connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut ends all connections and takes no new ones.
func (p *Proxy) Cut() {
	p.set(func() {
		p.refuse = true
		for conn := range p.conns {
			conn.Close()
		}
	})
}

// Freeze keeps connections open and lets nothing through.
func (p *Proxy) Freeze() { p.set(func() { p.holdUp, p.holdDown = true, true }) }

// HoldAnswers lets requests through and keeps what the server answers.
func (p *Proxy) HoldAnswers() { p.set(func() { p.holdDown = true }) }

// Slow keeps each piece for a while, both ways.
func (p *Proxy) Slow(delay time.Duration) { p.set(func() { p.delay = delay }) }

// Heal lets everything through again, also what was kept.
func (p *Proxy) Heal() {
	p.set(func() { p.refuse, p.holdUp, p.holdDown, p.delay = false, false, false, 0 })
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.handle(client) })
	}
}

func (p *Proxy) handle(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	if p.refuse {
		client.Close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, &p.holdUp) })
	both.Go(func() { p.copy(client, server, &p.holdDown) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// copy passes on what comes while hold allows it, until either side ends.
func (p *Proxy) copy(to, from net.Conn, hold *bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass(hold) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until something may be passed on; it never may after a cut.
func (p *Proxy) pass(hold *bool) bool {
	for delayed := false; ; {
		p.mu.Lock()
		held, refused, delay, changed := *hold, p.refuse, p.delay, p.changed
		p.mu.Unlock()
		switch {
		case refused:
			return false
		case held:
			<-changed
		case delay > 0 && !delayed:
			delayed = true
			<-time.After(delay)
		default:
			return true
		}
	}
}

// Redirect leads new connections to another server.
func (p *Proxy) Redirect(target string) { p.set(func() { p.target = target }) }
