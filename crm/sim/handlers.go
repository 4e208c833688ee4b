package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

const maxBody = 4 << 20

// callNames are the calls of the contract.
var callNames = []string{"health", "deploy", "status", "record", "records", "delete"}

// answer is what a call gives: a status, a body to encode, and its effect.
type answer struct {
	status int
	body   any
	effect Effect
}

// operation does what a call asks for. body is the whole request body.
type operation func(r *http.Request, call *Call, body []byte) (answer, error)

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/health", s.contract("health", s.doHealth))
	mux.Handle("POST /api/v1/deployments", s.contract("deploy", s.doDeploy))
	mux.Handle("GET /api/v1/deployments/{id}", s.contract("status", s.doStatus))
	mux.Handle("DELETE /api/v1/deployments/{id}", s.contract("delete", s.doDelete))
	mux.Handle("GET /api/v1/deployment-records", s.contract("records", s.doRecords))
	mux.Handle("GET /api/v1/deployment-records/{id}", s.contract("record", s.doRecord))
	mux.HandleFunc("GET /sim/calls", s.serveCalls)
	mux.HandleFunc("GET /sim/units", s.serveUnits)
	mux.HandleFunc("GET /sim/faults", s.serveFaults)
	mux.HandleFunc("PUT /sim/faults", s.serveSetFaults)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, &refusal{http.StatusNotFound, "no_route", "there is no such path"})
	})
	return mux
}

// ServeHTTP implements http.Handler.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.open(); err != nil {
		s.cfg.Logger.Error("simulated crm cannot open its state", "cluster", s.cfg.Name, "error", err)
		refuse(w, asRefusal(err))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.handler.ServeHTTP(w, r)
}

// contract wraps an operation in what all calls share: the bounded body, the
// faults, the term, the journal, the JSON.
func (s *Sim) contract(name string, do operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := Call{
			Name: name, Unit: r.PathValue("id"),
			CorrelationID:  r.Header.Get("X-Correlation-Id"),
			IdempotencyKey: r.Header.Get("Idempotency-Key"),
		}
		// The body is read first: only then does the server notice that a
		// caller went away.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(w, bodyRefusal(err))
			return
		}
		reply, err := s.perform(r, &call, body, do)
		if err != nil && r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the caller has gone, or the simulator ends
		}
		if err != nil {
			refuse(w, asRefusal(err))
			return
		}
		if s.faults.hang(r.Context(), name, func(f Faults) bool { return f.HangReply }) != nil {
			panic(http.ErrAbortHandler)
		}
		if f := s.faults.get(); f.Garbage && f.concern(name) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":<<<`)
			return
		}
		writeJSON(w, reply.status, reply.body)
	})
}

// perform runs one call and journals it. Changes are serialised, so the order of
// the journal is the order of the effects.
func (s *Sim) perform(r *http.Request, call *Call, body []byte, do operation) (reply answer, err error) {
	err = errors.Join(
		headerNumber(r, "X-Oprc-Term", &call.Term),
		headerNumber(r, "X-Oprc-Generation", &call.Generation),
	)
	if err == nil {
		err = s.before(r.Context(), call.Name)
	}
	if refused := (*refusal)(nil); err != nil && !errors.As(err, &refused) {
		return answer{}, err // the caller has gone; nothing happened
	}

	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err == nil {
		err = s.advance(call.Term)
	}
	if err == nil {
		reply, err = do(r, call, body)
	} else {
		reply.effect = EffectRefused
	}
	call.At, call.Status, call.Effect = s.cfg.Now().UTC(), reply.status, reply.effect
	if err != nil {
		call.Status = asRefusal(err).status
	}
	s.journal.add(*call)
	return reply, err
}

func (s *Sim) doHealth(*http.Request, *Call, []byte) (answer, error) {
	nodes, availability := uint32(s.cfg.Nodes), s.cfg.Availability
	return answer{status: http.StatusOK, body: model.ClusterHealth{
		ClusterName: s.cfg.Name, Status: model.ClusterHealthy, CRMVersion: &s.cfg.Version,
		LastSeen: s.cfg.Now().UTC(), NodeCount: &nodes, ReadyNodes: &nodes, Availability: &availability,
	}}, nil
}

func (s *Sim) doDeploy(_ *http.Request, call *Call, body []byte) (answer, error) {
	var unit model.DeploymentUnit
	if err := json.Unmarshal(body, &unit); err != nil {
		return answer{}, &refusal{http.StatusBadRequest, "invalid", "the body is not a deployment unit"}
	}
	call.Unit, call.Deployment = unit.ID, unit.DeploymentKey
	switch {
	case !validID(unit.ID):
		return answer{}, &refusal{http.StatusUnprocessableEntity, "invalid", "id: must be a DNS label"}
	case unit.ClassKey == "" || unit.PackageName == "":
		return answer{}, &refusal{http.StatusUnprocessableEntity, "invalid", "package_name, class_key: must not be empty"}
	}
	effect, err := s.create(unit)
	if err != nil {
		return answer{effect: effect}, err
	}
	message := "unit accepted"
	return answer{http.StatusOK, model.CRMResponse{ID: unit.ID, Status: "accepted", Message: &message}, effect}, nil
}

func (s *Sim) doStatus(r *http.Request, _ *Call, _ []byte) (answer, error) {
	unit, exists := s.unit(r.PathValue("id"))
	if !exists {
		return answer{}, unknownUnit()
	}
	return answer{status: http.StatusOK, body: s.status(unit)}, nil
}

func (s *Sim) doRecord(r *http.Request, _ *Call, _ []byte) (answer, error) {
	unit, exists := s.unit(r.PathValue("id"))
	if !exists {
		return answer{}, unknownUnit()
	}
	return answer{status: http.StatusOK, body: s.record(unit)}, nil
}

func (s *Sim) doRecords(r *http.Request, _ *Call, _ []byte) (answer, error) {
	query := r.URL.Query()
	limit, err := queryNumber(query, "limit")
	if err != nil {
		return answer{}, err
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
	records = records[min(offset, len(records)):]
	if query.Has("limit") {
		records = records[:min(limit, len(records))]
	}
	return answer{status: http.StatusOK, body: records}, nil
}

func (s *Sim) doDelete(_ *http.Request, call *Call, _ []byte) (answer, error) {
	unit, _ := s.unit(call.Unit)
	call.Deployment = unit.Unit.DeploymentKey
	effect, err := s.remove(call.Unit)
	if err == nil && effect == EffectAbsent {
		err = unknownUnit()
	}
	return answer{http.StatusOK, map[string]string{"id": call.Unit, "status": "deleted"}, effect}, err
}

func (s *Sim) serveCalls(w http.ResponseWriter, r *http.Request) {
	since, err := queryNumber(r.URL.Query(), "since")
	if err != nil {
		refuse(w, asRefusal(err))
		return
	}
	calls := s.Calls(uint64(since))
	if unit := r.URL.Query().Get("unit"); unit != "" {
		kept := calls[:0]
		for _, call := range calls {
			if call.Unit == unit {
				kept = append(kept, call)
			}
		}
		calls = kept
	}
	writeJSON(w, http.StatusOK, calls)
}

func (s *Sim) serveUnits(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Units())
}

func (s *Sim) serveFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Faults())
}

func (s *Sim) serveSetFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, bodyRefusal(err))
		return
	}
	var faults Faults
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&faults); err != nil {
		refuse(w, &refusal{http.StatusBadRequest, "invalid", "the body is not of the form of faults: " + err.Error()})
		return
	}
	if err := faults.Validate(); err != nil {
		refuse(w, &refusal{http.StatusBadRequest, "invalid", err.Error()})
		return
	}
	s.faults.set(faults)
	writeJSON(w, http.StatusOK, faults)
}

func unknownUnit() error {
	return &refusal{http.StatusNotFound, "not_found", "the cluster runs no such unit"}
}

func bodyRefusal(err error) *refusal {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body exceeds %d bytes", tooLarge.Limit)}
	}
	return &refusal{http.StatusBadRequest, "invalid", "the body cannot be read"}
}

func headerNumber(r *http.Request, name string, into *uint64) error {
	text := r.Header.Get(name)
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
