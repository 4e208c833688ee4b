package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oprc/oprc-pm/cluster"
)

// recoverOptions are the flags of cluster recover.
type recoverOptions struct {
	dataDir, peers, output string
	others                 []string
	acceptLoss, yes        bool
}

func (p *program) clusterRecoverCommand() *cobra.Command {
	var o recoverOptions
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Let a stopped node go on when most voters are lost for good",
		Long: `Replace the configuration of a stopped node, so that it can lead without the nodes
that are lost. Only for a majority that never comes back: with one voter more, start
that one instead.

Every entry in this node's log counts as written then, and what only lost nodes held
is lost. So the logs of the other voters whose disks still exist must be given with
--compare, as data directories or as the output of this command with -o json, made
there; a difference, or a voter that was not compared, is refused unless
--accept-data-loss is given. Recover on the node whose log ends last.

Without --yes nothing is changed. With it, the raft directory is first copied to
raft.before-recover-TIME beside it. Afterwards start this node with
--bootstrap-expect 1, and let all others join with empty data directories: one that
comes back with its old log could lead the old configuration against the new one.`,
		Example: `  oprc-pm cluster recover --data-dir /var/lib/oprc-pm
  oprc-pm cluster recover --data-dir /var/lib/oprc-pm --compare n2.json --yes
  oprc-pm cluster recover --data-dir /var/lib/oprc-pm --peers peers.json --compare n2.json --yes`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(_ *cobra.Command, _ []string) error { return p.recoverCluster(o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dataDir, "data-dir", "", "`DIR` of the stopped node (required)")
	flags.StringVar(&o.peers, "peers", "", "`FILE` with the new configuration, [{\"id\", \"address\", \"non_voter\"}]; default: this node alone")
	flags.StringSliceVar(&o.others, "compare", nil, "`DIR|FILE,...` with the logs of other voters, or where those end")
	flags.BoolVar(&o.acceptLoss, "accept-data-loss", false, "go on although logs differ or are unknown")
	flags.BoolVar(&o.yes, "yes", false, "make the change")
	p.outputFlag(cmd, &o.output)
	return cmd
}

func (p *program) recoverCluster(o recoverOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.dataDir == "" {
		return usagef("--data-dir must be given")
	}
	options := cluster.RecoverOptions{DataDir: o.dataDir, AcceptDataLoss: o.acceptLoss, Do: o.yes}
	if o.peers != "" {
		if err := readJSONFile(o.peers, &options.Peers); err != nil {
			return usagef("--peers: %w", err)
		}
		if len(options.Peers) == 0 {
			return usagef("--peers: %s names nobody", o.peers)
		}
	}
	for _, other := range o.others {
		position, err := positionFrom(other)
		if err != nil {
			return usagef("--compare %s: %w", other, err)
		}
		options.Others = append(options.Others, position)
	}
	report, err := cluster.Recover(options)
	if err != nil && !errors.Is(err, cluster.ErrObjections) {
		return fmt.Errorf("cluster recover: %w", err)
	}
	if o.output == outputJSON || o.output == outputYAML {
		if perr := p.printStructured(o.output, report); perr != nil {
			return perr
		}
	} else {
		p.printRecovery(report, err != nil)
	}
	if err != nil {
		return &exitError{exitConflict, errSilent}
	}
	return nil
}

// positionFrom reads where a log ends: from a data directory, or from a file that
// says so.
func positionFrom(path string) (cluster.Position, error) {
	info, err := os.Stat(path)
	if err != nil {
		return cluster.Position{}, err
	}
	if info.IsDir() {
		return cluster.PositionOf(path)
	}
	var position cluster.Position
	if err := readJSONFile(path, &position); err != nil {
		return position, err
	}
	if position.ServerID == "" || position.LastIndex == 0 {
		return position, errors.New("it does not say where a log ends: server_id and last_index are missing")
	}
	return position, nil
}

func readJSONFile(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (p *program) printRecovery(r cluster.RecoverReport, refused bool) {
	p.printf("server %s of cluster %s\nlog ends at index %d, term %d\n", r.ServerID, r.ClusterID, r.LastIndex, r.LastTerm)
	p.printf("configuration now:   %s\n", peersText(r.Before))
	p.printf("configuration after: %s\n", peersText(r.After))
	for _, objection := range r.Objections {
		p.printf("objection: %s\n", objection)
	}
	switch {
	case refused:
		p.printf("refused; --accept-data-loss overrides the objections\n")
	case r.Done:
		p.printf("done; the raft directory as it was is in %s\n", r.Backup)
	default:
		p.printf("nothing was changed; --yes does it\n")
	}
}

func peersText(peers []cluster.Peer) string {
	texts := make([]string, 0, len(peers))
	for _, peer := range peers {
		text := peer.ID + "@" + peer.Address
		if peer.NonVoter {
			text += " (no vote)"
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return "(none)"
	}
	return strings.Join(texts, ", ")
}
