package sim

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/internal/testtls"
)

func TestCallersProveWhoTheyAre(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		auth   Auth
		header string
		ok     bool
	}{
		"nothing asked":      {Auth{}, "", true},
		"bearer":             {Auth{Token: "secret"}, "Bearer secret", true},
		"bearer missing":     {Auth{Token: "secret"}, "", false},
		"bearer wrong":       {Auth{Token: "secret"}, "Bearer secrets", false},
		"basic":              {Auth{Username: "pm", Password: "pw"}, "Basic cG06cHc=", true},
		"basic wrong":        {Auth{Username: "pm", Password: "other"}, "Basic cG06cHc=", false},
		"basic for bearer":   {Auth{Token: "secret"}, "Basic cG06cHc=", false},
		"no certificate":     {Auth{Certificate: true}, "", false},
		"password alone":     {Auth{Password: "pw"}, "Basic OnB3", true},
		"more than is asked": {Auth{}, "Bearer secret", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := StartFor(t, Config{Name: "edge"})
			v.SetAuth(tt.auth)
			wantStatus, wantGRPC := 401, codes.Unauthenticated
			if tt.ok {
				wantStatus, wantGRPC = 200, codes.OK
			}
			var headers []string
			ctx := t.Context()
			if tt.header != "" {
				headers = []string{"Authorization", tt.header}
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", tt.header)
			}
			if status, body := call(t, v.Sim, "GET", "/api/v1/health", "", headers...); status != wantStatus {
				t.Errorf("HTTP: got %d %v, want %d", status, body, wantStatus)
			}
			_, err := dialGRPC(t, v).info.GetEnvHealth(ctx, &crmpb.CrmEnvRequest{})
			wantCode(t, "gRPC", err, wantGRPC)
			for _, c := range v.Calls(0) {
				if c.Status != wantStatus {
					t.Errorf("journal: got %+v, want status %d", c, wantStatus)
				}
			}
		})
	}
}

// TestClientCertificates: over TLS, in both protocols.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, stranger := testtls.NewCA(t), testtls.NewCA(t)
	v := StartFor(t, Config{
		Name: "edge", Auth: Auth{Certificate: true},
		TLS: &tls.Config{
			Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1")}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		},
	})
	for name, tt := range map[string]struct {
		trusts *x509.CertPool
		shows  []tls.Certificate
		status int // 0: no connection
		code   codes.Code
	}{
		"with one":          {ca.Pool(), []tls.Certificate{ca.Client(t, "pm")}, 200, codes.OK},
		"without":           {ca.Pool(), nil, 401, codes.Unauthenticated},
		"a stranger's":      {ca.Pool(), []tls.Certificate{stranger.Client(t, "pm")}, 0, codes.Unavailable},
		"an unknown server": {stranger.Pool(), []tls.Certificate{ca.Client(t, "pm")}, 0, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secured := &tls.Config{RootCAs: tt.trusts, Certificates: tt.shows}
			transport := &http.Transport{TLSClientConfig: secured.Clone(), ForceAttemptHTTP2: true}
			t.Cleanup(transport.CloseIdleConnections)
			request, err := http.NewRequestWithContext(t.Context(), "GET", v.URL()+"/api/v1/health", nil)
			if err != nil {
				t.Fatal(err)
			}
			status := 0
			if response, err := transport.RoundTrip(request); err == nil {
				status = response.StatusCode
				_ = response.Body.Close()
			}
			if status != tt.status {
				t.Errorf("HTTP: got %d, want %d", status, tt.status)
			}
			_, err = dialGRPC(t, v, grpc.WithTransportCredentials(credentials.NewTLS(secured))).info.GetEnvHealth(t.Context(), &crmpb.CrmEnvRequest{})
			wantCode(t, "gRPC", err, tt.code)
		})
	}
	if err := (Config{Name: "x", Auth: Auth{Certificate: true}}).Validate(); err == nil {
		t.Error("certificates without TLS: got no error")
	}
}
