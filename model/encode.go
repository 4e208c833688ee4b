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
