package model

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
)

// Validate returns every rule that the cluster breaks. Call SetDefaults first.
func (c *Cluster) Validate() []Problem {
	found := c.check()
	return found.result()
}

func (c *Cluster) check() problems {
	var k checker
	k.cluster(c)
	return k.problems
}

// clusters checks the clusters that came in one document.
func (c *checker) clusters(clusters []Cluster) {
	if !c.size("clusters", len(clusters), MaxEntries) {
		return
	}
	names := newSeen(len(clusters))
	c.enter("clusters")
	defer c.leave()
	for i := range clusters {
		c.enterIndex(i)
		c.cluster(&clusters[i])
		if name := clusters[i].Name; name != "" && !names.add(name) {
			c.reportAt("name", "%s is used a second time", echo(name))
		}
		c.leave()
	}
}

// Bounds of the calls to one CRM.
const (
	maxRetryAttempts  = 100
	maxCallsInFlight  = 10_000
	maxUsernameLength = 256
)

func (c *checker) cluster(k *Cluster) {
	c.clusterName("name", k.Name)
	if message := baseURLProblem(k.BaseURL); message != "" {
		c.reportAt("base_url", "%s", message)
	}
	c.oneOf("protocol", string(k.Protocol), k.Protocol.allowed())
	c.labels("labels", k.Labels)
	c.eachOnce("environments", k.Environments, MaxEntries, environmentProblem)
	c.between("weight", k.Weight, 0, MaxWeight)
	c.between("capacity", k.Capacity, 1, MaxCapacity)
	c.positiveDuration("timeout", k.Timeout)
	c.between("retry_attempts", k.RetryAttempts, 0, maxRetryAttempts)
	c.between("max_concurrency", k.MaxConcurrency, 1, maxCallsInFlight)
	c.clusterAuth(k.Auth)
	c.clusterTLS(k.TLS)
}

// clusterName checks the name of a cluster, which deployments target as an
// environment.
func (c *checker) clusterName(member, value string) {
	if value == "" {
		c.reportAt(member, "is required")
	} else if message := environmentProblem(value); message != "" {
		c.reportAt(member, "%s", message)
	}
}

// baseURLProblem says what is wrong with the address of a CRM, or "". Messages
// do not repeat what may hold a password.
func baseURLProblem(text string) string {
	if text == "" {
		return "is required"
	}
	if message := lineProblem(text, MaxLineLength); message != "" {
		return message
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "must be a URL such as https://crm.example:8088"
	case u.User != nil:
		return "must not hold credentials: they are found on each node by the cluster's name"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://"
	case u.Hostname() == "":
		return "must name a host"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return "must not have a query or a fragment"
	}
	return ""
}

func (c *checker) clusterAuth(auth *ClusterAuth) {
	if auth == nil {
		return
	}
	c.enter("auth")
	defer c.leave()
	c.oneOf("type", string(auth.Type), auth.Type.allowed())
	switch {
	case auth.Type != ClusterAuthBasic && auth.Username != "":
		c.reportAt("username", "is only for basic authentication")
	case auth.Type != ClusterAuthBasic:
	case auth.Username == "":
		c.reportAt("username", "is required for basic authentication")
	case strings.Contains(auth.Username, ":"):
		c.reportAt("username", "must not hold a colon")
	default:
		if message := lineProblem(auth.Username, maxUsernameLength); message != "" {
			c.reportAt("username", "%s", message)
		}
	}
}

func (c *checker) clusterTLS(t *ClusterTLS) {
	if t == nil {
		return
	}
	c.enter("tls")
	defer c.leave()
	if t.CAPEM != "" {
		if message := certificatesProblem(t.CAPEM); message != "" {
			c.reportAt("ca_pem", "%s", message)
		}
	}
	c.line("server_name", t.ServerName)
}

// certificatesProblem says what is wrong with a PEM text of certificates, or "".
// Whatever else such a file may hold, a private key above all, has no place in a
// replicated document; the message does not repeat it.
func certificatesProblem(text string) string {
	if message := textProblem(text); message != "" {
		return message
	}
	rest := []byte(text)
	for count := 0; ; count++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && count == 0:
			return "must be certificates in PEM form"
		case block == nil && len(strings.TrimSpace(string(rest))) > 0:
			return "must hold nothing besides certificates in PEM form"
		case block == nil:
			return ""
		case block.Type != "CERTIFICATE":
			return "must hold certificates only, got " + echo(block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "holds a certificate that cannot be read: " + cut(err.Error())
		}
	}
}
