package crm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// grpcPool is the connection to one CRM. It is replaced when the TLS material
// changes, and when a call finds it pausing after a failed attempt to connect:
// when a cluster is asked is for the breaker to decide, and a call that is let
// through must find out how the cluster is now.
type grpcPool struct {
	cfg    ClusterConfig
	target string
	trust  *trust // nil for http://

	mu      sync.Mutex
	current *grpcConn // nil until the first call
	closed  bool
}

// grpcConn is one connection with those who use it.
type grpcConn struct {
	conn *grpc.ClientConn
	tls  *tlsState
	// failure is why the last attempt to connect failed.
	failure atomic.Pointer[error]
	// failed: a call has found that there is no connection.
	failed atomic.Bool

	// users and retired are guarded by the pool's mu: a retired connection is
	// closed when its last call has ended.
	users   int
	retired bool
}

var errClientClosed = errors.New("the client was replaced or closed")

// acquire returns a connection to use for one call. It does no I/O.
func (p *grpcPool) acquire() (conn *grpcConn, release func(), err error) {
	var state *tlsState
	if p.trust != nil {
		if state, err = p.trust.state(); err != nil {
			return nil, nil, err
		}
	}
	p.mu.Lock()
	conn, idle, err := p.take(state)
	p.mu.Unlock()
	closeConn(idle)
	if err != nil {
		return nil, nil, err
	}
	return conn, func() { p.release(conn) }, nil
}

// take returns the connection with one more user, and a former one that can be
// closed now. mu is held; making a connection only prepares it.
func (p *grpcPool) take(state *tlsState) (conn, idle *grpcConn, err error) {
	if p.closed {
		return nil, nil, errClientClosed
	}
	if p.current == nil || p.current.tls != state || p.current.pausing() {
		fresh, err := p.prepare(state)
		if err != nil {
			return nil, nil, err
		}
		idle = p.retire()
		p.current = fresh
	}
	p.current.users++
	return p.current, idle, nil
}

// retire gives the current connection up and returns it when nobody uses it.
func (p *grpcPool) retire() *grpcConn {
	old := p.current
	p.current = nil
	if old == nil {
		return nil
	}
	old.retired = true
	if old.users > 0 {
		return nil
	}
	return old
}

func (p *grpcPool) release(conn *grpcConn) {
	p.mu.Lock()
	conn.users--
	last := conn.retired && conn.users == 0
	p.mu.Unlock()
	if last {
		closeConn(conn)
	}
}

// close gives the connection up; calls in flight end by themselves, later ones
// fail.
func (p *grpcPool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.retire()
	p.mu.Unlock()
	closeConn(idle)
}

func closeConn(conn *grpcConn) {
	if conn != nil {
		_ = conn.conn.Close() // fails only when it was closed before
	}
}

// pausing tells whether calls would fail without an attempt to connect.
func (c *grpcConn) pausing() bool {
	if c.failed.Load() {
		return true // the state may lag behind
	}
	switch c.conn.GetState() {
	case connectivity.TransientFailure, connectivity.Shutdown:
		return true
	case connectivity.Idle, connectivity.Connecting, connectivity.Ready:
	}
	return false
}

func (c *grpcConn) note(err error) {
	if err != nil {
		c.failure.Store(&err)
	}
}

// lastFailure returns why the last attempt to connect failed; nil when none did.
func (c *grpcConn) lastFailure() error {
	if err := c.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// prepare makes a connection that is opened by its first call.
func (p *grpcPool) prepare(state *tlsState) (*grpcConn, error) {
	c := &grpcConn{tls: state}
	transport := insecure.NewCredentials()
	if state != nil {
		transport = &notingCredentials{
			TransportCredentials: grpccredentials.NewTLS(state.config.Clone()), serverName: state.config.ServerName, note: c.note,
		}
	}
	// "passthrough": the dialer resolves the name, at every dial. The name
	// server is not asked for a service configuration.
	conn, err := grpc.NewClient("passthrough:///"+p.target,
		grpc.WithTransportCredentials(transport),
		grpc.WithContextDialer(contextDialer(p.cfg, c.note)),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithUserAgent(userAgent),
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
		grpc.WithIdleTimeout(90*time.Second),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout(p.cfg)}),
		// Only while a call waits; a server may call more than that a nuisance.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(int(p.cfg.MaxResponseBytes)),
			grpc.MaxCallSendMsgSize(maxUnitBytes),
			grpc.WaitForReady(false),
			grpc.ForceCodecV2(newBoundedCodec()),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	c.conn = conn
	return c, nil
}

// maxUnitBytes bounds what is sent in one call: more than the API accepts in one
// document.
const maxUnitBytes = 32 << 20

// notingCredentials secure connections and keep the error of a handshake, of
// which gRPC makes text.
type notingCredentials struct {
	grpccredentials.TransportCredentials
	// serverName is expected in the certificate. gRPC would take the host.
	serverName string
	note       func(error)
}

// ClientHandshake implements credentials.TransportCredentials.
func (n *notingCredentials) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, grpccredentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ClientHandshake(ctx, n.serverName, raw)
	if err != nil {
		n.note(err)
		return nil, nil, err
	}
	return &notingConn{Conn: conn, note: n.note}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (n *notingCredentials) Clone() grpccredentials.TransportCredentials {
	return &notingCredentials{TransportCredentials: n.TransportCredentials.Clone(), serverName: n.serverName, note: n.note}
}

// Info hides the name that is expected in the certificate: gRPC would put it into
// requests in place of the host.
func (n *notingCredentials) Info() grpccredentials.ProtocolInfo {
	info := n.TransportCredentials.Info()
	info.ServerName = "" //nolint:staticcheck // it is what gRPC still reads
	return info
}

// notingConn keeps the alert with which a server refuses us. With TLS 1.3 that of
// a client certificate comes when the handshake is over for the client.
type notingConn struct {
	net.Conn
	note func(error)
}

// Read implements net.Conn.
func (c *notingConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if isAlert(err) {
		c.note(err)
	}
	return n, err
}
