package crm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/internal/testtls"
	"github.com/oprc/oprc-pm/model"

	grpccredentials "google.golang.org/grpc/credentials"
)

// protocols are those over which everything about security must hold.
var protocols = []model.ClusterProtocol{model.ProtocolHTTP, model.ProtocolGRPC}

// seenCaller is what a server learned of the last caller.
type seenCaller struct{ authorization, certificate string }

// newHealthServer answers health calls over a protocol, over TLS when it is
// given, and tells who called.
func newHealthServer(t *testing.T, protocol model.ClusterProtocol, tlsConfig *tls.Config) (baseURL string, caller *atomic.Pointer[seenCaller]) {
	t.Helper()
	caller = &atomic.Pointer[seenCaller]{}
	nameOf := func(state *tls.ConnectionState) string {
		if state == nil || len(state.PeerCertificates) == 0 {
			return ""
		}
		return state.PeerCertificates[0].Subject.CommonName
	}
	if protocol == model.ProtocolHTTP {
		return newHTTPServer(t, tlsConfig, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller.Store(&seenCaller{r.Header.Get("Authorization"), nameOf(r.TLS)})
			_, _ = io.WriteString(w, `{"status":"Healthy"}`)
		})), caller
	}
	recorder := &grpcRecorder{answer: func(ctx context.Context, _ string, _ proto.Message) (proto.Message, error) {
		seen := &seenCaller{}
		if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
			seen.authorization = values[0]
		}
		if p, ok := peer.FromContext(ctx); ok {
			if info, ok := p.AuthInfo.(grpccredentials.TLSInfo); ok {
				seen.certificate = nameOf(&info.State)
			}
		}
		caller.Store(seen)
		return &crmpb.CrmEnvHealth{Status: "Healthy"}, nil
	}}
	scheme := "http://"
	if tlsConfig != nil {
		scheme = "https://"
	}
	return scheme + newGRPCServer(t, tlsConfig, recorder), caller
}

func newTestClientOf(t *testing.T, protocol model.ClusterProtocol, baseURL string, change func(*ClusterConfig)) closingClient {
	t.Helper()
	cfg := DefaultClusterConfig("edge", baseURL)
	cfg.Protocol, cfg.RetryAttempts, cfg.Timeout = protocol, 1, patience
	if change != nil {
		change(&cfg)
	}
	client, err := newClient(cfg, metrics.NewSet(), discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// overBoth runs a test for each protocol.
func overBoth(t *testing.T, test func(t *testing.T, protocol model.ClusterProtocol)) {
	t.Helper()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

// failure asks for the health, which must fail.
func failure(t *testing.T, client Client) *CallError {
	t.Helper()
	_, err := client.Health(t.Context())
	var call *CallError
	if !errors.As(err, &call) {
		t.Fatalf("got %v, want a *CallError", err)
	}
	return call
}

func succeed(t *testing.T, client Client) {
	t.Helper()
	if _, err := client.Health(t.Context()); err != nil {
		t.Fatalf("got %v, want an answer", err)
	}
}

func writeFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	// Renamed into place, as secrets are replaced.
	temporary, path := filepath.Join(dir, name+".new"), filepath.Join(dir, name)
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "token", "from-file\n")
	writeFile(t, dir, "password", "pass-file\n")
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for name, test := range map[string]struct {
		auth     AuthConfig
		dir      string
		fallback Secret
		want     string
		reason   string
	}{
		"none":                               {auth: AuthConfig{Type: AuthNone}, dir: dir, fallback: "env"},
		"unset and nothing known":            {},
		"unset and a file":                   {dir: dir, fallback: "env", want: "Bearer from-file"},
		"unset and the environment":          {fallback: "env", want: "Bearer env"},
		"unset, a folder without a file":     {dir: filepath.Join(dir, "nowhere"), fallback: "env", want: "Bearer env"},
		"bearer":                             {auth: AuthConfig{Type: AuthBearer, Token: "t0ken"}, dir: dir, fallback: "env", want: "Bearer t0ken"},
		"bearer from a file":                 {auth: AuthConfig{Type: AuthBearer}, dir: dir, want: "Bearer from-file"},
		"bearer from the environment":        {auth: AuthConfig{Type: AuthBearer}, fallback: "env", want: "Bearer env"},
		"bearer without a token":             {auth: AuthConfig{Type: AuthBearer}, reason: "no bearer token is known"},
		"bearer that cannot be sent":         {auth: AuthConfig{Type: AuthBearer, Token: "a\nb"}, reason: "cannot be sent"},
		"basic":                              {auth: AuthConfig{Type: AuthBasic, Username: "u", Password: "p"}, dir: dir, want: basic("u:p")},
		"basic from a file":                  {auth: AuthConfig{Type: AuthBasic, Username: "u"}, dir: dir, want: basic("u:pass-file")},
		"basic without a password":           {auth: AuthConfig{Type: AuthBasic, Username: "u"}, fallback: "env", reason: "no password is known"},
		"basic does not send another's file": {auth: AuthConfig{Type: AuthBasic, Username: "u"}, dir: t.TempDir(), reason: "no password is known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
				baseURL, caller := newHealthServer(t, protocol, nil)
				client := newTestClientOf(t, protocol, baseURL, func(c *ClusterConfig) {
					c.Auth, c.SecretsDir, c.FallbackToken = test.auth, test.dir, test.fallback
				})
				if test.reason != "" {
					got := failure(t, client)
					if got.Class != ClassTerminal || !got.NotSent || caller.Load() != nil {
						t.Errorf("got %+v, want terminal, not sent", got)
					}
					contains(t, got.Error(), test.reason)
					return
				}
				succeed(t, client)
				if got := caller.Load().authorization; got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestTokenIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
		dir := t.TempDir()
		baseURL, caller := newHealthServer(t, protocol, nil)
		client := newTestClientOf(t, protocol, baseURL, func(c *ClusterConfig) { c.Auth.Type, c.SecretsDir = AuthBearer, dir })
		_ = failure(t, client) // not there yet
		for _, token := range []string{"one", "two"} {
			writeFile(t, dir, "token", token)
			succeed(t, client)
			if got, want := caller.Load().authorization, "Bearer "+token; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if err := os.Remove(filepath.Join(dir, "token")); err != nil {
			t.Fatal(err)
		}
		_ = failure(t, client) // withdrawn
	})
}

func TestServerCertificates(t *testing.T) {
	t.Parallel()
	ours, other := testtls.NewCA(t), testtls.NewCA(t)
	dir := t.TempDir()
	ourFile := ours.WriteCA(t, dir, "ca.crt")
	local := &tls.Config{Certificates: []tls.Certificate{ours.Server(t, "127.0.0.1")}}
	named := &tls.Config{Certificates: []tls.Certificate{ours.Server(t, "crm.example")}}
	expired, expiredPEM := expiredServer(t)
	for name, test := range map[string]struct {
		server *tls.Config
		tls    TLSConfig
		dir    string
		reason string
	}{
		"own authority from a file":         {server: local, tls: TLSConfig{CAFile: ourFile}},
		"own authority as text":             {server: local, tls: TLSConfig{CAPEM: ours.PEM()}},
		"own authority from the folder":     {server: local, dir: dir},
		"the file comes before the text":    {server: local, tls: TLSConfig{CAFile: ourFile, CAPEM: other.PEM()}},
		"the text comes before the folder":  {server: local, tls: TLSConfig{CAPEM: other.PEM()}, dir: dir, reason: "certificate is not trusted"},
		"another authority":                 {server: local, tls: TLSConfig{CAPEM: other.PEM()}, reason: "certificate is not trusted"},
		"the system's authorities":          {server: local, reason: "certificate is not trusted"},
		"another host":                      {server: named, tls: TLSConfig{CAFile: ourFile}, reason: "certificate is for another host"},
		"another host that is expected":     {server: named, tls: TLSConfig{CAFile: ourFile, ServerName: "crm.example"}},
		"a host that is not the one":        {server: named, tls: TLSConfig{CAFile: ourFile, ServerName: "other.example"}, reason: "certificate is for another host"},
		"expired":                           {server: expired, tls: TLSConfig{CAPEM: expiredPEM}, reason: "certificate has expired or is not valid yet"},
		"insecure, another authority":       {server: local, tls: TLSConfig{Insecure: true}},
		"insecure, expired and another":     {server: expired, tls: TLSConfig{Insecure: true}},
		"an authority's file that is none":  {server: local, tls: TLSConfig{CAFile: writeFile(t, dir, "nonsense", "x")}, reason: "TLS settings cannot be used"},
		"an authority's file that is gone":  {server: local, tls: TLSConfig{CAFile: filepath.Join(dir, "nowhere")}, reason: "TLS settings cannot be used"},
		"a server that is older than 1.2":   {server: &tls.Config{Certificates: local.Certificates, MaxVersion: tls.VersionTLS11}, tls: TLSConfig{CAFile: ourFile}, reason: "TLS connection was refused (protocol version not supported)"},
		"a certificate that is none's":      {server: local, tls: TLSConfig{CAFile: ourFile, CertFile: ourFile}, reason: "TLS settings cannot be used"},
		"a client's certificate not needed": {server: local, tls: clientPair(t, ours, dir, "extra", TLSConfig{CAFile: ourFile})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
				baseURL, caller := newHealthServer(t, protocol, test.server.Clone())
				client := newTestClientOf(t, protocol, baseURL, func(c *ClusterConfig) { c.TLS, c.SecretsDir = test.tls, test.dir })
				if test.reason == "" {
					succeed(t, client)
					return
				}
				got := failure(t, client)
				if got.Reason != test.reason || !got.NotSent || caller.Load() != nil {
					t.Errorf("got %+v, want %q, not sent", got, test.reason)
				}
			})
		})
	}
}

func clientPair(t *testing.T, ca *testtls.CA, dir, name string, cfg TLSConfig) TLSConfig {
	t.Helper()
	cfg.CertFile, cfg.KeyFile = testtls.WritePair(t, dir, name, ca.Client(t, name))
	return cfg
}

func TestSchemesThatDoNotFit(t *testing.T) {
	t.Parallel()
	ca := testtls.NewCA(t)
	overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
		plain, _ := newHealthServer(t, protocol, nil)
		client := newTestClientOf(t, protocol, "https"+plain[len("http"):], nil)
		if got := failure(t, client); got.Reason != "server does not speak TLS" || !got.NotSent {
			t.Errorf("TLS to a plain server: got %+v, want does not speak TLS, not sent", got)
		}
		secure, caller := newHealthServer(t, protocol, &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1")}})
		_ = failure(t, newTestClientOf(t, protocol, "http"+secure[len("https"):], nil))
		if caller.Load() != nil {
			t.Error("plain to a TLS server: the call arrived")
		}
	})
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, other := testtls.NewCA(t), testtls.NewCA(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	later := server.Clone()
	later.Time = func() time.Time { return time.Now().Add(10 * 365 * 24 * time.Hour) }
	dir := t.TempDir()
	trusted := TLSConfig{CAFile: ca.WriteCA(t, dir, "ca.crt")}
	right := clientPair(t, ca, dir, "right", trusted)
	certificate, err := os.ReadFile(right.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(right.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	writeFile(t, secrets, "tls.crt", string(certificate))
	writeFile(t, secrets, "tls.key", string(key))
	both := trusted
	both.CertFile = writeFile(t, dir, "both.pem", string(certificate)+string(key))
	mixed := right
	mixed.KeyFile = clientPair(t, ca, dir, "mixed", trusted).KeyFile

	const refused = "TLS connection was refused"
	for name, test := range map[string]struct {
		server *tls.Config
		tls    TLSConfig
		dir    string
		auth   AuthType
		// reason is what a failure begins with.
		reason string
	}{
		"that is required":                  {server: server, tls: right},
		"in one file with its key":          {server: server, tls: both, auth: AuthCertificate},
		"from the folder":                   {server: server, tls: trusted, dir: secrets, auth: AuthCertificate},
		"that is missing":                   {server: server, tls: trusted, reason: refused},
		"that is missing and configured so": {server: server, tls: trusted, dir: t.TempDir(), auth: AuthCertificate, reason: "TLS settings cannot be used"},
		"of another authority":              {server: server, tls: clientPair(t, other, dir, "wrong", trusted), reason: refused},
		"that has expired":                  {server: later, tls: right, reason: refused},
		"with another's key":                {server: server, tls: mixed, reason: "TLS settings cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
				baseURL, caller := newHealthServer(t, protocol, test.server.Clone())
				client := newTestClientOf(t, protocol, baseURL, func(c *ClusterConfig) { c.TLS, c.SecretsDir, c.Auth.Type = test.tls, test.dir, test.auth })
				if test.reason == "" {
					succeed(t, client)
					if got := caller.Load().certificate; got != "right" {
						t.Errorf("got the certificate of %q, want right", got)
					}
					return
				}
				got := failure(t, client)
				// The server's alert can be overtaken by the end of the connection.
				lost := test.reason == refused && (got.Reason == reasonNoGRPC || got.Reason == "connection was lost")
				if !lost {
					contains(t, got.Reason, test.reason)
				}
				if caller.Load() != nil {
					t.Error("the call arrived")
				}
			})
		})
	}
}

// A certificate that is replaced is used at once, and with connections of its
// own; one that is half replaced leaves the former in force.
func TestCertificateRotation(t *testing.T) {
	t.Parallel()
	ca := testtls.NewCA(t)
	overBoth(t, func(t *testing.T, protocol model.ClusterProtocol) {
		server := &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
		baseURL, caller := newHealthServer(t, protocol, server)
		dir := t.TempDir()
		rotate := func(name string, files ...string) {
			other := t.TempDir()
			testtls.WritePair(t, other, "tls", ca.Client(t, name))
			for _, file := range files {
				content, err := os.ReadFile(filepath.Join(other, file))
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, dir, file, string(content))
			}
		}
		writeFile(t, dir, "ca.crt", ca.PEM())
		client := newTestClientOf(t, protocol, baseURL, func(c *ClusterConfig) { c.SecretsDir = dir })
		expect := func(want string) {
			t.Helper()
			succeed(t, client)
			if got := caller.Load().certificate; got != want {
				t.Errorf("got the certificate of %q, want %q", got, want)
			}
		}
		rotate("first", "tls.crt", "tls.key")
		expect("first")
		rotate("second", "tls.crt", "tls.key")
		expect("second")
		rotate("third", "tls.crt") // its key is still the second's
		expect("second")
		expect("second")
		rotate("fourth", "tls.crt", "tls.key")
		expect("fourth")
		writeFile(t, dir, "ca.crt", testtls.NewCA(t).PEM())
		if got := failure(t, client); got.Reason != "certificate is not trusted" {
			t.Errorf("after the authority changed: got %+v, want not trusted", got)
		}
	})
}

// expiredServer is a server whose certificate has expired, and what trusts it.
func expiredServer(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, string(text)
}
