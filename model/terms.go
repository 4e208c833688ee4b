package model

import "slices"

// IndexTerms returns the terms by which a stored package is found: sorted, each
// once.
func (p Package) IndexTerms() (tags, dependencies, classes []string) {
	classes = make([]string, len(p.Classes))
	for i := range p.Classes {
		classes[i] = p.Classes[i].Key
	}
	return sortedUnique(p.Metadata.Tags), sortedUnique(p.Dependencies), sortedUnique(classes)
}

// Environments returns the explicit targets of the deployment: sorted, each
// once.
func (d Deployment) Environments() []string { return sortedUnique(d.TargetEnvs) }

func sortedUnique(values []string) []string {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
