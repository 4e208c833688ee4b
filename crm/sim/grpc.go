package sim

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// newGRPCServer makes a server of the services that the CRMs of the field have.
func (s *Sim) newGRPCServer() *grpc.Server {
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(maxBody), grpc.WaitForHandlers(true)}
	if s.cfg.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.cfg.TLS.Clone())))
	}
	server := grpc.NewServer(options...)
	crmpb.RegisterDeploymentServiceServer(server, deploymentService{sim: s})
	crmpb.RegisterHealthServiceServer(server, healthService{sim: s})
	crmpb.RegisterCrmInfoServiceServer(server, infoService{sim: s})
	crmpb.RegisterTopologyServiceServer(server, topologyService{sim: s})
	reflection.Register(server)
	return server
}

// callGRPC takes a call of gRPC through the exchange. do returns what is
// answered.
func callGRPC[R proto.Message](ctx context.Context, s *Sim, name, unit string, do func(call *Call) (R, Effect, error)) (R, error) {
	x := newExchange(protocolGRPC, name, unit, metadataOf(ctx))
	x.shown.verified = verifiedPeer(ctx)
	if x.call.CorrelationID != "" {
		// It fails only when the answer has begun.
		_ = grpc.SetHeader(ctx, metadata.Pairs(headerCorrelation, x.call.CorrelationID))
	}
	var reply R
	x.do = func(call *Call) (answer, error) {
		var effect Effect
		var err error
		reply, effect, err = do(call)
		return answer{status: http.StatusOK, effect: effect}, err
	}
	_, garbage, err := s.run(ctx, x)
	if err != nil {
		var none R
		if ctx.Err() != nil {
			return none, status.FromContextError(ctx.Err()).Err()
		}
		return none, statusOf(err)
	}
	if garbage {
		// A field number that no message may have.
		reply.ProtoReflect().SetUnknown(protoreflect.RawFields{0x07, 0xff, 0xff})
	}
	return reply, nil
}

func metadataOf(ctx context.Context) func(header string) string {
	return func(header string) string {
		if values := metadata.ValueFromIncomingContext(ctx, header); len(values) > 0 {
			return values[0]
		}
		return ""
	}
}

// verifiedPeer tells whether the caller has shown a certificate that is trusted.
func verifiedPeer(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	return ok && len(info.State.VerifiedChains) > 0
}

// statusOf is a refusal as gRPC says it: the code of ours begins the message.
func statusOf(err error) error {
	if errors.Is(err, errCut) {
		return status.Error(codes.Unavailable, "the connection is cut")
	}
	r := asRefusal(err)
	return status.Error(grpcCode(r), r.code+": "+r.message)
}

func grpcCode(r *refusal) codes.Code {
	switch r.status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		if r.code == "already_exists" {
			return codes.AlreadyExists
		}
		return codes.FailedPrecondition
	case http.StatusTooManyRequests, http.StatusInsufficientStorage, http.StatusRequestEntityTooLarge:
		return codes.ResourceExhausted
	case http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	case http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.Unknown
}

type deploymentService struct {
	crmpb.UnimplementedDeploymentServiceServer
	sim *Sim
}

func (d deploymentService) Deploy(ctx context.Context, req *crmpb.DeployRequest) (*crmpb.DeployResponse, error) {
	return callGRPC(ctx, d.sim, callDeploy, req.GetDeploymentUnit().GetId(), func(call *Call) (*crmpb.DeployResponse, Effect, error) {
		unit := unitFromProto(req.GetDeploymentUnit(), call)
		if name := resourceName(unit.ID); name == "" || len(name) > maxResourceName {
			return nil, EffectRefused, &refusal{http.StatusBadRequest, "invalid", "id: does not make a resource name"}
		}
		effect, err := d.sim.deploy(call, unit)
		message := "accepted"
		return &crmpb.DeployResponse{Status: crmpb.StatusCode_OK, DeploymentId: unit.ID, Message: &message}, effect, err
	})
}

// maxResourceName is the longest name that a resource may have.
const maxResourceName = 253

func (d deploymentService) GetDeploymentStatus(ctx context.Context, req *crmpb.GetDeploymentStatusRequest) (*crmpb.GetDeploymentStatusResponse, error) {
	return callGRPC(ctx, d.sim, callStatus, req.GetDeploymentId(), func(call *Call) (*crmpb.GetDeploymentStatusResponse, Effect, error) {
		unit, err := d.sim.find(call.Unit)
		if err != nil {
			return nil, EffectNone, err
		}
		message := d.sim.state(unit, d.sim.faults.get()).foundMessage()
		return &crmpb.GetDeploymentStatusResponse{
			// As in the field: the code says that the unit was found, and what
			// is returned of it is not what was sent.
			Status: crmpb.StatusCode_OK, Message: &message,
			Deployment: &crmpb.DeploymentUnit{
				Id: unit.Unit.ID, ClassKey: resourceName(unit.Unit.ID), TargetEnv: d.sim.cfg.Name,
				Functions: functionsToProto(unit.Unit.Functions),
			},
			StatusResourceRefs: refsToProto(d.sim.record(unit, Faults{}).ResourceRefs),
		}, EffectNone, nil
	})
}

func (d deploymentService) DeleteDeployment(ctx context.Context, req *crmpb.DeleteDeploymentRequest) (*crmpb.DeleteDeploymentResponse, error) {
	return callGRPC(ctx, d.sim, callDelete, req.GetDeploymentId(), func(call *Call) (*crmpb.DeleteDeploymentResponse, Effect, error) {
		effect, err := d.sim.delete(call)
		return &crmpb.DeleteDeploymentResponse{Status: crmpb.StatusCode_OK}, effect, err
	})
}

// ListClassRuntimes heeds no filter but the status, which it compares with the
// message, as in the field.
func (d deploymentService) ListClassRuntimes(ctx context.Context, req *crmpb.ListClassRuntimesRequest) (*crmpb.ListClassRuntimesResponse, error) {
	return callGRPC(ctx, d.sim, callRecords, "", func(*Call) (*crmpb.ListClassRuntimesResponse, Effect, error) {
		f := d.sim.faults.get()
		items := []*crmpb.ClassRuntimeSummary{}
		for _, unit := range d.sim.Units() {
			summary := d.sim.summary(unit, f)
			if req.Status == nil || summary.GetStatus().GetMessage() == req.GetStatus() {
				items = append(items, summary)
			}
		}
		limit := -1
		if req.Limit != nil {
			limit = int(req.GetLimit())
		}
		items = page(items, int(req.GetOffset()), limit)
		return &crmpb.ListClassRuntimesResponse{Items: items}, EffectNone, nil
	})
}

func (d deploymentService) GetClassRuntime(ctx context.Context, req *crmpb.GetClassRuntimeRequest) (*crmpb.GetClassRuntimeResponse, error) {
	return callGRPC(ctx, d.sim, callRecord, req.GetDeploymentId(), func(call *Call) (*crmpb.GetClassRuntimeResponse, Effect, error) {
		unit, err := d.sim.find(call.Unit)
		if err != nil {
			return nil, EffectNone, err
		}
		return &crmpb.GetClassRuntimeResponse{Deployment: d.sim.summary(unit, d.sim.faults.get())}, EffectNone, nil
	})
}

// healthService knows Check; nobody uses Watch, so it is left out.
type healthService struct {
	crmpb.UnimplementedHealthServiceServer
	sim *Sim
}

func (h healthService) Check(ctx context.Context, _ *crmpb.HealthCheckRequest) (*crmpb.HealthCheckResponse, error) {
	return callGRPC(ctx, h.sim, callCheck, "", func(*Call) (*crmpb.HealthCheckResponse, Effect, error) {
		serving := crmpb.HealthCheckResponse_SERVING
		switch h.sim.Vitals().Status {
		case model.ClusterUnhealthy:
			serving = crmpb.HealthCheckResponse_NOT_SERVING
		case model.ClusterUnknown:
			serving = crmpb.HealthCheckResponse_UNKNOWN
		}
		return &crmpb.HealthCheckResponse{Status: serving}, EffectNone, nil
	})
}

type infoService struct {
	crmpb.UnimplementedCrmInfoServiceServer
	sim *Sim
}

func (i infoService) GetEnvHealth(ctx context.Context, _ *crmpb.CrmEnvRequest) (*crmpb.CrmEnvHealth, error) {
	return callGRPC(ctx, i.sim, callHealth, "", func(*Call) (*crmpb.CrmEnvHealth, Effect, error) {
		health := i.sim.health()
		return &crmpb.CrmEnvHealth{
			EnvName: health.ClusterName, Status: health.Status, CrmVersion: health.CRMVersion,
			LastSeen:  timeToProto(health.LastSeen),
			NodeCount: health.NodeCount, ReadyNodes: health.ReadyNodes, Availability: health.Availability,
		}, EffectNone, nil
	})
}

type topologyService struct {
	crmpb.UnimplementedTopologyServiceServer
	sim *Sim
}

func (t topologyService) GetTopology(ctx context.Context, _ *crmpb.TopologyRequest) (*crmpb.TopologySnapshot, error) {
	return callGRPC(ctx, t.sim, callTopology, "", func(*Call) (*crmpb.TopologySnapshot, Effect, error) {
		return t.sim.topology(), EffectNone, nil
	})
}
