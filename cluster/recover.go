package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/fsm"
)

// Position is where the log of a stopped node ends.
type Position struct {
	ServerID  string `json:"server_id"`
	ClusterID string `json:"cluster_id"`
	LastIndex uint64 `json:"last_index"`
	LastTerm  uint64 `json:"last_term"`
}

// ahead reports whether p's log holds what q's lacks.
func (p Position) ahead(q Position) bool {
	return p.LastTerm > q.LastTerm || p.LastTerm == q.LastTerm && p.LastIndex > q.LastIndex
}

// Peer is a server of the configuration that a recovery writes.
type Peer struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	NonVoter bool   `json:"non_voter,omitempty"`
}

// RecoverOptions describe the recovery of a cluster that lost its quorum.
type RecoverOptions struct {
	DataDir string
	// Peers are the new configuration; empty: this node alone.
	Peers []Peer
	// Others are the positions of the other members whose disks are known.
	Others []Position
	// AcceptDataLoss goes on although positions differ or are unknown.
	AcceptDataLoss bool
	// Do makes the change; without it Recover only says what it would do.
	Do     bool
	Logger *slog.Logger
}

// RecoverReport is what a recovery found and did, or would do.
type RecoverReport struct {
	Position
	// Before is the configuration in the log, After the one that replaces it.
	Before []Peer `json:"before"`
	After  []Peer `json:"after"`
	// Objections stand in the way; with AcceptDataLoss they are only told.
	Objections []string `json:"objections"`
	// Backup is the copy of the raft directory that was made first.
	Backup string `json:"backup,omitempty"`
	Done   bool   `json:"done"`
}

// ErrObjections is returned by Recover when the report's objections stand in the
// way.
var ErrObjections = errors.New("the recovery could lose writes")

// Recover replaces the configuration of a stopped node, so that it, or the peers
// named, can elect a leader without those that are lost. Every entry of the log
// counts as committed then, and everything that only others hold is lost: hence
// the objections.
func Recover(o RecoverOptions) (report RecoverReport, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := openStopped(o.DataDir)
	if err != nil {
		return report, err
	}
	defer d.close()
	cfg := DefaultConfig()
	cfg.LogStore = d.record.LogStore
	stores, err := openRaftStores(d, cfg, o.Logger)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	servers, err := report.read(d, stores)
	if err != nil {
		return report, err
	}
	if err := report.plan(o, servers); err != nil {
		return report, err
	}
	if len(report.Objections) > 0 && !o.AcceptDataLoss {
		return report, ErrObjections
	}
	if !o.Do {
		return report, nil
	}
	return report, report.do(d, stores, cfg, o)
}

// openStopped opens the directory of a node that exists and does not run.
func openStopped(dir string) (*dataDir, error) {
	var record nodeRecord
	found, err := readJSON(filepath.Join(dir, "node.json"), &record)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%s is not the data directory of a node: it has no node.json", dir)
	}
	return openDataDir(dir, record.LogStore)
}

// PositionOf reads where the log of a stopped node ends.
func PositionOf(dir string) (p Position, err error) {
	report, err := Recover(RecoverOptions{DataDir: dir, AcceptDataLoss: true})
	return report.Position, err
}

// read finds where the log ends, and the newest configuration in it.
func (r *RecoverReport) read(d *dataDir, stores *raftStores) ([]raft.Server, error) {
	r.ServerID, r.ClusterID = d.serverID(), d.clusterID()
	var servers []raft.Server
	snapshots, err := stores.snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(snapshots) > 0 {
		r.LastIndex, r.LastTerm = snapshots[0].Index, snapshots[0].Term
		servers = snapshots[0].Configuration.Servers
	}
	first, ferr := stores.log.FirstIndex()
	last, lerr := stores.log.LastIndex()
	if err := errors.Join(ferr, lerr); err != nil {
		return nil, fmt.Errorf("read the log's bounds: %w", err)
	}
	for index := max(first, r.LastIndex+1); index <= last && last > 0; index++ {
		var entry raft.Log
		if err := stores.log.GetLog(index, &entry); err != nil {
			return nil, fmt.Errorf("read log entry %d: %w", index, err)
		}
		r.LastIndex, r.LastTerm = entry.Index, entry.Term
		if entry.Type == raft.LogConfiguration {
			servers = raft.DecodeConfiguration(entry.Data).Servers
		}
	}
	if r.LastIndex == 0 {
		return nil, fmt.Errorf("%s holds no log: there is nothing to recover from; let the node join a cluster instead", d.path)
	}
	r.Before = peersOf(servers)
	return servers, nil
}

func peersOf(servers []raft.Server) []Peer {
	peers := make([]Peer, 0, len(servers))
	for _, s := range servers {
		peers = append(peers, Peer{ID: string(s.ID), Address: string(s.Address), NonVoter: s.Suffrage != raft.Voter})
	}
	return peers
}

// plan decides on the new configuration and collects what speaks against it.
func (r *RecoverReport) plan(o RecoverOptions, servers []raft.Server) error {
	r.After = o.Peers
	if len(o.Peers) == 0 {
		own := slices.IndexFunc(r.Before, func(p Peer) bool { return p.ID == r.ServerID })
		if own < 0 {
			r.Objections = append(r.Objections, "this node is not in the configuration of its own log: it was removed, or never was a member")
			r.After = []Peer{{ID: r.ServerID, Address: r.ServerID + ".moved.invalid:1"}}
		} else {
			r.After = []Peer{{ID: r.ServerID, Address: r.Before[own].Address}}
		}
	}
	if !slices.ContainsFunc(r.After, func(p Peer) bool { return p.ID == r.ServerID && !p.NonVoter }) {
		return fmt.Errorf("the new configuration must name this node (%s) as a voter", r.ServerID)
	}
	told := map[string]bool{r.ServerID: true}
	for _, other := range o.Others {
		if other.ServerID == r.ServerID {
			continue
		}
		told[other.ServerID] = true
		r.compare(other)
	}
	for _, s := range servers {
		if id := string(s.ID); s.Suffrage == raft.Voter && !told[id] {
			r.Objections = append(r.Objections, fmt.Sprintf("the log of voter %s (%s) was not compared: it may hold acknowledged writes that this node lacks", id, s.Address))
		}
	}
	return nil
}

// compare objects to a position that differs from this node's.
func (r *RecoverReport) compare(other Position) {
	var objection string
	switch {
	case other.ClusterID != r.ClusterID:
		objection = fmt.Sprintf("server %s belongs to cluster %q, this node to %q", other.ServerID, other.ClusterID, r.ClusterID)
	case other.ahead(r.Position):
		objection = fmt.Sprintf("server %s holds more (index %d, term %d) than this node (index %d, term %d): recover there",
			other.ServerID, other.LastIndex, other.LastTerm, r.LastIndex, r.LastTerm)
	case r.ahead(other):
		objection = fmt.Sprintf("server %s holds less (index %d, term %d) than this node (index %d, term %d): "+
			"what only this node holds may never have been acknowledged, and counts as written then",
			other.ServerID, other.LastIndex, other.LastTerm, r.LastIndex, r.LastTerm)
	default:
		return
	}
	r.Objections = append(r.Objections, objection)
}

// do copies the raft directory and lets the library rewrite it.
func (r *RecoverReport) do(d *dataDir, stores *raftStores, cfg Config, o RecoverOptions) (err error) {
	r.Backup = d.file("raft.before-recover-" + time.Now().UTC().Format("20060102T150405.000Z"))
	if err := copyTree(d.file("raft"), r.Backup); err != nil {
		return fmt.Errorf("back up the raft directory: %w", err)
	}
	// The entries are applied to a state of their own: the node's is left alone,
	// and compares itself with the new snapshot at the next start.
	scratch := d.file("recover.tmp")
	if err := os.RemoveAll(scratch); err != nil {
		return fmt.Errorf("clear %s: %w", scratch, err)
	}
	machine, err := fsm.Open(fsm.Config{Dir: scratch, HistoryEntries: 1, HistoryBytes: 1 << 10, Logger: o.Logger})
	if err != nil {
		return fmt.Errorf("open state machine: %w", err)
	}
	applied := &recoveringFSM{FSM: machine}
	defer func() { err = errors.Join(err, applied.close(), os.RemoveAll(scratch)) }()
	var configuration raft.Configuration
	for _, p := range r.After {
		s := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)}
		if p.NonVoter {
			s.Suffrage = raft.Nonvoter
		}
		configuration.Servers = append(configuration.Servers, s)
	}
	rc := cfg.raftConfig(raft.ServerID(r.ServerID))
	rc.Logger = newHCLog(o.Logger, "raft")
	_, transport := raft.NewInmemTransport("")
	if err := raft.RecoverCluster(rc, applied, stores.log, stores.stable, stores.snaps, transport, configuration); err != nil {
		return fmt.Errorf("rewrite the configuration (the raft directory as it was is in %s): %w", r.Backup, err)
	}
	r.Done = true
	return nil
}

// recoveringFSM releases the snapshot that the library takes and forgets.
type recoveringFSM struct {
	*fsm.FSM
	taken raft.FSMSnapshot
}

// Snapshot implements raft.FSM.
func (f *recoveringFSM) Snapshot() (raft.FSMSnapshot, error) {
	var err error
	f.taken, err = f.FSM.Snapshot()
	return f.taken, err
}

func (f *recoveringFSM) close() error {
	if f.taken != nil {
		f.taken.Release()
	}
	return f.FSM.Close()
}

// copyTree copies a directory of plain files, durably.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
			return syncDir(filepath.Dir(target))
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is no plain file", path)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
