package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (a *applier) putPackage(p storage.Proposal, c storage.PutPackage) (storage.Result, error) {
	key := storage.PackageKey(c.Name)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	if rejected := a.checkPut(old, c.Document, c.Mode, c.IfMatch, fmt.Sprintf("package %q", c.Name)); rejected != nil {
		return *rejected, nil
	}
	if string(old.user) == string(c.Document) {
		return a.unchanged(old), nil
	}
	if rejected, err := a.checkDependencies(c); rejected != nil || err != nil {
		return deref(rejected), err
	}
	if old.exists() && !c.Force {
		if rejected, err := a.checkDeployedClasses(c); rejected != nil || err != nil {
			return deref(rejected), err
		}
	}
	before, err := packageTerms(old.raw)
	if err != nil {
		return storage.Result{}, fmt.Errorf("read package %s: %w", c.Name, err)
	}
	if err := a.reindex(storage.ByTag, c.Name, before.tags, c.Tags); err != nil {
		return storage.Result{}, err
	}
	if err := a.reindex(storage.ByDependency, c.Name, before.dependencies, c.Dependencies); err != nil {
		return storage.Result{}, err
	}
	stamp := a.nextStamp(old, p.At)
	result := a.putResult(old, stamp)
	return result, a.put(storage.KindPackage, c.Name, key, storage.BuildDocument(stamp, nil, c.Document))
}

func deref(r *storage.Result) storage.Result {
	if r == nil {
		return storage.Result{}
	}
	return *r
}

// checkDependencies holds the rules that every dependency exists and that no
// cycle appears.
func (a *applier) checkDependencies(c storage.PutPackage) (*storage.Result, error) {
	for _, dependency := range c.Dependencies {
		if dependency == c.Name {
			r, _ := a.rejectField(model.CodeInvalid, "dependencies", "package %q depends on itself", c.Name)
			return &r, nil
		}
		document, err := a.tx.Get(storage.PackageKey(dependency))
		if err != nil {
			return nil, err
		}
		if document == nil {
			r, _ := a.rejectField(model.CodeInvalid, "dependencies", "package %q does not exist", dependency)
			return &r, nil
		}
	}
	path, err := a.findCycle(c)
	if err != nil || path == nil {
		return nil, err
	}
	if len(path) > maxShownCycle {
		// The message is remembered and replicated: it stays short.
		path = append(append(path[:maxShownCycle-2:maxShownCycle-2], "..."), path[len(path)-2:]...)
	}
	r, _ := a.rejectField(model.CodeInvalid, "dependencies", "would make a cycle: %s", strings.Join(path, " -> "))
	return &r, nil
}

// maxShownCycle bounds how many packages of a cycle a message names.
const maxShownCycle = 8

// findCycle returns the way from c's package over its new dependencies back to
// itself, or nil. There can be none unless something depends on the package.
func (a *applier) findCycle(c storage.PutPackage) ([]string, error) {
	dependants, err := a.names(storage.ByDependency, c.Name, 1)
	if err != nil || len(dependants) == 0 {
		return nil, err
	}
	seen := map[string]bool{}
	var visit func(name string, dependencies []string) ([]string, error)
	visit = func(name string, dependencies []string) ([]string, error) {
		for _, dependency := range dependencies {
			if dependency == c.Name {
				return []string{name, c.Name}, nil
			}
			if seen[dependency] {
				continue
			}
			seen[dependency] = true
			document, err := a.tx.Get(storage.PackageKey(dependency))
			if err != nil || document == nil {
				return nil, err
			}
			terms, err := packageTerms(document)
			if err != nil {
				return nil, fmt.Errorf("read package %s: %w", dependency, err)
			}
			path, err := visit(dependency, terms.dependencies)
			if err != nil {
				return nil, err
			}
			if path != nil {
				return append([]string{name}, path...), nil
			}
		}
		return nil, nil
	}
	return visit(c.Name, c.Dependencies)
}

// maxShownNames bounds how many classes, and deployments of one, a message names.
const maxShownNames = 5

// checkDeployedClasses holds the rule that a class does not vanish under its
// deployments. The rejection names the classes and who runs them.
func (a *applier) checkDeployedClasses(c storage.PutPackage) (*storage.Result, error) {
	var classes []string
	deployments := map[string][]string{}
	err := storage.ByPackage.Scan(a.tx, c.Name, "", func(name string) (bool, error) {
		deployment, err := a.load(storage.DeploymentKey(name))
		if err != nil {
			return false, err
		}
		if _, deleting := cutDeletionMark(deployment.observed); deleting {
			return true, nil
		}
		terms, err := deploymentTerms(deployment.raw)
		if err != nil {
			return false, fmt.Errorf("read deployment %s: %w", name, err)
		}
		if slices.Contains(c.Classes, terms.class) {
			return true, nil
		}
		if deployments[terms.class] == nil {
			classes = append(classes, terms.class)
		}
		deployments[terms.class] = append(deployments[terms.class], name)
		return true, nil
	})
	if err != nil || len(classes) == 0 {
		return nil, err
	}
	slices.Sort(classes)
	var lost []string
	for _, class := range classes[:min(maxShownNames, len(classes))] {
		lost = append(lost, fmt.Sprintf("class %q is missing but deployed (%s)", class, someOf(deployments[class])))
	}
	if more := len(classes) - len(lost); more > 0 {
		lost = append(lost, fmt.Sprintf("and %d more classes", more))
	}
	r, _ := a.rejectField(model.CodeConflict, "classes", "%s", strings.Join(lost, "; "))
	return &r, nil
}

// someOf names the first of names, and how many there are besides. Messages are
// remembered and replicated: they stay short.
func someOf(names []string) string {
	text := strings.Join(names[:min(maxShownNames, len(names))], ", ")
	if more := len(names) - maxShownNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (a *applier) deletePackage(p storage.Proposal, c storage.DeletePackage) (storage.Result, error) {
	key := storage.PackageKey(c.Name)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	what := fmt.Sprintf("package %q", c.Name)
	if rejected := a.checkDelete(old, c.IfMatch, what); rejected != nil {
		return *rejected, nil
	}
	dependants, err := a.names(storage.ByDependency, c.Name, 5)
	if err != nil {
		return storage.Result{}, err
	}
	if len(dependants) > 0 {
		return a.reject(model.CodeConflict, "%s is a dependency of %s", what, strings.Join(dependants, ", "))
	}
	deployments, err := a.liveDeployments(c.Name)
	if err != nil {
		return storage.Result{}, err
	}
	if len(deployments) > 0 && !c.Cascade {
		return a.reject(model.CodeConflict, "%s has deployments (%s): delete them first, or cascade", what, someOf(deployments))
	}
	for _, name := range deployments {
		if _, err := a.markDeleted(name, p.At); err != nil {
			return storage.Result{}, err
		}
	}
	terms, err := packageTerms(old.raw)
	if err != nil {
		return storage.Result{}, fmt.Errorf("read package %s: %w", c.Name, err)
	}
	if err := a.reindex(storage.ByTag, c.Name, terms.tags, nil); err != nil {
		return storage.Result{}, err
	}
	if err := a.reindex(storage.ByDependency, c.Name, terms.dependencies, nil); err != nil {
		return storage.Result{}, err
	}
	return storage.Result{Index: a.index, Outcome: storage.Deleted}, a.remove(storage.KindPackage, c.Name, key)
}

// liveDeployments names the deployments of a package that are not being deleted.
func (a *applier) liveDeployments(pkg string) ([]string, error) {
	all, err := a.names(storage.ByPackage, pkg, -1)
	if err != nil {
		return nil, err
	}
	var live []string
	for _, name := range all {
		deployment, err := a.load(storage.DeploymentKey(name))
		if err != nil {
			return nil, err
		}
		if _, deleting := cutDeletionMark(deployment.observed); !deleting {
			live = append(live, name)
		}
	}
	return live, nil
}

// names returns the first documents under an index term; all when limit < 0.
func (a *applier) names(index storage.Index, term string, limit int) ([]string, error) {
	var names []string
	err := index.Scan(a.tx, term, "", func(name string) (bool, error) {
		names = append(names, name)
		return limit < 0 || len(names) < limit, nil
	})
	return names, err
}

// indexTerms are the terms under which a stored package is indexed.
type indexTerms struct{ tags, dependencies []string }

// packageTerms reads the index terms of a stored package, none for nil. They
// come before what is long in a document, so only its head is decoded.
func packageTerms(document []byte) (indexTerms, error) {
	var terms indexTerms
	if document == nil {
		return terms, nil
	}
	var failed error
	err := members(document, func(name string, value jsontext.Value) bool {
		switch name {
		case "metadata":
			var metadata struct{ Tags json.RawMessage }
			if failed = json.Unmarshal(value, &metadata); failed == nil && metadata.Tags != nil {
				terms.tags, failed = sortedTexts(metadata.Tags)
			}
		case "dependencies":
			terms.dependencies, failed = sortedTexts(value)
		case "classes", "functions":
			return false
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return terms, err
}

// hasClass reports whether a stored package declares the class.
func hasClass(document []byte, class string) (bool, error) {
	found := false
	var failed error
	err := members(document, func(name string, value jsontext.Value) bool {
		if name != "classes" {
			return true
		}
		var classes []struct{ Key string }
		failed = json.Unmarshal(value, &classes)
		for _, c := range classes {
			found = found || c.Key == class
		}
		return false
	})
	if err == nil {
		err = failed
	}
	return found, err
}
