package crm

import (
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
)

// Names of the files in a cluster's folder of secrets. The last three are those
// of a Kubernetes TLS secret, so that one can be mounted as it is.
const (
	secretToken    = "token"
	secretPassword = "password"
	secretCert     = "tls.crt"
	secretKey      = "tls.key"
	secretCA       = "ca.crt"
)

// credentials are what a call carries to prove who makes it. What files hold is
// looked up at each call, so that rotation needs no restart.
type credentials struct {
	auth            AuthConfig
	token, password *watchedFile
	// fallback is a token that counts where there is no other.
	fallback Secret
}

func newCredentials(cfg ClusterConfig) *credentials {
	c := &credentials{auth: cfg.Auth, fallback: cfg.FallbackToken}
	if cfg.SecretsDir != "" {
		c.token = newWatchedFile(filepath.Join(cfg.SecretsDir, secretToken))
		c.password = newWatchedFile(filepath.Join(cfg.SecretsDir, secretPassword))
	}
	return c
}

var (
	errNoToken    = errors.New("no bearer token is known for the cluster on this node (its configuration, crm.secrets_dir, CRM_<NAME>_TOKEN)")
	errNoPassword = errors.New("no password is known for the cluster on this node (its configuration, crm.secrets_dir)")
	errBadSecret  = errors.New("the cluster's credentials hold characters that cannot be sent")
)

// authorization returns the value of the header of that name; empty when none is
// to be sent. Its errors hold nothing secret.
func (c *credentials) authorization() (string, error) {
	var value string
	switch c.auth.Type {
	case AuthNone, AuthCertificate:
		return "", nil
	case AuthBasic:
		password, err := secretOr(c.auth.Password, c.password)
		if err != nil {
			return "", err
		}
		if password == "" {
			return "", errNoPassword
		}
		value = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.auth.Username+":"+password))
	default:
		token, err := secretOr(c.auth.Token, c.token)
		if err != nil {
			return "", err
		}
		if token == "" {
			token = string(c.fallback)
		}
		switch {
		case token == "" && c.auth.Type == AuthUnset:
			return "", nil
		case token == "":
			return "", errNoToken
		}
		value = "Bearer " + token
	}
	if !headerSafe(value) {
		return "", errBadSecret
	}
	return value, nil
}

// secretOr returns a secret, or else what its file holds, without the newline
// that editors leave at the end.
func secretOr(secret Secret, file *watchedFile) (string, error) {
	if secret != "" {
		return string(secret), nil
	}
	content, err := file.readOptional()
	if err != nil || content == nil {
		return "", err
	}
	return strings.TrimSpace(string(content.data)), nil
}

// credentialsReason words why credentials cannot be used. Paths of this node are
// for its log.
func credentialsReason(err error) string {
	for _, known := range []error{errNoToken, errNoPassword, errBadSecret} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "credentials cannot be used"
}
