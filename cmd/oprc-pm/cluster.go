package main

import (
	"net/url"

	"github.com/spf13/cobra"
)

func (p *program) clusterCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "cluster",
		Short: "Look after the control plane's own nodes",
		Example: `  oprc-pm cluster members
  oprc-pm cluster health`,
	})
	cmd.AddCommand(p.clusterMembersCommand(), p.clusterHealthCommand(), p.clusterJoinCommand(), p.clusterLeaveCommand(),
		p.clusterRemoveCommand(), p.clusterTransferCommand(), p.clusterRecoverCommand(), p.clusterRejoinCommand(), p.clusterRebuildCommand(), p.clusterCompactCommand(), p.snapshotCommand())
	return cmd
}

func (p *program) clusterMembersCommand() *cobra.Command {
	var output string
	cmd := p.clientFlags(&cobra.Command{
		Use:   "members",
		Short: "List the nodes with their roles, positions and digests",
		Long: `List the nodes of the control plane as the node that answers sees them: role,
whether it votes and is alive, the log index it has applied, and the digest of
its state. Equal indexes have equal digests.`,
		Example: `  oprc-pm cluster members
  oprc-pm cluster members -o json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.client()
			if err != nil {
				return err
			}
			defer c.Close()
			members, err := kindByName("members")
			if err != nil {
				return err
			}
			found, err := fetch(cmd.Context(), c, targetGroup{kind: members}, url.Values{}, 0)
			if err != nil {
				return err
			}
			return p.printDocuments(members, found.Items, false, output)
		},
	})
	p.outputFlag(cmd, &output)
	return cmd
}
