package testproc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Addrs are the addresses of one node.
type Addrs struct{ Host, HTTP, Cluster, Gossip string }

// NewAddrs finds three free ports on a loopback address of its own, where the
// system has more than one (all of 127.0.0.0/8 on Linux), else on 127.0.0.1.
func NewAddrs(t testing.TB) Addrs {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(255), 1+rand.IntN(254))
	if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		host = "127.0.0.1"
	} else {
		_ = l.Close() // Only its being possible mattered.
	}
	return Addrs{Host: host, HTTP: freeAddr(t, host), Cluster: freeAddr(t, host), Gossip: freeAddr(t, host)}
}

// freeAddr returns a port that is free for TCP and UDP. It is not one of those that
// the system gives to connections, which could take it before the node does.
func freeAddr(t testing.TB, host string) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort(host, strconv.Itoa(10_000+rand.IntN(22_000)))
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", addr)
		if err == nil {
			_ = udp.Close()
		}
		_ = tcp.Close()
		if err == nil {
			return addr
		}
	}
	t.Fatal("find a free port: none is free for both TCP and UDP")
	return ""
}
