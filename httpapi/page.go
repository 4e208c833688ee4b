package httpapi

import (
	"encoding/base64"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/storage"
)

// page is the part of a list that a client asks for.
type page struct {
	// from is the first name that may be in it.
	from string
	// skip is how many items to leave out first.
	skip int
	// limit counts when limited is set.
	limit   int
	limited bool
}

// page reads ?limit=, ?offset= and ?cursor=.
func (rq request) page() (page, error) {
	var p page
	limit, given, err := rq.queryCount("limit")
	if err != nil {
		return p, err
	}
	switch {
	case given:
		p.limit, p.limited = min(limit, rq.s.cfg.MaxPage), true
	case rq.s.cfg.DefaultPage > 0:
		p.limit, p.limited = rq.s.cfg.DefaultPage, true
	}
	if p.skip, _, err = rq.queryCount("offset"); err != nil {
		return p, err
	}
	cursor, given, err := rq.query("cursor")
	if err != nil || !given {
		return p, err
	}
	last, ok := decodeCursor(cursor)
	if !ok {
		return p, invalidField("cursor", "query parameter cursor is not one that this service gave out")
	}
	p.from = storage.After(last)
	return p, nil
}

// cursorVersion begins every cursor, so that its content can change.
const cursorVersion = "1:"

func encodeCursor(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorVersion + last))
}

func decodeCursor(cursor string) (last string, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return "", false
	}
	last, ok = strings.CutPrefix(string(raw), cursorVersion)
	return last, ok && checkName(last) == ""
}

// linkNext tells where the list goes on.
func (rq request) linkNext(last string) {
	args := fasthttp.AcquireArgs()
	defer fasthttp.ReleaseArgs(args)
	rq.ctx.QueryArgs().CopyTo(args)
	args.Del("offset")
	args.Set("cursor", encodeCursor(last))
	rq.ctx.Response.Header.Set(headerLink, "<"+string(rq.ctx.URI().PathOriginal())+"?"+string(args.QueryString())+`>; rel="next"`)
}
