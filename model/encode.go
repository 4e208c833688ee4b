package model

import (
	"fmt"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// documentOptions is how documents are written: fields in the order of their
// struct, map keys sorted, no HTML escaping, nil lists and maps as empty ones,
// and omitempty as encoding/json means it (an empty object stays).
var documentOptions = json.JoinOptions(
	json.Deterministic(true),
	jsonv1.OmitEmptyWithLegacySemantics(true),
)

// EncodePackage returns the user line of the stored document: the members of
// the JSON object without braces, without what the store writes (Meta), and
// without embedded deployments, which are documents of their own. Equal packages
// give equal bytes.
func EncodePackage(p Package) ([]byte, error) {
	p.Meta = Meta{}
	p.Deployments = nil
	line, err := encodeMembers(&p)
	if err != nil {
		return nil, fmt.Errorf("encode package: %w", err)
	}
	return line, nil
}

// EncodeDeployment is EncodePackage for a deployment; the observed state is left
// out too.
func EncodeDeployment(d Deployment) ([]byte, error) {
	d.Meta = Meta{}
	d.DeploymentObserved = DeploymentObserved{}
	line, err := encodeMembers(&d)
	if err != nil {
		return nil, fmt.Errorf("encode deployment: %w", err)
	}
	return line, nil
}

// EncodeRuntimeState is EncodePackage for a runtime state.
func EncodeRuntimeState(s RuntimeState) ([]byte, error) {
	s.Meta = Meta{}
	line, err := encodeMembers(&s)
	if err != nil {
		return nil, fmt.Errorf("encode runtime state: %w", err)
	}
	return line, nil
}

// EncodeCluster is EncodePackage for a cluster. ManagedBy is part of the line.
func EncodeCluster(c Cluster) ([]byte, error) {
	c.Meta, c.Health, c.Units = Meta{}, nil, nil
	line, err := encodeMembers(&c)
	if err != nil {
		return nil, fmt.Errorf("encode cluster: %w", err)
	}
	return line, nil
}

// EncodeClusterHealth returns the JSON object as which a cluster's health is
// recorded.
func EncodeClusterHealth(h ClusterHealth) ([]byte, error) {
	object, err := json.Marshal(&h, documentOptions)
	if err != nil {
		return nil, fmt.Errorf("encode cluster health: %w", err)
	}
	return object, nil
}

// EncodeRevision returns the JSON object as which a revision is stored. Of its
// deployment only what the user wrote is kept.
func EncodeRevision(r Revision) ([]byte, error) {
	r.Deployment.Meta = Meta{}
	r.Deployment.DeploymentObserved = DeploymentObserved{}
	object, err := json.Marshal(&r, documentOptions)
	if err != nil {
		return nil, fmt.Errorf("encode revision: %w", err)
	}
	return object, nil
}

// EncodeEvent returns the JSON object as which an event is kept. Its sequence is
// the first member.
func EncodeEvent(e Event) ([]byte, error) {
	object, err := json.Marshal(&e, documentOptions)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return object, nil
}

// encodeMembers encodes a struct and takes its braces off. The system fields
// are all omitted when zero, so they leave no trace.
func encodeMembers(v any) ([]byte, error) {
	object, err := json.Marshal(v, documentOptions)
	if err != nil {
		return nil, err
	}
	return object[1 : len(object)-1], nil
}

// ParsePackage decodes a stored document, system fields included. Unknown
// fields, as a newer release may have written, are ignored.
func ParsePackage(doc []byte) (Package, error) {
	var p Package
	if err := json.Unmarshal(doc, &p); err != nil {
		return Package{}, fmt.Errorf("parse stored package: %w", err)
	}
	p.SetDefaults()
	return p, nil
}

// ParseDeployment is ParsePackage for a deployment.
func ParseDeployment(doc []byte) (Deployment, error) {
	var d Deployment
	if err := json.Unmarshal(doc, &d); err != nil {
		return Deployment{}, fmt.Errorf("parse stored deployment: %w", err)
	}
	d.SetDefaults()
	return d, nil
}

// ParseRuntimeState is ParsePackage for a runtime state.
func ParseRuntimeState(doc []byte) (RuntimeState, error) {
	var s RuntimeState
	if err := json.Unmarshal(doc, &s); err != nil {
		return RuntimeState{}, fmt.Errorf("parse stored runtime state: %w", err)
	}
	return s, nil
}

// ParseUnit decodes a stored unit record.
func ParseUnit(doc []byte) (UnitStatus, error) {
	var u UnitStatus
	if err := json.Unmarshal(doc, &u); err != nil {
		return UnitStatus{}, fmt.Errorf("parse stored unit: %w", err)
	}
	return u, nil
}

// ParseCluster is ParsePackage for a cluster.
func ParseCluster(doc []byte) (Cluster, error) {
	var c Cluster
	if err := json.Unmarshal(doc, &c); err != nil {
		return Cluster{}, fmt.Errorf("parse stored cluster: %w", err)
	}
	c.SetDefaults()
	return c, nil
}

// ParseClusterHealth decodes the recorded health of a cluster.
func ParseClusterHealth(doc []byte) (ClusterHealth, error) {
	var h ClusterHealth
	if err := json.Unmarshal(doc, &h); err != nil {
		return ClusterHealth{}, fmt.Errorf("parse stored cluster health: %w", err)
	}
	return h, nil
}

// ParseRevision decodes a stored revision.
func ParseRevision(doc []byte) (Revision, error) {
	var r Revision
	if err := json.Unmarshal(doc, &r); err != nil {
		return Revision{}, fmt.Errorf("parse stored revision: %w", err)
	}
	r.Deployment.SetDefaults()
	return r, nil
}

// ParseEvent decodes a stored event.
func ParseEvent(doc []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(doc, &e); err != nil {
		return Event{}, fmt.Errorf("parse stored event: %w", err)
	}
	return e, nil
}
