package cluster

// What the tests of membership in package cluster_test may look at.

// DeadVoters is what the metric of that name shows.
func (n *Node) DeadVoters() int64 { return n.deadVoters.Load() }
