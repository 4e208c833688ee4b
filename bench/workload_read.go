package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
)

// NewGet reads one document at a time, chosen at random. Nobody writes, so every
// answer must be the bytes that were there when the set was settled.
func NewGet(docs *Documents, consistency string) (*Workload, error) {
	query, err := consistencyQuery(consistency)
	if err != nil {
		return nil, err
	}
	return &Workload{
		Name: "get", Consistency: consistency,
		open: func(client int) operation {
			return &getOperation{docs: docs.docs, query: query, random: newRand(client)}
		},
		answers: func() []answer { return docs.answers(query) },
	}, nil
}

// answers are the documents as GET answers them.
func (s *Documents) answers(query string) []answer {
	answers := make([]answer, len(s.docs))
	for i, d := range s.docs {
		answers[i] = d.answer
		answers[i].URI += query
	}
	return answers
}

type getOperation struct {
	docs   []*document
	query  string
	random *rand.Rand
	doc    *document
	uri    []byte
}

func (o *getOperation) next(req *fasthttp.Request) {
	o.doc = o.docs[o.random.IntN(len(o.docs))]
	o.uri = append(append(o.uri[:0], o.doc.path...), o.query...)
	req.Header.SetRequestURIBytes(o.uri)
}

func (o *getOperation) check(resp *fasthttp.Response) error {
	if resp.StatusCode() != fasthttp.StatusOK {
		return refusal("GET "+o.doc.path, resp)
	}
	if !bytes.Equal(resp.Body(), o.doc.answer.Body) {
		return wrongf("GET "+o.doc.path, "not the bytes that are stored: %s", excerpt(resp.Body()))
	}
	return nil
}

// NewList reads the first page of all packages. Nobody writes, so every answer
// must be the same as when the workload was made.
func NewList(ctx context.Context, docs *Documents, limit int, consistency string) (*Workload, error) {
	query, err := consistencyQuery(consistency)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > len(docs.docs) {
		return nil, fmt.Errorf("a page of %d documents needs as many, there are %d", limit, len(docs.docs))
	}
	uri := packagesPath + "?limit=" + strconv.Itoa(limit) + strings.Replace(query, "?", "&", 1)
	c := newConnection(docs.addrs[0], docs.timeout)
	defer c.close()
	body, err := c.call(ctx, fasthttp.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	if err := checkPage(uri, body, limit); err != nil {
		return nil, err
	}
	page := captureAnswer(uri, &c.resp)
	return &Workload{
		Name: "list", Consistency: consistency,
		open:    func(int) operation { return &listOperation{page: &page} },
		answers: func() []answer { return []answer{page} },
	}, nil
}

type listOperation struct{ page *answer }

func (o *listOperation) next(req *fasthttp.Request) { req.SetRequestURI(o.page.URI) }

func (o *listOperation) check(resp *fasthttp.Response) error {
	if resp.StatusCode() != fasthttp.StatusOK {
		return refusal("GET "+o.page.URI, resp)
	}
	if !bytes.Equal(resp.Body(), o.page.Body) {
		return wrongf("GET "+o.page.URI, "not the page that is stored: %s", excerpt(resp.Body()))
	}
	return nil
}

// checkPage checks that body is a list of limit packages in the order of their
// names.
func checkPage(uri string, body []byte, limit int) error {
	var page []json.RawMessage
	if err := json.Unmarshal(body, &page); err != nil {
		return wrongf("GET "+uri, "not a list: %v", err)
	}
	if len(page) != limit {
		return wrongf("GET "+uri, "holds %d packages, want %d", len(page), limit)
	}
	last := ""
	for _, item := range page {
		p, err := model.ParsePackage(item)
		if err != nil {
			return wrongf("GET "+uri, "%v", err)
		}
		if p.Name <= last {
			return wrongf("GET "+uri, "package %s comes after %s", p.Name, last)
		}
		last = p.Name
	}
	return nil
}
