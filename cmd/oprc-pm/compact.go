package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/storage"
)

// compactPatience is how long a compaction may take where no --timeout is given.
const compactPatience = 10 * time.Minute

func (p *program) clusterCompactCommand() *cobra.Command {
	var node, dir string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "compact",
		Short: "Make the files of a node smaller",
		Long: `Make the node at --server, or the node NODE, take a snapshot, which lets old log
entries go, and rewrite its state file without the room that deleted data left in
it. The node goes on meanwhile.

The log's own file can only be made smaller while its node does not run: with
--data-dir, or at a start with server --compact.`,
		Example: `  oprc-pm cluster compact
  oprc-pm cluster compact --node n2
  oprc-pm cluster compact --data-dir /var/lib/oprc-pm`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir != "" {
				return p.compactLog(dir)
			}
			if !cmd.Flags().Changed("timeout") {
				p.timeout = compactPatience
			}
			return p.compact(cmd.Context(), node)
		},
	})
	cmd.Flags().StringVar(&node, "node", "", "name or id of the `NODE`; default: the one that answers")
	cmd.Flags().StringVar(&dir, "data-dir", "", "`DIR` of a stopped node whose log is to be compacted")
	return cmd
}

func (p *program) compactLog(dir string) error {
	before, after, err := cluster.CompactLog(dir)
	if err != nil {
		return damaged(fmt.Errorf("cluster compact: %w", err))
	}
	p.printf("log: %d bytes became %d\n", before, after)
	return nil
}

func (p *program) compact(ctx context.Context, node string) error {
	if node != "" {
		server, err := p.serverOf(ctx, node)
		if err != nil {
			return err
		}
		p.servers = []string{server}
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	response, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: client.Resource("cluster", "compact"), Once: true})
	if err != nil {
		return fmt.Errorf("cluster compact: %w", err)
	}
	var result storage.Compaction
	if err := json.Unmarshal(response.Body, &result); err != nil {
		return fmt.Errorf("decode compaction: %w", err)
	}
	snapshot := "a snapshot was made"
	if !result.Snapshot {
		snapshot = "nothing changed since the last snapshot"
	}
	p.printf("%s: %s; state: %d bytes became %d\n", result.Node, snapshot, result.Before, result.After)
	return nil
}

// serverOf is the URL of a node's API, by its name or id.
func (p *program) serverOf(ctx context.Context, node string) (string, error) {
	c, err := p.client()
	if err != nil {
		return "", err
	}
	defer c.Close()
	members, err := kindByName("members")
	if err != nil {
		return "", err
	}
	found, err := fetch(ctx, c, targetGroup{kind: members}, url.Values{}, 0)
	if err != nil {
		return "", err
	}
	for _, raw := range found.Items {
		var m storage.Member
		if err := json.Unmarshal(raw, &m); err != nil {
			return "", fmt.Errorf("decode member: %w", err)
		}
		if m.Name == node || m.ID == node {
			return "http://" + m.HTTPAddr, nil
		}
	}
	return "", &exitError{exitNotFound, fmt.Errorf("no node is called %s; see oprc-pm cluster members", node)}
}
