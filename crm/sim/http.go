package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/oprc/oprc-pm/model"
)

const maxBody = 4 << 20

// callHandler serves one call of the contract.
type callHandler func(s *Sim, r *http.Request, call *Call, body []byte) (answer, error)

// routes are those of every simulator: there may be thousands of them in one
// process, so the one that is asked comes with the request.
var routes = sync.OnceValue(func() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/health", contract(callHealth, serveHealth))
	mux.Handle("POST /api/v1/deployments", contract(callDeploy, serveDeploy))
	mux.Handle("GET /api/v1/deployments/{id}", contract(callStatus, serveStatus))
	mux.Handle("DELETE /api/v1/deployments/{id}", contract(callDelete, serveDelete))
	mux.Handle("GET /api/v1/deployment-records", contract(callRecords, serveRecords))
	mux.Handle("GET /api/v1/deployment-records/{id}", contract(callRecord, serveRecord))
	addControl(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, noRoute()) })
	return mux
})

// asked is the key of the simulator in a request's context.
type asked struct{}

func simOf(r *http.Request) *Sim { return r.Context().Value(asked{}).(*Sim) }

// ServeHTTP implements http.Handler.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.open(); err != nil {
		s.cfg.Logger.Error("simulated crm cannot open its state", "cluster", s.cfg.Name, "error", err)
		refuse(w, asRefusal(err))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), asked{}, s))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	routes().ServeHTTP(w, r)
}

// contract wraps a handler in what all calls share: the bounded body, the
// exchange, the JSON.
func contract(name string, handle callHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := simOf(r)
		// The body is read first: only then does the server notice that a
		// caller went away.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(w, bodyRefusal(err))
			return
		}
		x := newExchange(protocolHTTP, name, r.PathValue("id"), r.Header.Get)
		x.shown.verified = r.TLS != nil && len(r.TLS.VerifiedChains) > 0
		x.do = func(call *Call) (answer, error) { return handle(s, r, call, body) }
		reply, garbage, err := s.run(r.Context(), x)
		switch {
		case errors.Is(err, errCut):
			panic(http.ErrAbortHandler) // cuts the connection
		case err != nil:
			refuse(w, asRefusal(err))
		case garbage:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":<<<`) // the caller may have gone
		default:
			writeJSON(w, reply.status, reply.body)
		}
	})
}

func serveHealth(s *Sim, _ *http.Request, _ *Call, _ []byte) (answer, error) {
	return answer{status: http.StatusOK, body: s.health()}, nil
}

func serveDeploy(s *Sim, _ *http.Request, call *Call, body []byte) (answer, error) {
	var unit model.DeploymentUnit
	if err := json.Unmarshal(body, &unit); err != nil {
		return answer{}, &refusal{http.StatusBadRequest, "invalid", "the body is not a deployment unit"}
	}
	if !validID(unit.ID) {
		call.Unit, call.Deployment = unit.ID, unit.DeploymentKey
		return answer{}, &refusal{http.StatusUnprocessableEntity, "invalid", "id: must be a DNS label"}
	}
	effect, err := s.deploy(call, unit)
	message := "unit accepted"
	return answer{http.StatusOK, model.CRMResponse{ID: unit.ID, Status: "accepted", Message: &message}, effect}, err
}

func serveStatus(s *Sim, r *http.Request, _ *Call, _ []byte) (answer, error) {
	unit, err := s.find(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: s.status(unit, s.faults.get())}, nil
}

func serveRecord(s *Sim, r *http.Request, _ *Call, _ []byte) (answer, error) {
	unit, err := s.find(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: s.record(unit, s.faults.get())}, nil
}

func serveRecords(s *Sim, r *http.Request, _ *Call, _ []byte) (answer, error) {
	query := r.URL.Query()
	limit, err := queryNumber(query, "limit")
	if err != nil {
		return answer{}, err
	}
	if !query.Has("limit") {
		limit = -1
	}
	offset, err := queryNumber(query, "offset")
	if err != nil {
		return answer{}, err
	}
	matches := func(name, value string) bool { return !query.Has(name) || query.Get(name) == value }
	records := s.records(func(record model.DeploymentRecord) bool {
		return matches("package", record.PackageName) && matches("class", record.ClassKey) &&
			matches("env", record.TargetEnvironment) && matches("status", record.Status.Condition)
	})
	return answer{status: http.StatusOK, body: page(records, offset, limit)}, nil
}

func serveDelete(s *Sim, _ *http.Request, call *Call, _ []byte) (answer, error) {
	effect, err := s.delete(call)
	return answer{http.StatusOK, map[string]string{"id": call.Unit, "status": "deleted"}, effect}, err
}

func noRoute() *refusal {
	return &refusal{http.StatusNotFound, "no_route", "there is no such path"}
}

func bodyRefusal(err error) *refusal {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body exceeds %d bytes", tooLarge.Limit)}
	}
	return &refusal{http.StatusBadRequest, "invalid", "the body cannot be read"}
}

func queryNumber(query url.Values, name string) (int, error) {
	text := query.Get(name)
	if text == "" {
		return 0, nil
	}
	value, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, &refusal{http.StatusBadRequest, "invalid", name + ": must be a number, not negative"}
	}
	return int(value), nil
}

// validID accepts a DNS label: what a real CRM would name a resource.
func validID(id string) bool {
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 63 && id[0] != '-' && id[len(id)-1] != '-'
}

func refuse(w http.ResponseWriter, r *refusal) {
	writeJSON(w, r.status, map[string]string{"error": r.message, "code": r.code})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}
