package storage

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/oprc/oprc-pm/model"
)

// The list helpers below serve every reader of documents (the API, the
// dispatcher, the command line) in the same way: documents come in key order,
// from a name on, as they are stored. A filter that has an index uses it, so a
// filtered list costs what it returns; a document is decoded only when a filter
// asks for something that has no index.

// Visit is called with one document of a list. It returns false to end the
// list. doc belongs to the reader and is valid until the view ends.
type Visit func(name string, doc []byte) (bool, error)

// After is the smallest name that sorts after name: where a list goes on.
func After(name string) string { return name + "\x00" }

// PackageQuery selects packages. The zero value selects all.
type PackageQuery struct {
	// NamePattern is a substring of the name.
	NamePattern string
	// Tags selects packages that carry any of them.
	Tags []string
	// Disabled, when not nil, selects by the disabled flag.
	Disabled *bool
}

// ListPackages visits the packages that match q, from the name from on.
func ListPackages(r Reader, q PackageQuery, from string, visit Visit) error {
	match := func(name string, doc []byte) (bool, error) {
		if !strings.Contains(name, q.NamePattern) {
			return false, nil
		}
		if q.Disabled == nil {
			return true, nil
		}
		var fields struct {
			Disabled bool `json:"disabled"`
		}
		if err := decodeFields(doc, &fields); err != nil {
			return false, fmt.Errorf("decode package %q: %w", name, err)
		}
		return fields.Disabled == *q.Disabled, nil
	}
	if len(q.Tags) == 0 {
		return listAll(r, PackagePrefix, from, match, visit)
	}
	sources := make([]nameSource, len(q.Tags))
	for i, tag := range q.Tags {
		sources[i] = newIndexNames(r, ByTag, tag)
	}
	return listNamed(r, PackagePrefix, anyOf(sources), from, match, visit)
}

// DeploymentQuery selects deployments. The zero value selects all.
type DeploymentQuery struct {
	Package string
	Class   string
	// Environment selects deployments that target the cluster explicitly.
	Environment string
	Condition   model.DeploymentCondition
}

// ListDeployments visits the deployments that match q, from the key from on.
func ListDeployments(r Reader, q DeploymentQuery, from string, visit Visit) error {
	match := func(key string, doc []byte) (bool, error) {
		if q.Class == "" && q.Condition == "" {
			return true, nil
		}
		var fields struct {
			Class     string                    `json:"class_key"`
			Condition model.DeploymentCondition `json:"condition"`
		}
		if err := decodeFields(doc, &fields); err != nil {
			return false, fmt.Errorf("decode deployment %q: %w", key, err)
		}
		if fields.Condition == "" {
			// Nothing observed yet reads as PENDING, as existing clients expect.
			fields.Condition = model.DeploymentPending
		}
		return (q.Class == "" || fields.Class == q.Class) &&
			(q.Condition == "" || fields.Condition == q.Condition), nil
	}
	var sources []nameSource
	if q.Package != "" {
		sources = append(sources, newIndexNames(r, ByPackage, q.Package))
	}
	if q.Environment != "" {
		sources = append(sources, newIndexNames(r, ByEnvironment, q.Environment))
	}
	if len(sources) == 0 {
		return listAll(r, DeploymentPrefix, from, match, visit)
	}
	return listNamed(r, DeploymentPrefix, allOf(sources), from, match, visit)
}

// ListRuntimeStates visits all runtime states, from the key from on.
func ListRuntimeStates(r Reader, from string, visit Visit) error {
	return listAll(r, RuntimeStatePrefix, from, nil, visit)
}

// ListUnits visits the unit records of a deployment (JSON of model.UnitStatus)
// in the order of cluster and unit id.
func ListUnits(r Reader, deployment string, visit func(ref UnitRef, record []byte) (bool, error)) error {
	prefix := UnitsOf(deployment)
	return ScanPrefix(r, prefix, func(key, value []byte) (bool, error) {
		cluster, unit, ok := strings.Cut(string(key[len(prefix):]), "/")
		if !ok {
			return false, fmt.Errorf("unit key %q has no cluster", key)
		}
		return visit(UnitRef{Cluster: cluster, Unit: unit}, value)
	})
}

// DecodeUnits returns the unit records of a deployment.
func DecodeUnits(r Reader, deployment string) ([]model.UnitStatus, error) {
	units := []model.UnitStatus{}
	err := ListUnits(r, deployment, func(ref UnitRef, record []byte) (bool, error) {
		var unit model.UnitStatus
		if err := json.Unmarshal(record, &unit); err != nil {
			return false, fmt.Errorf("decode unit %s of %q in %q: %w", ref.Unit, deployment, ref.Cluster, err)
		}
		units = append(units, unit)
		return true, nil
	})
	return units, err
}

// listAll visits every document under prefix that matches.
func listAll(r Reader, prefix, from string, match func(string, []byte) (bool, error), visit Visit) error {
	start := []byte(prefix + from)
	return r.Scan(start, PrefixEnd([]byte(prefix)), func(key, doc []byte) (bool, error) {
		name := string(key[len(prefix):])
		if match != nil {
			if ok, err := match(name, doc); err != nil || !ok {
				return err == nil, err
			}
		}
		return visit(name, doc)
	})
}

// listNamed visits the documents under prefix that names leads to and that match.
func listNamed(r Reader, prefix string, names nameSource, from string, match func(string, []byte) (bool, error), visit Visit) error {
	for {
		name, ok, err := names.seek(from)
		if err != nil || !ok {
			return err
		}
		from = After(name)
		doc, err := r.Get([]byte(prefix + name))
		if err != nil {
			return err
		}
		if doc == nil {
			return fmt.Errorf("an index names %s%s, which does not exist", prefix, name)
		}
		if ok, err := match(name, doc); err != nil {
			return err
		} else if !ok {
			continue
		}
		if more, err := visit(name, doc); err != nil || !more {
			return err
		}
	}
}

// decodeFields reads the wanted fields of a stored document and skips the rest.
func decodeFields(doc []byte, fields any) error {
	return json.Unmarshal(doc, fields)
}
