package fsm

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
	"github.com/oprc/oprc-pm/storage/memory"
)

// generator makes random but repeatable commands over few names, so that they
// meet: about half of them are rejected.
type generator struct {
	testing.TB
	*rand.Rand
	index, term uint64
	sent        []storage.Request
	// file is the backup that restores bring back; nil: there are none.
	file []byte
}

func newGenerator(t testing.TB, seed uint64) *generator {
	t.Helper()
	before := &generator{TB: t, Rand: rand.New(rand.NewPCG(seed, 1000)), term: 1}
	tree, machine := memory.NewTree(), newMachine()
	for range 100 {
		before.index++
		if _, _, err := machine.Apply(tree, before.index, 1, []storage.Proposal{before.proposal(), before.proposal()}); err != nil {
			t.Fatal(err)
		}
	}
	return &generator{TB: t, Rand: rand.New(rand.NewPCG(seed, seed)), term: 1, file: backupOf(t, tree, backup.Header{Index: 100, Term: 1})}
}

// restore draws one of the commands of a restore.
func (g *generator) restore() storage.Command {
	id := fmt.Sprintf("restore%d", g.index/60)
	half := len(g.file) / 2
	switch g.IntN(16) {
	case 0:
		return storage.AbortRestore{ID: id}
	case 1:
		return storage.CommitRestore{ID: id, Parts: 2, Force: true}
	case 2, 3, 4, 5:
		return storage.StageRestore{ID: id, Part: 0, Data: g.file[:half]}
	case 6, 7, 8, 9:
		return storage.StageRestore{ID: id, Part: 1, Data: g.file[half:]}
	default:
		return storage.CommitRestore{ID: id, Parts: 2, Sha256: sha256.Sum256(g.file), Force: g.IntN(3) > 0}
	}
}

func (g *generator) name(base string, n int) string { return fmt.Sprintf("%s%d", base, g.IntN(n)) }

// some draws up to n names, sorted by how they are made and unique.
func (g *generator) some(base string, n int) []string {
	var names []string
	for i := range n {
		if g.IntN(3) == 0 {
			names = append(names, fmt.Sprintf("%s%d", base, i))
		}
	}
	return names
}

func (g *generator) ifMatch() uint64 {
	if g.IntN(6) > 0 {
		return 0
	}
	return g.Uint64N(g.index + 2)
}

func (g *generator) mode() storage.PutMode {
	if g.IntN(2) == 0 {
		return storage.Upsert
	}
	return storage.PutMode(g.IntN(3))
}

func (g *generator) command() storage.Command {
	if g.file != nil && g.IntN(20) == 0 {
		return g.restore()
	}
	switch g.IntN(22) {
	case 0:
		return storage.Barrier{}
	case 1:
		return storage.MintClusterID{ClusterID: g.name("cluster", 3)}
	case 2, 3, 4:
		return g.putPackage()
	case 12, 13, 18, 19, 20:
		return g.putCluster()
	case 14:
		return storage.DeleteCluster{Name: g.name("env", 4), IfMatch: g.ifMatch(), Force: g.IntN(3) == 0}
	case 15:
		return g.health()
	case 16:
		return storage.RecordEvents{Events: g.someEvents(3)}
	case 5:
		return storage.DeletePackage{Name: g.name("p", 8), IfMatch: g.ifMatch(), Cascade: g.IntN(2) == 0}
	case 6, 7:
		return g.putDeployment()
	case 8:
		return storage.DeleteDeployment{Key: g.name("d", 10), IfMatch: g.ifMatch()}
	case 9, 10, 11, 21:
		return g.record()
	default:
		c := stateCommand(g, g.name("s", 5), g.name("status", 3))
		c.IfMatch = g.ifMatch()
		return c
	}
}

func (g *generator) putPackage() storage.Command {
	p := model.Package{Name: g.name("p", 8), Dependencies: g.some("p", 8), Disabled: g.IntN(4) == 0}
	p.Metadata.Tags = g.some("tag", 5)
	for _, key := range g.some("class", 3) {
		p.Classes = append(p.Classes, model.Class{Key: key})
	}
	if g.IntN(2) == 0 {
		p.Dependencies = nil
	}
	if g.IntN(2) == 0 {
		p.Classes = []model.Class{{Key: "class0"}, {Key: "class1"}, {Key: "class2"}}
	}
	c := pkgCommand(g, p)
	c.Mode, c.IfMatch, c.Force = g.mode(), g.ifMatch(), g.IntN(5) == 0
	return c
}

func (g *generator) putCluster() storage.Command {
	manager := model.ManagedByAPI
	if g.IntN(3) == 0 {
		manager = model.ManagedByConfig
	}
	c := clusterCommand(g, g.name("env", 4), manager, func(c *model.Cluster) { c.Cordoned = g.IntN(2) == 0 })
	c.Mode, c.IfMatch = g.mode(), g.ifMatch()
	return c
}

func (g *generator) health() storage.Command {
	var c storage.RecordClusterHealth
	for _, cluster := range g.some("env", 4) {
		nodes := g.Uint32N(2)
		c.Clusters = append(c.Clusters, storage.NamedHealth{Name: cluster, Health: model.ClusterHealth{
			ClusterName: cluster, Status: []string{model.ClusterHealthy, model.ClusterUnhealthy}[g.IntN(2)], LastSeen: noon, ReadyNodes: &nodes,
		}})
	}
	c.Events = g.someEvents(1)
	return c
}

// someEvents draws up to n events about few subjects.
func (g *generator) someEvents(n int) []model.Event {
	var events []model.Event
	for range g.IntN(n + 1) {
		event := about(g.name("d", 3))
		if g.IntN(2) == 0 {
			event.Kind, event.Name = model.EventAboutCluster, g.name("env", 4)
		}
		events = append(events, event)
	}
	return events
}

// revise adds what only an extended record has.
func (g *generator) revise(c *storage.RecordUnitStatus) {
	c.Events = g.someEvents(2)
	if g.IntN(2) == 0 {
		c.KeepRevisionsFrom = g.Uint64N(6)
	}
	if g.IntN(3) > 0 {
		c.Revision = &model.Revision{
			Revision: 1 + g.Uint64N(6), DeploymentKey: c.Deployment, Generation: c.Generation, Template: g.name("t", 2), CreatedAt: noon,
			Deployment: model.Deployment{Key: c.Deployment},
		}
		if g.IntN(3) == 0 {
			c.Revision.GoodSince = &c.Revision.CreatedAt
		}
	}
}

func (g *generator) putDeployment() storage.Command {
	d := model.Deployment{
		Key: g.name("d", 10), PackageName: g.name("p", 8), ClassKey: g.name("class", 3), TargetEnvs: g.some("env", 4),
	}
	if g.IntN(3) == 0 {
		rps := g.Uint32N(3)
		d.NFRRequirements.MinThroughputRPS = &rps
	}
	c := encodeDeployment(g, d)
	c.Mode, c.IfMatch = g.mode(), g.ifMatch()
	return c
}

func (g *generator) record() storage.Command {
	c := storage.RecordUnitStatus{Deployment: g.name("d", 10), Generation: 1 + g.Uint64N(1+g.Uint64N(12)), Forget: g.IntN(4) == 0}
	for _, cluster := range g.some("env", 3) {
		if g.IntN(2) == 0 {
			c.Remove = append(c.Remove, storage.UnitRef{Cluster: cluster, Unit: g.name("u", 2)})
			continue
		}
		if c.Forget {
			continue
		}
		c.Put = append(c.Put, model.UnitStatus{
			ID: g.name("u", 2), DeploymentKey: c.Deployment, Cluster: cluster, Generation: c.Generation,
			Phase: model.UnitRunning, Attempts: g.Uint32N(2), LastTransitionTime: noon,
		})
	}
	if g.IntN(2) == 0 {
		c.Observed = &model.DeploymentObserved{ObservedGeneration: g.Uint64N(3), Condition: model.DeploymentRunning}
	}
	if g.IntN(2) == 0 {
		g.revise(&c)
	}
	return c
}

// proposal makes a new request, or sends an old one again.
func (g *generator) proposal() storage.Proposal {
	p := storage.Proposal{At: noon.Add(time.Duration(g.index) * time.Millisecond)}
	switch n := g.IntN(20); {
	case n < 2 && len(g.sent) > 0:
		p.Request = g.sent[g.IntN(len(g.sent))]
		return p
	case n == 2 && len(g.sent) > 0:
		p.ID = g.sent[g.IntN(len(g.sent))].ID
	case n > 3:
		p.ID = fmt.Sprintf("request-%d-%d", g.index, g.Uint64())
	}
	p.Command = g.command()
	if g.IntN(5) == 0 {
		p.LeaderTerm = 1 + g.Uint64N(g.term)
	}
	if p.ID != "" {
		g.sent = append(g.sent, p.Request)
	}
	return p
}

// entry makes the next log entry. Indexes have gaps, as entries that Raft keeps
// to itself make them.
func (g *generator) entry() *raft.Log {
	g.index++
	switch g.IntN(40) {
	case 0:
		g.index++
	case 1:
		g.term++
	case 2:
		return &raft.Log{Index: g.index, Term: g.term, Type: raft.LogConfiguration, Data: fmt.Appendf(nil, "configuration %d", g.index)}
	}
	var proposals []storage.Proposal
	for range 1 + g.IntN(4) {
		proposals = append(proposals, g.proposal())
	}
	return packLog(g, g.index, g.term, proposals...)
}

func (g *generator) log(n int) []*raft.Log {
	entries := make([]*raft.Log, n)
	for i := range entries {
		entries[i] = g.entry()
	}
	return entries
}
