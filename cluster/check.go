package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

// CheckProblem is one thing that is wrong with a data directory.
type CheckProblem struct {
	File    string `json:"file"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy,omitempty"`
}

// CheckedSnapshot is a snapshot that was looked at.
type CheckedSnapshot struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Bytes int64  `json:"bytes"`
	Whole bool   `json:"whole"`
}

// CheckedState is the state file that was looked at.
type CheckedState struct {
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
	// Trusted is false for one that the next start rebuilds, see the power-loss
	// rule.
	Trusted bool `json:"trusted"`
}

// CheckReport is what Check found.
type CheckReport struct {
	Position
	DataDir       string            `json:"data_dir"`
	LogStore      string            `json:"log_store"`
	Term          uint64            `json:"term"`
	FirstIndex    uint64            `json:"first_index"`
	Configuration []Peer            `json:"configuration"`
	Snapshots     []CheckedSnapshot `json:"snapshots"`
	State         *CheckedState     `json:"state,omitempty"`
	// Problems keep the node from starting, or from doing what it should. Notes do
	// not.
	Problems []CheckProblem `json:"problems"`
	Notes    []string       `json:"notes"`
}

// checker looks at a directory that nobody has open.
type checker struct {
	*dataDir
	report *CheckReport
}

// Check verifies the data directory of a stopped node, and changes nothing in it:
// identity, term and vote, log, snapshots and state, each as far as its bytes can
// tell. An error means that nothing could be checked; what is wrong is in the
// report.
func Check(dir string) (CheckReport, error) {
	if info, err := os.Stat(dir); err != nil {
		return CheckReport{}, err
	} else if !info.IsDir() {
		return CheckReport{}, fmt.Errorf("%s is not a directory", dir)
	}
	d := &dataDir{path: dir}
	if err := d.share(); err != nil {
		return CheckReport{}, err
	}
	defer d.close()
	return check(d), nil
}

// check is Check of a directory that is locked.
func check(d *dataDir) CheckReport {
	report := CheckReport{DataDir: d.path, Problems: []CheckProblem{}, Notes: []string{}, Snapshots: []CheckedSnapshot{}, Configuration: []Peer{}}
	c := &checker{dataDir: d, report: &report}
	if !c.checkRecord() {
		return report
	}
	c.checkStableStore()
	c.checkSnapshots()
	c.checkLog()
	c.checkState()
	return report
}

// share takes the lock beside other readers; a directory without one has no owner.
func (d *dataDir) share() error {
	f, err := os.Open(d.file("LOCK"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = f.Close() // only read
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("data directory %s is in use by another process: stop the node first", d.path)
		}
		return fmt.Errorf("lock data directory: %w", err)
	}
	d.lock = f
	return nil
}

// problem adds what is wrong with a file.
func (c *checker) problem(name string, err error, remedy string) {
	var known *DamageError
	if !errors.As(err, &known) {
		known = c.damaged(name, err, remedy)
	}
	p := CheckProblem{File: known.File, Problem: known.Err.Error(), Remedy: known.Remedy}
	for _, other := range c.report.Problems {
		if other == p {
			return
		}
	}
	c.report.Problems = append(c.report.Problems, p)
}

func (c *checker) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// try is guard for a part of the check.
func (c *checker) try(name, remedy string, part func() error) {
	if err := c.guard(name, remedy, part); err != nil {
		c.problem(name, err, remedy)
	}
}

// checkRecord reports whether it is known whose directory this is.
func (c *checker) checkRecord() bool {
	found, err := c.readRecord()
	switch {
	case err != nil:
		c.problem("node.json", err, c.rejoinRemedy())
		return false
	case !found:
		c.problem("node.json", errors.New("it is missing: this is not the data directory of a node"), "give the directory that the node was started with")
		return false
	}
	c.report.ServerID, c.report.ClusterID, c.report.LogStore = c.serverID(), c.record.ClusterID, c.record.LogStore
	for _, name := range []string{"peers.json", "names.json"} {
		addrs := map[string]string{}
		if _, err := readJSON(c.file(name), &addrs); err != nil {
			c.note("%s is unreadable, which costs nothing but a hint: %v", c.file(name), err)
		}
	}
	var r raising
	if found, err := readJSON(c.file(raiseFile), &r); err != nil || found {
		c.problem(raiseFile, errors.New("the node ended while it raised the index of the cluster for a restore"), c.rejoinRemedy())
	}
	c.try("promise.json", c.rejoinRemedy(), func() error {
		_, err := openPromises(c.file("promise.json"))
		return err
	})
	return true
}

// checkState compares the state file with itself and with the log.
func (c *checker) checkState() {
	path := c.file(stateFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		c.note("%s is missing: the next start rebuilds it from snapshot and log", path)
		return
	}
	if err != nil {
		c.problem(stateFile, err, c.rebuildRemedy())
		return
	}
	trusted := fsm.Trusted(c.file(stateDir))
	m, err := bolt.CheckFile(path)
	if !trusted {
		c.note("%s was not closed before the machine went down: the next start rebuilds it from snapshot and log", path)
		return
	}
	if err != nil {
		c.problem(stateFile, err, c.rebuildRemedy())
		return
	}
	c.report.State = &CheckedState{Index: m.Index, Term: m.Term, Digest: storage.Digest(m.Digest).String(), Bytes: info.Size(), Trusted: trusted}
	c.try(stateFile, c.rebuildRemedy(), c.verifyState)
	if m.Index > c.report.LastIndex && c.logRead() {
		c.problem(c.logName(), fmt.Errorf("log and snapshots end at index %d, but the state has applied index %d: the end of the log was lost", c.report.LastIndex, m.Index), c.rejoinRemedy())
	}
}

// logRead reports whether log and snapshots were read without a problem, so that
// where they end is known.
func (c *checker) logRead() bool {
	for _, p := range c.report.Problems {
		if p.File == c.file(c.logName()) {
			return false
		}
	}
	return true
}

func stateClusterID(path string) (id string, err error) {
	db, err := bolt.Open(bolt.Config{Path: path, ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(r storage.Reader, _ bolt.Meta) error {
		value, err := r.Get(storage.ClusterIDKey)
		id = string(value)
		return err
	})
	return id, err
}

// scratch is a directory of the system's for copies, which the check removes.
func scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "oprc-pm-check-")
	if err != nil {
		return "", nil, fmt.Errorf("make directory for copies: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // the system's temporary directory
}

// pathsBelow are the names of the directories in dir.
func pathsBelow(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && filepath.Ext(e.Name()) != ".tmp" {
			names = append(names, e.Name())
		}
	}
	return names, err
}
