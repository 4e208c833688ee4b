package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestIdleConnectionsHoldNoBodies holds invariant I10: what a request or its
// answer took is given back, also while the client keeps its connection open. It
// runs alone, because it measures the heap.
func TestIdleConnectionsHoldNoBodies(t *testing.T) {
	const (
		connections = 24
		bodyBytes   = 2 << 20
		allowed     = connections * bodyBytes / 4
	)
	a := start(t, options{})
	version := strings.Repeat("v", 4096)
	for i := range bodyBytes / len(version) {
		a.must(a.do(call{"POST", pkgs, fmt.Sprintf(`{"name":"p%d","version":%q}`, i, version), nil}), 201)
	}
	for name, request := range map[string]string{
		"request body":  "POST " + pkgs + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + fmt.Sprint(bodyBytes) + "\r\n\r\n" + strings.Repeat(" ", bodyBytes),
		"response body": "GET " + pkgs + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := heapInUse()
			for range connections {
				defer a.idle(request).Close()
			}
			if grown := heapInUse() - before; grown > allowed {
				t.Errorf("%d idle connections hold %d KiB, want at most %d KiB", connections, grown>>10, allowed>>10)
			}
		})
	}
}

// idle opens a connection, sends a request, reads the answer, and leaves the
// connection open.
func (a *api) idle(request string) net.Conn {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		a.t.Fatalf("dial: %v", err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatalf("set deadline: %v", err)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		a.t.Fatalf("send request: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		a.t.Fatalf("read body: %v", err)
	}
	return conn
}

// heapInUse is what is left after garbage has been collected, pools included.
func heapInUse() int64 {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
