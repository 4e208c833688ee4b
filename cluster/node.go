package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// Deps are what a node needs from its surroundings. All may be left zero.
type Deps struct {
	Logger *slog.Logger
	// Metrics gets this node's metrics; two nodes must not share one.
	Metrics *metrics.Set
	// Network makes listeners and connections; nil: plain TCP.
	Network Network
	// DiskSpace tells how much room the disk of a path has; nil: the system is
	// asked.
	DiskSpace func(path string) (DiskSpace, error)
	// DiskFault is for tests: a disk that fails or stalls.
	DiskFault bolt.Fault
}

// Node is a member of a Raft cluster. It implements storage.Store. All methods
// may be called from many goroutines, once Open has returned.
type Node struct {
	cfg     Config
	base    *slog.Logger // without a component
	logger  *slog.Logger
	network Network
	metrics *nodeMetrics
	disk    *diskGuard
	// stalled: a write to the log does not return. silenced: this node led then,
	// and gave that up.
	stalled, silenced atomic.Bool
	// diskFault is for tests.
	diskFault bolt.Fault
	diskLook  func(path string) (DiskSpace, error)

	dir      *dataDir
	id       *identity
	book     *addrBook // addresses of the servers
	names    *addrBook // and their names, also of those that are gone
	levels   *addrBook // and their features, see features.go
	promises *promises
	fsm      *fsm.FSM
	stores   *raftStores
	raft     *raft.Raft
	// raftRef is for the goroutines of the library, which begin before raft is
	// set.
	raftRef   atomic.Pointer[raft.Raft]
	transport *raft.NetworkTransport
	stream    *raftStream
	observed  chan raft.Observation
	mux       *mux
	server    *rpcServer
	client    *rpcClient
	gossip    *gossip
	proposer  *proposer
	leader    *leadership
	reads     *readIndexes
	stamp     stamper

	// changed: who leads, or whether this node does for certain.
	changed signal
	// gossipChanged: members came, went or changed.
	gossipChanged signal
	// readyAt is the index at which this node is ready; 0: not known yet.
	readyAt atomic.Uint64

	// ctx ends with ErrClosed or a fault; loops end with it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// late ends after Raft is shut down, for the loops that it needs until then.
	late       context.Context
	cancelLate context.CancelFunc
	wg, lateWG sync.WaitGroup
	transferMu sync.Mutex
	compacting sync.Mutex
	// configMu serialises changes of the Raft configuration.
	configMu sync.Mutex
	// pilot is the autopilot of the present leader run.
	pilot atomic.Pointer[pilot]
	// departing are the servers that left, or were removed, while this node led.
	departing departures
	// tolerance and deadVoters are for the metrics; 0 unless this node leads.
	tolerance, deadVoters atomic.Int64

	// left is closed when this node has given up its vote for good.
	left     chan struct{}
	leftOnce sync.Once
	// goodbye: this node is about to leave, or has.
	goodbye atomic.Bool

	opened atomic.Bool
	// started: this node has been ready, see Starting.
	started atomic.Bool
	// serving is opened without a fault: only then is state shown to anybody.
	serving   atomic.Bool
	openMu    sync.Mutex // guards the life cycle
	openCalls int
	closed    bool
	closeErr  error
	// leaving is set by Shutdown: say goodbye to gossip.
	leaving atomic.Bool

	downOnce  sync.Once
	down      raft.Future
	faultOnce sync.Once
	fault     error // valid once done is closed
	done      chan struct{}
}

var _ storage.Store = (*Node)(nil)

// New makes a node; Open starts it.
func New(cfg Config, deps Deps) *Node {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = metrics.NewSet()
	}
	if deps.Network == nil {
		deps.Network = newTCPNetwork()
	}
	n := &Node{
		cfg:       cfg,
		base:      deps.Logger.With("node", cfg.NodeName),
		network:   deps.Network,
		metrics:   newNodeMetrics(deps.Metrics),
		diskFault: deps.DiskFault, diskLook: deps.DiskSpace,
		leader:   newLeadership(),
		observed: make(chan raft.Observation, 16),
		done:     make(chan struct{}),
		left:     make(chan struct{}),
	}
	n.logger = n.base.With("component", "cluster")
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.late, n.cancelLate = context.WithCancel(context.Background())
	n.reads = newReadIndexes(n)
	return n
}

// Open starts the node. It returns when the node runs, not when there is a
// leader: see Status. After an error, and after Close, the node cannot be opened
// again; make a new one.
func (n *Node) Open(ctx context.Context) error {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	if n.openCalls++; n.openCalls > 1 || n.closed {
		return errors.New("node was opened before")
	}
	if err := n.cfg.Validate(); err != nil {
		return fmt.Errorf("cluster configuration: %w", err)
	}
	if err := n.open(ctx); err != nil {
		return errors.Join(err, n.closeLocked())
	}
	n.opened.Store(true)
	n.serving.Store(true)
	if n.Err() != nil { // in this order, lest a fault in between be missed
		n.serving.Store(false)
	}
	n.logger.Info("node opened", "cluster_id", n.id.clusterID(),
		"cluster_addr", n.id.advertise, "gossip_addr", n.gossip.addr, "applied", n.fsm.AppliedIndex())
	return nil
}

func (n *Node) open(ctx context.Context) error {
	if err := n.openFiles(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.openNetwork(); err != nil {
		return err
	}
	if err := n.openRaft(); err != nil {
		return err
	}
	if err := n.openGossip(); err != nil {
		return err
	}
	n.metrics.gauges(n)
	n.metrics.diskGauges(n)
	n.startLoops()
	return nil
}

func (n *Node) openFiles() (err error) {
	if n.dir, err = openDataDirWith(n.cfg.DataDir, n.cfg.LogStore, files{fault: n.diskFault}); err != nil {
		return err
	}
	if err := n.dir.verify(); err != nil {
		return err
	}
	if n.cfg.CompactLog {
		before, after, err := n.dir.compactLog()
		if err != nil {
			return err
		}
		n.logger.Info("compacted the log", "before_bytes", before, "after_bytes", after)
	}
	if err := n.cleanRestore(); err != nil {
		return err
	}
	n.id = newIdentity(n.dir)
	n.base = n.base.With("node_id", n.id.serverID)
	n.logger = n.base.With("component", "cluster")
	n.disk = newDiskGuard(n.cfg.Disk, n.dir, n.diskLook, n.metrics.set, n.logger)
	n.book = openAddrBook(n.dir.file("peers.json"), n.logger)
	n.names = openAddrBook(n.dir.file("names.json"), n.logger)
	n.levels = openAddrBook(n.dir.file("features.json"), n.logger)
	n.book.files, n.names.files, n.levels.files = n.dir.files, n.dir.files, n.dir.files
	if n.promises, err = openPromises(n.dir.file("promise.json")); err != nil {
		return n.dir.damaged("promise.json", err, n.dir.rejoinRemedy())
	}
	n.promises.files = n.dir.files
	err = n.dir.guard(stableFile, n.dir.rejoinRemedy(), func() (err error) {
		n.stores, err = openRaftStores(n.dir, n.cfg, n.base)
		return err
	})
	if err != nil {
		return err
	}
	if err := n.dir.guard(stateFile, n.dir.rebuildRemedy(), n.openState); err != nil {
		return err
	}
	return n.dir.guard(n.dir.logName(), n.dir.rejoinRemedy(), n.stores.dropCovered)
}

// openState opens the state and makes it fit the log.
func (n *Node) openState() (err error) {
	n.fsm, err = fsm.Open(fsm.Config{
		Dir: n.dir.file("fsm"), HistoryEntries: n.cfg.HistoryEntries, HistoryBytes: n.cfg.HistoryBytes,
		Logger: n.base.With("component", "fsm"), Metrics: n.metrics.set, OnFault: n.onFault,
		OnRestored: func() { n.leader.restart(errRestored) }, Fault: n.diskFault,
	})
	if err != nil {
		return fmt.Errorf("open state machine: %w", err)
	}
	if err := n.fsm.PrepareForStart(n.stores.snaps); err != nil {
		return n.dir.damaged(snapsDir, fmt.Errorf("restore state machine: %w", err), n.dir.rejoinRemedy())
	}
	if err := n.stores.checkAhead(n.fsm.AppliedIndex()); err != nil {
		return n.dir.damaged(n.dir.logName(), err, n.dir.rejoinRemedy())
	}
	return nil
}

func (n *Node) openNetwork() error {
	n.mux = &mux{
		id: n.id, book: n.book, network: n.network, metrics: n.metrics, logger: n.logger,
		quiet: newThrottle(10 * time.Second), maxConns: n.cfg.MaxConnections, admit: n.admit,
	}
	if err := n.mux.listen(n.cfg.ClusterAddr); err != nil {
		return err
	}
	n.id.advertise = advertiseAddr(n.cfg.AdvertiseHost, n.cfg.ClusterAddr, n.mux.listener.Addr())
	limit := n.cfg.MaxEntryBytes + frameSlack
	n.client = newRPCClient(n.mux, n.peerAddr, limit, n.cfg.IOTimeout)
	n.stream = newRaftStream(n.mux)
	if n.id.clusterID() != "" {
		n.stream.notBefore = time.Now().Add(n.cfg.LeaderLeaseTimeout)
	}
	n.server = &rpcServer{
		limit: limit, timeout: n.cfg.IOTimeout, metrics: n.metrics, logger: n.logger,
		ctx: n.mux.ctx, slow: make(chan struct{}, slowCalls), wg: &n.lateWG,
	}
	n.server.handlers = map[frameType]handler{
		framePropose:   n.servePropose,
		frameRestore:   n.serveRestore,
		frameReadIndex: n.serveReadIndex,
		frameConfirm:   n.serveConfirm,
		frameStatus:    n.serveStatus,
		framePromise:   n.server.blocking(n.servePromise),
		frameHealth:    n.server.blocking(n.serveHealth),
		frameDepart:    n.server.blocking(n.serveDepart),
		frameLeave:     n.server.blocking(n.serveLeave),
		frameTransfer: n.server.blocking(func(ctx context.Context, _ string, target []byte) ([]byte, error) {
			if n.raft.State() != raft.Leader {
				return nil, &remoteError{code: remoteNotLeader, leader: n.leaderID(), message: "this node is not the leader"}
			}
			return nil, n.transferHere(ctx, string(target))
		}),
	}
	n.mux.serve = map[protocol]func(net.Conn, string){
		protocolRaft: n.stream.serve,
		protocolRPC:  n.server.serve,
	}
	return nil
}

func (n *Node) openRaft() error {
	hclogger := newHCLog(n.base, "raft")
	n.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addressProvider{n}, Logger: hclogger, Stream: n.stream,
		MaxPool: 3, Timeout: n.cfg.IOTimeout, MsgpackUseNewTimeFormat: true,
		// No pipelining. In the library, when a follower refuses an entry while
		// the next one is being handed to the pipeline, both of its ends wait for
		// ever: the follower gets nothing any more, and Shutdown never returns.
		// Entries are packed and sent in batches, so little is lost.
		MaxRPCsInFlight: 1,
	})
	rc := n.cfg.raftConfig(raft.ServerID(n.id.serverID))
	rc.Logger = hclogger
	rc.NotifyCh = n.leader.notify
	n.lateWG.Go(func() { n.runEdges(n.late) })
	r, err := raft.NewRaft(rc, n.fsm, n.stores.log, n.stores.stable, n.stores.snaps, n.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	failed := n.onFault
	n.stores.disk.failed.Store(&failed)
	n.raftRef.Store(r)
	r.RegisterObserver(raft.NewObserver(n.observed, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	if err := n.resume(); err != nil {
		return fmt.Errorf("resume bootstrap: %w", err)
	}
	if err := n.electAtOnce(r); err != nil {
		return err
	}
	n.proposer = newProposer(r, n.cfg, n.metrics, n.logger)
	n.proposer.start()
	return nil
}

func (n *Node) openGossip() error {
	g := &gossip{
		self: n.id.serverID, timings: timingsOf(n.cfg.FastGossip), book: n.book, names: n.names, levels: n.levels,
		logger: n.base.With("component", "gossip"), changed: n.gossipChanged.broadcast,
	}
	for _, seed := range n.cfg.Join {
		g.seeds = append(g.seeds, withPort(seed))
	}
	n.gossip = g
	n.id.onAdopt = func(string) { n.tellGossip() }
	return g.open(n.cfg, n.network, n.ownMeta())
}

func (n *Node) ownMeta() memberMeta {
	return memberMeta{
		Name: n.cfg.NodeName, ClusterID: n.id.clusterID(), ClusterAddr: n.id.advertise, HTTPAddr: n.cfg.HTTPAddr,
		Expect: n.cfg.BootstrapExpect, Version: n.cfg.Version, Features: n.features(), HasState: n.hasState(),
		Leaving: n.goodbye.Load(),
	}
}

// tellGossip spreads what changed about this node.
func (n *Node) tellGossip() {
	if err := n.gossip.setMeta(n.ownMeta()); err != nil {
		n.logger.Warn("gossip metadata was not changed", "err", err)
	}
}

func (n *Node) startLoops() {
	n.mux.start()
	for _, loop := range []func(context.Context){
		n.book.run, n.names.run, n.levels.run, n.runTerms, n.runLeaderLog, n.runReady, n.runBootstrap,
		n.reads.lead.run, n.reads.follow.run, n.disk.run, n.runWatchdog, n.runScrub,
		func(ctx context.Context) { n.gossip.run(ctx, n.wantedMembers) },
	} {
		n.wg.Go(func() { loop(n.ctx) })
	}
}

// wantedMembers is how many nodes there should be.
func (n *Node) wantedMembers() int {
	return max(n.cfg.BootstrapExpect, len(n.raft.GetConfiguration().Configuration().Servers), min(len(n.cfg.Join), 1)+1)
}

// ID is this node's server id, valid after Open.
func (n *Node) ID() string { return n.id.serverID }

// ClusterAddr is where peers reach this node's cluster port, HOST:PORT.
func (n *Node) ClusterAddr() string { return n.id.advertise }

// GossipAddr is where others can join through this node.
func (n *Node) GossipAddr() string { return n.gossip.addr }

// Metrics is the set that holds this node's metrics.
func (n *Node) Metrics() *metrics.Set { return n.metrics.set }

// Done is closed when the node stopped itself because of a fault, see Err. The
// program must then close it and exit.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is the fault that stopped the node, or nil.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.fault
	default:
		return nil
	}
}
