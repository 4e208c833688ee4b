package crm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

// HTTPClient speaks the HTTP contract of a CRM. It starts no goroutines and
// takes no locks of its own; Close it when it is no longer used.
type HTTPClient struct {
	caller
	cfg         ClusterConfig
	base        string
	credentials *credentials
	// trust is nil for http://.
	trust   *trust
	session atomic.Pointer[httpSession]
}

// httpSession is the connections made with one state of the TLS material. When
// that changes another session begins, and this one ends with its calls.
type httpSession struct {
	tls       *tlsState
	transport *http.Transport
	client    *http.Client
}

var _ Client = (*HTTPClient)(nil)

// NewHTTPClient makes the client of one cluster. It does no I/O. logger may be
// nil.
func NewHTTPClient(cfg ClusterConfig, set *metrics.Set, logger *slog.Logger) (*HTTPClient, error) {
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
	c := &HTTPClient{
		caller: newCaller(cfg, set), cfg: cfg,
		base:        strings.TrimRight(base.String(), "/"),
		credentials: newCredentials(cfg),
	}
	if base.Scheme == "https" {
		c.trust = newTrust(cfg, base.Hostname(), logger.With("cluster", cfg.Name))
	}
	return c, nil
}

// Close drops idle connections. Calls in flight go on.
func (c *HTTPClient) Close() {
	if session := c.session.Load(); session != nil {
		session.transport.CloseIdleConnections()
	}
}

// Health implements Client.
func (c *HTTPClient) Health(ctx context.Context) (model.ClusterHealth, error) {
	var health model.ClusterHealth
	err := c.read(ctx, &request{call: CallHealth, method: http.MethodGet, path: "/api/v1/health"}, &health)
	return health, err
}

// Deploy implements Client.
func (c *HTTPClient) Deploy(ctx context.Context, from Origin, unit model.DeploymentUnit) (model.CRMResponse, error) {
	from.Deployment = cmp.Or(from.Deployment, unit.DeploymentKey)
	body, err := json.Marshal(unit)
	if err != nil {
		return model.CRMResponse{}, c.notSent(CallDeploy, ClassTerminal, "unit cannot be encoded", err)
	}
	req := &request{
		call: CallDeploy, method: http.MethodPost, path: "/api/v1/deployments",
		body: body, from: from,
	}
	var response model.CRMResponse
	if err := c.send(ctx, req, &response); err != nil {
		return model.CRMResponse{}, err
	}
	if response.ID != "" && !usableID(response.ID) {
		return model.CRMResponse{}, c.fail(CallDeploy, ClassRetryable, reasonGaveBadID, nil)
	}
	return response, nil
}

// Status implements Client.
func (c *HTTPClient) Status(ctx context.Context, from Origin, id string) (model.CRMStatus, error) {
	var status model.CRMStatus
	path, err := c.unitPath(CallStatus, "/api/v1/deployments/", id)
	if err == nil {
		err = c.send(ctx, &request{call: CallStatus, method: http.MethodGet, path: path, from: from}, &status)
	}
	return status, err
}

// Record implements Client.
func (c *HTTPClient) Record(ctx context.Context, from Origin, id string) (model.DeploymentRecord, error) {
	var record model.DeploymentRecord
	path, err := c.unitPath(CallRecord, "/api/v1/deployment-records/", id)
	if err == nil {
		err = c.read(ctx, &request{call: CallRecord, method: http.MethodGet, path: path, from: from}, &record)
	}
	return record, err
}

// Records implements Client.
func (c *HTTPClient) Records(ctx context.Context, from Origin, filter RecordFilter) ([]model.DeploymentRecord, error) {
	return listRecords(filter, maxRecords, func(page RecordFilter) ([]model.DeploymentRecord, error) {
		path := "/api/v1/deployment-records"
		if query := page.query(); len(query) > 0 {
			path += "?" + query.Encode()
		}
		var records []model.DeploymentRecord
		err := c.read(ctx, &request{call: CallRecords, method: http.MethodGet, path: path, from: from}, &records)
		return records, err
	})
}

// Delete implements Client.
func (c *HTTPClient) Delete(ctx context.Context, from Origin, id string) error {
	path, err := c.unitPath(CallDelete, "/api/v1/deployments/", id)
	if err != nil {
		return err
	}
	err = c.send(ctx, &request{call: CallDelete, method: http.MethodDelete, path: path, from: from}, nil)
	if ClassOf(err) == ClassNotFound {
		return nil
	}
	return err
}

// Topology implements Client: there is no such call over HTTP.
func (c *HTTPClient) Topology(context.Context) (model.TopologySnapshot, error) {
	return model.TopologySnapshot{}, c.notSent(CallTopology, ClassNotSupported, "a CRM that speaks HTTP tells no topology", nil)
}

func (f RecordFilter) query() url.Values {
	query := url.Values{}
	for _, parameter := range []struct{ name, value string }{
		{"package", f.Package}, {"class", f.Class}, {"env", f.Environment}, {"status", f.Status},
	} {
		if parameter.value != "" {
			query.Set(parameter.name, parameter.value)
		}
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Offset > 0 {
		query.Set("offset", strconv.Itoa(f.Offset))
	}
	return query
}

// unitPath appends an id to a path. Ids may come from a CRM, so they are not
// trusted to be one segment.
func (c *HTTPClient) unitPath(call, prefix, id string) (string, error) {
	if !usableID(id) {
		return "", c.notSent(call, ClassTerminal, reasonBadID, nil)
	}
	return prefix + url.PathEscape(id), nil
}

// request is one call, before it is sent.
type request struct {
	call, method, path string
	body               []byte
	from               Origin
}

// read sends a call that may be repeated.
func (c *HTTPClient) read(ctx context.Context, req *request, into any) error {
	return c.caller.read(ctx, req.call, req.from, func(ctx context.Context) error { return c.exchange(ctx, req, into) })
}

// send sends a call once.
func (c *HTTPClient) send(ctx context.Context, req *request, into any) error {
	return c.caller.once(ctx, req.call, req.from, func(ctx context.Context) error { return c.exchange(ctx, req, into) })
}

// exchange sends a call and decodes a success into into, unless that is nil.
func (c *HTTPClient) exchange(ctx context.Context, req *request, into any) error {
	session, err := c.currentSession()
	if err != nil {
		return c.notSent(req.call, ClassTerminal, "TLS settings cannot be used", err)
	}
	httpReq, err := c.newRequest(ctx, req)
	if err != nil {
		return err
	}
	response, err := session.client.Do(httpReq)
	if err != nil {
		return c.transportError(req.call, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxResponseBytes+1))
	if err != nil {
		return c.transportError(req.call, err)
	}
	return c.judge(req.call, response.StatusCode, body, into)
}

// currentSession returns the connections that fit the TLS material as it is now.
func (c *HTTPClient) currentSession() (*httpSession, error) {
	var state *tlsState
	if c.trust != nil {
		var err error
		if state, err = c.trust.state(); err != nil {
			return nil, err
		}
	}
	current := c.session.Load()
	if current != nil && current.tls == state {
		return current, nil
	}
	fresh := c.newSession(state)
	if !c.session.CompareAndSwap(current, fresh) {
		return c.session.Load(), nil // somebody was faster
	}
	if current != nil {
		current.transport.CloseIdleConnections()
	}
	return fresh, nil
}

func (c *HTTPClient) newSession(state *tlsState) *httpSession {
	session := &httpSession{tls: state}
	if state != nil {
		session.transport = newTransport(c.cfg, state.config.Clone())
	} else {
		session.transport = newTransport(c.cfg, nil)
	}
	session.client = &http.Client{
		Transport: session.transport,
		// A CRM that could redirect us could aim us at anything we can reach.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return session
}

func (c *HTTPClient) newRequest(ctx context.Context, req *request) (*http.Request, error) {
	var body io.Reader
	if req.body != nil {
		body = bytes.NewReader(req.body)
	}
	httpReq, err := http.NewRequestWithContext(ctx, req.method, c.base+req.path, body)
	if err != nil {
		return nil, c.notSent(req.call, ClassTerminal, "request cannot be built", err)
	}
	authorization, err := c.credentials.authorization()
	if err != nil {
		return nil, c.notSent(req.call, ClassTerminal, credentialsReason(err), err)
	}
	headers := httpReq.Header
	headers.Set("Accept", "application/json")
	headers.Set("User-Agent", userAgent)
	if req.body != nil {
		headers.Set("Content-Type", "application/json")
	}
	for _, h := range req.from.headers() {
		// Spelt as it is: the library takes an Idempotency-Key for its leave to send
		// a change again when a connection breaks. Whether that is done is for the
		// dispatcher to say, who must know that the first may still arrive.
		headers[h.name] = []string{h.value}
	}
	if authorization != "" {
		headers.Set(headerAuthorization, authorization)
	}
	return httpReq, nil
}
