package plan

import (
	"slices"

	"github.com/oprc/oprc-pm/model"
)

// maxShards bounds the shards that are assigned to nodes, over all collections of
// a unit. Each unit carries all of them.
const maxShards = 100_000

// assignShards spreads the partitions of all collections over the data grid's
// nodes, by turns. A partition has as many replicas as there are nodes, at most:
// two replicas in one node protect from nothing. Shard ids are unique over all
// collections. It returns nil when that is more than can be assigned.
func assignShards(collections []string, partitions, replicas uint32, nodes []uint64) map[string][]model.ShardAssignment {
	copies := min(uint64(max(1, replicas)), uint64(len(nodes)))
	total := uint64(len(collections)) * uint64(max(1, partitions)) * copies
	if len(nodes) == 0 || total > maxShards {
		return nil
	}
	// One array holds the numbers of all assignments: a grid may have thousands.
	numbers := make([]uint64, 0, 2*total)
	cut := func(from int) []uint64 { return numbers[from:len(numbers):len(numbers)] }
	assignments := make(map[string][]model.ShardAssignment, len(collections))
	shard := uint64(1)
	for _, collection := range collections {
		if _, twice := assignments[collection]; twice {
			continue
		}
		list := make([]model.ShardAssignment, max(1, partitions))
		for j := range list {
			list[j].Primary = shard
			start := len(numbers)
			for c := range copies {
				numbers = append(numbers, nodes[(uint64(j)+c)%uint64(len(nodes))])
			}
			list[j].Replica = cut(start)
			start = len(numbers)
			for range copies {
				numbers = append(numbers, shard)
				shard++
			}
			list[j].Shards = cut(start)
		}
		assignments[collection] = list
	}
	return assignments
}

// routes tell the data grid where to send the calls of a class's bindings. It is
// nil for a class without any; what binds a function that is not deployed has none.
func routes(class model.Class, functions []model.FunctionDeploymentSpec) map[string]model.FunctionRoute {
	if len(class.FunctionBindings) == 0 {
		return nil
	}
	all := make(map[string]model.FunctionRoute, len(class.FunctionBindings))
	for _, binding := range class.FunctionBindings {
		if slices.ContainsFunc(functions, func(f model.FunctionDeploymentSpec) bool { return f.FunctionKey == binding.FunctionKey }) {
			all[binding.Name] = model.FunctionRoute{FunctionKey: binding.FunctionKey, Stateless: binding.Stateless}
		}
	}
	return all
}

// allNodeIDs returns the ids of all nodes of a data grid, sorted.
func (w *work) allNodeIDs() []uint64 {
	var ids []uint64
	for _, p := range w.places {
		ids = append(ids, p.nodeIDs...)
	}
	slices.Sort(ids)
	return ids
}
