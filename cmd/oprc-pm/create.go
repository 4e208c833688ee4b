package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
)

func (p *program) createCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "create",
		Short:   "Create something without a file",
		Example: `  oprc-pm create cluster edge-1 --url http://crm.edge-1:8088`,
	})
	cmd.AddCommand(p.createClusterCommand())
	return cmd
}

// clusterOptions are the flags of create cluster.
type clusterOptions struct {
	url, protocol  string
	labels         map[string]string
	environments   []string
	weight         uint32
	capacity       uint32
	maxConcurrency uint32
	retryAttempts  uint32
	callTimeout    time.Duration
	cordoned       bool

	auth, username   string
	caFile           string
	serverName       string
	insecure         bool
	ignoreIfThere    bool
	given            func(flag string) bool
	waitUntilHealthy time.Duration
}

func (p *program) createClusterCommand() *cobra.Command {
	var o clusterOptions
	cmd := p.clientFlags(&cobra.Command{
		Use:   "cluster NAME --url URL",
		Short: "Add a cluster that deployments can run in",
		Long: `Add a cluster: where its CRM answers, how to speak to it, and what planning may
use. The change is replicated: every node knows the cluster at once, and the
leader begins to probe it.

No secret is ever sent or stored. With --auth, each node finds token, password or
certificate by the name of the cluster: in its configuration
(crm.clusters.NAME), in crm.secrets_dir/NAME, or in CRM_NAME_TOKEN.`,
		Example: `  oprc-pm create cluster edge-1 --url http://crm.edge-1:8088 --label zone=eu-1 --label tier=edge
  oprc-pm create cluster core --url https://crm.core:8088 --protocol grpc --auth bearer --ca-file core-ca.pem --environment production
  oprc-pm create cluster lab --url http://10.0.0.7:8088 --capacity 20 --weight 50 --wait=30s`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.given = cmd.Flags().Changed
			return p.createCluster(cmd.Context(), args[0], o)
		},
	})
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "where the CRM answers, http:// or https://")
	f.StringVar(&o.protocol, "protocol", string(model.ProtocolHTTP), "how it is spoken to: http or grpc")
	f.StringToStringVar(&o.labels, "label", nil, "`KEY=VALUE` for selectors and spreading; may be repeated")
	f.StringSliceVar(&o.environments, "environment", nil, "further name under which deployments may target it; may be repeated")
	f.Uint32Var(&o.weight, "weight", usualWeight, "share of the load against other clusters; 0: only what names it")
	f.Uint32Var(&o.capacity, "capacity", 0, "most units that are placed there (default: what the CRM reports)")
	f.Uint32Var(&o.maxConcurrency, "max-concurrency", 0, "most calls in flight (default: the nodes' setting)")
	f.Uint32Var(&o.retryAttempts, "retry-attempts", 0, "how often a read is repeated (default: the nodes' setting)")
	f.DurationVar(&o.callTimeout, "call-timeout", 0, "how long one call to its CRM may take (default: the nodes' setting)")
	f.BoolVar(&o.cordoned, "cordoned", false, "place nothing there yet")
	f.StringVar(&o.auth, "auth", string(model.ClusterAuthNone), "none, bearer, basic or certificate")
	f.StringVar(&o.username, "username", "", "for basic authentication")
	f.StringVar(&o.caFile, "ca-file", "", "`FILE` with the certificates to trust, instead of the system's")
	f.StringVar(&o.serverName, "server-name", "", "name expected in its certificate (default: the URL's host)")
	f.BoolVar(&o.insecure, "insecure", false, "do not verify its certificate")
	f.BoolVar(&o.ignoreIfThere, "ignore-existing", false, "one that exists already is no error, and is left as it is")
	waitFlag(cmd, &o.waitUntilHealthy, "wait until it is healthy, at most so long")
	fixedCompletion(cmd, "protocol", string(model.ProtocolHTTP), string(model.ProtocolGRPC))
	fixedCompletion(cmd, "auth", "none", "bearer", "basic", "certificate")
	return cmd
}

// cluster makes the document of the flags. Flags that were not given leave the
// server its defaults.
func (o clusterOptions) cluster(name string) (model.Cluster, error) {
	c := model.Cluster{
		Name: name, BaseURL: o.url, Protocol: model.ClusterProtocol(o.protocol), Labels: o.labels,
		Environments: o.environments, Cordoned: o.cordoned,
	}
	for flag, field := range map[string]struct {
		value  *uint32
		target **uint32
	}{
		"weight": {&o.weight, &c.Weight}, "capacity": {&o.capacity, &c.Capacity},
		"max-concurrency": {&o.maxConcurrency, &c.MaxConcurrency}, "retry-attempts": {&o.retryAttempts, &c.RetryAttempts},
	} {
		if o.given(flag) {
			*field.target = field.value
		}
	}
	if o.given("call-timeout") {
		text := model.Duration(o.callTimeout.String())
		c.Timeout = &text
	}
	if o.given("auth") || o.username != "" {
		c.Auth = &model.ClusterAuth{Type: model.ClusterAuthType(o.auth), Username: o.username}
	}
	tls := model.ClusterTLS{ServerName: o.serverName, Insecure: o.insecure}
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return c, usagef("--ca-file: %v", err)
		}
		tls.CAPEM = string(pem)
	}
	if tls != (model.ClusterTLS{}) {
		c.TLS = &tls
	}
	return c, nil
}

func (p *program) createCluster(ctx context.Context, name string, o clusterOptions) error {
	if o.url == "" {
		return usagef("--url URL is missing: where does the CRM answer?")
	}
	cluster, err := o.cluster(name)
	if err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	result, err := c.CreateCluster(ctx, cluster, client.WriteOptions{})
	switch {
	case model.CodeOf(err) == model.CodeConflict && o.ignoreIfThere:
		p.printf("cluster/%s unchanged\n", name)
	case err != nil:
		return fmt.Errorf("create cluster/%s: %w", name, err)
	default:
		p.printWritten("cluster", name, result)
	}
	if o.waitUntilHealthy == 0 {
		return nil
	}
	return p.waitHealthy(ctx, c, name, o.waitUntilHealthy)
}
