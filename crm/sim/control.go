package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

// addControl adds what a person or a test says to the simulator, beside the
// contract: there are no faults here and nobody is asked who he is.
//
//	GET    /sim/calls?since=&unit=   the journal
//	GET    /sim/counts               calls of each name, all of them
//	GET    /sim/units                what it holds
//	POST   /sim/units                puts a unit there behind the control plane's back
//	DELETE /sim/units/{id}           loses one
//	GET    /sim/faults    PUT        how it misbehaves
//	PUT    /sim/schedule             how it misbehaves in turns: [{"for":"5s","faults":{…}}, …]
//	GET    /sim/vitals    PATCH      what it says of itself; what is not named stays
//	GET    /sim/term      PUT        the highest term it has seen: {"term":7}
func addControl(mux *http.ServeMux) {
	control := func(pattern string, handle func(s *Sim, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := handle(simOf(r), r)
			if err != nil {
				refuse(w, asRefusal(err))
				return
			}
			writeJSON(w, http.StatusOK, body)
		})
	}
	control("GET /sim/calls", controlCalls)
	control("GET /sim/counts", func(s *Sim, _ *http.Request) (any, error) { return s.Counts(), nil })
	control("GET /sim/units", func(s *Sim, _ *http.Request) (any, error) { return s.Units(), nil })
	control("POST /sim/units", controlInject)
	control("DELETE /sim/units/{id}", controlLose)
	control("GET /sim/faults", func(s *Sim, _ *http.Request) (any, error) { return s.Faults(), nil })
	control("PUT /sim/faults", controlFaults)
	control("PUT /sim/schedule", controlSchedule)
	control("GET /sim/vitals", func(s *Sim, _ *http.Request) (any, error) { return s.Vitals(), nil })
	control("PATCH /sim/vitals", controlVitals)
	control("GET /sim/term", func(s *Sim, _ *http.Request) (any, error) { return termBody{s.Term()}, nil })
	control("PUT /sim/term", controlTerm)
}

// ControlHandler serves what is below /sim/ alone. No fault, Refuse neither,
// stands in its way when it is served on a port of its own.
func (s *Sim) ControlHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/sim/") {
			refuse(w, noRoute())
			return
		}
		s.ServeHTTP(w, r)
	})
}

type termBody struct {
	Term uint64 `json:"term"`
}

func controlCalls(s *Sim, r *http.Request) (any, error) {
	since, err := queryNumber(r.URL.Query(), "since")
	if err != nil {
		return nil, err
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
	return calls, nil
}

func controlInject(s *Sim, r *http.Request) (any, error) {
	var unit model.DeploymentUnit
	if err := decodeBody(r, &unit); err != nil {
		return nil, err
	}
	return unit, s.Inject(unit)
}

func controlLose(s *Sim, r *http.Request) (any, error) {
	lost, err := s.Lose(r.PathValue("id"))
	if err == nil && !lost {
		err = unknownUnit()
	}
	return map[string]string{"id": r.PathValue("id"), "status": "lost"}, err
}

func controlFaults(s *Sim, r *http.Request) (any, error) {
	var faults Faults
	if err := decodeBody(r, &faults); err != nil {
		return nil, err
	}
	if err := faults.Validate(); err != nil {
		return nil, invalid(err)
	}
	s.setSteps([]Step{{Faults: faults}})
	return faults, nil
}

func controlSchedule(s *Sim, r *http.Request) (any, error) {
	var steps []Step
	if err := decodeBody(r, &steps); err != nil {
		return nil, err
	}
	if err := validateSteps(steps); err != nil {
		return nil, invalid(err)
	}
	s.setSteps(steps)
	return steps, nil
}

func controlVitals(s *Sim, r *http.Request) (any, error) {
	vitals := s.Vitals()
	if err := decodeBody(r, &vitals); err != nil {
		return nil, err
	}
	if err := vitals.Validate(); err != nil {
		return nil, invalid(err)
	}
	s.SetVitals(vitals)
	return vitals, nil
}

func controlTerm(s *Sim, r *http.Request) (any, error) {
	var body termBody
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	return body, s.SetTerm(body.Term)
}

func decodeBody(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyRefusal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &refusal{http.StatusBadRequest, "invalid", "the body has not the right form: " + err.Error()}
	}
	return nil
}

func invalid(err error) error {
	return &refusal{http.StatusBadRequest, "invalid", err.Error()}
}
