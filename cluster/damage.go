package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// DamageError is why a node does not start with the files that it finds. Nothing
// was changed: what is to become of them is for people to decide.
type DamageError struct {
	// File is the damaged file or directory.
	File string
	Err  error
	// Remedy is what to do, with the command that does it.
	Remedy string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: %v; %s", e.File, e.Err, e.Remedy)
}

// Unwrap returns what is wrong.
func (e *DamageError) Unwrap() error { return e.Err }

const remedyNewer = "start the release that wrote it, or a later one"

// rejoinRemedy is for damage that only the other nodes can make good.
func (d *dataDir) rejoinRemedy() string {
	return "let the node come back empty, its data is moved aside: oprc-pm cluster rejoin --data-dir " + d.path
}

// rebuildRemedy is for a state file, which snapshot and log hold once more.
func (d *dataDir) rebuildRemedy() string {
	return "have it rebuilt from snapshot and log, it is moved aside: oprc-pm cluster rebuild --data-dir " + d.path
}

func (d *dataDir) damaged(name string, err error, remedy string) *DamageError {
	if errors.Is(err, bolt.ErrNewerFormat) {
		remedy = remedyNewer
	}
	return &DamageError{File: d.file(filepath.FromSlash(name)), Err: err, Remedy: remedy}
}

// The files that a node cannot do without, below its data directory.
const (
	stableFile = "raft/stable.db"
	logFile    = "raft/log.db"
	walDir     = "raft/wal"
	walMeta    = "raft/wal/wal-meta.db"
	snapsDir   = "raft/snapshots"
	stateDir   = "fsm"
	stateFile  = "fsm/state.db"
)

// logName is where the log is kept.
func (d *dataDir) logName() string {
	if d.record.LogStore == LogStoreWAL {
		return walDir
	}
	return logFile
}

// verify looks at the files before anything opens them: the libraries do not fail
// on a damaged one, they take the process with them, or begin a new one where one
// is missing.
func (d *dataDir) verify() error {
	if d.clusterID() != "" {
		for _, name := range []string{stableFile, d.logName()} {
			if _, err := os.Stat(d.file(name)); errors.Is(err, os.ErrNotExist) {
				return d.damaged(name, errors.New("it is missing"), d.rejoinRemedy())
			}
		}
	}
	for _, name := range []string{stableFile, logFile, walMeta} {
		if err := d.verifyFile(name); err != nil {
			return d.damaged(name, err, d.rejoinRemedy())
		}
	}
	if err := d.guard(stableFile, d.rejoinRemedy(), func() error { _, err := d.readStable(); return err }); err != nil {
		return err
	}
	if !fsm.Trusted(d.file(stateDir)) {
		return nil // it is rebuilt
	}
	return d.guard(stateFile, d.rebuildRemedy(), d.verifyState)
}

// verifyState looks at the state file as it will be opened.
func (d *dataDir) verifyState() error {
	if fileSize(d.file(stateFile)) == 0 {
		return nil // it is made anew
	}
	if err := d.verifyFile(stateFile); err != nil {
		return err
	}
	in, err := stateClusterID(d.file(stateFile))
	if own := d.clusterID(); err == nil && in != "" && own != "" && in != own {
		return d.damaged(stateFile, fmt.Errorf("it is of cluster %s, and the node of cluster %s: files of two nodes were mixed", in, own), d.rejoinRemedy())
	}
	return err
}

// readStable looks at term and vote, and whose they are: who votes with another's
// vote may elect two leaders. Raft's own answer to damage here is a panic.
func (d *dataDir) readStable() (term uint64, err error) {
	if fileSize(d.file(stableFile)) == 0 {
		return 0, nil
	}
	store, err := d.openBoltReadOnly(stableFile)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stable := &sealedStable{inner: store, file: d.file(stableFile), disk: &diskWatch{}}
	owner, err := stable.Get(ownerKey)
	if err == nil && string(owner) != d.serverID() {
		return 0, fmt.Errorf("it is of server %s, and the directory of server %s: files of two nodes were mixed", owner, d.serverID())
	}
	_, voteErr := stable.Get([]byte("LastVoteCand"))
	_, voteTermErr := stable.GetUint64([]byte("LastVoteTerm"))
	term, termErr := stable.GetUint64([]byte("CurrentTerm"))
	for _, err := range []error{err, voteErr, voteTermErr, termErr} {
		if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
			return 0, err
		}
	}
	return term, nil
}

// verifyFile verifies a bbolt file that may be missing. One of no bytes is what is
// left of making it.
func (d *dataDir) verifyFile(name string) error {
	info, err := os.Stat(d.file(name))
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 && (d.clusterID() == "" || name == stateFile) {
		return nil
	}
	if err != nil {
		return err
	}
	return bolt.VerifyFile(d.file(name))
}

// guard makes an error of damage that the libraries meet with a panic, or with a
// fault of a mapped file, on this goroutine.
func (d *dataDir) guard(name string, remedy string, open func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = d.damaged(name, fmt.Errorf("it is damaged: %v", cause), remedy)
		}
	}()
	err = open()
	var known *DamageError
	if err == nil || errors.As(err, &known) || errors.Is(err, os.ErrPermission) {
		return err
	}
	return d.damaged(name, err, remedy)
}
