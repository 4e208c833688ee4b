package sim

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
)

// Auth is how callers must prove who they are. All that is set must be shown; the
// zero value lets anybody in.
type Auth struct {
	// Token is expected as "Bearer TOKEN".
	Token string
	// Username and Password are expected as basic authentication.
	Username, Password string
	// Certificate: the caller must have shown a certificate that the authorities
	// of Config.TLS signed.
	Certificate bool
}

// shown is what a caller has shown.
type shown struct {
	authorization string
	// verified: with a certificate.
	verified bool
}

// SetAuth replaces what callers must show.
func (s *Sim) SetAuth(a Auth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = a
}

// admit refuses callers that have not shown what they must.
func (s *Sim) admit(c shown) error {
	s.mu.Lock()
	a := s.auth
	s.mu.Unlock()
	denied := &refusal{http.StatusUnauthorized, "unauthorized", "the caller did not prove who it is"}
	if a.Certificate && !c.verified {
		return denied
	}
	want := ""
	switch {
	case a.Token != "":
		want = "Bearer " + a.Token
	case a.Username != "" || a.Password != "":
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))
	default:
		return nil
	}
	if subtle.ConstantTimeCompare([]byte(c.authorization), []byte(want)) != 1 {
		return denied
	}
	return nil
}
