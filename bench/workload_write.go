package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/valyala/fasthttp"
)

// NewPut replaces one document at a time with its next version. Every client has
// documents of its own, so that the order of the versions is known.
func NewPut(docs *Documents, clients int) (*Workload, error) {
	return newWriting(docs, clients, "put", "", 100)
}

// NewMixed writes in writePercent of the operations, and reads any document in
// the others. A read must not miss a version that was acknowledged before it
// began, unless it is stale.
func NewMixed(docs *Documents, clients int, consistency string, writePercent int) (*Workload, error) {
	if writePercent < 0 || writePercent > 100 {
		return nil, fmt.Errorf("share of writes is %d %%, must be 0 to 100", writePercent)
	}
	return newWriting(docs, clients, "mixed", consistency, writePercent)
}

func newWriting(docs *Documents, clients int, name, consistency string, writePercent int) (*Workload, error) {
	query, err := consistencyQuery(consistency)
	if err != nil {
		return nil, err
	}
	if len(docs.docs) < clients {
		return nil, fmt.Errorf("%d clients that write need as many documents, there are %d", clients, len(docs.docs))
	}
	return &Workload{
		Name: name, Consistency: consistency,
		open: func(client int) operation {
			o := &mixedOperation{
				read:         readOperation{docs: docs.docs, query: query, stale: consistency == "stale"},
				random:       newRand(client),
				writePercent: writePercent,
			}
			for i := client; i < len(docs.docs); i += clients {
				o.write.own = append(o.write.own, docs.docs[i])
			}
			return o
		},
		verify: docs.Verify,
	}, nil
}

// mixedOperation chooses between a read and a write.
type mixedOperation struct {
	read         readOperation
	write        putOperation
	random       *rand.Rand
	writePercent int
	writing      bool
}

func (o *mixedOperation) next(req *fasthttp.Request) {
	if o.writing = o.random.IntN(100) < o.writePercent; o.writing {
		o.write.next(req)
	} else {
		o.read.next(req, o.random)
	}
}

func (o *mixedOperation) check(resp *fasthttp.Response) error {
	if o.writing {
		return o.write.check(resp)
	}
	return o.read.check(resp)
}

// putOperation writes the documents of one client in turn.
type putOperation struct {
	own  []*document
	turn int
	doc  *document
	seq  uint64
	body []byte
}

func (o *putOperation) next(req *fasthttp.Request) {
	o.doc = o.own[o.turn%len(o.own)]
	o.turn++
	if o.doc.proposed.Load() != o.doc.acked.Load() {
		o.doc.doubtful.Store(true)
	}
	o.seq = o.doc.proposed.Add(1)
	o.body = o.doc.appendVersion(o.body[:0], o.seq)
	req.Header.SetMethod(fasthttp.MethodPut)
	req.Header.SetRequestURI(o.doc.path)
	req.Header.SetContentType("application/json")
	req.SetBodyRaw(o.body)
}

func (o *putOperation) check(resp *fasthttp.Response) error {
	if status := resp.StatusCode(); status != fasthttp.StatusOK && status != fasthttp.StatusCreated {
		return refusal("PUT "+o.doc.path, resp)
	}
	if err := checkPutAnswer(o.doc, resp.Body()); err != nil {
		return err
	}
	o.doc.acked.Store(o.seq)
	return nil
}

// checkPutAnswer checks that a put changed the document.
func checkPutAnswer(d *document, body []byte) error {
	rest, ok := bytes.CutPrefix(body, []byte(`{"id":"`))
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte(d.name))
	}
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte(`","status":"`))
	}
	if !ok || (!bytes.HasPrefix(rest, []byte("updated")) && !bytes.HasPrefix(rest, []byte("created"))) {
		return wrongf("PUT "+d.path, "does not say that the package was stored: %s", excerpt(body))
	}
	return nil
}

// readOperation reads any document while others write.
type readOperation struct {
	docs  []*document
	query string
	stale bool
	doc   *document
	uri   []byte
	// acked is what was acknowledged when the read began.
	acked uint64
}

func (o *readOperation) next(req *fasthttp.Request, random *rand.Rand) {
	o.doc = o.docs[random.IntN(len(o.docs))]
	o.acked = 0
	if !o.stale {
		o.acked = o.doc.acked.Load()
	}
	o.uri = append(append(o.uri[:0], o.doc.path...), o.query...)
	req.Reset()
	req.Header.SetRequestURIBytes(o.uri)
}

func (o *readOperation) check(resp *fasthttp.Response) error {
	if resp.StatusCode() != fasthttp.StatusOK {
		return refusal("GET "+o.doc.path, resp)
	}
	return o.doc.checkVersion(resp.Body(), o.acked)
}
