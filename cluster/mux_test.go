package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// endpoint is a mux that echoes on the rpc protocol.
type endpoint struct {
	*mux
	addr string
}

func newEndpoint(t *testing.T, cluster string, change func(*mux)) endpoint {
	t.Helper()
	dir, err := openDataDir(filepath.Join(t.TempDir(), "node"), LogStoreBolt)
	if err != nil {
		t.Fatal(err)
	}
	id := newIdentity(dir)
	if cluster != "" {
		if err := id.adopt(cluster); err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.DiscardHandler)
	m := &mux{
		id: id, book: openAddrBook(dir.file("peers.json"), logger), network: newTCPNetwork(),
		metrics: newNodeMetrics(metrics.NewSet()), logger: logger, quiet: newThrottle(time.Hour), maxConns: 16,
		admit: func(preamble) error { return nil },
		serve: map[protocol]func(net.Conn, string){
			protocolRPC: func(c net.Conn, _ string) { _, _ = io.Copy(c, c); c.Close() },
		},
	}
	if change != nil {
		change(m)
	}
	if err := m.listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	id.advertise = m.listener.Addr().String()
	m.start()
	t.Cleanup(func() { m.shut(); m.wait(); dir.close() })
	return endpoint{mux: m, addr: id.advertise}
}

const (
	clusterA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	clusterB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestMuxHandshake(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		dialer, acceptor string
		proto            protocol
		wantID           string // "" is the acceptor's
		refused          []string
	}{
		{name: "same cluster", dialer: clusterA, acceptor: clusterA, proto: protocolRPC},
		{name: "fresh dialer", acceptor: clusterA, proto: protocolRPC},
		{name: "fresh acceptor", dialer: clusterA, proto: protocolRPC},
		{name: "foreign cluster", dialer: clusterA, acceptor: clusterB, proto: protocolRPC, refused: []string{clusterA, clusterB}},
		{name: "another server", dialer: clusterA, acceptor: clusterA, proto: protocolRPC, wantID: randomID(), refused: []string{"not"}},
		{name: "unknown protocol", proto: 77, refused: []string{"protocol 77"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			from, to := newEndpoint(t, tt.dialer, nil), newEndpoint(t, tt.acceptor, nil)
			want := tt.wantID
			if want == "" {
				want = to.id.serverID
			}
			c, err := from.dial(context.Background(), tt.proto, want, to.addr)
			if tt.refused != nil {
				if err == nil {
					c.Close()
					t.Fatal("dial succeeded")
				}
				for _, part := range tt.refused {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q does not name %q", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantEcho(t, c)
			if got, want := to.book.lookup(from.id.serverID), from.addr; got != want {
				t.Errorf("address learnt = %q, want %q", got, want)
			}
		})
	}
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != "hello" {
		t.Errorf("echo = %q, want hello", got)
	}
}

func TestMuxCallsItselfRefused(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, clusterA, nil)
	if c, err := e.dial(context.Background(), protocolRPC, e.id.serverID, e.addr); err == nil {
		c.Close()
		t.Error("a server connected to itself")
	}
}

// Whatever comes in place of a preamble ends the connection, and the port goes
// on serving.
func TestMuxRejectsGarbage(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, clusterA, nil)
	noise := make([]byte, 4096)
	rand.Read(noise)
	good := preamble{protocol: protocolRPC, serverID: randomID()}.encode()
	future := bytes.Clone(good)
	future[4] = wireVersion + 1
	huge := bytes.Clone(good)
	huge[6], huge[7] = 0xff, 0xff
	short := bytes.Clone(good)
	short[7] = 3
	for name, input := range map[string][]byte{
		"http": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "noise": noise, "newer version": future,
		"huge": huge, "short fields": short[:preambleHeader+3], "no server id": preamble{protocol: protocolRPC}.encode(),
	} {
		c, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write(input) // refused half way, perhaps
		a, err := readAnswer(c)
		if err == nil && a.status == statusAccepted {
			t.Errorf("%s was accepted", name)
		}
		var netErr net.Error
		if errors.As(err, &netErr) && netErr.Timeout() {
			t.Errorf("%s: no answer and no end", name)
		}
		c.Close()
	}
	from := newEndpoint(t, clusterA, nil)
	c, err := from.dial(context.Background(), protocolRPC, e.id.serverID, e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantEcho(t, c)
}

func TestMuxBoundsConnections(t *testing.T) {
	t.Parallel()
	to := newEndpoint(t, "", func(m *mux) { m.maxConns = 3 })
	from := newEndpoint(t, "", nil)
	var open []net.Conn
	for range 3 {
		c, err := from.dial(context.Background(), protocolRPC, to.id.serverID, to.addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if c, err := from.dial(context.Background(), protocolRPC, to.id.serverID, to.addr); err == nil {
		c.Close()
		t.Error("a connection beyond the limit was accepted")
	}
	for _, c := range open {
		c.Close()
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := from.dial(context.Background(), protocolRPC, to.id.serverID, to.addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no connection after the others closed: %v", err)
		}
	}
}

func FuzzPreamble(f *testing.F) {
	f.Add(preamble{protocol: protocolRaft, clusterID: clusterA, serverID: clusterB, addr: "h:1"}.encode())
	f.Add(answer{status: statusRefused, message: "no"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := readPreamble(bytes.NewReader(b)); err == nil {
			again, err := readPreamble(bytes.NewReader(p.encode()))
			if err != nil {
				t.Fatalf("own encoding of %+v: %v", p, err)
			}
			if len(p.clusterID)+len(p.serverID)+len(p.wantID)+len(p.addr) < 400 && again != p {
				t.Errorf("preamble = %+v, want %+v", again, p)
			}
		}
		_, _ = readAnswer(bytes.NewReader(b))
	})
}
