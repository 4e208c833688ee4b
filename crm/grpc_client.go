package crm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// GRPCClient speaks the gRPC contract of the CRMs in the field. Its connection
// is opened by the first call and closes when it is idle for long; the library's
// goroutines end with it. Close it when it is no longer used.
type GRPCClient struct {
	caller
	cfg         ClusterConfig
	credentials *credentials
	pool        *grpcPool
	now         func() time.Time
}

var _ Client = (*GRPCClient)(nil)

// NewGRPCClient makes the client of one cluster. It does no I/O. logger may be
// nil.
func NewGRPCClient(cfg ClusterConfig, set *metrics.Set, logger *slog.Logger) (*GRPCClient, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure cluster %q: %w", cfg.Name, err)
	}
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	pool := &grpcPool{cfg: cfg, target: hostPort(base)}
	if base.Scheme == "https" {
		pool.trust = newTrust(cfg, base.Hostname(), logger.With("cluster", cfg.Name))
	}
	return &GRPCClient{
		caller: newCaller(cfg, set), cfg: cfg, credentials: newCredentials(cfg), pool: pool, now: time.Now,
	}, nil
}

// Close gives the connection up. Calls in flight go on; later ones fail and can
// be repeated with the client that came after this one.
func (c *GRPCClient) Close() { c.pool.close() }

// A method is one call of the service, ready to be made on a connection.
type method func(ctx context.Context, conn grpc.ClientConnInterface, options ...grpc.CallOption) error

// unary is the method of a service, with what it is asked and where the answer
// goes.
func unary[Client, Request, Answer any](
	service func(grpc.ClientConnInterface) Client,
	call func(Client, context.Context, *Request, ...grpc.CallOption) (*Answer, error),
	request *Request, into **Answer,
) method {
	return func(ctx context.Context, conn grpc.ClientConnInterface, options ...grpc.CallOption) (err error) {
		*into, err = call(service(conn), ctx, request, options...)
		return err
	}
}

// judged is a method whose answer can be a refusal, which judge returns.
func judged(do method, judge func() error) method {
	return func(ctx context.Context, conn grpc.ClientConnInterface, options ...grpc.CallOption) error {
		if err := do(ctx, conn, options...); err != nil {
			return err
		}
		return judge()
	}
}

// exchange makes a call once.
func (c *GRPCClient) exchange(ctx context.Context, call string, from Origin, do method) error {
	authorization, err := c.credentials.authorization()
	if err != nil {
		return c.notSent(call, ClassTerminal, credentialsReason(err), err)
	}
	conn, release, err := c.pool.acquire()
	switch {
	case errors.Is(err, errClientClosed):
		return c.notSent(call, ClassRetryable, errClientClosed.Error(), nil)
	case err != nil:
		return c.notSent(call, ClassTerminal, "TLS settings cannot be used", err)
	}
	defer release()

	pairs := make([]string, 0, 12)
	for _, h := range from.headers() {
		pairs = append(pairs, h.name, h.value)
	}
	if authorization != "" {
		pairs = append(pairs, headerAuthorization, authorization)
	}
	var answer grpcAnswer
	err = do(metadata.AppendToOutgoingContext(ctx, pairs...), conn.conn,
		grpc.Header(&answer.header), grpc.Trailer(&answer.trailer), grpc.Peer(&answer.peer))
	var judged *CallError
	if err == nil || errors.As(err, &judged) {
		return err
	}
	return c.callError(ctx, call, err, &answer, conn)
}

// read makes a call that may be repeated.
func (c *GRPCClient) read(ctx context.Context, call string, from Origin, do method) error {
	return c.caller.read(ctx, call, from, func(ctx context.Context) error { return c.exchange(ctx, call, from, do) })
}

// send makes a call once.
func (c *GRPCClient) send(ctx context.Context, call string, from Origin, do method) error {
	return c.caller.once(ctx, call, from, func(ctx context.Context) error { return c.exchange(ctx, call, from, do) })
}

// Health implements Client. A CRM that cannot tell how its cluster is, is asked
// whether it serves.
func (c *GRPCClient) Health(ctx context.Context) (model.ClusterHealth, error) {
	var answer *crmpb.CrmEnvHealth
	err := c.read(ctx, CallHealth, Origin{}, unary(crmpb.NewCrmInfoServiceClient, crmpb.CrmInfoServiceClient.GetEnvHealth, &crmpb.CrmEnvRequest{}, &answer))
	if err == nil {
		return healthFromProto(answer, c.cluster, c.now()), nil
	}
	var failed *CallError
	if !errors.As(err, &failed) || failed.Status == 0 {
		return model.ClusterHealth{}, err // nobody answered, and nobody will
	}
	var serving *crmpb.HealthCheckResponse
	checkErr := c.send(ctx, CallHealth, Origin{}, unary(crmpb.NewHealthServiceClient, crmpb.HealthServiceClient.Check, &crmpb.HealthCheckRequest{}, &serving))
	if checkErr != nil {
		return model.ClusterHealth{}, err // the first error says more
	}
	return servingFromProto(serving, c.cluster, c.now()), nil
}

// Deploy implements Client.
func (c *GRPCClient) Deploy(ctx context.Context, from Origin, unit model.DeploymentUnit) (model.CRMResponse, error) {
	from.Deployment = cmp.Or(from.Deployment, unit.DeploymentKey)
	request := &crmpb.DeployRequest{DeploymentUnit: unitToProto(unit, c.now())}
	var answer *crmpb.DeployResponse
	err := c.send(ctx, CallDeploy, from, judged(
		unary(crmpb.NewDeploymentServiceClient, crmpb.DeploymentServiceClient.Deploy, request, &answer),
		func() error {
			if err := c.statusCodeError(CallDeploy, answer.GetStatus(), answer.Message); err != nil {
				return err
			}
			if id := answer.GetDeploymentId(); id != "" && !usableID(id) {
				return c.fail(CallDeploy, ClassRetryable, reasonGaveBadID, nil)
			}
			return nil
		}))
	if err != nil {
		return model.CRMResponse{}, err
	}
	return model.CRMResponse{ID: answer.GetDeploymentId(), Status: "accepted", Message: printablePointer(answer.Message)}, nil
}

// Status implements Client. Where the answer does not say whether the unit runs,
// its record is asked for as well.
func (c *GRPCClient) Status(ctx context.Context, from Origin, id string) (model.CRMStatus, error) {
	answer, err := c.deploymentStatus(ctx, CallStatus, from, id)
	if err != nil {
		return model.CRMStatus{}, err
	}
	status, known := statusFromProto(answer, id, c.now())
	if known {
		return status, nil
	}
	record, err := c.anyRecord(ctx, from, id)
	if err != nil {
		return model.CRMStatus{}, err
	}
	return statusFromRecord(status, record), nil
}

// deploymentStatus asks for a unit as its CRM holds it.
func (c *GRPCClient) deploymentStatus(ctx context.Context, call string, from Origin, id string) (*crmpb.GetDeploymentStatusResponse, error) {
	if !usableID(id) {
		return nil, c.notSent(call, ClassTerminal, reasonBadID, nil)
	}
	var answer *crmpb.GetDeploymentStatusResponse
	request := &crmpb.GetDeploymentStatusRequest{DeploymentId: id}
	err := c.send(ctx, call, from, judged(
		unary(crmpb.NewDeploymentServiceClient, crmpb.DeploymentServiceClient.GetDeploymentStatus, request, &answer),
		func() error {
			if answer.GetStatus() != crmpb.StatusCode_NOT_FOUND {
				return nil // the others say how the unit is
			}
			return c.statusCodeError(call, answer.GetStatus(), answer.Message)
		}))
	return answer, err
}

// Delete implements Client.
func (c *GRPCClient) Delete(ctx context.Context, from Origin, id string) error {
	if !usableID(id) {
		return c.notSent(CallDelete, ClassTerminal, reasonBadID, nil)
	}
	var answer *crmpb.DeleteDeploymentResponse
	request := &crmpb.DeleteDeploymentRequest{DeploymentId: id}
	err := c.send(ctx, CallDelete, from, judged(
		unary(crmpb.NewDeploymentServiceClient, crmpb.DeploymentServiceClient.DeleteDeployment, request, &answer),
		func() error { return c.statusCodeError(CallDelete, answer.GetStatus(), answer.Message) }))
	if ClassOf(err) == ClassNotFound {
		return nil
	}
	return err
}

// Topology implements Client.
func (c *GRPCClient) Topology(ctx context.Context) (model.TopologySnapshot, error) {
	var answer *crmpb.TopologySnapshot
	err := c.read(ctx, CallTopology, Origin{}, unary(crmpb.NewTopologyServiceClient, crmpb.TopologyServiceClient.GetTopology, &crmpb.TopologyRequest{}, &answer))
	if err != nil {
		return model.TopologySnapshot{}, err
	}
	return topologyFromProto(answer), nil
}
