package main

import (
	"context"
	"log/slog"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/memory"
)

// backend is an opened store with what the program needs of its driver beyond
// storage.Store.
type backend struct {
	store   storage.Store
	members func(ctx context.Context) ([]storage.Member, error)
	// admin looks after the servers; nil: the driver has none. left is closed when
	// this node is to stop because it left them.
	admin httpapi.ClusterAdmin
	left  <-chan struct{}
	// handOver gives leadership away, if this node has it and somebody can take
	// it.
	handOver func(ctx context.Context) error
	// close stops the driver; ctx bounds only what is courtesy.
	close func(ctx context.Context) error
	// faulted is closed when the driver stopped itself, fault says why.
	faulted <-chan struct{}
	fault   func() error
	// tempDir is for files that need not survive; nil: the system's.
	tempDir func() (string, error)
	// Addresses that others use; empty without others.
	clusterAddr, gossipAddr string
}

// openBackend opens the configured driver.
func openBackend(ctx context.Context, cfg config.Config, httpAddr string, logger *slog.Logger, set *metrics.Set) (*backend, error) {
	switch cfg.Storage.Type {
	case config.StorageMemory:
		return memoryBackend(cfg, httpAddr), nil
	case config.StorageEtcd:
		return etcdBackend(ctx, cfg, httpAddr, logger, set)
	}
	return raftBackend(ctx, cfg, httpAddr, logger, set)
}

func raftBackend(ctx context.Context, cfg config.Config, httpAddr string, logger *slog.Logger, set *metrics.Set) (*backend, error) {
	node := cluster.New(clusterConfig(cfg, httpAddr), cluster.Deps{Logger: logger, Metrics: set})
	if err := node.Open(ctx); err != nil {
		return nil, err
	}
	return &backend{
		store:   node,
		members: node.Members,
		admin:   node,
		left:    node.Left(),
		handOver: func(ctx context.Context) error {
			if node.Status().Role != storage.RoleLeader {
				return nil
			}
			return node.TransferLeadership(ctx, "")
		},
		close:       node.Shutdown,
		faulted:     node.Done(),
		fault:       node.Err,
		tempDir:     node.TempDir,
		clusterAddr: node.ClusterAddr(),
		gossipAddr:  node.GossipAddr(),
	}, nil
}

// memoryBackend is a cluster of one that forgets.
func memoryBackend(cfg config.Config, httpAddr string) *backend {
	store := memory.New(fsm.NewMachine())
	return &backend{
		store: store,
		members: func(context.Context) ([]storage.Member, error) {
			st := store.Status()
			return []storage.Member{{
				Name: cfg.Cluster.NodeName, ID: st.NodeID, Role: st.Role, Voter: true, Alive: true, HTTPAddr: httpAddr,
				Version: version(), Term: st.Term, AppliedIndex: st.AppliedIndex, CommitIndex: st.CommitIndex,
				Digest: st.Digest, DigestIndex: st.DigestIndex,
			}}, nil
		},
		handOver: func(context.Context) error { return nil },
		close:    func(context.Context) error { return store.Close() },
		fault:    func() error { return nil },
	}
}
