package sim

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Names of the calls of the contract, as in the journal and in Faults.
const (
	callHealth   = "health"
	callCheck    = "check"
	callTopology = "topology"
	callDeploy   = "deploy"
	callStatus   = "status"
	callRecord   = "record"
	callRecords  = "records"
	callDelete   = "delete"
)

var callNames = []string{callHealth, callDeploy, callStatus, callRecord, callRecords, callDelete, callCheck, callTopology}

// Protocols of a call.
const (
	protocolHTTP = "http"
	protocolGRPC = "grpc"
)

// Names of what comes beside a call: HTTP headers, metadata of gRPC.
const (
	headerTerm        = "X-Oprc-Term"
	headerGeneration  = "X-Oprc-Generation"
	headerDeployment  = "X-Oprc-Deployment"
	headerCorrelation = "X-Correlation-Id"
	headerIdempotency = "Idempotency-Key"
	headerTrace       = "Traceparent"
)

// refusal is an answer that is not a success.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.message }

// asRefusal returns err as a refusal; a fault of ours becomes a 500.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{http.StatusInternalServerError, "internal", "the simulator cannot keep its state"}
}

// errCut says that the caller gets no answer: it has gone, or the connection is
// cut on purpose.
var errCut = errors.New("no answer is given")

// answer is what a call gives: a status and a body in the form of HTTP, and its
// effect.
type answer struct {
	status int
	body   any
	effect Effect
}

// exchange is one call on its way, whichever protocol brought it.
type exchange struct {
	call  Call
	shown shown
	// problem is what is wrong with what came beside the body.
	problem error
	// do has the call's effect. It may complete call.
	do func(call *Call) (answer, error)
}

// newExchange reads what came beside a call; get returns the value of a header,
// or "".
func newExchange(protocol, name, unit string, get func(header string) string) *exchange {
	x := &exchange{call: Call{
		Name: name, Protocol: protocol, Unit: unit,
		Deployment:     get(headerDeployment),
		CorrelationID:  get(headerCorrelation),
		IdempotencyKey: get(headerIdempotency),
		Traceparent:    get(headerTrace),
	}}
	x.shown.authorization = get("Authorization")
	x.problem = errors.Join(
		headerNumber(get(headerTerm), headerTerm, &x.call.Term),
		headerNumber(get(headerGeneration), headerGeneration, &x.call.Generation),
	)
	return x
}

func headerNumber(text, name string, into *uint64) error {
	if text == "" {
		return nil
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return &refusal{http.StatusBadRequest, "invalid", name + ": must be a number"}
	}
	*into = value
	return nil
}

// run takes a call through the faults to its effect. The error is a *refusal, or
// errCut. garbage asks the protocol for nonsense in place of the answer.
func (s *Sim) run(ctx context.Context, x *exchange) (reply answer, garbage bool, err error) {
	reply, err = s.perform(ctx, x)
	if err != nil && ctx.Err() != nil {
		return reply, false, errCut // the caller has gone, or the simulator ends
	}
	if errors.Is(err, errCut) {
		return reply, false, err
	}
	if err != nil {
		return reply, false, asRefusal(err)
	}
	if s.faults.hang(ctx, x.call.Name, func(f Faults) bool { return f.HangReply }) != nil {
		return reply, false, errCut
	}
	f := s.faults.get()
	if f.DropReply && f.concern(x.call.Name) {
		return reply, false, errCut
	}
	return reply, f.Garbage && f.concern(x.call.Name), nil
}

// perform runs one call and journals it. Changes are serialised, so the order of
// the journal is the order of the effects.
func (s *Sim) perform(ctx context.Context, x *exchange) (reply answer, err error) {
	if err = x.problem; err == nil {
		err = s.before(ctx, x)
	}
	if refused := (*refusal)(nil); err != nil && !errors.As(err, &refused) {
		return answer{}, err // nothing happened
	}

	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err == nil {
		err = s.advance(x.call.Term)
	}
	if err == nil {
		reply, err = x.do(&x.call)
	} else {
		reply.effect = EffectRefused
	}
	x.call.At, x.call.Status, x.call.Effect = s.cfg.Now().UTC(), reply.status, reply.effect
	if err != nil {
		x.call.Status = asRefusal(err).status
	}
	s.journal.add(x.call)
	return reply, err
}

// before plays the faults that come before a call's effect, and asks who calls. A
// refusal is to be answered; another error means that there is nobody to answer.
func (s *Sim) before(ctx context.Context, x *exchange) error {
	name := x.call.Name
	f := s.faults.get()
	if f.concern(name) && f.Latency > 0 {
		timer := time.NewTimer(time.Duration(f.Latency))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.faults.hang(ctx, name, func(f Faults) bool { return f.Hang }); err != nil {
		return err
	}
	if err := s.admit(x.shown); err != nil {
		return err
	}
	f = s.faults.get()
	if refused := f.refuses(&x.call); refused != nil {
		return refused
	}
	s.mu.Lock()
	unlucky := f.concern(name) && f.ErrorRate > 0 && s.rng.Float64() < f.ErrorRate
	s.mu.Unlock()
	if unlucky {
		return &refusal{http.StatusServiceUnavailable, "unavailable", "the simulated cluster is unavailable"}
	}
	return nil
}

// refuses returns the refusal that the faults hold for a call whatever its
// content, or nil.
func (f Faults) refuses(call *Call) error {
	for _, name := range f.Unimplemented {
		if name == call.Name {
			return &refusal{http.StatusNotImplemented, "unimplemented", "the simulated CRM does not know this call"}
		}
	}
	switch {
	case !f.concern(call.Name):
		return nil
	case f.Status != 0:
		return &refusal{f.Status, "fault", "a fault was injected"}
	case f.StaleTerm && call.Term > 0:
		return staleTerm()
	}
	return nil
}
