package httpapi

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

const serviceName = "oprc-pm"

// healthAnswer is the health object that existing clients and charts know.
type healthAnswer struct {
	Status    string        `json:"status"`
	Service   string        `json:"service"`
	Version   string        `json:"version"`
	Timestamp string        `json:"timestamp"`
	Storage   storageHealth `json:"storage"`
	// Node is new: which node answered.
	Node string `json:"node"`
}

type storageHealth struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
	// Details is what a store over another system tells of that.
	Details any `json:"details,omitempty"`
}

// detailed is a store that has Details for the health answer. It must answer at once.
type detailed interface{ Details() any }

// handleHealth says whether this node can serve: a leader is known and the node
// has caught up. The state of CRMs is not part of it.
func (s *Server) handleHealth(rq request) error {
	st := s.deps.Store.Status()
	answer := healthAnswer{
		Status: "healthy", Service: serviceName, Version: s.deps.Version, Node: s.deps.NodeName,
		Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Storage: storageHealth{Status: "ok"},
	}
	code := fasthttp.StatusOK
	if !st.Ready {
		code = fasthttp.StatusServiceUnavailable
		answer.Status = "unhealthy"
		answer.Storage = storageHealth{Status: "error", Message: orElse(st.Reason, "not ready")}
	}
	if d, ok := s.deps.Store.(detailed); ok {
		answer.Storage.Details = d.Details()
	}
	return rq.answerProbe(code, answer)
}

// handleLivez says that the process answers. It fails for no reason that a
// restart would not cure.
func (s *Server) handleLivez(rq request) error {
	return rq.answerProbe(fasthttp.StatusOK, struct {
		Status string `json:"status"`
		Node   string `json:"node"`
	}{"alive", s.deps.NodeName})
}

type readyAnswer struct {
	Ready        bool   `json:"ready"`
	Reason       string `json:"reason,omitempty"`
	Node         string `json:"node"`
	Role         string `json:"role"`
	AppliedIndex uint64 `json:"applied_index"`
}

// handleReadyz says whether the node should get requests.
func (s *Server) handleReadyz(rq request) error {
	st := s.deps.Store.Status()
	answer := readyAnswer{Ready: st.Ready, Node: s.deps.NodeName, Role: string(st.Role), AppliedIndex: st.AppliedIndex}
	switch {
	case s.draining.Load():
		answer.Ready, answer.Reason = false, "draining: this node is shutting down"
	case !st.Ready:
		answer.Reason = orElse(st.Reason, "the store is not ready")
	case s.deps.NotReady != nil:
		answer.Reason = s.deps.NotReady(rq.ctx)
		answer.Ready = answer.Reason == ""
	}
	code := fasthttp.StatusOK
	if !answer.Ready {
		code = fasthttp.StatusServiceUnavailable
	}
	return rq.answerProbe(code, answer)
}

// answerProbe answers a probe; no cache may keep it.
func (rq request) answerProbe(code int, v any) error {
	if err := rq.answerValue(v); err != nil {
		return err
	}
	rq.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	if code == fasthttp.StatusServiceUnavailable {
		rq.ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfterSeconds)
	}
	rq.ctx.SetStatusCode(code)
	return nil
}

// handleMetrics writes the metrics of the process as Prometheus text.
func (s *Server) handleMetrics(rq request) error {
	var text bytes.Buffer
	s.deps.WriteMetrics(&text)
	rq.ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	rq.ctx.Response.SetBodyRaw(text.Bytes())
	return nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
