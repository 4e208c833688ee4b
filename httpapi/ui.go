package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"

	"github.com/valyala/fasthttp"
)

// indexHTML is the whole web page: no build step, no other file, nothing loaded
// from elsewhere.
//
//go:embed ui/index.html
var indexHTML []byte

//go:embed openapi.yaml
var openAPI []byte

const (
	contentHTML = "text/html; charset=utf-8"
	contentYAML = "application/yaml; charset=utf-8"
)

// webPage is a page with the policy that a browser enforces on it.
type webPage struct {
	body   []byte
	policy string
}

// newWebPage allows the page its own inline script and style, by their hashes,
// and connections back to where it came from; nothing else.
func newWebPage(body []byte) webPage {
	return webPage{body: body, policy: strings.Join([]string{
		"default-src 'none'",
		"script-src " + hashSource(body, "script"),
		"style-src " + hashSource(body, "style"),
		"connect-src 'self'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")}
}

// hashSource is the CSP source of the only inline element of that name.
func hashSource(body []byte, element string) string {
	_, rest, found := bytes.Cut(body, []byte("<"+element+">"))
	content, _, closed := bytes.Cut(rest, []byte("</"+element+">"))
	if !found || !closed {
		return "'none'"
	}
	sum := sha256.Sum256(content)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (s *Server) handleUI(rq request) error {
	h := &rq.ctx.Response.Header
	h.SetContentType(contentHTML)
	h.Set("Content-Security-Policy", s.ui.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	rq.ctx.Response.SetBodyRaw(s.ui.body)
	return nil
}

func (s *Server) handleOpenAPI(rq request) error {
	rq.ctx.SetContentType(contentYAML)
	rq.ctx.Response.SetBodyRaw(openAPI)
	return nil
}
