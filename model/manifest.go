package model

import (
	"errors"
	"fmt"
	"io"
)

// Manifest is one document of a file that a person applies: a package with the
// deployments that were embedded in it, deployments only, clusters, or runtime states.
type Manifest struct {
	// Package is nil when the document holds deployments only. Its own
	// Deployments are empty: they are in the field below.
	Package *Package
	// Deployments of the document. Those that named no package got the name of
	// the document.
	Deployments []Deployment
	// Clusters of the document. They have to be applied before what is deployed
	// to them.
	Clusters []Cluster
	// RuntimeStates of the document.
	RuntimeStates []RuntimeState
	// Unknown are the paths of fields that are not known.
	Unknown []string
	// Line is where the document begins, from 1.
	Line int
	// Index is the number of the document in its file, from 1; empty documents
	// count.
	Index int
}

// deploymentSet is a document that only deploys: a name, perhaps metadata, and
// deployments of a package that is applied elsewhere.
type deploymentSet struct {
	Name        string          `json:"name"`
	Metadata    PackageMetadata `json:"metadata"`
	Deployments []Deployment    `json:"deployments"`
}

// clusterSet is a document that describes several clusters.
type clusterSet struct {
	Clusters []Cluster `json:"clusters"`
}

// runtimeStateSet is a document that holds runtime states.
type runtimeStateSet struct {
	RuntimeStates []RuntimeState `json:"runtime_states"`
}

// DecodeManifests decodes a file of one or many documents. The error is a
// CodeInvalid *Error with all problems of all documents; their paths begin with
// the document's number (document 2: classes[0].key).
func DecodeManifests(data []byte, f Format) ([]Manifest, error) {
	documents, err := newReader(data, f)
	if err != nil {
		return nil, Invalid([]Problem{inDocument(1, problemOf(err))})
	}
	var manifests []Manifest
	var all problems
	for index := 1; ; index++ {
		root, line, err := documents.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && index > maxDocuments {
			err = Errorf(CodeInvalid, "the file has more than %d documents", maxDocuments)
		}
		if err != nil {
			all.add(inDocument(index, problemOf(err)))
			break
		}
		if root.kind == nodeNull {
			continue
		}
		m, found := decodeManifest(root)
		m.Line, m.Index = line, index
		manifests = append(manifests, m)
		for _, p := range found {
			all.add(inDocument(index, p))
		}
	}
	if err := Invalid(all.result()); err != nil {
		return nil, err
	}
	return manifests, nil
}

// inDocument prefixes the path of a problem with the number of its document.
func inDocument(index int, p Problem) Problem {
	document := fmt.Sprintf("document %d", index)
	if p.Path != "" {
		document += ": " + p.Path
	}
	return Problem{Path: document, Message: p.Message}
}

// decodeManifest finds out what a document is and decodes it as that. A field
// that both a package and a deployment have (functions) decides last.
func decodeManifest(root *node) (Manifest, []Problem) {
	hasAny := func(names ...string) bool {
		for _, name := range names {
			if root.has(name) {
				return true
			}
		}
		return false
	}
	switch {
	case root.kind != nodeObject:
		return Manifest{}, []Problem{{Message: "must be an object, got " + root.describe()}}
	case hasAny("classes", "version", "dependencies", "disabled"):
		return packageManifest(root)
	case hasAny("clusters"):
		return clusterSetManifest(root)
	case hasAny("runtime_states"):
		return runtimeStateManifest(root)
	case hasAny("base_url", "url"):
		return clusterManifest(root)
	case hasAny("deployments") && !hasAny("functions"):
		return deploymentSetManifest(root)
	case hasAny("key", "package_name", "class_key"):
		return deploymentManifest(root)
	case hasAny("name", "functions"):
		return packageManifest(root)
	default:
		return Manifest{}, []Problem{{Message: "is neither a package (name, classes, functions) nor a deployment (key, package_name, class_key) nor a cluster (name, base_url)"}}
	}
}

func packageManifest(root *node) (Manifest, []Problem) {
	var p Package
	var b binding
	b.bindDocument(root, &p, func() problems {
		p.SetDefaults()
		return p.check()
	})
	m := Manifest{Package: &p, Deployments: p.Deployments, Unknown: b.unknown}
	p.Deployments = []Deployment{}
	return m, b.result()
}

func deploymentSetManifest(root *node) (Manifest, []Problem) {
	var set deploymentSet
	var b binding
	b.bindDocument(root, &set, func() problems {
		var c checker
		for i := range set.Deployments {
			set.Deployments[i].setPackage(set.Name)
			set.Deployments[i].SetDefaults()
		}
		c.deployments(set.Deployments, set.Name, nil)
		return c.problems
	})
	return Manifest{Deployments: set.Deployments, Unknown: b.unknown}, b.result()
}

func deploymentManifest(root *node) (Manifest, []Problem) {
	var d Deployment
	var b binding
	b.bindDocument(root, &d, func() problems {
		d.SetDefaults()
		return d.check()
	})
	return Manifest{Deployments: []Deployment{d}, Unknown: b.unknown}, b.result()
}

func clusterManifest(root *node) (Manifest, []Problem) {
	var cluster Cluster
	var b binding
	b.bindDocument(root, &cluster, func() problems {
		cluster.SetDefaults()
		return cluster.check()
	})
	return Manifest{Clusters: []Cluster{cluster}, Unknown: b.unknown}, b.result()
}

func clusterSetManifest(root *node) (Manifest, []Problem) {
	var set clusterSet
	var b binding
	b.bindDocument(root, &set, func() problems {
		var c checker
		for i := range set.Clusters {
			set.Clusters[i].SetDefaults()
		}
		c.clusters(set.Clusters)
		return c.problems
	})
	return Manifest{Clusters: set.Clusters, Unknown: b.unknown}, b.result()
}

func runtimeStateManifest(root *node) (Manifest, []Problem) {
	var set runtimeStateSet
	var b binding
	b.bindDocument(root, &set, func() problems {
		var all problems
		for i := range set.RuntimeStates {
			set.RuntimeStates[i].SetDefaults()
			found := set.RuntimeStates[i].check()
			for _, p := range found.result() {
				all.add(Problem{Path: fmt.Sprintf("runtime_states[%d].%s", i, p.Path), Message: p.Message})
			}
		}
		return all
	})
	return Manifest{RuntimeStates: set.RuntimeStates, Unknown: b.unknown}, b.result()
}
