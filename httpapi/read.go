package httpapi

import (
	"bytes"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// documentRead is the look-up of one document, the most frequent request there
// is. It is pooled together with the function it hands to the store, so that a
// read allocates nothing of its own.
type documentRead struct {
	key     []byte
	fn      func(storage.Reader) error
	rq      request
	found   bool
	same    bool
	version uint64
}

var documentReads = sync.Pool{New: func() any {
	d := new(documentRead)
	d.fn = d.read
	return d
}}

// read runs inside the view. The document is copied as it is: what was stored is
// what readers get.
func (d *documentRead) read(r storage.Reader) error {
	d.found, d.same = false, false
	doc, err := r.Get(d.key)
	if err != nil || doc == nil {
		return err
	}
	d.found = true
	d.version = storage.ResourceVersion(doc)
	if tags := d.rq.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch); len(tags) > 0 && matchesTag(tags, d.version) {
		d.same = true
		return nil
	}
	d.rq.ctx.Response.SetBody(doc)
	return nil
}

// answerDocument answers with the document stored under prefix and name.
func (rq request) answerDocument(kind, prefix, name string) error {
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	d := documentReads.Get().(*documentRead)
	d.key = append(append(d.key[:0], prefix...), name...)
	d.rq = rq
	_, err = rq.view(opts, d.fn)
	found, same, version := d.found, d.same, d.version
	d.rq = request{}
	documentReads.Put(d)
	switch {
	case err != nil:
		return err
	case !found:
		return model.Errorf(model.CodeNotFound, "%s %q does not exist", kind, name)
	}
	rq.setETag(version)
	if same {
		rq.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	rq.ctx.SetContentType(contentJSON)
	return nil
}

// matchesTag reports whether an If-None-Match header names the version.
func matchesTag(header []byte, version uint64) bool {
	var buf [24]byte
	want := appendTag(buf[:0], version)
	for len(header) > 0 {
		var tag []byte
		tag, header, _ = bytes.Cut(header, []byte(","))
		tag = bytes.TrimPrefix(bytes.TrimSpace(tag), []byte("W/"))
		if string(tag) == "*" || bytes.Equal(tag, want) {
			return true
		}
	}
	return false
}
