package cluster

import (
	"context"
	"net"
	"time"
)

// Network makes every stream listener and every outgoing stream of a node. It
// is the one seam for TLS and for tests that cut connections.
type Network interface {
	// Listen opens a TCP listener on addr (HOST:PORT).
	Listen(addr string) (net.Listener, error)
	// Dial opens a TCP connection. Names are resolved at each call.
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// tcpNetwork is the plain Network.
type tcpNetwork struct{ dialer net.Dialer }

func newTCPNetwork() *tcpNetwork {
	return &tcpNetwork{dialer: net.Dialer{KeepAlive: 15 * time.Second}}
}

func (n *tcpNetwork) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func (n *tcpNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.dialer.DialContext(ctx, "tcp", addr)
}

// advertiseAddr is where peers reach a listener bound to bound: the wanted host
// if any, else the host it was bound to, else a private address of this
// machine.
func advertiseAddr(host string, listen string, bound net.Addr) string {
	_, port, _ := net.SplitHostPort(bound.String())
	if host == "" {
		host, _, _ = net.SplitHostPort(listen)
		if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
			host = privateIP()
		}
	}
	return net.JoinHostPort(host, port)
}

// privateIP returns the first private IPv4 address of this machine, or
// loopback when there is none.
func privateIP() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		ipNet, ok := a.(*net.IPNet)
		if ok && ipNet.IP.To4() != nil && ipNet.IP.IsPrivate() {
			return ipNet.IP.String()
		}
	}
	return "127.0.0.1"
}
