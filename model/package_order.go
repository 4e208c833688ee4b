package model

import "strings"

// PackageOrder returns packages in an order in which they can be applied: each
// after those of them that it depends on, and otherwise as they were given.
// Dependencies on packages that are not among them are not its business. It
// fails with CodeInvalid when two have one name, or when they depend on each
// other in a circle, which the message spells out.
func PackageOrder(packages []Package) ([]Package, error) {
	o := packageOrder{
		packages: packages,
		byName:   make(map[string]int, len(packages)),
		states:   make([]visitState, len(packages)),
		ordered:  make([]Package, 0, len(packages)),
	}
	for i := range packages {
		name := packages[i].Name
		if _, twice := o.byName[name]; twice {
			return nil, Errorf(CodeInvalid, "package %s is given twice", echo(name))
		}
		o.byName[name] = i
	}
	for i := range packages {
		if cycle := o.visit(i); cycle != nil {
			return nil, Errorf(CodeInvalid, "packages depend on each other: %s", describeCycle(cycle))
		}
	}
	return o.ordered, nil
}

type visitState uint8

const (
	unvisited visitState = iota
	visiting
	visited
)

// packageOrder is one walk over the dependencies of packages.
type packageOrder struct {
	packages []Package
	byName   map[string]int
	states   []visitState
	ordered  []Package
}

// dependencyStep is a step of the walk: a package, and which of its dependencies comes next.
type dependencyStep struct{ at, next int }

// visit appends the package at start after all it depends on. It returns the
// names of a circle that it runs into. The way is kept in a list, since nothing
// bounds how deep packages depend on each other.
func (o *packageOrder) visit(start int) (cycle []string) {
	if o.states[start] != unvisited {
		return nil
	}
	o.states[start] = visiting
	trail := []dependencyStep{{at: start}}
	for len(trail) > 0 {
		top := &trail[len(trail)-1]
		p := &o.packages[top.at]
		if top.next == len(p.Dependencies) {
			o.states[top.at] = visited
			o.ordered = append(o.ordered, *p)
			trail = trail[:len(trail)-1]
			continue
		}
		dependency, known := o.byName[p.Dependencies[top.next]]
		top.next++
		switch {
		case !known || o.states[dependency] == visited:
		case o.states[dependency] == visiting:
			return o.cycle(trail, dependency)
		default:
			o.states[dependency] = visiting
			trail = append(trail, dependencyStep{at: dependency})
		}
	}
	return nil
}

// cycle names the end of the trail from the package at on, and that one again.
func (o *packageOrder) cycle(trail []dependencyStep, at int) []string {
	var names []string
	for _, step := range trail {
		if names != nil || step.at == at {
			names = append(names, o.packages[step.at].Name)
		}
	}
	return append(names, o.packages[at].Name)
}

// maxShownCycle bounds how many packages of a circle a message names.
const maxShownCycle = 8

// describeCycle writes a circle as a -> b -> a; a long one loses its middle.
func describeCycle(names []string) string {
	if len(names) > maxShownCycle {
		names = append(append(names[:maxShownCycle-2:maxShownCycle-2], "..."), names[len(names)-2:]...)
	}
	return strings.Join(names, " -> ")
}
