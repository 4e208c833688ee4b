package crm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
)

// HTTPClient speaks the HTTP contract of a CRM. It starts no goroutines and
// takes no locks of its own; Close it when it is no longer used.
type HTTPClient struct {
	cfg       ClusterConfig
	base      string
	transport *http.Transport
	http      *http.Client
	metrics   *clientMetrics

	// Slots bound the calls in flight. The dispatcher has its own, so that
	// readers cannot hold it up, and the health probe needs none.
	leaderSlots, otherSlots chan struct{}
}

var _ Client = (*HTTPClient)(nil)

// NewHTTPClient makes the client of one cluster. It does no I/O.
func NewHTTPClient(cfg ClusterConfig, set *metrics.Set) (*HTTPClient, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure cluster %q: %w", cfg.Name, err)
	}
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	transport := newTransport(cfg)
	return &HTTPClient{
		cfg:       cfg,
		base:      strings.TrimRight(base.String(), "/"),
		transport: transport,
		http: &http.Client{
			Transport: transport,
			// A CRM that could redirect us could aim us at anything we can reach.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		metrics:     newClientMetrics(set, cfg.Name),
		leaderSlots: make(chan struct{}, cfg.MaxConcurrency),
		otherSlots:  make(chan struct{}, cfg.MaxConcurrency),
	}, nil
}

// Close drops idle connections. Calls in flight go on.
func (c *HTTPClient) Close() { c.transport.CloseIdleConnections() }

// Health implements Client.
func (c *HTTPClient) Health(ctx context.Context) (model.ClusterHealth, error) {
	var health model.ClusterHealth
	err := c.read(ctx, &request{call: callHealth, method: http.MethodGet, path: "/api/v1/health"}, &health)
	return health, err
}

// Deploy implements Client.
func (c *HTTPClient) Deploy(ctx context.Context, from Origin, unit model.DeploymentUnit) (model.CRMResponse, error) {
	body, err := json.Marshal(unit)
	if err != nil {
		return model.CRMResponse{}, c.fail(callDeploy, ClassTerminal, "unit cannot be encoded", err)
	}
	req := &request{
		call: callDeploy, method: http.MethodPost, path: "/api/v1/deployments",
		body: body, from: from,
	}
	var response model.CRMResponse
	if err := c.once(ctx, req, &response); err != nil {
		return model.CRMResponse{}, err
	}
	if response.ID != "" && !usableID(response.ID) {
		return model.CRMResponse{}, c.fail(callDeploy, ClassRetryable, "answered an id that cannot be used", nil)
	}
	return response, nil
}

// Status implements Client.
func (c *HTTPClient) Status(ctx context.Context, from Origin, id string) (model.CRMStatus, error) {
	var status model.CRMStatus
	path, err := c.unitPath(callStatus, "/api/v1/deployments/", id)
	if err == nil {
		err = c.once(ctx, &request{call: callStatus, method: http.MethodGet, path: path, from: from}, &status)
	}
	return status, err
}

// Record implements Client.
func (c *HTTPClient) Record(ctx context.Context, from Origin, id string) (model.DeploymentRecord, error) {
	var record model.DeploymentRecord
	path, err := c.unitPath(callRecord, "/api/v1/deployment-records/", id)
	if err == nil {
		err = c.read(ctx, &request{call: callRecord, method: http.MethodGet, path: path, from: from}, &record)
	}
	return record, err
}

// Records implements Client.
func (c *HTTPClient) Records(ctx context.Context, from Origin, filter RecordFilter) ([]model.DeploymentRecord, error) {
	path := "/api/v1/deployment-records"
	if query := filter.query(); len(query) > 0 {
		path += "?" + query.Encode()
	}
	records := []model.DeploymentRecord{}
	if err := c.read(ctx, &request{call: callRecords, method: http.MethodGet, path: path, from: from}, &records); err != nil {
		return nil, err
	}
	return records, nil
}

// Delete implements Client.
func (c *HTTPClient) Delete(ctx context.Context, from Origin, id string) error {
	path, err := c.unitPath(callDelete, "/api/v1/deployments/", id)
	if err != nil {
		return err
	}
	err = c.once(ctx, &request{call: callDelete, method: http.MethodDelete, path: path, from: from}, nil)
	if ClassOf(err) == ClassNotFound {
		return nil
	}
	return err
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

// maxIDBytes bounds an id that a CRM gives: it is recorded with the unit. It is
// the longest name of a Kubernetes object.
const maxIDBytes = 253

// usableID tells whether a CRM's id can be recorded and put into a path.
func usableID(id string) bool {
	unclean := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	return id != "" && id != "." && id != ".." && len(id) <= maxIDBytes && !strings.ContainsFunc(id, unclean)
}

// unitPath appends an id to a path. Ids may come from a CRM, so they are not
// trusted to be one segment.
func (c *HTTPClient) unitPath(call, prefix, id string) (string, error) {
	if !usableID(id) {
		return "", c.fail(call, ClassTerminal, "unit id cannot be addressed", nil)
	}
	return prefix + url.PathEscape(id), nil
}

// request is one call, before it is sent.
type request struct {
	call, method, path string
	body               []byte
	from               Origin
}

// read sends a call up to RetryAttempts times, with a growing pause between.
func (c *HTTPClient) read(ctx context.Context, req *request, into any) error {
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, req, into)
		if ClassOf(err) != ClassRetryable || attempt >= c.cfg.RetryAttempts || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// once sends a call once and decodes a success into into, unless that is nil.
func (c *HTTPClient) once(ctx context.Context, req *request, into any) (err error) {
	begin := time.Now()
	defer func() { c.metrics.observe(req.call, ClassOf(err), time.Since(begin)) }()

	callCtx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	release, err := c.acquire(callCtx, req)
	if err != nil {
		return c.transportError(ctx, req.call, err)
	}
	defer release()

	httpReq, err := c.newRequest(callCtx, req)
	if err != nil {
		return c.fail(req.call, ClassTerminal, "request cannot be built", err)
	}
	response, err := c.http.Do(httpReq)
	if err != nil {
		return c.transportError(ctx, req.call, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxResponseBytes+1))
	if err != nil {
		return c.transportError(ctx, req.call, err)
	}
	return c.decode(req.call, response.StatusCode, body, into)
}

// errNoSlot tells that all slots stayed in use for the whole timeout.
var errNoSlot = errors.New("too many calls in flight")

func (c *HTTPClient) acquire(ctx context.Context, req *request) (release func(), err error) {
	slots := c.otherSlots
	switch {
	case req.call == callHealth:
		return func() {}, nil
	case req.from.Term != 0:
		slots = c.leaderSlots
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, errors.Join(errNoSlot, ctx.Err())
	}
}

func (c *HTTPClient) newRequest(ctx context.Context, req *request) (*http.Request, error) {
	var body io.Reader
	if req.body != nil {
		body = bytes.NewReader(req.body)
	}
	httpReq, err := http.NewRequestWithContext(ctx, req.method, c.base+req.path, body)
	if err != nil {
		return nil, err
	}
	header := httpReq.Header
	header.Set("Accept", "application/json")
	header.Set("User-Agent", "oprc-pm")
	if req.body != nil {
		header.Set("Content-Type", "application/json")
	}
	if req.from.IdempotencyKey != "" {
		header.Set("Idempotency-Key", req.from.IdempotencyKey)
	}
	if req.from.CorrelationID != "" {
		header.Set("X-Correlation-Id", req.from.CorrelationID)
	}
	if req.from.Term != 0 {
		header.Set("X-Oprc-Term", strconv.FormatUint(req.from.Term, 10))
	}
	if req.from.Generation != 0 {
		header.Set("X-Oprc-Generation", strconv.FormatUint(req.from.Generation, 10))
	}
	switch c.cfg.Auth.Type {
	case AuthBearer:
		header.Set("Authorization", "Bearer "+string(c.cfg.Auth.Token))
	case AuthBasic:
		httpReq.SetBasicAuth(c.cfg.Auth.Username, string(c.cfg.Auth.Password))
	}
	return httpReq, nil
}

// decode judges a whole answer. What cannot be understood counts as no answer:
// the call may have had its effect, and repeating it is safe.
func (c *HTTPClient) decode(call string, status int, body []byte, into any) error {
	tooLarge := int64(len(body)) > c.cfg.MaxResponseBytes
	if status < 200 || status > 299 {
		if tooLarge {
			body = nil
		}
		return c.refusal(call, status, body)
	}
	fail := func(reason string, err error) error {
		return &CallError{Cluster: c.cfg.Name, Call: call, Class: ClassRetryable, Status: status, Reason: reason, Err: err}
	}
	switch {
	case tooLarge:
		return fail(fmt.Sprintf("answer exceeds %d bytes", c.cfg.MaxResponseBytes), nil)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fail("answer is not of the agreed form", err)
	}
	return nil
}

// refusal turns an answer that is not a success into an error.
func (c *HTTPClient) refusal(call string, status int, body []byte) error {
	var text struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Code    string `json:"code"`
	}
	_ = json.Unmarshal(body, &text) // an error without an explanation is still one
	class := classify(status, text.Code)
	if class == ClassNotFound && call != callStatus && call != callRecord && call != callDelete {
		class = ClassTerminal // not a unit is missing, but the route
	}
	reason := fmt.Sprintf("answered %d %s", status, http.StatusText(status))
	switch {
	case text.Error != "":
		reason += ": " + printable(text.Error)
	case text.Message != "":
		reason += ": " + printable(text.Message)
	case status >= 300 && status < 400:
		reason += ": redirects are not followed"
	}
	return &CallError{Cluster: c.cfg.Name, Call: call, Class: class, Status: status, Reason: reason}
}

func (c *HTTPClient) fail(call string, class Class, reason string, err error) error {
	return &CallError{Cluster: c.cfg.Name, Call: call, Class: class, Reason: reason, Err: err}
}

// transportError classifies a call that got no whole answer. ctx is the
// caller's, without the call's own timeout.
func (c *HTTPClient) transportError(ctx context.Context, call string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return c.fail(call, ClassCanceled, "canceled", err)
	}
	reason, notSent := transportReason(err)
	return &CallError{
		Cluster: c.cfg.Name, Call: call, Class: ClassRetryable, Reason: reason, NotSent: notSent, Err: err,
	}
}

// printable makes a text from a CRM fit for a record: one line, bounded.
func printable(text string) string {
	const limit = 200
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(clean); len(runes) > limit {
		clean = string(runes[:limit]) + "..."
	}
	return strings.TrimSpace(clean)
}
