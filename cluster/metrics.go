package cluster

import "github.com/VictoriaMetrics/metrics"

// nodeMetrics are the counters of one node, in that node's own set.
type nodeMetrics struct {
	set *metrics.Set

	leaderChanges    *metrics.Counter
	leaderRuns       *metrics.Counter
	proposals        *metrics.Counter
	forwarded        *metrics.Counter
	retries          *metrics.Counter
	unknownOutcomes  *metrics.Counter
	rejectedBusy     *metrics.Counter
	entryCommands    *metrics.Histogram
	entryBytes       *metrics.Histogram
	readRounds       *metrics.Counter
	readWaiters      *metrics.Counter
	readFast         *metrics.Counter
	readLease        *metrics.Counter
	connsAccepted    *metrics.Counter
	connsRefused     *metrics.Counter
	dials            *metrics.Counter
	dialErrors       *metrics.Counter
	rpcRequests      *metrics.Counter
	digestMismatches *metrics.Counter
	bootstrapRefused *metrics.Counter
	configChanges    *metrics.Counter
	deadRemoved      *metrics.Counter
	diskStalls       *metrics.Counter
}

func newNodeMetrics(set *metrics.Set) *nodeMetrics {
	return &nodeMetrics{
		set:              set,
		leaderChanges:    set.GetOrCreateCounter("oprc_cluster_leader_changes_total"),
		leaderRuns:       set.GetOrCreateCounter("oprc_cluster_leader_runs_total"),
		proposals:        set.GetOrCreateCounter("oprc_cluster_proposals_total"),
		forwarded:        set.GetOrCreateCounter("oprc_cluster_proposals_forwarded_total"),
		retries:          set.GetOrCreateCounter("oprc_cluster_proposal_retries_total"),
		unknownOutcomes:  set.GetOrCreateCounter("oprc_cluster_unknown_outcomes_total"),
		rejectedBusy:     set.GetOrCreateCounter("oprc_cluster_proposals_busy_total"),
		entryCommands:    set.GetOrCreateHistogram("oprc_cluster_entry_commands"),
		entryBytes:       set.GetOrCreateHistogram("oprc_cluster_entry_size_bytes"),
		readRounds:       set.GetOrCreateCounter("oprc_cluster_read_rounds_total"),
		readWaiters:      set.GetOrCreateCounter("oprc_cluster_read_waiters_total"),
		readFast:         set.GetOrCreateCounter("oprc_cluster_reads_single_voter_total"),
		readLease:        set.GetOrCreateCounter("oprc_cluster_reads_lease_total"),
		connsAccepted:    set.GetOrCreateCounter("oprc_cluster_connections_accepted_total"),
		connsRefused:     set.GetOrCreateCounter("oprc_cluster_connections_refused_total"),
		dials:            set.GetOrCreateCounter("oprc_cluster_dials_total"),
		dialErrors:       set.GetOrCreateCounter("oprc_cluster_dial_errors_total"),
		rpcRequests:      set.GetOrCreateCounter("oprc_cluster_rpc_requests_total"),
		digestMismatches: set.GetOrCreateCounter("oprc_cluster_digest_mismatch_total"),
		bootstrapRefused: set.GetOrCreateCounter("oprc_cluster_bootstrap_refused_total"),
		configChanges:    set.GetOrCreateCounter("oprc_cluster_configuration_changes_total"),
		diskStalls:       set.GetOrCreateCounter("oprc_disk_stalls_total"),
		deadRemoved:      set.GetOrCreateCounter("oprc_cluster_dead_servers_removed_total"),
	}
}

// gauges registers what is read from the node when it is scraped.
func (m *nodeMetrics) gauges(n *Node) {
	gauge := func(name string, f func() float64) { m.set.GetOrCreateGauge(name, f) }
	gauge("oprc_cluster_applied_index", func() float64 { return float64(n.fsm.AppliedIndex()) })
	gauge("oprc_cluster_commit_index", func() float64 { return float64(n.raft.CommitIndex()) })
	gauge("oprc_cluster_term", func() float64 { return float64(n.raft.CurrentTerm()) })
	gauge("oprc_cluster_is_leader", func() float64 {
		if n.established() != 0 {
			return 1
		}
		return 0
	})
	gauge("oprc_cluster_failure_tolerance", func() float64 { return float64(n.tolerance.Load()) })
	gauge("oprc_cluster_dead_voters", func() float64 { return float64(n.deadVoters.Load()) })
	gauge("oprc_cluster_peers_alive", func() float64 { return float64(len(n.gossip.alive())) })
	gauge("oprc_cluster_connections", func() float64 { return float64(n.mux.open()) })
	gauge("oprc_cluster_write_queue_commands", func() float64 { return float64(n.proposer.waiting()) })
}
