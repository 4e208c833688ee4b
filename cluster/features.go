package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
)

// An entry of the log is applied by every server, and one that cannot decode it
// stops: leaving it out would make it differ from the others. So a leader takes a
// command only when every server of the configuration is known to decode it,
// voter or not, alive or not: who is down now will read the log later.
//
// Each node tells which features it has, as a number, because a release has all
// that earlier ones have: by gossip, and in its answers about its status. The
// newest that was heard of each server is kept on disk, for the time when it is
// silent.

// feature is what a release added to the log.
type feature struct {
	// level is what nodes tell that have it and all before it.
	level int
	name  string
	// release is the first that has it.
	release string
	// kinds of commands that others cannot decode.
	kinds []byte
}

// untoldFeatures is what nodes have that tell of none: those of releases before
// features were told.
const untoldFeatures = 1

// features are append-only. A new kind of command belongs to a new feature, or to
// one that no release has yet.
var features = []feature{
	{level: untoldFeatures, name: "documents", release: "0.1", kinds: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}},
	{level: 2, name: "restore", release: "0.2", kinds: []byte{15, 16, 17}},
}

// ownFeatures is what this program has.
var ownFeatures = features[len(features)-1].level

// featureOf finds what a node must have to decode commands of a kind.
func featureOf(kind byte) (feature, bool) {
	for _, f := range features {
		if slices.Contains(f.kinds, kind) {
			return f, true
		}
	}
	return feature{}, false
}

// features is what this node tells.
func (n *Node) features() int {
	if n.cfg.Features > 0 {
		return n.cfg.Features
	}
	return ownFeatures
}

// featuresOf is what a server told last, and false when it was never heard of.
func (n *Node) featuresOf(id string) (int, bool) {
	if id == n.id.serverID {
		return n.features(), true
	}
	level, err := strconv.Atoi(n.levels.lookup(id))
	return level, err == nil
}

// understood refuses a command that some server could not decode.
func (n *Node) understood(data []byte) error {
	kind := fsm.PeekKind(data)
	if kind == 0 {
		return nil // malformed, which is found out where it is decoded
	}
	f, ok := featureOf(kind)
	if !ok {
		return model.Errorf(model.CodeFailedPrecondition,
			"%s, which leads, runs release %s, and that does not know this change (kind %d): every node needs the release that it comes from",
			n.cfg.NodeName, orUnknown(n.cfg.Version), kind)
	}
	if f.level <= untoldFeatures {
		return nil // every release has it
	}
	var behind []string
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		id := string(s.ID)
		switch level, known := n.featuresOf(id); {
		case !known:
			behind = append(behind, fmt.Sprintf("%s (never heard of)", n.labelOf(id)))
		case level < f.level:
			behind = append(behind, n.labelOf(id))
		}
	}
	if len(behind) == 0 {
		return nil
	}
	return model.Errorf(model.CodeFailedPrecondition,
		"%q needs release %s or a later one on every node: %s must be upgraded, or removed from the cluster; nothing was changed",
		f.name, f.release, strings.Join(behind, ", "))
}

// labelOf names a server, and the release it runs, as far as they are known.
func (n *Node) labelOf(id string) string {
	label := n.serverName(id)
	if label == "" {
		label = id
	}
	version := n.cfg.Version
	if id != n.id.serverID {
		m, _ := n.gossip.member(id)
		version = m.Version
	}
	if version != "" {
		label += " (release " + version + ")"
	}
	return label
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown"
	}
	return version
}

// toldFeatures reads what a node told: nothing stands for the releases that did
// not tell.
func toldFeatures(level int) string { return strconv.Itoa(max(level, untoldFeatures)) }
