package storage

import (
	"fmt"

	"github.com/oprc/oprc-pm/model"
)

// The builders below make the command that stores a document: they encode it once
// and take out the terms that rules and indexes need. The document is expected to
// be valid, with its defaults.

// NewPutPackage makes the command that stores p.
func NewPutPackage(p model.Package, mode PutMode, ifMatch uint64) (PutPackage, error) {
	document, err := model.EncodePackage(p)
	if err != nil {
		return PutPackage{}, fmt.Errorf("encode package: %w", err)
	}
	tags, dependencies, classes := p.IndexTerms()
	return PutPackage{
		Name: p.Name, Mode: mode, IfMatch: ifMatch, Document: document,
		Tags: tags, Dependencies: dependencies, Classes: classes,
	}, nil
}

// NewPutDeployment makes the command that stores d.
func NewPutDeployment(d model.Deployment, mode PutMode, ifMatch uint64) (PutDeployment, error) {
	document, err := model.EncodeDeployment(d)
	if err != nil {
		return PutDeployment{}, fmt.Errorf("encode deployment: %w", err)
	}
	return PutDeployment{
		Key: d.Key, Mode: mode, IfMatch: ifMatch, Document: document,
		Package: d.PackageName, Class: d.ClassKey, Environments: d.Environments(),
	}, nil
}

// NewUpdateRuntimeState makes the command that stores s.
func NewUpdateRuntimeState(s model.RuntimeState, ifMatch uint64) (UpdateRuntimeState, error) {
	document, err := model.EncodeRuntimeState(s)
	if err != nil {
		return UpdateRuntimeState{}, fmt.Errorf("encode runtime state: %w", err)
	}
	return UpdateRuntimeState{Key: s.Key, IfMatch: ifMatch, Document: document}, nil
}

// NewPutCluster makes the command that stores c.
func NewPutCluster(c model.Cluster, mode PutMode, ifMatch uint64) (PutCluster, error) {
	document, err := model.EncodeCluster(c)
	if err != nil {
		return PutCluster{}, fmt.Errorf("encode cluster: %w", err)
	}
	return PutCluster{Name: c.Name, Mode: mode, IfMatch: ifMatch, Document: document, ManagedBy: c.ManagedBy}, nil
}
