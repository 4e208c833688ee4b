package crm

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// grpcRecorder is a server of all services of the .proto files. It writes down
// what it is asked and answers what it is told to.
type grpcRecorder struct {
	answer func(ctx context.Context, method string, request proto.Message) (proto.Message, error)

	mu    sync.Mutex
	calls []grpcCall // guarded by mu
}

// grpcCall is one call as it arrived.
type grpcCall struct {
	method   string
	metadata metadata.MD
	request  proto.Message
	// left is the time until the call's deadline; 0: it had none.
	left time.Duration
}

func (r *grpcRecorder) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	message := request.(proto.Message)
	call := grpcCall{method: info.FullMethod, request: proto.Clone(message)}
	call.metadata, _ = metadata.FromIncomingContext(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		call.left = time.Until(deadline)
	}
	r.mu.Lock()
	r.calls = append(r.calls, call)
	r.mu.Unlock()
	answer, err := r.answer(ctx, info.FullMethod, message)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (r *grpcRecorder) seen() []grpcCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]grpcCall(nil), r.calls...)
}

func (r *grpcRecorder) methods() []string {
	var methods []string
	for _, call := range r.seen() {
		methods = append(methods, call.method)
	}
	return methods
}

// newGRPCServer serves all services; tlsConfig may be nil.
func newGRPCServer(t *testing.T, tlsConfig *tls.Config, recorder *grpcRecorder, options ...grpc.ServerOption) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveGRPC(t, listener, tlsConfig, recorder, options...)
	return listener.Addr().String()
}

// serveGRPC serves until the test ends, or stop is called.
func serveGRPC(t *testing.T, listener net.Listener, tlsConfig *tls.Config, recorder *grpcRecorder, options ...grpc.ServerOption) (stop func()) {
	t.Helper()
	options = append(options, grpc.UnaryInterceptor(recorder.intercept), grpc.WaitForHandlers(true))
	if tlsConfig != nil {
		options = append(options, grpc.Creds(grpccredentials.NewTLS(tlsConfig)))
	}
	server := grpc.NewServer(options...)
	crmpb.RegisterDeploymentServiceServer(server, crmpb.UnimplementedDeploymentServiceServer{})
	crmpb.RegisterHealthServiceServer(server, crmpb.UnimplementedHealthServiceServer{})
	crmpb.RegisterCrmInfoServiceServer(server, crmpb.UnimplementedCrmInfoServiceServer{})
	crmpb.RegisterTopologyServiceServer(server, crmpb.UnimplementedTopologyServiceServer{})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve gRPC: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { server.Stop(); serving.Wait() })
	t.Cleanup(stop)
	return stop
}

// always answers the same.
func always(answer proto.Message, err error) func(context.Context, string, proto.Message) (proto.Message, error) {
	return func(context.Context, string, proto.Message) (proto.Message, error) { return answer, err }
}

// byMethod answers by method; others are unimplemented.
func byMethod(answers map[string]proto.Message) func(context.Context, string, proto.Message) (proto.Message, error) {
	return func(_ context.Context, method string, _ proto.Message) (proto.Message, error) {
		if answer, ok := answers[method]; ok {
			return answer, nil
		}
		return nil, status.Error(codes.Unimplemented, "no such method")
	}
}

// testNow is the time by the clock of test clients.
var testNow = time.Date(2026, 3, 4, 5, 6, 7, 800, time.UTC)

func newTestGRPCClient(t *testing.T, baseURL string, change func(*ClusterConfig)) *GRPCClient {
	t.Helper()
	cfg := DefaultClusterConfig("edge", baseURL)
	cfg.Protocol, cfg.RetryAttempts, cfg.Timeout = model.ProtocolGRPC, 1, patience
	if change != nil {
		change(&cfg)
	}
	client, err := NewGRPCClient(cfg, metrics.NewSet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	client.now = func() time.Time { return testNow }
	t.Cleanup(client.Close)
	return client
}
