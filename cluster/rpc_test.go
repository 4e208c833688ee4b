package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

const (
	echoCall  frameType = 50
	stuckCall frameType = 51
	slowCall  frameType = 52
)

type rpcPair struct {
	client *rpcClient
	server endpoint
	// release answers the calls that are stuck.
	release chan struct{}
}

func newRPCPair(t *testing.T) rpcPair {
	t.Helper()
	pair := rpcPair{release: make(chan struct{})}
	var wg sync.WaitGroup
	srv := &rpcServer{limit: 1 << 16, timeout: 2 * time.Second, metrics: newNodeMetrics(metrics.NewSet()),
		logger: slog.New(slog.DiscardHandler), slow: make(chan struct{}, 2), wg: &wg}
	srv.handlers = map[frameType]handler{
		echoCall: func(_ context.Context, _ string, payload []byte, respond respond) { respond(payload, nil) },
		stuckCall: func(_ context.Context, _ string, _ []byte, respond respond) {
			wg.Go(func() { <-pair.release; respond(nil, nil) })
		},
		slowCall: srv.blocking(func(ctx context.Context, _ string, p []byte) ([]byte, error) {
			<-pair.release
			return p, nil
		}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv.ctx = ctx
	pair.server = newEndpoint(t, "", func(m *mux) {
		m.serve = map[protocol]func(net.Conn, string){protocolRPC: srv.serve}
	})
	from := newEndpoint(t, "", nil)
	pair.client = newRPCClient(from.mux, func(id string) string {
		if id == pair.server.id.serverID {
			return pair.server.addr
		}
		return ""
	}, 1<<16, 2*time.Second)
	t.Cleanup(func() {
		close(pair.release)
		cancel()
		from.shut()
		pair.client.close()
		wg.Wait()
	})
	return pair
}

func TestRPCManyInFlight(t *testing.T) {
	t.Parallel()
	p := newRPCPair(t)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			want := fmt.Appendf(nil, "call %d", i)
			got, err := p.client.call(context.Background(), p.server.id.serverID, lane(i%2), echoCall, want)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("answer = %q, %v, want %q", got, err, want)
			}
		})
	}
	wg.Wait()
	if got, want := p.server.open(), int(lanes); got > want {
		t.Errorf("%d connections, want at most %d", got, want)
	}
}

func TestRPCErrors(t *testing.T) {
	t.Parallel()
	p := newRPCPair(t)
	id := p.server.id.serverID
	ctx := context.Background()

	t.Run("unknown type", func(t *testing.T) {
		_, err := p.client.call(ctx, id, laneBulk, 99, nil)
		var remote *remoteError
		if !errors.As(err, &remote) || remote.code != remoteUnknownType {
			t.Errorf("error = %v, want code %d", err, remoteUnknownType)
		}
	})
	t.Run("unknown peer is not sent", func(t *testing.T) {
		_, err := p.client.call(ctx, randomID(), laneBulk, echoCall, nil)
		if !errors.Is(err, errNotSent) {
			t.Errorf("error = %v, want %v", err, errNotSent)
		}
	})
	t.Run("given up while unanswered may have been done", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := p.client.call(short, id, laneBulk, stuckCall, nil)
		if err == nil || errors.Is(err, errNotSent) {
			t.Errorf("error = %v, want one that does not say it was not sent", err)
		}
	})
	t.Run("slow calls are bounded", func(t *testing.T) {
		calls := make(chan *call, 3)
		for range 3 {
			p.client.start(id, laneBulk, slowCall, nil, calls)
		}
		c := <-calls
		var remote *remoteError
		if !errors.As(c.err, &remote) || remote.code != remoteBusy {
			t.Errorf("third slow call: %v, want busy", c.err)
		}
	})
	t.Run("too large a frame ends the connection", func(t *testing.T) {
		_, err := p.client.call(ctx, id, laneQuick, echoCall, make([]byte, 1<<17))
		if err == nil {
			t.Error("a frame beyond the limit was answered")
		}
		if _, err := p.client.call(ctx, id, laneQuick, echoCall, nil); err != nil {
			t.Errorf("call after it: %v", err)
		}
	})
}

// A peer that takes requests and then says nothing is given up, and what was
// sent to it counts as maybe done.
func TestRPCSilentPeer(t *testing.T) {
	t.Parallel()
	silent := newEndpoint(t, "", func(m *mux) {
		m.serve = map[protocol]func(net.Conn, string){protocolRPC: func(net.Conn, string) {}}
	})
	from := newEndpoint(t, "", nil)
	client := newRPCClient(from.mux, func(string) string { return silent.addr }, 1<<16, 200*time.Millisecond)
	defer func() { from.shut(); client.close() }()
	_, err := client.call(context.Background(), silent.id.serverID, laneBulk, echoCall, []byte("x"))
	if err == nil || errors.Is(err, errNotSent) {
		t.Errorf("error = %v, want one that does not say it was not sent", err)
	}
}

// A connection that was idle for almost the timeout is not given up because the
// answer to the next call takes a while.
func TestRPCSlowAnswerAfterIdling(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	slow := &rpcServer{limit: 1 << 16, timeout: timeout, metrics: newNodeMetrics(metrics.NewSet()),
		logger: slog.New(slog.DiscardHandler), ctx: context.Background()}
	slow.handlers = map[frameType]handler{
		echoCall: func(_ context.Context, _ string, p []byte, respond respond) { respond(p, nil) },
		stuckCall: func(_ context.Context, _ string, p []byte, respond respond) {
			time.AfterFunc(timeout*6/10, func() { respond(p, nil) })
		},
	}
	server := newEndpoint(t, "", func(m *mux) {
		m.serve = map[protocol]func(net.Conn, string){protocolRPC: slow.serve}
	})
	from := newEndpoint(t, "", nil)
	client := newRPCClient(from.mux, func(string) string { return server.addr }, 1<<16, timeout)
	defer func() { from.shut(); client.close() }()
	if _, err := client.call(context.Background(), server.id.serverID, laneBulk, echoCall, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-time.After(timeout * 7 / 10)
	if _, err := client.call(context.Background(), server.id.serverID, laneBulk, stuckCall, []byte("y")); err != nil {
		t.Errorf("slow answer after idling: %v", err)
	}
}

func TestRemoteErrorRoundTrip(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		proposed bool // of the *attemptError that comes out
		code     model.Code
	}{
		{name: "not leader", err: &attemptError{err: errors.New("x"), hint: clusterA}},
		{name: "busy", err: notProposed(errBusy)},
		{name: "maybe", err: maybeProposed(errors.New("x")), proposed: true},
		{name: "too large", err: &model.Error{Code: model.CodeTooLarge, Message: "x"}, code: model.CodeTooLarge},
		{name: "invalid", err: remoteErrorf(remoteInvalid, "x"), code: model.CodeInternal},
		{name: "other", err: errors.New("x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var remote *remoteError
			if !errors.As(decodeRemoteError(toRemote(tt.err).encode()), &remote) {
				t.Fatal("not a remote error")
			}
			got := fromRemote(remote)
			var attempt *attemptError
			if errors.As(got, &attempt) != (tt.code == "") {
				t.Fatalf("error = %#v", got)
			}
			if attempt != nil && attempt.proposed != tt.proposed {
				t.Errorf("proposed = %v, want %v", attempt.proposed, tt.proposed)
			}
			if tt.name == "not leader" && attempt.hint != clusterA {
				t.Errorf("hint = %q, want %q", attempt.hint, clusterA)
			}
			if tt.code != "" && model.CodeOf(got) != tt.code {
				t.Errorf("code = %q, want %q", model.CodeOf(got), tt.code)
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, frame{id: 7, kind: framePropose, payload: []byte("abc")}))
	f.Add(binary.BigEndian.AppendUint32(nil, 0xffffffff))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			got, err := readFrame(r, 1<<16)
			if err != nil {
				break
			}
			again, err := readFrame(bytes.NewReader(appendFrame(nil, got)), 1<<16)
			if err != nil || again.id != got.id || again.kind != got.kind || !bytes.Equal(again.payload, got.payload) {
				t.Fatalf("frame = %+v, %v, want %+v", again, err, got)
			}
		}
		_ = decodeRemoteError(b)
	})
}
