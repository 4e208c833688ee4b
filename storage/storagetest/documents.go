package storagetest

import (
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// pkg describes a package in the few words that the rules look at.
type pkg struct {
	name    string
	version string
	tags    []string
	depends []string
	classes []string
	mode    storage.PutMode
	ifMatch uint64
}

// put is the command that stores the package, encoded as a proposer does.
func (e *env) put(p pkg) storage.PutPackage {
	e.Helper()
	document := model.Package{
		Name:         p.name,
		Version:      &p.version,
		Metadata:     model.PackageMetadata{Tags: p.tags},
		Dependencies: p.depends,
	}
	for _, class := range p.classes {
		document.Classes = append(document.Classes, model.Class{Key: class})
	}
	document.SetDefaults()
	line, err := model.EncodePackage(document)
	if err != nil {
		e.Fatalf("encode package: %v", err)
	}
	c := storage.PutPackage{Name: p.name, Mode: p.mode, IfMatch: p.ifMatch, Document: line}
	c.Tags, c.Dependencies, c.Classes = document.IndexTerms()
	return c
}

// deployment describes a deployment likewise.
type deployment struct {
	key     string
	pkg     string
	class   string
	envs    []string
	rps     uint32
	mode    storage.PutMode
	ifMatch uint64
}

func (e *env) deploy(d deployment) storage.PutDeployment {
	e.Helper()
	document := model.Deployment{Key: d.key, PackageName: d.pkg, ClassKey: d.class, TargetEnvs: d.envs}
	if d.rps > 0 {
		document.NFRRequirements.MinThroughputRPS = &d.rps
	}
	document.SetDefaults()
	line, err := model.EncodeDeployment(document)
	if err != nil {
		e.Fatalf("encode deployment: %v", err)
	}
	return storage.PutDeployment{
		Key: d.key, Mode: d.mode, IfMatch: d.ifMatch, Document: line,
		Package: d.pkg, Class: d.class, Environments: document.Environments(),
	}
}

// deployed stores a package with the class "main" and a deployment of it, and
// returns both and the result of the deployment.
func (e *env) deployed() (pkg, deployment, storage.Result) {
	e.Helper()
	p := pkg{name: e.name("pkg"), classes: []string{"main"}}
	e.accept(e.put(p))
	d := deployment{key: e.name("dep"), pkg: p.name, class: "main", envs: []string{e.name("env")}}
	return p, d, e.accept(e.deploy(d))
}

// unit is a unit record of a deployment.
func unit(deployment, cluster, id string, phase model.UnitPhase) model.UnitStatus {
	return model.UnitStatus{ID: id, DeploymentKey: deployment, Cluster: cluster, Generation: 1, Phase: phase}
}

// register makes clusters, as far as there are none of these names.
func (e *env) register(clusters ...string) {
	e.Helper()
	for _, name := range clusters {
		e.accept(e.putCluster(cluster{name: name}))
	}
}

// withUnit gives a deployment one unit record, in a cluster that exists, and returns its reference.
func (e *env) withUnit(d deployment, generation uint64) storage.UnitRef {
	e.Helper()
	ref := storage.UnitRef{Cluster: d.envs[0], Unit: e.name("unit")}
	e.register(ref.Cluster)
	e.accept(storage.RecordUnitStatus{
		Deployment: d.key, Generation: generation,
		Put: []model.UnitStatus{unit(d.key, ref.Cluster, ref.Unit, model.UnitRunning)},
	})
	return ref
}

func (e *env) runtimeState(key, status string, ifMatch uint64) storage.UpdateRuntimeState {
	e.Helper()
	line, err := model.EncodeRuntimeState(model.RuntimeState{Key: key, ClassKey: "c", DeploymentID: "d", Status: status, Health: "ok"})
	if err != nil {
		e.Fatalf("encode runtime state: %v", err)
	}
	return storage.UpdateRuntimeState{Key: key, IfMatch: ifMatch, Document: line}
}

// observed returns the observed state of a stored deployment.
func (e *env) deploymentNow(key string) model.Deployment {
	e.Helper()
	d, err := model.ParseDeployment(e.get(storage.DeploymentKey(key)))
	if err != nil {
		e.Fatalf("read deployment %s: %v", key, err)
	}
	return d
}
