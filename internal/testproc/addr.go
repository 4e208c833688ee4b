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

// freeAddr returns a port that is free for TCP and UDP.
func freeAddr(t testing.TB, host string) string {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		port := tcp.Addr().(*net.TCPAddr).Port
		addr := net.JoinHostPort(host, strconv.Itoa(port))
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
