package httpapi

import (
	"bytes"
	"strings"

	"github.com/oprc/oprc-pm/model"
)

const (
	// maxWarnings bounds the Warning headers of one answer.
	maxWarnings = 8
	// maxWarningBytes bounds the field name in each.
	maxWarningBytes = 96
)

// decodeBody decodes and validates the body as its content type says. Fields
// that the model does not know are accepted with a warning, unless ?strict=true.
func decodeBody[T any](rq request, decode func([]byte, model.Format) (T, []string, error)) (T, error) {
	var none T
	format, err := rq.bodyFormat()
	if err != nil {
		return none, err
	}
	strict, _, err := rq.queryBool("strict")
	if err != nil {
		return none, err
	}
	body := rq.ctx.PostBody()
	if len(bytes.TrimSpace(body)) == 0 {
		return none, invalidField("body", "a body is required")
	}
	doc, unknown, err := decode(body, format)
	if err != nil {
		return none, err
	}
	if len(unknown) > 0 && strict {
		problems := make([]model.Problem, len(unknown))
		for i, path := range unknown {
			problems[i] = model.Problem{Path: path, Message: "unknown field"}
		}
		return none, model.Invalid(problems)
	}
	rq.warn(unknown)
	return doc, nil
}

// bodyFormat chooses the decoder: JSON or YAML. No content type means JSON.
func (rq request) bodyFormat() (model.Format, error) {
	header := &rq.ctx.Request.Header
	if encoding := header.ContentEncoding(); len(encoding) > 0 && string(encoding) != "identity" {
		return model.JSON, model.Errorf(codeUnsupportedMediaType, "header Content-Encoding: %s is not supported", printable(encoding))
	}
	full := string(header.ContentType())
	kind, _, _ := strings.Cut(full, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch kind {
	case "", "application/json", "text/json":
		return model.JSON, nil
	case "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml":
		return model.YAML, nil
	}
	if rest, ok := strings.CutPrefix(kind, "application/"); ok {
		if strings.HasSuffix(rest, "+json") {
			return model.JSON, nil
		}
		if strings.HasSuffix(rest, "+yaml") {
			return model.YAML, nil
		}
	}
	return model.JSON, model.Errorf(codeUnsupportedMediaType,
		"header Content-Type: %s is not supported; send application/json or application/yaml", printable([]byte(full)))
}

// warn names unknown fields in Warning headers.
func (rq request) warn(unknown []string) {
	for i, path := range unknown {
		if i == maxWarnings {
			rq.ctx.Response.Header.Add(headerWarning, `299 - "further unknown fields"`)
			return
		}
		rq.ctx.Response.Header.Add(headerWarning, `299 - "unknown field `+headerSafe(path)+`"`)
	}
}

// headerSafe makes text safe inside a quoted string of a header.
func headerSafe(text string) string {
	if len(text) > maxWarningBytes {
		text = text[:maxWarningBytes]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text)
}

// requireName checks that the document names what the path names.
func requireName(field, inBody, inPath string) error {
	if inBody == inPath {
		return nil
	}
	return invalidField(field, "is %q, but the path names %q", inBody, inPath)
}
