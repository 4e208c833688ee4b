package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Collections of the API, as the segments of their paths.
const (
	Packages      = "packages"
	Deployments   = "deployments"
	Classes       = "classes"
	Functions     = "functions"
	Clusters      = "clusters"
	RuntimeStates = "runtime-states"
	Members       = "members"
	Events        = "events"
	Revisions     = "revisions"
	Records       = "deployment-records"
	ClassRuntimes = "class-runtimes"
)

var apiPrefix = []string{"api", "v1"}

// Resource returns the path below /api/v1 that the segments name.
func Resource(segments ...string) string {
	return Path(append(append([]string(nil), apiPrefix...), segments...)...)
}

// Meta is what an answer says beside its document.
type Meta struct {
	// Index at which the answer was true, or of the write.
	Index uint64
	// ResourceVersion from the ETag; 0 when there is none.
	ResourceVersion uint64
	RequestID       string
	// Warnings such as unknown fields.
	Warnings []string
	// Failed are the clusters whose CRM did not answer, in a list that asks them.
	Failed []FailedCluster
	// LastContact is how long ago the node that answered heard from the leader;
	// negative: never. 0 also for answers that the leader vouches for.
	LastContact time.Duration
}

func metaOf(header http.Header) Meta {
	m := Meta{RequestID: header.Get("X-Request-Id")}
	m.Index, _ = strconv.ParseUint(header.Get("X-Oprc-Index"), 10, 64)
	m.ResourceVersion, _ = strconv.ParseUint(strings.Trim(header.Get("ETag"), `"`), 10, 64)
	for _, value := range header.Values("Warning") {
		m.Warnings = append(m.Warnings, warningText(value))
	}
	m.Failed = failedClusters(header)
	// Bounded, so that a nonsensical answer does not overflow.
	if ms, err := strconv.ParseInt(header.Get("X-Oprc-Last-Contact-Ms"), 10, 32); err == nil {
		m.LastContact = time.Duration(ms) * time.Millisecond
	}
	return m
}

// warningText takes the text out of a warning header: 299 - "text".
func warningText(value string) string {
	if _, rest, ok := strings.Cut(value, `"`); ok {
		if end := strings.LastIndexByte(rest, '"'); end >= 0 {
			return strings.ReplaceAll(rest[:end], `\"`, `"`)
		}
	}
	return value
}

// GetRaw reads one document as the server sends it.
func (c *Client) GetRaw(ctx context.Context, path string, query url.Values) (json.RawMessage, Meta, error) {
	response, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path, Query: query})
	if err != nil {
		return nil, Meta{}, err
	}
	return response.Body, metaOf(response.Header), nil
}

// List is a page of documents, or several joined.
type List struct {
	Items []json.RawMessage
	Meta
	// More is set when there is more after the limit.
	More bool
}

// ListRaw reads a collection, following its pages until limit (0: all).
func (c *Client) ListRaw(ctx context.Context, path string, query url.Values, limit int) (List, error) {
	var list List
	query = clone(query)
	for {
		if limit > 0 {
			query.Set("limit", strconv.Itoa(limit-len(list.Items)))
		}
		response, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path, Query: query})
		if err != nil {
			return List{}, err
		}
		var page []json.RawMessage
		if err := json.Unmarshal(response.Body, &page); err != nil {
			return List{}, fmt.Errorf("decode list of %s: %w", response.Server, err)
		}
		list.Items, list.Meta = append(list.Items, page...), metaOf(response.Header)
		next := nextPage(response.Header)
		if next == nil || len(page) == 0 || limit > 0 && len(list.Items) >= limit {
			list.More = next != nil
			return list, nil
		}
		query = next
	}
}

// nextPage returns the query of the next page from a Link header.
func nextPage(header http.Header) url.Values {
	for _, value := range header.Values("Link") {
		for link := range strings.SplitSeq(value, ",") {
			target, rest, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(rest, `rel="next"`) && !strings.Contains(rest, "rel=next") {
				continue
			}
			if u, err := url.Parse(target[1:]); err == nil {
				return u.Query()
			}
		}
	}
	return nil
}

func clone(query url.Values) url.Values {
	copied := make(url.Values, len(query))
	for name, values := range query {
		copied[name] = append([]string(nil), values...)
	}
	return copied
}

// Get reads one document into a T.
func Get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var value T
	raw, _, err := c.GetRaw(ctx, path, query)
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, fmt.Errorf("decode %s: %w", path, err)
	}
	return value, nil
}

// ListAll reads a whole collection into Ts.
func ListAll[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	list, err := c.ListRaw(ctx, path, query, 0)
	if err != nil {
		return nil, err
	}
	values := make([]T, len(list.Items))
	for i, raw := range list.Items {
		if err := json.Unmarshal(raw, &values[i]); err != nil {
			return nil, fmt.Errorf("decode %s[%d]: %w", path, i, err)
		}
	}
	return values, nil
}

// GetPackage reads a package.
func (c *Client) GetPackage(ctx context.Context, name string) (model.Package, error) {
	return Get[model.Package](ctx, c, Resource(Packages, name), nil)
}

// ListPackages reads the packages that query selects (name_pattern, tags, …).
func (c *Client) ListPackages(ctx context.Context, query url.Values) ([]model.Package, error) {
	return ListAll[model.Package](ctx, c, Resource(Packages), query)
}

// GetDeployment reads a deployment.
func (c *Client) GetDeployment(ctx context.Context, key string) (model.Deployment, error) {
	return Get[model.Deployment](ctx, c, Resource(Deployments, key), nil)
}

// ListDeployments reads the deployments that query selects (package_name,
// class_key, target_env, …).
func (c *Client) ListDeployments(ctx context.Context, query url.Values) ([]model.Deployment, error) {
	return ListAll[model.Deployment](ctx, c, Resource(Deployments), query)
}

// ListUnits reads the units of a deployment.
func (c *Client) ListUnits(ctx context.Context, key string) ([]model.UnitStatus, error) {
	return ListAll[model.UnitStatus](ctx, c, Resource(Deployments, key, "units"), nil)
}

// ListClusters reads the configured clusters with their health.
func (c *Client) ListClusters(ctx context.Context) ([]model.ClusterInfo, error) {
	return ListAll[model.ClusterInfo](ctx, c, Resource(Clusters), nil)
}

// ListMembers reads the servers of the control plane.
func (c *Client) ListMembers(ctx context.Context) ([]storage.Member, error) {
	return ListAll[storage.Member](ctx, c, Resource(Members), nil)
}

// WriteResult is the answer to a write.
type WriteResult struct {
	ID string `json:"id"`
	// Status is created, updated, unchanged, deleted, or what was done.
	Status  string `json:"status"`
	Message string `json:"message"`
	// Revision that a rollback leads to; 0 for other writes.
	Revision uint64 `json:"revision"`
	// Generation of the deployment that was written; 0 for other writes.
	Generation uint64 `json:"generation"`
	Meta       `json:"-"`
}

// WriteOptions qualify a write.
type WriteOptions struct {
	// IfMatch, when not 0, is the resource version that must be present.
	IfMatch uint64
	// Cascade takes the deployments of a deleted package along.
	Cascade bool
	// Force makes a write although something would be lost: classes that are
	// deployed, records of units.
	Force bool
	// Cluster limits a delete to one cluster.
	Cluster string
	// IdempotencyKey; empty means a random one.
	IdempotencyKey string
	// Wait asks the server to answer only when the outcome is there, at most
	// so long.
	Wait time.Duration
}

// PutPackage creates or replaces a package. Its deployments are not sent: they
// are resources of their own.
func (c *Client) PutPackage(ctx context.Context, p model.Package, o WriteOptions) (WriteResult, error) {
	p.Deployments = nil
	body, err := objectOf(model.EncodePackage(p))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPut, Resource(Packages, p.Name), body, o)
}

// CreatePackage creates a package; a taken name is a conflict.
func (c *Client) CreatePackage(ctx context.Context, p model.Package, o WriteOptions) (WriteResult, error) {
	p.Deployments = nil
	body, err := objectOf(model.EncodePackage(p))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPost, Resource(Packages), body, o)
}

// PutDeployment creates or replaces a deployment.
func (c *Client) PutDeployment(ctx context.Context, d model.Deployment, o WriteOptions) (WriteResult, error) {
	body, err := objectOf(model.EncodeDeployment(d))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPut, Resource(Deployments, d.Key), body, o)
}

// PutRuntimeState stores a runtime state.
func (c *Client) PutRuntimeState(ctx context.Context, s model.RuntimeState, o WriteOptions) (WriteResult, error) {
	body, err := objectOf(model.EncodeRuntimeState(s))
	if err != nil {
		return WriteResult{}, err
	}
	return c.write(ctx, http.MethodPut, Resource(RuntimeStates, s.Key), body, o)
}

// DeletePackage removes a package.
func (c *Client) DeletePackage(ctx context.Context, name string, o WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodDelete, Resource(Packages, name), nil, o)
}

// DeleteDeployment asks for the removal of a deployment, from one cluster or
// from all.
func (c *Client) DeleteDeployment(ctx context.Context, key string, o WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodDelete, Resource(Deployments, key), nil, o)
}

// objectOf puts the braces around the members that model encodes.
func objectOf(members []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	object := make([]byte, 0, len(members)+2)
	return append(append(append(object, '{'), members...), '}'), nil
}

func (c *Client) write(ctx context.Context, method, path string, body []byte, o WriteOptions) (WriteResult, error) {
	r := Request{Method: method, Path: path, Body: body, Header: http.Header{}, Query: url.Values{},
		IdempotencyKey: o.IdempotencyKey, Wait: o.Wait}
	if o.IfMatch != 0 {
		r.Header.Set("If-Match", strconv.Quote(strconv.FormatUint(o.IfMatch, 10)))
	}
	if o.Cascade {
		r.Query.Set("cascade", "true")
	}
	if o.Force {
		r.Query.Set("force", "true")
	}
	if o.Cluster != "" {
		r.Query.Set("cluster", o.Cluster)
	}
	if o.Wait > 0 {
		r.Query.Set("wait", o.Wait.String())
	}
	response, err := c.Do(ctx, r)
	if err != nil {
		return WriteResult{}, err
	}
	result := WriteResult{Meta: metaOf(response.Header)}
	if len(response.Body) > 0 {
		if err := json.Unmarshal(response.Body, &result); err != nil {
			return WriteResult{}, fmt.Errorf("decode answer of %s: %w", response.Server, err)
		}
	}
	return result, nil
}
