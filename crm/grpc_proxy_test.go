package crm

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// newH2CServer serves HTTP/2 without TLS, which an ingress in front of a CRM does.
func newH2CServer(t *testing.T, handler http.HandlerFunc) (baseURL string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// A page that something in front of the CRM answers to a call of gRPC is no
// answer of the CRM: the library makes UNIMPLEMENTED of a 404.
func TestGRPCAnswersOfOthersAreNoAnswersOfTheCRM(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status      int
		contentType string
		body        string
	}{
		"404 of an ingress":      {404, "text/html", page},
		"404 without a body":     {404, "", ""},
		"404 that is JSON":       {404, "application/json", `{"error":"deployment not found","code":"not_found"}`},
		"400":                    {400, "text/plain", "no"},
		"401":                    {401, "text/html", page},
		"403":                    {403, "text/html", page},
		"429":                    {429, "text/html", page},
		"502":                    {502, "text/html", page},
		"503":                    {503, "text/plain", "no healthy upstream"},
		"504":                    {504, "", ""},
		"302":                    {302, "text/html", page},
		"a welcome":              {200, "text/html", page},
		"a page about a 404":     {200, "text/html", "unexpected HTTP status code received from server: 404 (Not Found)"},
		"a status nobody counts": {799, "text/html", page},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			baseURL := newH2CServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			client := newTestGRPCClient(t, baseURL, nil)
			for call, err := range askAll(t, client) {
				var failed *CallError
				if !errors.As(err, &failed) || failed.Class != ClassRetryable || failed.Status != 0 || failed.NotSent {
					t.Errorf("%s: got %+v (%v), want retryable, without a status, sent", call, failed, err)
					continue
				}
				if Refused(err) || !MayArrive(err) {
					t.Errorf("%s: refused %v, may arrive %v, want false, true", call, Refused(err), MayArrive(err))
				}
				contains(t, failed.Reason, answered(test.status)+", but not as a CRM does")
			}
		})
	}
}

// askAll makes every call that says something about a unit.
func askAll(t *testing.T, client Client) map[string]error {
	t.Helper()
	ctx, from := t.Context(), Origin{Term: 1}
	errs := map[string]error{CallDelete: client.Delete(ctx, from, "u1")}
	_, errs[CallDeploy] = client.Deploy(ctx, from, testUnit("u1"))
	_, errs[CallStatus] = client.Status(ctx, from, "u1")
	_, errs[CallRecord] = client.Record(ctx, Origin{}, "u1")
	_, errs[CallRecords] = client.Records(ctx, Origin{}, RecordFilter{})
	_, errs[CallHealth] = client.Health(ctx)
	return errs
}

// A proxy that speaks gRPC says UNIMPLEMENTED where it knows no way. That neither
// refuses a unit nor says that it is gone; it only means what it says of the calls
// that a CRM need not have.
func TestGRPCUnimplementedByCall(t *testing.T) {
	t.Parallel()
	recorder := &grpcRecorder{answer: always(nil, status.Error(codes.Unimplemented, ""))}
	client := newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil)
	want := map[string]Class{
		CallDeploy: ClassRetryable, CallStatus: ClassRetryable, CallDelete: ClassRetryable,
		CallRecord: ClassNotSupported, CallRecords: ClassNotSupported, CallHealth: ClassNotSupported,
	}
	for call, err := range askAll(t, client) {
		if ClassOf(err) != want[call] || Refused(err) != (want[call] == ClassNotSupported) {
			t.Errorf("%s: got %v, refused %v, want class %s", call, err, Refused(err), want[call])
		}
	}
}
