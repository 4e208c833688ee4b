package crm

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
)

// What the answer to a status call proves by itself.
func TestGRPCUnitState(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		code    crmpb.StatusCode
		message string
		want    string
		known   bool
	}{
		"OK and nothing said":          {crmpb.StatusCode_OK, "", "Unknown", false},
		"available":                    {crmpb.StatusCode_OK, "Available", "Running", true},
		"running":                      {crmpb.StatusCode_OK, " RUNNING\n", "Running", true},
		"another text":                 {crmpb.StatusCode_OK, "all is well", "Unknown", false},
		"found":                        {crmpb.StatusCode_OK, "found", "Unknown", false},
		"a bad image":                  {crmpb.StatusCode_OK, "ImagePullBackOff", "Unknown", false},
		"available, but":               {crmpb.StatusCode_OK, "Available: 0 of 3", "Unknown", false},
		"running something else":       {crmpb.StatusCode_OK, "running the image pull again", "Unknown", false},
		"progressing":                  {crmpb.StatusCode_OK, "Progressing", "Deploying", true},
		"progressing, at length":       {crmpb.StatusCode_OK, "progressing: 1 of 3", "Deploying", true},
		"pending":                      {crmpb.StatusCode_OK, " PENDING ", "Pending", true},
		"degraded":                     {crmpb.StatusCode_OK, "Degraded: no pods", "Down", true},
		"degraded, as the field words": {crmpb.StatusCode_OK, "Degraded (NoPods): 0 of 1", "Down", true},
		"only begins so":               {crmpb.StatusCode_OK, "downstream is fine", "Unknown", false},
		"ERROR":                        {crmpb.StatusCode_ERROR, "", "Down", true},
		"INVALID_REQUEST":              {crmpb.StatusCode_INVALID_REQUEST, "", "Down", true},
		"INTERNAL_ERROR":               {crmpb.StatusCode_INTERNAL_ERROR, "Available", "Down", true},
		"another status":               {crmpb.StatusCode(9), "", "Pending", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := &crmpb.GetDeploymentStatusResponse{Status: test.code}
			if test.message != "" {
				answer.Message = &test.message
			}
			got, known := statusFromProto(answer, "u1", testNow)
			if got.Status != test.want || known != test.known || got.ID != "u1" || got.LastUpdated != "2026-03-04T05:06:07.0000008Z" {
				t.Errorf("got %+v, known %v, want u1 %s, known %v", got, known, test.want, test.known)
			}
		})
	}
}

// Where a status says only that the unit is there, its record says how it is;
// where it says more, nothing else is asked.
func TestGRPCStatusAsksForTheRecord(t *testing.T) {
	t.Parallel()
	record := func(condition crmpb.DeploymentCondition, phase crmpb.DeploymentPhase, message string) *crmpb.ClassRuntimeSummary {
		return &crmpb.ClassRuntimeSummary{Id: "u1", Status: &crmpb.ClassRuntimeStatus{Condition: condition, Phase: phase, Message: &message}}
	}
	pending := record(crmpb.DeploymentCondition_PENDING, crmpb.DeploymentPhase_RESOURCE_PROVISIONING, "Pending")
	bad := proto.Clone(pending).(*crmpb.ClassRuntimeSummary)
	bad.Status.Functions = []*crmpb.FunctionStatus{
		{FunctionKey: "Cart.ok", Ready: proto.Bool(true), Message: proto.String("fine")}, nil,
		{FunctionKey: "Cart.same", Ready: proto.Bool(false), Message: proto.String("Pending")},
		{FunctionKey: "Cart.add", Ready: proto.Bool(false), Reason: proto.String("ImagePullBackOff"), Message: proto.String("no img:bad")},
	}
	one := func(r *crmpb.ClassRuntimeSummary) proto.Message { return &crmpb.GetClassRuntimeResponse{Deployment: r} }
	list := func(r ...*crmpb.ClassRuntimeSummary) proto.Message {
		return &crmpb.ListClassRuntimesResponse{Items: r}
	}
	refused := func(code codes.Code) error { return status.Error(code, "no") }
	both, all := []string{methodStatus, methodRuntime}, []string{methodStatus, methodRuntime, methodList}
	for name, test := range map[string]struct {
		message       string
		runtime, list proto.Message
		runtimeErr    error
		listErr       error
		want          Class
		state, phase  string
		text          string
		calls         []string
	}{
		"a known word needs no record": {
			message: "Available", runtime: one(pending), state: "Running", phase: "RUNNING", text: "Available", calls: []string{methodStatus},
		},
		"nor does one that says that it does not run": {
			message: "Progressing", runtime: one(pending), state: "Deploying", phase: "RESOURCE_PROVISIONING", text: "Progressing", calls: []string{methodStatus},
		},
		"a record that is pending": {
			message: "found", runtime: one(pending), state: "Pending", phase: "RESOURCE_PROVISIONING", text: "Pending", calls: both,
		},
		"one that says why": {
			message: "ImagePullBackOff", runtime: one(bad), state: "Pending", phase: "RESOURCE_PROVISIONING",
			text: "Pending: Cart.add: ImagePullBackOff: no img:bad", calls: both,
		},
		"nothing said at all": {runtime: one(pending), state: "Pending", phase: "RESOURCE_PROVISIONING", text: "Pending", calls: both},
		"a record that runs": {
			message: "found", runtime: one(record(crmpb.DeploymentCondition_RUNNING, crmpb.DeploymentPhase_PHASE_RUNNING, "found")),
			state: "Running", phase: "RUNNING", text: "found", calls: both,
		},
		"a record that is down": {
			message: "?", runtime: one(record(crmpb.DeploymentCondition_DOWN, crmpb.DeploymentPhase_FAILED, "out of memory")),
			state: "Down", phase: "FAILED", text: "out of memory", calls: both,
		},
		"a record without a message": {
			message: "warming up", runtime: one(record(crmpb.DeploymentCondition_DEPLOYING, crmpb.DeploymentPhase_RESOURCE_PROVISIONING, "")),
			state: "Deploying", phase: "RESOURCE_PROVISIONING", text: "warming up", calls: both,
		},
		"a record that does not know": {
			message: "found", runtime: one(record(crmpb.DeploymentCondition_DEPLOYMENT_CONDITION_UNKNOWN, 0, "hm")),
			state: "Unknown", phase: "UNKNOWN", text: `for a state only "found"`, calls: both,
		},
		"an answer without a record": {
			message: "found", runtime: one(nil), state: "Unknown", phase: "UNKNOWN", text: `for a state only "found"`, calls: both,
		},
		"a record that went meanwhile is no lost unit": {
			message: "found", runtimeErr: refused(codes.NotFound), state: "Unknown", phase: "UNKNOWN", text: "nothing tells whether it runs: no record", calls: both,
		},
		"no call for a record, but a list": {
			message: "found", runtimeErr: refused(codes.Unimplemented), list: list(nil, &crmpb.ClassRuntimeSummary{Id: "u0"}, pending),
			state: "Pending", phase: "RESOURCE_PROVISIONING", text: "Pending", calls: all,
		},
		"a record that is not for us": {
			message: "found", runtimeErr: refused(codes.PermissionDenied),
			list:  list(&crmpb.ClassRuntimeSummary{Id: "other", DeploymentUnitId: "u1", Status: pending.GetStatus()}),
			state: "Pending", phase: "RESOURCE_PROVISIONING", text: "Pending", calls: all,
		},
		"a list without it": {
			message: "found", runtimeErr: refused(codes.Unimplemented), list: list(&crmpb.ClassRuntimeSummary{Id: "u0"}),
			state: "Unknown", phase: "UNKNOWN", text: "nothing tells whether it runs: no record", calls: append(all[:3:3], methodList),
		},
		"neither": {
			message: "found", runtimeErr: refused(codes.Unimplemented), listErr: refused(codes.Unimplemented),
			state: "Unknown", phase: "UNKNOWN", text: `nothing tells whether it runs: no record, and for a state only "found"`, calls: all,
		},
		"neither, and nothing said": {
			runtimeErr: refused(codes.Unimplemented), listErr: refused(codes.Unimplemented),
			state: "Unknown", phase: "UNKNOWN", text: "nothing tells whether it runs: no record, and no state", calls: all,
		},
		"a record later": {message: "found", runtimeErr: refused(codes.Unavailable), want: ClassRetryable, calls: both},
		"a list later": {
			message: "found", runtimeErr: refused(codes.Unimplemented), listErr: refused(codes.Internal), want: ClassRetryable, calls: all,
		},
		"a newer leader": {
			message: "found", runtimeErr: status.Error(codes.FailedPrecondition, "stale_term"), want: ClassFenced, calls: both,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := &grpcRecorder{answer: func(_ context.Context, method string, _ proto.Message) (proto.Message, error) {
				switch method {
				case methodStatus:
					answer := &crmpb.GetDeploymentStatusResponse{}
					if test.message != "" {
						answer.Message = &test.message
					}
					return answer, nil
				case methodRuntime:
					return test.runtime, test.runtimeErr
				case methodList:
					return test.list, test.listErr
				}
				return nil, fmt.Errorf("unexpected call %s", method)
			}}
			client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
			got, err := client.Status(t.Context(), Origin{Term: 3}, "u1")
			if diff := cmp.Diff(test.calls, recorder.methods()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			for _, call := range recorder.seen() {
				if term := call.metadata.Get(headerTerm); len(term) != 1 || term[0] != "3" {
					t.Errorf("%s: got term %v, want 3", call.method, term)
				}
			}
			if test.want != "" {
				if ClassOf(err) != test.want {
					t.Errorf("got %+v, %v, want class %s", got, err, test.want)
				}
				return
			}
			if err != nil || got.ID != "u1" || got.Status != test.state || got.Phase != test.phase {
				t.Fatalf("got %+v, %v, want u1 %s %s", got, err, test.state, test.phase)
			}
			if got.Message == nil || !strings.Contains(*got.Message, test.text) {
				t.Errorf("message: got %v, want %q", got.Message, test.text)
			}
		})
	}
}

// A record without a known state in the place of a status says so too.
func TestGRPCRecordOfAStatusThatSaysNothing(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: byMethod(map[string]proto.Message{methodStatus: &crmpb.GetDeploymentStatusResponse{Message: proto.String("found")}})}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	got, err := client.Record(t.Context(), Origin{}, "u1")
	if err != nil || got.Status.Condition != "Unknown" || got.Status.Phase != "UNKNOWN" || *got.Status.Message != "found" {
		t.Errorf("got %+v, %v, want Unknown, found", got.Status, err)
	}
}
