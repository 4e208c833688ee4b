package crm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// judge decodes a whole answer into into, or says what is wrong with it. Between
// us and a CRM there may be an ingress or a proxy that answers when it has lost
// the CRM: its words must neither refuse a unit nor make us forget one that runs.
func (c *HTTPClient) judge(call string, status int, body []byte, into any) error {
	large := int64(len(body)) > c.cfg.MaxResponseBytes
	if status < 200 || status > 299 {
		if large {
			body = nil
		}
		return c.refusal(call, status, body)
	}
	failed := &CallError{Cluster: c.cluster, Call: call, Class: ClassRetryable, Status: status, Reason: reasonMalformed}
	trimmed := bytes.TrimSpace(body)
	switch {
	case large:
		failed.Reason = tooLarge(c.cfg.MaxResponseBytes)
	case len(trimmed) > 0 && trimmed[0] == '<':
		return c.foreign(call, status)
	case into == nil && (len(trimmed) == 0 || json.Valid(trimmed)):
		return nil
	case into != nil:
		err := boundJSON(body)
		if err == nil {
			err = json.Unmarshal(body, into)
		}
		if err == nil {
			return nil
		}
		failed.Reason, failed.Err = cmp.Or(boundsReason(err), reasonMalformed), err
	}
	return failed
}

// refusal turns an answer that is not a success into an error.
func (c *HTTPClient) refusal(call string, status int, body []byte) error {
	said := readRefusal(body)
	class := classify(call, status, said)
	if class == classForeign {
		return c.foreign(call, status)
	}
	reason := answered(status)
	if said.text != "" {
		reason += ": " + said.text
	}
	return &CallError{Cluster: c.cluster, Call: call, Class: class, Status: status, Reason: reason}
}

// foreign is an answer that came from something in front of the CRM. The call may
// have passed it, and the CRM may yet carry it out.
func (c *caller) foreign(call string, status int) error {
	reason := answered(status) + ", but not as a CRM does"
	if status >= 300 && status < 400 {
		reason += "; redirects are not followed"
	}
	return &CallError{Cluster: c.cluster, Call: call, Class: ClassRetryable, Reason: reason}
}

func answered(status int) string {
	return strings.TrimSpace(fmt.Sprintf("answered %d %s", status, http.StatusText(status)))
}

// refusalBody is the body of a CRM's refusal: {"error": TEXT}, and in ours a code.
type refusalBody struct {
	// text is what it says; empty where the body is no such object.
	text, code string
	// firm: it is in "error". A "message" alone is what gateways write, too.
	firm bool
	// extra: there are members that a CRM's refusal does not have.
	extra bool
}

func readRefusal(body []byte) (said refusalBody) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return said
	}
	text := func(name string) (value string) {
		if json.Unmarshal(members[name], &value) != nil {
			return ""
		}
		return value
	}
	said.text, said.code = Printable(text("error")), text("code")
	if said.firm = said.text != ""; !said.firm {
		said.text = Printable(text("message"))
	}
	for name := range members {
		switch name {
		case "error", "code", "message", "details", "correlation_id":
		default:
			said.extra = true
		}
	}
	return said
}

// gone tells whether the body of a 404 or 410 says that a unit is not there. It
// takes a code that says so, or a body with nothing of what frameworks write for
// a path that they do not know.
func (b refusalBody) gone() bool {
	switch strings.ToLower(b.code) {
	case "":
		return b.firm && !b.extra
	case "not_found", "unit_not_found", "deployment_not_found", "gone":
		return b.firm
	}
	return false
}

// classForeign marks an answer that is not the CRM's; see HTTPClient.foreign.
const classForeign Class = "foreign"

// classify maps an answer that is not a success.
func classify(call string, status int, said refusalBody) Class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return ClassTerminal // about the caller or the size of the call, from whomever it comes
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return ClassRetryable
	case http.StatusNotFound, http.StatusGone:
		return classifyMissing(call, said)
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		if call == CallRecords || said.firm {
			return ClassNotSupported
		}
		return classForeign
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if said.firm {
			return ClassRetryable
		}
		return classForeign
	case http.StatusConflict, http.StatusPreconditionFailed:
		if said.code == codeStaleTerm {
			return ClassFenced
		}
	}
	switch {
	case status >= 500:
		return ClassRetryable
	case status < 400, said.text == "":
		return classForeign
	}
	return ClassTerminal
}

// classifyMissing maps a 404 or 410. A CRM without a list leaves it to its router
// to say so, which says it like any other; to have its units asked for one by one
// in place of that harms nobody.
func classifyMissing(call string, said refusalBody) Class {
	class := missing(call)
	switch {
	case class == ClassNotSupported:
		return class
	case !said.firm, said.code == "" && said.extra:
		return classForeign
	case class == ClassNotFound && !said.gone():
		return ClassRetryable // the path is missing, not the unit
	}
	return class
}
