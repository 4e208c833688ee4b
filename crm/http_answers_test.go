package crm

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// page is what an ingress or a proxy puts in the place of an answer.
const page = "<html><head><title>404 Not Found</title></head><body>nginx</body></html>"

// answering is a client of a server that always answers the same.
func answering(t *testing.T, status int, body string) *HTTPClient {
	t.Helper()
	return newTestClient(t, newHTTPServer(t, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})), nil)
}

// What stands in front of a CRM answers in its place: that is a cluster which
// cannot be reached, whatever the call and the status.
func TestAnswersOfOthersAreNoAnswersOfTheCRM(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
	}{
		"404 of an ingress":         {404, page},
		"404 of a default back end": {404, "default backend - 404"},
		"404 of Go's or Traefik's":  {404, "404 page not found\n"},
		"404 without a body":        {404, ""},
		"404 of a gateway":          {404, `{"message":"no Route matched with those values"}`},
		"404 of a framework":        {404, `{"timestamp":"2026-01-02","status":404,"error":"Not Found","path":"/api/v1/deployments/u1"}`},
		"404 of another":            {404, `{"message":"Route DELETE:/api not found","error":"Not Found","statusCode":404}`},
		"404 of an API server":      {404, `{"kind":"Status","status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","code":404}`},
		"404 that is a list":        {404, `["error"]`},
		"404 that is null":          {404, `null`},
		"404 with an empty error":   {404, `{"error":""}`},
		"404 with another error":    {404, `{"error":{"message":"not found"}}`},
		"410":                       {410, page},
		"400":                       {400, page},
		"405":                       {405, page},
		"409":                       {409, page},
		"421":                       {421, ""},
		"501":                       {501, page},
		"502":                       {502, page},
		"503":                       {503, page},
		"503 in plain text":         {503, "upstream connect error or disconnect/reset before headers"},
		"503 of a gateway":          {503, `{"message":"failure to get a peer from the ring-balancer"}`},
		"504":                       {504, ""},
		"302 to a login":            {302, page},
		"308 to https":              {308, ""},
		"a welcome":                 {200, "\n " + page},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := answering(t, test.status, test.body)
			errs := askAll(t, client)
			delete(errs, CallRecords) // of which a router may say that there is none
			for call, err := range errs {
				var failed *CallError
				if !errors.As(err, &failed) || failed.Class != ClassRetryable || failed.Status != 0 || failed.NotSent {
					t.Errorf("%s: got %+v (%v), want retryable, without a status, sent", call, failed, err)
					continue
				}
				if Refused(err) || !MayArrive(err) {
					t.Errorf("%s: refused %v, may arrive %v, want false, true", call, Refused(err), MayArrive(err))
				}
				contains(t, failed.Reason, "not as a CRM does")
				contains(t, failed.Reason, http.StatusText(test.status))
			}
		})
	}
}

// What the CRM says itself keeps its meaning, whatever the call.
func TestAnswersOfTheCRM(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
		// of the calls deploy, status, record, records, delete and health
		want []Class
	}{
		"a unit that is gone": {
			404, `{"error":"the cluster runs no such unit","code":"not_found"}`,
			[]Class{ClassTerminal, ClassNotFound, ClassNotFound, ClassNotSupported, ClassOK, ClassTerminal},
		},
		"one that is gone, as the field words it": {
			404, ` {"error":"deployment not found"}`,
			[]Class{ClassTerminal, ClassNotFound, ClassNotFound, ClassNotSupported, ClassOK, ClassTerminal},
		},
		"one that is gone, with more beside the code": {
			404, `{"error":"no","code":"DEPLOYMENT_NOT_FOUND","id":"u1","cluster":"edge"}`,
			[]Class{ClassTerminal, ClassNotFound, ClassNotFound, ClassNotSupported, ClassOK, ClassTerminal},
		},
		"410": {
			410, `{"error":"gone","message":"since yesterday"}`,
			[]Class{ClassTerminal, ClassNotFound, ClassNotFound, ClassNotSupported, ClassOK, ClassTerminal},
		},
		"a path that is not there is no unit that is gone": {
			404, `{"error":"there is no such path","code":"no_route"}`,
			[]Class{ClassTerminal, ClassRetryable, ClassRetryable, ClassNotSupported, ClassRetryable, ClassTerminal},
		},
		"a refusal": {
			422, `{"error":"no image","code":"invalid"}`,
			[]Class{ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal},
		},
		"a call that it does not have": {
			501, `{"error":"no","code":"unimplemented"}`,
			[]Class{ClassNotSupported, ClassNotSupported, ClassNotSupported, ClassNotSupported, ClassNotSupported, ClassNotSupported},
		},
		"a router that knows no such call has no list": {
			404, "404 page not found",
			[]Class{ClassRetryable, ClassRetryable, ClassRetryable, ClassNotSupported, ClassRetryable, ClassRetryable},
		},
		"a caller who is not let in, by whomever": {
			401, page,
			[]Class{ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal},
		},
		"too large, for whomever": {
			413, page,
			[]Class{ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal, ClassTerminal},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := answering(t, test.status, test.body)
			errs := askAll(t, client)
			var got []Class
			for _, call := range []string{CallDeploy, CallStatus, CallRecord, CallRecords, CallDelete, CallHealth} {
				got = append(got, ClassOf(errs[call]))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("deploy, status, record, records, delete, health (-want +got):\n%s", diff)
			}
		})
	}
}

// A unit is deleted when the CRM says so, in whatever form, and only then.
func TestAnswersToDelete(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		body   string
		want   Class
	}{
		"what it deleted":        {200, `{"id":"u1","status":"deleted"}`, ClassOK},
		"nothing":                {200, "", ClassOK},
		"no content":             {204, "", ClassOK},
		"accepted":               {202, "null\n", ClassOK},
		"a page":                 {200, page, ClassRetryable},
		"text":                   {200, "ok", ClassRetryable},
		"half an answer":         {200, `{"id":"u1"`, ClassRetryable},
		"more than can be taken": {200, `"` + strings.Repeat("x", 9<<20) + `"`, ClassRetryable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := answering(t, test.status, test.body).Delete(t.Context(), Origin{Term: 1}, "u1"); ClassOf(err) != test.want {
				t.Errorf("got %v, want class %s", err, test.want)
			}
		})
	}
}
