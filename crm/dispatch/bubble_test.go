package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/model"
)

// inBubble runs a test with a world in synthetic time, with the delays that there
// are by default. Its simulated clusters are called without connections.
func inBubble(t *testing.T, test func(t *testing.T, w *world), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, append([]option{inSyntheticTime}, options...)...)
		test(t, w)
	})
}

func inSyntheticTime(w *world, _ map[string]*sim.Config) {
	w.bubble, w.cfg = true, DefaultConfig()
}

// pass lets time pass, and waits until all that is due has been done.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// within is the way to simulated clusters in the same bubble.
type within struct{ w *world }

func (f within) Client(name string) (crm.Client, bool) {
	s, known := f.w.sims[name]
	if !known {
		return nil, false
	}
	return handlerClient{name: name, handler: s.Sim}, true
}

func (within) Concurrency(string) int { return 4 }

// handlerClient makes the dispatcher's calls of a CRM's handler.
type handlerClient struct {
	crm.Client // the dispatcher makes no other calls
	name       string
	handler    http.Handler
}

func (c handlerClient) Deploy(ctx context.Context, from crm.Origin, unit model.DeploymentUnit) (response model.CRMResponse, err error) {
	body, err := json.Marshal(unit)
	if err != nil {
		return response, err
	}
	return response, c.do(ctx, crm.CallDeploy, http.MethodPost, "", from, body, &response)
}

func (c handlerClient) Status(ctx context.Context, from crm.Origin, id string) (status model.CRMStatus, err error) {
	return status, c.do(ctx, crm.CallStatus, http.MethodGet, "/"+id, from, nil, &status)
}

func (c handlerClient) Delete(ctx context.Context, from crm.Origin, id string) error {
	return c.do(ctx, crm.CallDelete, http.MethodDelete, "/"+id, from, nil, &struct{}{})
}

func (c handlerClient) do(ctx context.Context, call, method, path string, from crm.Origin, body []byte, into any) error {
	r := httptest.NewRequestWithContext(ctx, method, "/api/v1/deployments"+path, bytes.NewReader(body))
	r.Header.Set("X-Oprc-Term", strconv.FormatUint(from.Term, 10))
	r.Header.Set("Idempotency-Key", from.IdempotencyKey)
	answer := httptest.NewRecorder()
	c.handler.ServeHTTP(answer, r)
	failed := &crm.CallError{Cluster: c.name, Call: call, Status: answer.Code, Reason: "answered " + strconv.Itoa(answer.Code)}
	switch {
	case ctx.Err() != nil:
		failed.Class = crm.ClassCanceled
	case answer.Code == http.StatusNotFound && call == crm.CallDelete:
		return nil
	case answer.Code == http.StatusNotFound:
		failed.Class = crm.ClassNotFound
	case bytes.Contains(answer.Body.Bytes(), []byte("stale_term")):
		failed.Class = crm.ClassFenced
	case answer.Code >= 500:
		failed.Class = crm.ClassRetryable
	case answer.Code >= 400:
		failed.Class = crm.ClassTerminal
	default:
		return json.Unmarshal(answer.Body.Bytes(), into)
	}
	return failed
}
