package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/internal/client"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// The verbs of oprc-pm cluster that change who belongs to the control plane.

func (p *program) clusterHealthCommand() *cobra.Command {
	var output string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "health",
		Short: "Show how the leader sees the nodes, and how many may fail",
		Long: `Show how the leader sees the nodes: who answers, how long ago each heard from the
leader, how many log entries it is behind, since when it is healthy or not, and how
many voters may fail before nothing can be written.

Exit code 1 says that a node is not healthy.`,
		Example: `  oprc-pm cluster health
  oprc-pm cluster health -o json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.clusterHealth(cmd.Context(), output) },
	})
	p.outputFlag(cmd, &output)
	return cmd
}

func (p *program) clusterHealth(ctx context.Context, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	response, err := c.Do(ctx, client.Request{Method: http.MethodGet, Path: client.Resource("cluster", "health")})
	if err != nil {
		return fmt.Errorf("cluster health: %w", err)
	}
	var state storage.ClusterState
	if err := json.Unmarshal(response.Body, &state); err != nil {
		return fmt.Errorf("decode cluster health: %w", err)
	}
	if output == outputJSON || output == outputYAML {
		err = p.printStructured(output, state)
	} else {
		p.printHealth(state)
	}
	if err == nil && !state.Healthy {
		err = &exitError{exitFailure, errSilent}
	}
	return err
}

func (p *program) printHealth(state storage.ClusterState) {
	t := table{header: []string{"NAME", "ROLE", "VOTER", "HEALTHY", "CONTACT", "LAG", "SINCE", "WHY", "ID"}}
	for _, s := range state.Servers {
		contact := ""
		if s.LastContactMS >= 0 {
			contact = (time.Duration(s.LastContactMS) * time.Millisecond).String()
		}
		why := s.Reason
		if s.Leaving && why == "" {
			why = "leaving"
		}
		t.rows = append(t.rows, []string{s.Name, string(s.Role), yesNo(s.Voter), yesNo(s.Healthy), contact,
			strconv.FormatUint(s.Lag, 10), age(p.now(), &s.StableSince), shorten(why, 60), s.ID})
	}
	t.write(p.out)
	p.printf("\n%s, failure tolerance %d\n", model.Counted(state.Voters, "voter"), state.FailureTolerance)
}

const forceHelp = "do it although the vote is needed; this can end the cluster's ability to write"

func (p *program) clusterLeaveCommand() *cobra.Command {
	var force bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "leave",
		Short: "Take the node at --server out of the cluster and stop it",
		Long: `Take the node at --server out of the cluster: it hands leadership over, gives up
its vote, answers what it has accepted, and stops with exit code 0. Its data
directory stays; started again, the node joins again.

The last voter cannot leave, and none without which those that answer are no
majority.`,
		Example: `  oprc-pm cluster leave --server http://n3:8080`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(p.servers) != 1 {
				return usagef("--server must name exactly the node that is to leave")
			}
			return p.administer(cmd.Context(), []string{"leave"}, forceQuery(force), nil)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, forceHelp+"; the last voter only stops")
	return cmd
}

func (p *program) clusterRemoveCommand() *cobra.Command {
	var force bool
	cmd := p.clientFlags(&cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster, also a dead one",
		Long: `Take the node with the name or id NODE out of the cluster. One that answers leaves
in good order and stops; one that does not is struck off. Started again, it joins
again, as a new node would.

The last voter is never removed, and without --force none without which those that
answer are no majority.`,
		Example: `  oprc-pm cluster remove n3
  oprc-pm cluster remove 6b1f0c8e5d2a4f93a7c41d0e9f8b7a65`,
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeNames(client.Members),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.administer(cmd.Context(), []string{"members", args[0], "remove"}, forceQuery(force), nil)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, forceHelp)
	return cmd
}

func (p *program) clusterTransferCommand() *cobra.Command {
	return p.clientFlags(&cobra.Command{
		Use:   "transfer-leader [NODE]",
		Short: "Make another node the leader",
		Long:  `Make the voter NODE the leader, or without NODE the one that is least behind.`,
		Example: `  oprc-pm cluster transfer-leader
  oprc-pm cluster transfer-leader n2`,
		Args:              usageArgs(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeNames(client.Members),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) > 0 {
				to = args[0]
			}
			return p.administer(cmd.Context(), []string{"transfer-leader"}, nil, map[string]any{"to": to})
		},
	})
}

func (p *program) clusterJoinCommand() *cobra.Command {
	return p.clientFlags(&cobra.Command{
		Use:   "join ADDR...",
		Short: "Make the node at --server meet others",
		Long: `Make the node at --server meet the nodes at the gossip addresses ADDR, HOST or
HOST:PORT, now. A fresh node is then added by their leader, as a replica first and
as a voter once it has caught up. A node that belongs to another cluster is refused.

Nodes that are started with --join meet by themselves, again and again.`,
		Example: `  oprc-pm cluster join n1:7946 --server http://n4:8080`,
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(p.servers) != 1 {
				return usagef("--server must name exactly the node that is to join")
			}
			return p.administer(cmd.Context(), []string{"join"}, nil, map[string]any{"addrs": args})
		},
	})
}

func forceQuery(force bool) url.Values {
	if !force {
		return nil
	}
	return url.Values{"force": {"true"}}
}

// administer sends one request about the nodes and prints its outcome. It is not
// sent again: what it asks may have happened, and asking twice may do it twice.
func (p *program) administer(ctx context.Context, path []string, query url.Values, body map[string]any) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	defer c.Close()
	request := client.Request{Method: http.MethodPost, Path: client.Resource(append([]string{"cluster"}, path...)...), Query: query, Once: true}
	if body != nil {
		if request.Body, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	response, err := c.Do(ctx, request)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", path[len(path)-1], err)
	}
	var outcome struct {
		Status string `json:"status"`
		Node   string `json:"node"`
		Leader string `json:"leader"`
	}
	if err := json.Unmarshal(response.Body, &outcome); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	switch {
	case outcome.Node != "":
		p.printf("node/%s %s\n", outcome.Node, outcome.Status)
	case outcome.Leader != "":
		p.printf("leadership %s to %s\n", outcome.Status, outcome.Leader)
	default:
		p.printf("leadership %s\n", outcome.Status)
	}
	return nil
}
